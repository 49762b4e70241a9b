#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "cli/hub_model.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "hub/cache.h"

namespace inkstone {
namespace {

struct PullFlags {
  std::string model;
  std::string revision;
  HubFlag hub;
  int retries = 8;
  bool offline = false;
  bool json = false;
};

void run_pull(const PullFlags& flags) {
  const ModelName name = required_model_name(flags.model);
  HubSettings settings = hub_settings(flags.hub.hub());
  settings.offline = settings.offline || flags.offline;
  Pulled pulled;
  if (const auto there = settings.offline ? find_model(settings, name, flags.revision) : std::nullopt)
    pulled.folder = *there;
  else
    pulled = pull_with_progress(settings, name, flags.revision, flags.retries);
  if (!flags.json) {
    std::printf("%s\n", printable(pulled.folder.string(), stdout_is_terminal()).c_str());
    return;
  }
  Json json;
  json["model"] = name.text();
  json["hub"] = hub_name(settings.hub);
  json["commit"] = pulled.commit.empty() ? Json() : Json(pulled.commit);
  json["folder"] = pulled.folder.string();
  json["bytes"] = static_cast<int64_t>(pulled.bytes);
  json["received"] = static_cast<int64_t>(pulled.received);
  std::printf("%s\n", json.dump(2).c_str());
}

}  // namespace

void add_pull(CLI::App& app) {
  auto flags = std::make_shared<PullFlags>();
  CLI::App* verb = app.add_subcommand("pull", "Fetch a model from a hub, or what is missing of it");
  verb->add_option("model", flags->model, "ORG/NAME, or a short name such as qwen3:0.6b")->required();
  verb->add_option("--revision", flags->revision, "Branch, tag or commit (default: main; ModelScope: master)");
  flags->hub.add_to(*verb);
  verb->add_option("--retries", flags->retries, "Tries after one that brought nothing (default: 8, in about a minute)")
      ->check(CLI::Range(0, 1000));
  verb->add_flag("--offline", flags->offline, "Only say where it is; touch no network");
  verb->add_flag("--json", flags->json, "One JSON object");
  verb->callback([flags] { run_pull(*flags); });
}

}  // namespace inkstone
