#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>

#include "base/error.h"
#include "cli/hub_model.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/cache.h"

namespace inkstone {
namespace {

struct RmFlags {
  std::string model;
  HubFlag hub;
  bool yes = false;
};

void run_rm(const RmFlags& flags) {
  const ModelName name = required_model_name(flags.model);
  const HubSettings settings = hub_settings(flags.hub.hub());
  const std::filesystem::path folder = model_folder(settings, name);
  std::error_code error;
  if (!std::filesystem::is_directory(folder, error)) {
    const Hub other = settings.hub == Hub::huggingface ? Hub::modelscope : Hub::huggingface;
    const bool there = std::filesystem::is_directory(model_folder(hub_settings(other), name), error);
    fail(Errc::not_found, "{}: not in {}{}", name.text(), settings.cache.string(),
         there ? fmt::format(", but in the other cache: --hub {}", hub_name(other)) : "");
  }
  if (!flags.yes) {
    if (isatty(STDIN_FILENO) != 1 || !stderr_is_terminal())
      fail(Errc::usage, "rm {}: nobody is there to ask: --yes removes without asking", name.text());
    std::fprintf(stderr, "Remove %s, all of %s? [y/N] ", name.text().c_str(), one_line(folder.string()).c_str());
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "y" && answer != "Y" && answer != "yes") {
      std::fprintf(stderr, "nothing was removed\n");
      return;
    }
  }
  remove_model(settings, name);
  std::fprintf(stderr, "removed %s\n", one_line(folder.string()).c_str());
}

}  // namespace

void add_rm(CLI::App& app) {
  auto flags = std::make_shared<RmFlags>();
  CLI::App* verb = app.add_subcommand("rm", "Remove a model from the cache");
  verb->add_option("model", flags->model, "ORG/NAME, or a short name")->required();
  flags->hub.add_to(*verb);
  verb->add_flag("-y,--yes", flags->yes, "Do not ask");
  verb->callback([flags] { run_rm(*flags); });
}

}  // namespace inkstone
