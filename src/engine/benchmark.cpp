#include "engine/benchmark.h"

#include <algorithm>
#include <chrono>

#include "engine/generator.h"

namespace inkstone {
namespace {

constexpr int kFirstPrompt = 16;

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int blocks_for(int tokens) { return (tokens + kKvBlockTokens - 1) / kKvBlockTokens; }

// Knuth's MMIX generator; the upper half is what is random.
uint32_t next_random(uint64_t& state) {
  state = state * 6364136223846793005u + 1442695040888963407u;
  return static_cast<uint32_t>(state >> 32);
}

int most(const std::vector<int>& values, int least) {
  return values.empty() ? least : std::max(least, *std::ranges::max_element(values));
}

// Each depth with the first batch, each batch at the first depth.
std::vector<std::pair<int, int>> decode_points(const BenchmarkPlan& plan) {
  std::vector<std::pair<int, int>> points;
  if (plan.depths.empty() || plan.batches.empty()) return points;
  for (const int depth : plan.depths) points.emplace_back(depth, plan.batches[0]);
  for (size_t i = 1; i < plan.batches.size(); ++i) points.emplace_back(plan.depths[0], plan.batches[i]);
  return points;
}

const UnitPeak& best_unit(const Ceilings& ceilings, bool prefill) {
  const UnitPeak* best = nullptr;
  for (const UnitPeak& unit : ceilings.units)
    if ((prefill ? unit.for_prompts : unit.for_decoding) && (best == nullptr || unit.tera > best->tera)) best = &unit;
  CHECK(best != nullptr);
  return *best;
}

}  // namespace

BenchmarkFigures figures_of(const BenchmarkResult& result, const Ceilings& ceilings) {
  const UnitPeak& unit = best_unit(ceilings, result.prefill);
  const auto read_floor = [&](const Cost& cost) { return cost.bytes / (ceilings.read_gbps * 1e9); };
  const auto unit_floor = [&](const Cost& cost) { return cost.operations / (unit.tera * 1e12); };
  const auto floor = [&](const Cost& cost) { return std::max(read_floor(cost), unit_floor(cost)); };
  BenchmarkFigures figures;
  figures.seconds = result.seconds * (floor(result.whole_cost) / floor(result.cost));
  figures.tokens_per_s = result.tokens / figures.seconds;
  figures.gbps = result.cost.bytes / result.seconds * 1e-9;
  figures.tflops = result.cost.operations / result.seconds * 1e-12;
  figures.fraction = floor(result.cost) / result.seconds;
  figures.ceiling = read_floor(result.cost) >= unit_floor(result.cost) ? "read" : unit.name;
  return figures;
}

int BenchmarkPlan::blocks() const {
  int blocks = blocks_for(most(prompt_tokens, kFirstPrompt));
  for (const auto& [depth, batch] : decode_points(*this)) blocks = std::max(blocks, batch * blocks_for(depth + 1));
  return blocks;
}

int BenchmarkPlan::rows() const {
  return std::max(most(batches, 1), std::min(most(prompt_tokens, kFirstPrompt), Generator::kChunkTokens));
}

int BenchmarkPlan::logit_rows() const { return most(batches, 1); }

int BenchmarkPlan::context() const { return std::max(most(prompt_tokens, kFirstPrompt), most(depths, 0) + 1); }

Benchmark::Benchmark(Model& model, const BenchmarkPlan& plan, WeightBytes weights, ModelConfig whole,
                     WeightBytes whole_weights)
    : model_(model),
      plan_(plan),
      weights_(weights),
      whole_weights_(whole_weights),
      whole_(std::move(whole)),
      kv_(model.device(), model.config(), plan.blocks()),
      logits_(static_cast<size_t>(plan.logit_rows()) * static_cast<size_t>(model.config().vocab_size)) {}

double Benchmark::first_token_seconds() {
  const auto start = std::chrono::steady_clock::now();
  Batch batch;
  add_span(batch, 0, 0, kFirstPrompt);
  batch.logit_rows = {kFirstPrompt - 1};
  forward(batch);
  [[maybe_unused]] const volatile float best =
      *std::max_element(logits_.begin(), logits_.begin() + model_.config().vocab_size);
  return seconds_since(start);
}

std::vector<BenchmarkResult> Benchmark::run(const BenchmarkCallbacks& callbacks) {
  callbacks_ = callbacks;
  std::vector<BenchmarkResult> results;
  const auto announce = [&](const std::string& what) {
    stop_if_cancelled();
    if (callbacks_.progress) callbacks_.progress(what);
  };
  for (const int tokens : plan_.prompt_tokens) {
    announce(fmt::format("prompt of {} tokens", tokens));
    results.push_back(prefill(tokens));
  }
  announce("filling the cache");
  fill_cache();
  for (const auto& [depth, batch] : decode_points(plan_)) {
    announce(fmt::format("decoding at depth {}, {} at once", depth, batch));
    results.push_back(decode(depth, batch));
  }
  return results;
}

// Gives every slot K and V of the size that the norms of a model give them, so that any block table finds a past.
void Benchmark::fill_cache() {
  constexpr int kRows = 256;
  Device& device = model_.device();
  const ModelConfig& config = model_.config();
  const int64_t width = int64_t{config.num_key_value_heads} * config.head_dim;
  std::vector<float> values(static_cast<size_t>(kRows * width));
  for (float& value : values) value = static_cast<float>(next_random(random_)) * 0x1p-31f - 1.0f;
  const Buffer buffer = device.upload(values);
  const int slots = plan_.blocks() * kKvBlockTokens;
  std::vector<int32_t> list;
  for (int layer = 0; layer < config.num_hidden_layers; ++layer)
    for (int begin = 0; begin < slots; begin += kRows) {
      stop_if_cancelled();
      const int count = std::min(kRows, slots - begin);
      list.resize(static_cast<size_t>(count));
      for (int i = 0; i < count; ++i) list[static_cast<size_t>(i)] = begin + i;
      const Tensor rows = buffer.view(DType::f32, {count, width});
      device.write_kv(rows, rows, list, kv_.layer(layer));
    }
}

void Benchmark::add_span(Batch& batch, int first_block, int past, int rows) {
  const int length = past + rows, blocks = blocks_for(length);
  batch.spans.push_back({batch.size(), rows, length, static_cast<int>(batch.blocks.size())});
  for (int i = 0; i < blocks; ++i) batch.blocks.push_back(first_block + i);
  for (int position = past; position < length; ++position) {
    batch.tokens.push_back(
        static_cast<int32_t>(next_random(random_) % static_cast<uint32_t>(model_.config().vocab_size)));
    batch.positions.push_back(position);
    batch.slots.push_back(first_block * kKvBlockTokens + position);
  }
}

void Benchmark::forward(const Batch& batch) {
  stop_if_cancelled();
  const Tensor logits = model_.forward(batch, kv_);
  if (!batch.logit_rows.empty())
    model_.device().download(logits, std::span(logits_).first(static_cast<size_t>(logits.shape.elements())));
}

void Benchmark::count(BenchmarkResult& result, const Batch& batch) const {
  const auto cost = [&](const ModelConfig& config, const WeightBytes& weights) {
    const auto kv_bytes = KvCache::bytes_per_token(config, model_.device().kv_format());
    return step_cost(config, weights, static_cast<double>(kv_bytes), batch);
  };
  result.cost += cost(model_.config(), weights_);
  result.whole_cost += cost(whole_, whole_weights_);
}

BenchmarkResult Benchmark::prefill(int tokens) {
  BenchmarkResult result{.prefill = true, .tokens = tokens};
  std::vector<Batch> chunks;
  for (int begin = 0; begin < tokens; begin += Generator::kChunkTokens) {
    Batch& chunk = chunks.emplace_back();
    add_span(chunk, 0, begin, std::min(Generator::kChunkTokens, tokens - begin));
    if (begin + chunk.size() == tokens) chunk.logit_rows = {chunk.size() - 1};
    count(result, chunk);
  }
  measure(result, [&] {
    for (const Batch& chunk : chunks) forward(chunk);
  });
  return result;
}

// Every step is at the same depth: it writes where the one before wrote. Its tokens are others, so that a model with
// experts cannot find them in a cache.
BenchmarkResult Benchmark::decode(int depth, int batch) {
  BenchmarkResult result{.tokens = batch, .depth = depth, .batch = batch};
  const auto step = [&] {
    Batch tokens;
    for (int i = 0; i < batch; ++i) {
      add_span(tokens, i * blocks_for(depth + 1), depth, 1);
      tokens.logit_rows.push_back(i);
    }
    return tokens;
  };
  count(result, step());
  forward(step());  // scratch memory of this size is there before the clock runs
  measure(result, [&] { forward(step()); });
  return result;
}

void Benchmark::measure(BenchmarkResult& result, const std::function<void()>& work) {
  std::vector<double> times;
  double spent = 0;
  while (times.empty() ||
         (spent < kMostSeconds && (static_cast<int>(times.size()) < plan_.repeat || spent < kLeastSeconds))) {
    const auto start = std::chrono::steady_clock::now();
    work();
    times.push_back(seconds_since(start));
    spent += times.back();
  }
  std::ranges::sort(times);
  const size_t middle = times.size() / 2;
  result.seconds = times.size() % 2 == 1 ? times[middle] : (times[middle - 1] + times[middle]) / 2;
  result.repeats = static_cast<int>(times.size());
}

void Benchmark::stop_if_cancelled() const {
  if (callbacks_.cancelled && callbacks_.cancelled()) fail(Errc::interrupted, "interrupted");
}

}  // namespace inkstone
