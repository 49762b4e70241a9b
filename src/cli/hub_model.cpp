#include "cli/hub_model.h"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "cli/terminal.h"
#include "hub/aliases.h"
#include "hub/cache.h"

namespace inkstone {
namespace {

std::string left(double seconds) {
  if (seconds >= 5400) return fmt::format("{:.1f} hours", seconds / 3600);
  return seconds >= 90 ? fmt::format("{:.0f} minutes", seconds / 60) : fmt::format("{:.0f} s", seconds);
}

// "models/qwen" where there is a folder "models" is a path that somebody mistyped.
bool begins_like_a_path(const std::string& text) {
  std::error_code error;
  return std::filesystem::is_directory(text.substr(0, text.find('/')), error);
}

}  // namespace

void HubFlag::add_to(CLI::App& verb) {
  verb.add_option("--hub", name, "huggingface or modelscope (default: INKSTONE_HUB, else huggingface)")
      ->check(CLI::IsMember({"huggingface", "modelscope"}));
}

Hub HubFlag::hub() const {
  const char* variable = std::getenv("INKSTONE_HUB");
  const std::string chosen = !name.empty() || variable == nullptr ? name : variable;
  if (chosen == "modelscope") return Hub::modelscope;
  if (!chosen.empty() && chosen != "huggingface")
    fail(Errc::usage, "INKSTONE_HUB: found {}, expected huggingface or modelscope", chosen);
  return Hub::huggingface;
}

ModelName required_model_name(const std::string& text) {
  const std::optional<ModelName> name = find_model_name(text);
  if (!name)
    fail(Errc::usage,
         "{}: expected a model's name, such as Qwen/Qwen3-0.6B-MLX-4bit, or one of `inkstone list --aliases`", text);
  return *name;
}

Pulled pull_with_progress(const HubSettings& settings, const ModelName& name, const std::string& revision,
                          int retries) {
  ProgressLine line;
  const auto started = std::chrono::steady_clock::now();
  uint64_t before = 0;  // bytes that were here at the start
  const InterruptGuard guard;
  PullOptions options;
  options.revision = revision;
  options.retries = retries;
  options.cancelled = InterruptGuard::interrupted;
  options.on_plan = [&](size_t files, uint64_t bytes, uint64_t missing) {
    line.clear();
    before = bytes - missing;
    const std::string from =
        missing == 0 ? "all here"
                     : fmt::format("{} to fetch from {}", human_bytes(static_cast<double>(missing)), settings.endpoint);
    std::fprintf(
        stderr, "%s\n",
        one_line(fmt::format("{}: {} files, {}, {}", name.text(), files, human_bytes(static_cast<double>(bytes)), from))
            .c_str());
  };
  options.on_progress = [&](uint64_t done, uint64_t total) {
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
    const double rate = done > before ? static_cast<double>(done - before) / std::max(seconds, 0.1) : 0;
    std::string text =
        fmt::format("{} of {}", human_bytes(static_cast<double>(done)), human_bytes(static_cast<double>(total)));
    if (rate > 0 && seconds > 1)
      text += fmt::format(", {}/s, {} left", human_bytes(rate), left(static_cast<double>(total - done) / rate));
    line.show(text);
  };
  options.on_wait = [&] { line.show("another process is fetching this model: waiting for it"); };
  return pull_model(settings, name, options);
}

std::filesystem::path named_model_folder(const char* flag, const std::string& text, bool may_pull) {
  const std::optional<ModelName> name = find_model_name(text);
  if (!name) fail(Errc::not_found, "{} {}: no such folder or file", flag, text);
  const Hub first = HubFlag().hub();
  for (const Hub hub : {first, first == Hub::huggingface ? Hub::modelscope : Hub::huggingface})
    if (const auto folder = find_model(hub_settings(hub), *name)) return *folder;
  if (text.find('/') != text.npos && begins_like_a_path(text))
    fail(Errc::not_found, "{} {}: no such folder or file, and no such model in a hub's cache", flag, text);
  const HubSettings settings = hub_settings(first);
  if (settings.offline)
    fail(Errc::not_found, "{} {}: no such folder, and {} is not whole in {} (HF_HUB_OFFLINE is set)", flag, text,
         name->text(), settings.cache.string());
  if (!may_pull || !stderr_is_terminal())
    fail(Errc::not_found, "{} {}: no such folder, and not on this machine. To fetch it: inkstone pull {}", flag, text,
         text);
  std::fprintf(stderr, "%s\n",
               dim(fmt::format("{} is not on this machine: fetching it. Ctrl-C stops that, and the "
                               "same command goes on from there.",
                               name->text()))
                   .c_str());
  return pull_with_progress(settings, *name, "", 8).folder;
}

}  // namespace inkstone
