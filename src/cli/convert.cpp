#include "format/convert.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/conversion_progress.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "format/quantization.h"

namespace inkstone {
namespace {

struct ConvertFlags {
  std::string model;
  const char* model_flag = "--hf-path";  // that was typed
  std::string save = "mlx_model";
  bool quantize = false;
  bool dequantize = false;
  std::string mode = "affine";
  int bits = 0;
  int group_size = 0;
  std::string recipe;
  std::string dtype;
  int threads = 0;
};

Quantization quantization_of(const ConvertFlags& flags) {
  Quantization quantization = default_quantization(quant_mode_of(flags.mode).value());
  if (flags.bits != 0) quantization.bits = flags.bits;
  if (flags.group_size != 0) quantization.group_size = flags.group_size;
  if (const std::string problem = quantization_problem(quantization); !problem.empty())
    fail(Errc::usage, "--q-mode {}, --q-bits, --q-group-size: {}", flags.mode, problem);
  if (!flags.recipe.empty() && quantization.mode != QuantMode::affine)
    fail(Errc::usage, "--quant-predicate {}: found --q-mode {}, expected affine", flags.recipe, flags.mode);
  return quantization;
}

void run_convert(const ConvertFlags& flags) {
  ConvertOptions options;
  options.model = model_path(flags.model_flag, flags.model);
  options.save = flags.save;
  if (flags.quantize) options.quantize = quantization_of(flags);
  options.recipe = flags.recipe;
  options.dequantize = flags.dequantize;
  options.dtype = dtype_of(flags.dtype);
  options.threads = flags.threads;
  ConversionProgress progress;
  options.on_progress = progress.callback();
  const Conversion::Written written = convert(options);
  progress.finish(written);
  std::printf("%s: %s of weights, %.2f bits each\n", printable(flags.save, stdout_is_terminal()).c_str(),
              human_bytes(static_cast<double>(written.bytes)).c_str(), written.bits_per_weight);
}

// convert, or quantize: the same with -q.
void add(CLI::App& app, const char* name, const char* what, bool quantize) {
  auto flags = std::make_shared<ConvertFlags>();
  flags->quantize = quantize;
  CLI::App* verb = app.add_subcommand(name, what);
  CLI::App* source = verb->add_option_group("Model")->require_option(1);
  source->add_option("--hf-path", flags->model, "Folder, GGUF file or name of the model");
  source->add_option_function<std::string>(
      "-m,--model",
      [flags](const std::string& model) {
        flags->model = model;
        flags->model_flag = "--model";
      },
      "The same");
  verb->add_option("--mlx-path", flags->save, "New folder (default: mlx_model)");
  CLI::Option* q = nullptr;
  if (!quantize) {
    q = verb->add_flag("-q,--quantize", flags->quantize, "Quantise the matrices");
    verb->add_flag("-d,--dequantize", flags->dequantize, "Write a quantised model plain")->excludes(q);
  }
  const auto quantising = [q](CLI::Option* option) { return q != nullptr ? option->needs(q) : option; };
  quantising(verb->add_option("--q-mode", flags->mode, "affine (default), mxfp4, mxfp8 or nvfp4"))
      ->check(CLI::IsMember({"affine", "mxfp4", "mxfp8", "nvfp4"}));
  quantising(verb->add_option("--q-bits", flags->bits, "Bits of a weight (affine: 4)"))
      ->check(CLI::IsMember({2, 3, 4, 5, 6, 8}));
  quantising(verb->add_option("--q-group-size", flags->group_size, "Weights that share a scale (affine: 64)"))
      ->check(CLI::IsMember({16, 32, 64, 128}));
  quantising(verb->add_option("--quant-predicate", flags->recipe, "More bits where they matter most: mixed_2_6 .."))
      ->check(CLI::IsMember(std::vector<std::string>(recipe_names().begin(), recipe_names().end())));
  verb->add_option("--dtype", flags->dtype, "Of what is not quantised (default: torch_dtype of config.json)")
      ->check(CLI::IsMember({"bfloat16", "float16", "float32"}));
  verb->add_option("-t,--threads", flags->threads, "Threads (default: all that this process may use)")
      ->check(CLI::Range(1, 1024));
  verb->callback([flags] { run_convert(*flags); });
}

}  // namespace

void add_convert(CLI::App& app) {
  add(app, "convert", "Write a model in another format: quantised, plain, in another dtype", false);
  add(app, "quantize", "convert -q", true);
}

}  // namespace inkstone
