#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/system.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "train/fuse.h"

namespace inkstone {
namespace {

struct ConvertFlags {
  std::string model;
  std::string save = "mlx_model";
  bool quantize = false;
  bool dequantize = false;
  int bits = 4;
  int group_size = 64;
  int threads = 0;
};

void run_convert(const ConvertFlags& flags) {
  ModelFlags model;
  model.model = flags.model;
  FuseOptions options;
  options.model = model.folder();
  options.save = flags.save;
  options.dequantize = flags.dequantize;
  options.threads = flags.threads;
  if (flags.quantize)
    options.quantize = Quantization{.mode = QuantMode::affine, .bits = flags.bits, .group_size = flags.group_size};
  const InterruptGuard guard;
  options.on_progress = [](double) {
    if (InterruptGuard::interrupted()) fail(Errc::interrupted, "interrupted: nothing was written");
  };
  const FuseReport report = fuse(options);
  std::printf("%s: %s of weights\n", printable(flags.save, stdout_is_terminal()).c_str(),
              human_bytes(static_cast<double>(report.bytes)).c_str());
}

}  // namespace

void add_convert(CLI::App& app) {
  auto flags = std::make_shared<ConvertFlags>();
  CLI::App* verb = app.add_subcommand("convert", "Write a model in another quantisation");
  verb->add_option("--hf-path,--model", flags->model, "Folder or name of the model")->required();
  verb->add_option("--mlx-path", flags->save, "New folder (default: mlx_model)");
  CLI::Option* quantize = verb->add_flag("-q,--quantize", flags->quantize, "Quantise the matrices");
  verb->add_option("--q-bits", flags->bits, "Bits of a weight (default: 4)")
      ->check(CLI::IsMember({2, 3, 4, 5, 6, 8}))
      ->needs(quantize);
  verb->add_option("--q-group-size", flags->group_size, "Weights that share a scale (default: 64)")
      ->check(CLI::IsMember({32, 64, 128}))
      ->needs(quantize);
  verb->add_flag("-d,--dequantize", flags->dequantize, "Write a plain model")->excludes(quantize);
  verb->add_option("-t,--threads", flags->threads, "Threads (default: all that this process may use)")
      ->check(CLI::Range(1, 1024));
  verb->callback([flags] { run_convert(*flags); });
}

}  // namespace inkstone
