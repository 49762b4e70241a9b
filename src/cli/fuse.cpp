#include "train/fuse.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <vector>

#include "cli/conversion_progress.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "format/quantization.h"

namespace inkstone {
namespace {

struct FuseFlags {
  std::string model;
  std::string adapter = "adapters";
  std::string save = "fused_model";
  bool dequantize = false;
  bool force = false;
  bool json = false;
  int threads = 0;
};

Json describe(const TuningLoss& loss) {
  Json json;
  json["survival"] = loss.survival();
  json["noise"] = loss.noise();
  json["error"] = loss.error();
  return json;
}

Json describe(const FuseFlags& flags, const FuseReport& report) {
  Json json;
  json["save_path"] = flags.save;
  json["bytes"] = static_cast<int64_t>(report.written.bytes);
  json["replaced"] = report.replaced;
  json["quantized"] = report.quantized.is_empty() ? Json() : describe(report.quantized);
  json["plain"] = report.plain.is_empty() ? Json() : describe(report.plain);
  Json::Array modules;
  for (const FusedModule& module : report.modules) {
    Json entry = describe(module.loss);
    entry["module"] = module.name;
    entry["quantization"] = quantization_text(module.quantization);
    modules.push_back(std::move(entry));
  }
  json["modules"] = std::move(modules);
  return json;
}

// Of the modules that were quantised again those that lost most, and what all of them lost.
void print_losses(const FuseReport& report) {
  constexpr size_t kShown = 3;
  std::vector<const FusedModule*> modules;
  for (const FusedModule& module : report.modules)
    if (module.quantization.mode != QuantMode::none) modules.push_back(&module);
  if (modules.empty()) return;
  std::ranges::stable_sort(modules, std::less(), [](const FusedModule* module) { return module->loss.survival(); });
  const auto row = [](const std::string& name, const TuningLoss& loss) {
    std::printf("%-50s %7.1f%% %8.3f %8.3f\n", printable(name, stdout_is_terminal()).c_str(), 100 * loss.survival(),
                loss.noise(), loss.error());
  };
  std::printf("%-50s %8s %8s %8s\n", "quantised again", "survives", "noise", "error");
  if (modules.size() > kShown) row(fmt::format("{} modules together", modules.size()), report.quantized);
  for (size_t i = 0; i < std::min(modules.size(), kShown); ++i) row(modules[i]->name, modules[i]->loss);
  if (modules.size() > kShown) std::printf("(the worst ones; --json has all)\n");
}

void print(const FuseFlags& flags, const FuseReport& report) {
  const bool terminal = stdout_is_terminal();
  print_losses(report);
  const std::string done = report.replaced > 0 ? fmt::format("{} whole parameters taken", report.replaced)
                                               : fmt::format("{} modules fused", report.modules.size());
  std::printf("%s: %s, %s of weights\n", printable(flags.save, terminal).c_str(), done.c_str(),
              human_bytes(static_cast<double>(report.written.bytes)).c_str());
}

void run_fuse(const FuseFlags& flags) {
  ModelFlags model;
  model.model = flags.model;
  model.adapter = flags.adapter;
  FuseOptions options;
  options.model = model.folder();
  options.adapter = flags.adapter;
  options.save = flags.save;
  options.dequantize = flags.dequantize;
  options.force = flags.force;
  options.threads = flags.threads;
  ConversionProgress progress;
  options.on_progress = progress.callback();
  const FuseReport report = fuse(options);
  progress.finish(report.written);
  if (flags.json)
    std::printf("%s\n", describe(flags, report).dump(2).c_str());
  else
    print(flags, report);
  if (loses_tuning(report.quantized))
    std::fprintf(stderr, "--force: written although quantising it again loses the tuning\n");
  if (loses_tuning(report.plain))
    std::fprintf(
        stderr,
        "The tuning is finer than the model's 16-bit numbers: %.0f %% of it is left, with noise of %.2f times its "
        "size.\nThe adapter beside the model (--adapter) keeps all of it.\n",
        100 * report.plain.survival(), report.plain.noise());
}

}  // namespace

void add_fuse(CLI::App& app) {
  auto flags = std::make_shared<FuseFlags>();
  CLI::App* verb = app.add_subcommand("fuse", "Makes one model of a model and an adapter");
  verb->add_option("-m,--model", flags->model, "Folder or name of the model (default: that of the adapter)");
  verb->add_option("--adapter-path", flags->adapter, "Folder of the adapter (default: adapters)");
  verb->add_option("--save-path", flags->save, "Folder of the new model, new or empty (default: fused_model)");
  verb->add_flag("--dequantize,--de-quantize", flags->dequantize, "Write a plain model instead of quantising it again");
  verb->add_flag("--force", flags->force, "Write it even where quantising it again loses the tuning");
  verb->add_flag("--json", flags->json, "The report as one JSON object");
  verb->add_option("-t,--threads", flags->threads, "Threads (default: all that this process may use)")
      ->check(CLI::Range(1, 1024));
  verb->callback([flags] { run_fuse(*flags); });
}

}  // namespace inkstone
