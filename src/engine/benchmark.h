// Benchmark: how long a model takes for prompts and for decoding steps, and what each of them had to read and compute.
// It drives Model::forward with batches of its own; no sampling, no text. One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/step_cost.h"
#include "model/model.h"

namespace inkstone {

// What to measure: every prompt; decoding at every depth with the first batch, and every batch at the first depth.
struct BenchmarkPlan {
  std::vector<int> prompt_tokens{};
  std::vector<int> depths{};   // tokens in each conversation's cache before the step
  std::vector<int> batches{};  // conversations that decode at once
  int repeat = 3;

  // The most KV blocks, rows and logit rows that a part of it needs.
  int blocks() const;
  int rows() const;
  int logit_rows() const;
  // The longest context of one conversation.
  int context() const;
};

struct BenchmarkResult {
  bool prefill = false;
  int tokens = 0;      // that one measurement reads or writes: of the prompt, or one for each conversation
  int depth = 0;       // before it
  int batch = 1;       // conversations
  int repeats = 0;     // measurements
  double seconds = 0;  // their median
  Cost cost{};         // of one
  Cost whole_cost{};   // of one through all layers of the published model, where fewer were measured
};

// Throughput of a result, and how near it comes to what the machine could do.
struct BenchmarkFigures {
  double seconds = 0;  // of the published model: as measured, or scaled to all of its layers
  double tokens_per_s = 0;
  double gbps = 0, tflops = 0;
  double fraction = 0;  // of the speed at which the ceiling alone would bind
  std::string ceiling;  // "read", or the arithmetic unit
};

// The floor of a cost is the longer of reading its bytes and computing its operations on the best usable unit. Where
// only some layers were measured, all of them would take as many times longer as their floor is higher.
BenchmarkFigures figures_of(const BenchmarkResult& result, const Ceilings& ceilings);

struct BenchmarkCallbacks {
  std::function<void(const std::string&)> progress{};  // what is measured next
  std::function<bool()> cancelled{};
};

class Benchmark {
 public:
  // A measurement is repeated until this much time is spent on it, but at least once.
  static constexpr double kMostSeconds = 5;
  // A step that is over quickly is repeated beyond plan.repeat until it has taken this much time.
  static constexpr double kLeastSeconds = 0.25;

  // `weights` of `model`; `whole` and `whole_weights` of the published model whose first layers it has (else the same).
  // Throws Error(out_of_memory).
  Benchmark(Model& model, const BenchmarkPlan& plan, WeightBytes weights, ModelConfig whole, WeightBytes whole_weights);

  // A prompt of 16 tokens and the choice of the first token after it; the first call pays for what is not yet there.
  double first_token_seconds();

  // Throws Error(interrupted) soon after `cancelled` says so.
  std::vector<BenchmarkResult> run(const BenchmarkCallbacks& callbacks);

 private:
  void fill_cache();
  BenchmarkResult prefill(int tokens);
  BenchmarkResult decode(int depth, int batch);
  // Adds `rows` random tokens of a conversation that has `past` tokens already, from block `first_block` on.
  void add_span(Batch& batch, int first_block, int past, int rows);
  void forward(const Batch& batch);
  void count(BenchmarkResult& result, const Batch& batch) const;
  // Repeats a measurement and notes the median.
  void measure(BenchmarkResult& result, const std::function<void()>& work);
  void stop_if_cancelled() const;

  Model& model_;
  BenchmarkPlan plan_;
  WeightBytes weights_, whole_weights_;
  ModelConfig whole_;
  KvCache kv_;
  uint64_t random_ = 1;
  std::vector<float> logits_;
  BenchmarkCallbacks callbacks_;
};

}  // namespace inkstone
