// What `bench` measures: a model folder, or random weights in a published shape that live in memory only.
#pragma once

#include <memory>
#include <string>

#include "engine/benchmark.h"
#include "engine/language_model.h"
#include "format/random_checkpoint.h"

namespace inkstone {

struct BenchModel {
  std::string name;  // the folder or the shape
  std::unique_ptr<LanguageModel> model;
  double load_seconds = 0;
  WeightBytes weights;
  // The published model where only its first layers were made; else as above.
  ModelConfig whole;
  WeightBytes whole_weights;

  bool is_part() const { return whole.num_hidden_layers != model->config().num_hidden_layers; }
};

// Opens a folder. Throws Error(out_of_memory), Error(context_length) where the plan does not fit, before memory is
// taken.
BenchModel open_bench_model(const std::filesystem::path& folder, const LoadOptions& options, const BenchmarkPlan& plan);

// Makes random weights with `layers` of the shape's layers (0: all) and opens them. Their folder lies in memory where
// the system has such a place and is gone when this returns.
BenchModel make_bench_model(const std::string& shape, RandomCheckpointOptions weights, int layers,
                            const LoadOptions& options, const BenchmarkPlan& plan);

}  // namespace inkstone
