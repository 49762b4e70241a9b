#include "cpu/tile_multiply.h"

#include <algorithm>

namespace inkstone {
namespace {

constexpr int kTokensAtOnce = 64;               // that are multiplied and, in the end, stored together
constexpr int kBlockTokens = 512;               // of a task: its sums stay in L2
constexpr int64_t kPanelRows = 256;             // of weights: a panel's chunk and its sums stay in L2 together
constexpr int64_t kChunk = 1024;                // positions of a panel: long, for each ends in a load and store of sums
constexpr int64_t kStreamBytes = 128 * 1024;    // of weights in a task of few tokens
constexpr int64_t kSerialElements = 16 * 1024;  // of activations that are packed before another thread wakes

int64_t padded(const Matrix& w) { return round_up(w.in, kPositionBlock); }
int64_t sliver_elements(const Matrix& w) { return padded(w) / kStep * kSliverStep; }
int slivers(int rows) { return (rows + kSliverTokens - 1) / kSliverTokens; }
int row_tiles(int64_t rows) { return static_cast<int>((rows + kTileEdge - 1) / kTileEdge); }

// The bytes of positions [begin, begin + kChunk) of rows [row, end).
TileNext next_rows(const Matrix& w, int64_t row, int64_t end, int64_t begin) {
  end = std::min(end, w.out);
  if (row >= end || begin >= w.in) return {};
  const int64_t bytes = w.row_bytes * std::min(kChunk, w.in - begin) / w.in;
  return {w.weight + row * w.row_bytes + w.row_bytes * begin / w.in, w.row_bytes, end - row, bytes};
}

}  // namespace

bool TileMultiplier::takes(const Matrix& w, int rows) const {
  return context_.tiles() != nullptr && rows >= kLeastRows && !is_beyond_bf16(w);
}

bool TileMultiplier::takes(const GatedProduct& p) const {
  for (const Matrix* w : {&p.gate, &p.up, &p.down})
    if (!takes(*w, p.x.rows)) return false;
  // Gate and up share one packed input.
  return p.x.rows > kSliverTokens && context_.tiles()->codes_per_lane(p.gate) == context_.tiles()->codes_per_lane(p.up);
}

// Products with the same activations in the same order share them; experts have one input each, so only the last few
// are looked at.
size_t TileMultiplier::input(const Matrix& w, const Activations& x) {
  const int c = context_.tiles()->codes_per_lane(w);
  for (size_t j = inputs_.size(); j-- > 0 && j + 4 > inputs_.size();)
    if (inputs_[j].x == x && context_.tiles()->codes_per_lane(*inputs_[j].w) == c) return j;
  const int64_t units = slivers(x.rows) * (padded(w) / kPositionBlock);
  const Input* last = inputs_.empty() ? nullptr : &inputs_.back();
  const int64_t offset = last == nullptr ? 0 : last->offset + slivers(last->x.rows) * sliver_elements(*last->w);
  inputs_.push_back({&w, x, offset, last == nullptr ? 0 : last->first_unit + last->units, units});
  return inputs_.size() - 1;
}

uint16_t* TileMultiplier::pack_inputs() {
  const Input& last = inputs_.back();
  const int64_t elements = last.offset + slivers(last.x.rows) * sliver_elements(*last.w);
  uint16_t* out = context_.elements16(Scratch::tile_inputs, elements);
  context_.for_each_task(last.first_unit + last.units, elements > kSerialElements, [&](int, int64_t unit) {
    const auto after = std::ranges::upper_bound(inputs_, unit, {}, &Input::first_unit);
    const Input& input = *(after - 1);
    pack_unit(input, unit - input.first_unit, out + input.offset);
  });
  return out;
}

void TileMultiplier::pack_unit(const Input& input, int64_t unit, uint16_t* out) const {
  const float* rows[kSliverTokens];
  const int64_t chunks = padded(*input.w) / kPositionBlock;
  const int sliver = static_cast<int>(unit / chunks), first = sliver * kSliverTokens;
  const int64_t begin = unit % chunks * kPositionBlock;
  const int count = std::min(kSliverTokens, input.x.rows - first);
  for (int r = 0; r < count; ++r) rows[r] = input.x.row(first + r);
  context_.tiles()->pack({.w = input.w,
                          .x = rows,
                          .rows = count,
                          .begin = begin,
                          .end = begin + kPositionBlock,
                          .out = out + sliver * sliver_elements(*input.w) + begin / kStep * kSliverStep});
}

// Large panels reuse activations best, but every thread should get several. Gate and up share a panel, cut where a
// block of down's positions ends.
int64_t TileMultiplier::panel_rows(const Job& job) const {
  const int64_t least = job.up == nullptr ? 2 * kTileEdge : kStep * context_.tiles()->codes_per_lane(*job.down);
  int64_t rows = std::max(least, job.up == nullptr ? kPanelRows : kPanelRows / 2);
  const int64_t blocks = (job.rows + kBlockTokens - 1) / kBlockTokens;
  while (rows > least && (job.w->out + rows - 1) / rows * blocks < 3 * context_.pool.size()) rows /= 2;
  return rows;
}

void TileMultiplier::plan_tasks() {
  tasks_.clear();
  for (size_t i = 0; i < jobs_.size(); ++i) {
    const Job& job = jobs_[i];
    const int64_t out = job.w->out;
    if (job.rows <= kSliverTokens) {
      const int64_t fair = job.w->out * job.w->row_bytes / (4 * context_.pool.size());
      const int64_t bytes = std::clamp<int64_t>(fair, 8 * 1024, kStreamBytes);
      const int64_t step = round_up(std::max<int64_t>(1, bytes / std::max<int64_t>(1, job.w->row_bytes)), kTileEdge);
      for (int64_t begin = 0; begin < out; begin += step)
        tasks_.push_back({i, begin, std::min(out, begin + step), 0, job.rows});
      continue;
    }
    const int64_t step = panel_rows(job);
    for (int token = 0; token < job.rows; token += kBlockTokens)
      for (int64_t begin = 0; begin < out; begin += step)
        tasks_.push_back({i, begin, std::min(out, begin + step), token, std::min(kBlockTokens, job.rows - token)});
  }
}

void TileMultiplier::run_tasks() {
  plan_tasks();
  int64_t floats = 0;
  for (const Task& task : tasks_) {
    const Job& job = jobs_[task.job];
    floats = std::max(floats, 2 * kTileEdge * (job.w->groups + 16));
    if (job.rows <= kSliverTokens) continue;
    const int64_t tiles = int64_t{row_tiles(task.end - task.begin)} * (job.up != nullptr ? 2 : 1);
    floats = std::max(floats, tiles * kTileEdge * (kChunk / 2 + slivers(task.tokens) * kSliverTokens));
  }
  floats = round_up(floats, 1024) + 64;  // not a multiple of 4 KiB between threads
  float* scratch = context_.floats(Scratch::multiply, floats * context_.pool.size());
  context_.for_each_task(static_cast<int64_t>(tasks_.size()), tasks_.size() > 1, [&](int rank, int64_t i) {
    const Task& task = tasks_[static_cast<size_t>(i)];
    const Job& job = jobs_[task.job];
    if (job.rows <= kSliverTokens) {
      run_stream(job, task, scratch + rank * floats);
    } else {
      run_panel(job, task, scratch + rank * floats);
    }
  });
}

void TileMultiplier::run_stream(const Job& job, const Task& task, float* scratch) const {
  context_.tiles()->stream({.w = job.w,
                            .begin = task.begin,
                            .end = task.end,
                            .next = task.end + (task.end - task.begin) * (context_.pool.size() - 1),
                            .x = job.x,
                            .tokens = job.rows,
                            .y = job.y,
                            .y_stride = job.y_stride,
                            .add = job.add,
                            .scratch = scratch});
}

// A panel of weight rows: chunk by chunk of the input dimension it becomes bf16 and is multiplied with all tokens, some
// at a time, so that after the last chunk their sums are still in a near cache when they are stored.
void TileMultiplier::run_panel(const Job& job, const Task& task, float* scratch) const {
  const TileKernels& tiles = *context_.tiles();
  const Matrix& w = *job.w;
  const int64_t rows = task.end - task.begin;
  const int64_t part = row_tiles(rows) * kTileEdge * std::min(kChunk, padded(w));  // elements of w's panel
  const int parts = job.up != nullptr ? 2 : 1;
  uint16_t* panel = reinterpret_cast<uint16_t*>(scratch);
  float* sums = scratch + parts * part / 2;
  for (int64_t k = 0; k < padded(w); k += kChunk) {
    const int64_t end = std::min(k + kChunk, padded(w));
    // The next chunk; after the last, the first of the panel that this thread will most likely get.
    const bool last = end == padded(w);
    const int64_t skip = last ? rows * context_.pool.size() : 0, next = last ? 0 : end;
    TileMultiplyArgs multiply{.panel = panel,
                              .row_tiles = parts * row_tiles(rows),
                              .steps = (end - k) / kStep,
                              .x = nullptr,
                              .sliver_stride = sliver_elements(w),
                              .tokens = 0,
                              .sums = nullptr,
                              .accumulate = k > 0,
                              .next = {}};
    for (int i = 0; i < parts; ++i) {
      const Matrix& part_w = i == 0 ? w : *job.up;
      tiles.dequantize(
          {.w = &part_w, .row = task.begin, .rows = rows, .begin = k, .end = end, .out = panel + i * part});
      multiply.next[i] = next_rows(part_w, task.begin + skip, task.end + skip, next);
    }
    for (int token = 0; token < task.tokens; token += kTokensAtOnce) {
      const int sliver = token / kSliverTokens;
      multiply.tokens = std::min(kTokensAtOnce, task.tokens - token);
      multiply.x = job.x + (task.token / kSliverTokens + sliver) * sliver_elements(w) + k / kStep * kSliverStep;
      multiply.sums = sums + (padded(w) <= kChunk ? 0 : sliver * multiply.row_tiles * kTileEdge * kSliverTokens);
      tiles.multiply(multiply);
      multiply.next[0] = multiply.next[1] = {};
      if (last) store(job, task, token, multiply);
    }
  }
}

void TileMultiplier::store(const Job& job, const Task& task, int token, const TileMultiplyArgs& done) const {
  const int rows = static_cast<int>(task.end - task.begin), at = task.token + token;
  if (job.up == nullptr) {
    context_.tiles()->store({.sums = done.sums,
                             .rows = rows,
                             .tokens = done.tokens,
                             .y = job.y + at * job.y_stride + task.begin,
                             .y_stride = job.y_stride,
                             .add = job.add});
    return;
  }
  context_.tiles()->gate({.sums = done.sums,
                          .rows = rows,
                          .tokens = done.tokens,
                          .down = job.down,
                          .first = task.begin,
                          .out = job.gated + at / kSliverTokens * sliver_elements(*job.down),
                          .sliver_stride = sliver_elements(*job.down)});
}

void TileMultiplier::multiply(std::span<const Product> products) {
  if (products.empty()) return;
  inputs_.clear();
  input_of_.clear();
  jobs_.clear();
  for (const Product& p : products) input_of_.push_back(input(p.w, p.x));
  const uint16_t* x = pack_inputs();
  for (size_t i = 0; i < products.size(); ++i) {
    const Product& p = products[i];
    jobs_.push_back(
        {&p.w, nullptr, nullptr, x + inputs_[input_of_[i]].offset, p.x.rows, p.y, p.y_stride, p.add, nullptr});
  }
  run_tasks();
}

void TileMultiplier::mlp(std::span<const GatedProduct> products) {
  if (products.empty()) return;
  inputs_.clear();
  input_of_.clear();
  jobs_.clear();
  int64_t elements = 0;
  for (const GatedProduct& p : products) {
    input_of_.push_back(input(p.gate, p.x));
    elements += slivers(p.x.rows) * sliver_elements(p.down);
  }
  const uint16_t* x = pack_inputs();
  uint16_t* gated = context_.elements16(Scratch::tile_gates, elements);
  for (size_t i = 0; i < products.size(); ++i) {
    const GatedProduct& p = products[i];
    jobs_.push_back({&p.gate, &p.up, &p.down, x + inputs_[input_of_[i]].offset, p.x.rows, nullptr, 0, false, gated});
    gated += slivers(p.x.rows) * sliver_elements(p.down);
  }
  run_tasks();
  for (size_t i = 0; i < products.size(); ++i) {
    const GatedProduct& p = products[i];
    jobs_[i] = {&p.down, nullptr, nullptr, jobs_[i].gated, p.x.rows, p.y, p.y_stride, p.add, nullptr};
  }
  run_tasks();
}

}  // namespace inkstone
