#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "cli/bench_report.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "format/atomic_folder.h"
#include "format/model_config.h"
#include "format/quantization.h"
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

  ModelFlags model;
  int layers = 0;  // 0: all
  BenchmarkPlan plan{.prompt_tokens = {128, 512, 2048}, .depths = {0, 2048, 8192}, .batches = {1, 2, 4, 8, 16, 32}};
  bool given_prompt_tokens = false;
  bool given_depths = false;
  bool json = false;
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

RandomCheckpointOptions weights_of(const BenchFlags& flags) {
  RandomCheckpointOptions options;
  options.config = shape_config(flags.shape);
  options.dtype = flags.dtype == "float32" ? DType::f32 : flags.dtype == "float16" ? DType::f16 : DType::bf16;
  options.quantization = quantization_of(flags);
  options.seed = flags.seed;
  return options;
}

void write_weights(const BenchFlags& flags) {
  expect_new_or_empty(flags.write);
  write_random_checkpoint(flags.write, weights_of(flags));
  std::fprintf(stderr, "%s\n", dim(fmt::format("wrote {}", flags.write)).c_str());
}

// The ceilings are measured before and after: a machine that others share is at its best only now and then.
Ceilings better_of(Ceilings first, const Ceilings& second) {
  first.read_gbps = std::max(first.read_gbps, second.read_gbps);
  for (size_t i = 0; i < first.units.size(); ++i)
    first.units[i].tera = std::max(first.units[i].tera, second.units.at(i).tera);
  return first;
}

// Without the depths and prompts that nobody asked for and that the model's context cannot hold.
void fit_defaults(BenchFlags& flags) {
  const ModelConfig config = flags.shape.empty() ? load_model_config(flags.model.folder()) : shape_config(flags.shape);
  const int context = config.max_position_embeddings;
  if (!flags.given_prompt_tokens) std::erase_if(flags.plan.prompt_tokens, [&](int tokens) { return tokens > context; });
  if (!flags.given_depths) std::erase_if(flags.plan.depths, [&](int depth) { return depth >= context; });
}

void measure(const BenchFlags& flags) {
  const InterruptGuard guard;
  const LoadOptions options = flags.model.load_options();
  BenchReport report;
  report.f32 = flags.model.f32;
  report.bench = flags.shape.empty()
                     ? open_bench_model(flags.model.folder(), options, flags.plan)
                     : make_bench_model(flags.shape, weights_of(flags), flags.layers, options, flags.plan);
  BenchModel& bench = report.bench;
  ProgressLine progress;
  Benchmark benchmark(bench.model->model(), flags.plan, bench.weights, bench.whole, bench.whole_weights);
  report.first_token_seconds = benchmark.first_token_seconds();
  progress.show("measuring the machine");
  report.ceilings = bench.model->device().measure_ceilings();
  report.results = benchmark.run(
      {.progress = [&](const std::string& text) { progress.show(text); }, .cancelled = InterruptGuard::interrupted});
  report.memory = resident_memory();
  progress.show("measuring the machine");
  report.ceilings = better_of(report.ceilings, bench.model->device().measure_ceilings());
  progress.clear();
  if (InterruptGuard::interrupted()) fail(Errc::interrupted, "interrupted");
  if (flags.json)
    std::printf("%s\n", report_json(report).dump(2).c_str());
  else
    print_report(report);
}

void run_bench(BenchFlags& flags) {
  if (flags.shape.empty() == flags.model.model.empty())
    fail(Errc::usage, "bench: expected either --model FOLDER or --shape NAME");
  if (!flags.write.empty()) return write_weights(flags);
  fit_defaults(flags);
  measure(flags);
}

// "128,512": numbers in a range; "0" alone: none.
void add_list(CLI::App& verb, const std::string& name, std::vector<int>& list, int least, int most,
              const std::string& text) {
  verb.add_option_function<std::vector<int>>(
          name,
          [&list, name, least, most](const std::vector<int>& values) {
            list = values;
            if (least > 0 && values == std::vector<int>{0}) return list.clear();
            for (const int value : values)
              if (value < least || value > most)
                fail(Errc::usage, "{} {}: expected numbers of {} to {}", name, value, least, most);
          },
          text)
      ->delimiter(',');
}

}  // namespace

void add_bench(CLI::App& app) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* verb = app.add_subcommand("bench", "Measure a model beside what the machine can do; write random weights");
  std::vector<std::string> names;
  for (const std::string_view name : shape_names()) names.emplace_back(name);
  flags->model.add_without_context_to(*verb);
  CLI::Option* shape =
      verb->add_option("--shape", flags->shape, "Random weights in a published shape instead of a model")
          ->check(CLI::IsMember(names));
  verb->add_option("--bits", flags->bits, "Bits of a weight: 2, 3, 4, 5, 6, 8; 16 or none: not quantised")
      ->needs(shape);
  verb->add_option("--group-size", flags->group_size, "Weights that share a scale: 32, 64 (default) or 128")
      ->needs(shape);
  verb->add_option("--mode", flags->mode, "Quantisation: affine (default with --bits), mxfp4, mxfp8, nvfp4")
      ->check(CLI::IsMember({"affine", "mxfp4", "mxfp8", "nvfp4"}))
      ->needs(shape);
  verb->add_option("--dtype", flags->dtype, "Of what is not quantised: bfloat16 (default), float16, float32")
      ->check(CLI::IsMember({"bfloat16", "float16", "float32"}))
      ->needs(shape);
  verb->add_option("--seed", flags->seed, "The same seed writes the same bytes")->needs(shape);
  CLI::Option* layers = verb->add_option("--layers", flags->layers,
                                         "Measure the first layers of the shape only and scale tokens/s to all")
                            ->check(CLI::Range(1, 1024))
                            ->needs(shape);
  verb->add_option("--write", flags->write, "Write the random weights to this folder and measure nothing")
      ->needs(shape)
      ->excludes(layers);
  add_list(*verb, "--prompt-tokens", flags->plan.prompt_tokens, 1, 1 << 20,
           "Prompts to read (default: 128,512,2048; 0: none)");
  add_list(*verb, "--depths", flags->plan.depths, 0, 1 << 20,
           "Tokens in the cache before a decoding step (default: 0,2048,8192), with the first of --batches");
  add_list(*verb, "--batches", flags->plan.batches, 1, 256,
           "Conversations that decode at once (default: 1,2,4,8,16,32; 0: none), at the first of --depths");
  verb->add_option("--repeat", flags->plan.repeat, "Measurements of each, as far as 5 seconds reach (default: 3)")
      ->check(CLI::Range(1, 1000));
  verb->add_flag("--json", flags->json, "One JSON object");
  verb->callback([flags, verb] {
    flags->given_prompt_tokens = verb->count("--prompt-tokens") > 0;
    flags->given_depths = verb->count("--depths") > 0;
    run_bench(*flags);
  });
}

}  // namespace inkstone
