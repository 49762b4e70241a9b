#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "format/quantization.h"
#include "format/random_checkpoint.h"
#include "format/shapes.h"

namespace inkstone {
namespace {

struct BenchFlags {
  std::string shape;
  std::string mode;  // none given: affine where there are bits
  std::string dtype = "bfloat16";
  int bits = 0;
  int group_size = 0;
  uint64_t seed = 0;
  std::string write;
};

// A mode whose bits and group size are fixed: given ones must be these.
Quantization fixed_quantization(const BenchFlags& flags, const Quantization& fixed) {
  if ((flags.bits != 0 && flags.bits != fixed.bits) || (flags.group_size != 0 && flags.group_size != fixed.group_size))
    fail(Errc::usage, "--mode {}: expected --bits {} --group-size {} or neither, found --bits {} --group-size {}",
         flags.mode, fixed.bits, fixed.group_size, flags.bits, flags.group_size);
  return fixed;
}

// Bits and group size as given, else as the mode's files usually have them; bits 16 or nothing given: plain.
Quantization quantization_of(const BenchFlags& flags) {
  if (flags.mode == "mxfp4") return fixed_quantization(flags, {QuantMode::mxfp4, 4, 32});
  if (flags.mode == "mxfp8") return fixed_quantization(flags, {QuantMode::mxfp8, 8, 32});
  if (flags.mode == "nvfp4") return fixed_quantization(flags, {QuantMode::nvfp4, 4, 16});
  if (flags.bits == 0 || flags.bits == 16) {
    if (flags.group_size != 0 || !flags.mode.empty())
      fail(Errc::usage, "--mode affine, --group-size: expected --bits 2, 3, 4, 5, 6 or 8 with them");
    return {};
  }
  const Quantization quantization{QuantMode::affine, flags.bits, flags.group_size != 0 ? flags.group_size : 64};
  if (const std::string problem = quantization_problem(quantization); !problem.empty())
    fail(Errc::usage, "--bits, --group-size: {}", problem);
  return quantization;
}

void run_bench(const BenchFlags& flags) {
  RandomCheckpointOptions options;
  options.config = shape_config(flags.shape);
  options.dtype = flags.dtype == "float32" ? DType::f32 : flags.dtype == "float16" ? DType::f16 : DType::bf16;
  options.quantization = quantization_of(flags);
  options.seed = flags.seed;
  write_random_checkpoint(flags.write, options);
  std::fprintf(stderr, "%s\n", dim(fmt::format("wrote {}", flags.write)).c_str());
}

}  // namespace

void add_bench(CLI::App& app) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* verb = app.add_subcommand("bench", "Write a folder of random weights in a published shape");
  std::vector<std::string> names;
  for (const std::string_view name : shape_names()) names.emplace_back(name);
  verb->add_option("--shape", flags->shape, "Shape of the model")->required()->check(CLI::IsMember(names));
  verb->add_option("--bits", flags->bits, "Bits of a weight: 2, 3, 4, 5, 6, 8; 16 or none: not quantised");
  verb->add_option("--group-size", flags->group_size, "Weights that share a scale: 32, 64 (default) or 128");
  verb->add_option("--mode", flags->mode, "Quantisation: affine (default with --bits), mxfp4, mxfp8, nvfp4")
      ->check(CLI::IsMember({"affine", "mxfp4", "mxfp8", "nvfp4"}));
  verb->add_option("--dtype", flags->dtype, "Of what is not quantised: bfloat16 (default), float16, float32")
      ->check(CLI::IsMember({"bfloat16", "float16", "float32"}));
  verb->add_option("--seed", flags->seed, "The same seed writes the same bytes");
  verb->add_option("--write", flags->write, "Folder to write")->required();
  verb->callback([flags] { run_bench(*flags); });
}

}  // namespace inkstone
