#include "cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace inkstone {
namespace {

static_assert(kKvBlockTokens == kKvTokens);
constexpr int kRangeTokens = 32 * kKvTokens;  // of a split: 256 KiB of K in bf16 at d = 128
constexpr int kTileQueries = 8;               // of which the matrix unit computes 32 in the same time
constexpr int kChunkQueries = 128;            // rows * group of a chunk of a prompt: what reads K and V together

// What an attend kernel keeps: queries, scores and results with padded rows, and some KV blocks as it computes with
// them. The matrix unit takes 32 queries at a time.
int64_t attend_scratch_floats(int queries, int d) {
  const int64_t width = round_up(d, 64), rows = round_up(queries, 32);
  return rows * (std::max(width, kPositionBlock) + 64 + width) + 128 * width + 16 * 1024;
}
int64_t part_floats(int64_t queries, int d) { return round_up(queries * (d + 2), 16); }

}  // namespace

KvType kv_type(const KvFormat& format) {
  if (format.bits != 0) return format.bits == 8 ? KvType::q8 : KvType::q4;
  return format.dtype == DType::bf16 ? KvType::bf16 : KvType::f32;
}

void Attention::plan(const Batch& batch, int kv_heads, int group, int d) {
  tasks_.clear();
  merges_.clear();
  part_floats_ = 0;
  kv_tokens_ = 0;
  max_queries_ = 0;
  const int chunk = std::max(1, kChunkQueries / group);
  for (const Span& span : batch.spans) {
    if (span.rows == 0) continue;
    max_queries_ = std::max(max_queries_, std::min(chunk, span.rows) * group);
    for (int head = 0; head < kv_heads; ++head) {
      if (span.rows > chunk) {
        for (int row = 0; row < span.rows; row += chunk) {
          const int rows = std::min(chunk, span.rows - row);
          const int end = span.kv_length - span.rows + row + rows;
          tasks_.push_back({&span, head, row, rows, 0, end, -1});
          kv_tokens_ += end;
        }
        continue;
      }
      kv_tokens_ += span.kv_length;
      const bool whole = span.kv_length <= kRangeTokens;
      if (!whole)
        merges_.push_back({tasks_.size(), static_cast<size_t>((span.kv_length + kRangeTokens - 1) / kRangeTokens)});
      for (int begin = 0; begin < span.kv_length; begin += kRangeTokens) {
        const int end = std::min(span.kv_length, begin + kRangeTokens);
        tasks_.push_back({&span, head, 0, span.rows, begin, end, whole ? -1 : part_floats_});
        if (!whole) part_floats_ += part_floats(span.rows * group, d);
      }
    }
  }
}

void Attention::attend(const float* q, const KvLayer& kv, int query_heads, const Batch& batch, float scale,
                       float* out) {
  kv_heads_ = kv.heads;
  d_ = kv.head_dim;
  group_ = query_heads / kv_heads_;
  q_ = q;
  kv_ = &kv;
  batch_ = &batch;
  out_ = out;
  scale_ = scale;
  plan(batch, kv_heads_, group_, d_);
  context_.floats(Scratch::attend_parts, part_floats_);
  // q, out, limits, max, sum, and the kernel's own.
  const int64_t floats = attend_scratch_floats(max_queries_, d_) + max_queries_ * (2 * d_ + 3) + 128;
  const int64_t per_thread = round_up(floats, 1024);
  float* scratch = context_.floats(Scratch::attend, per_thread * context_.pool.size());
  constexpr int64_t kSerialFloats = 16 * 1024;  // of KV: read before another thread wakes
  const bool spread = kv_tokens_ * d_ * 2 > kSerialFloats;
  context_.for_each_task(static_cast<int64_t>(tasks_.size()), spread, [&](int rank, int64_t i) {
    run(tasks_[static_cast<size_t>(i)], scratch + rank * per_thread);
  });
  context_.for_each_task(static_cast<int64_t>(merges_.size()), merges_.size() * 512 * d_ > 1 << 20,
                         [&](int, int64_t i) { merge(merges_[static_cast<size_t>(i)]); });
}

void Attention::run(const Task& task, float* scratch) {
  const Span& span = *task.span;
  const int queries = task.rows * group_;
  const int64_t row_stride = static_cast<int64_t>(kv_heads_) * group_ * d_;
  const int64_t first = (span.first_row + task.row) * row_stride + static_cast<int64_t>(task.kv_head) * group_ * d_;
  float* own = scratch;  // the kernel's own comes first: it is aligned
  float* q = own + attend_scratch_floats(max_queries_, d_);
  float* out = q + static_cast<int64_t>(max_queries_) * d_;
  float* max = out + static_cast<int64_t>(max_queries_) * d_;
  float* sum = max + max_queries_;
  int32_t* limits = reinterpret_cast<int32_t*>(sum + max_queries_);
  for (int r = 0; r < task.rows; ++r) {
    const size_t bytes = static_cast<size_t>(group_) * static_cast<size_t>(d_) * sizeof(float);
    std::memcpy(q + static_cast<int64_t>(r) * group_ * d_, q_ + first + r * row_stride, bytes);
    std::fill_n(limits + r * group_, group_, span.kv_length - span.rows + task.row + r + 1);
  }
  if (task.part >= 0) {
    out = context_.floats_of(Scratch::attend_parts) + task.part;
    max = out + static_cast<int64_t>(queries) * d_;
    sum = max + queries;
  }
  const int64_t head_bytes = kKvTokens * kv_->format.row_bytes(d_);
  const TileKernels* tiles = context_.tiles();
  const bool in_tiles = tiles != nullptr && tiles->attend != nullptr && queries >= kTileQueries && d_ % 32 == 0 &&
                        kv_type(kv_->format) != KvType::f32;
  const auto attend = in_tiles ? tiles->attend : context_.kernels.attend;
  attend({.q = q,
          .limits = limits,
          .queries = queries,
          .d = d_,
          .k = reinterpret_cast<const unsigned char*>(kv_->k) + task.kv_head * head_bytes,
          .v = reinterpret_cast<const unsigned char*>(kv_->v) + task.kv_head * head_bytes,
          .type = kv_type(kv_->format),
          .group = kv_->format.group_size,
          .block_stride = head_bytes * kv_heads_,
          .blocks = batch_->blocks.data() + span.first_block,
          .begin = task.begin,
          .end = task.end,
          .scale = scale_,
          .out = out,
          .max = max,
          .sum = sum,
          .scratch = own});
  if (task.part >= 0) return;
  for (int j = 0; j < queries; ++j) {
    float* to = out_ + first + j / group_ * row_stride + static_cast<int64_t>(j % group_) * d_;
    const float* from = out + static_cast<int64_t>(j) * d_;
    const float inverse = 1.0f / sum[j];
    for (int i = 0; i < d_; ++i) to[i] = from[i] * inverse;
  }
}

// softmax over the union of ranges: each range's sums count exp(its max - the common max) times.
void Attention::merge(const Merge& merge) {
  const Task* parts = &tasks_[merge.task];
  const Span& span = *parts->span;
  const int queries = span.rows * group_;
  const int64_t row_stride = static_cast<int64_t>(kv_heads_) * group_ * d_;
  const int64_t first = span.first_row * row_stride + static_cast<int64_t>(parts->kv_head) * group_ * d_;
  const float* data = context_.floats_of(Scratch::attend_parts);
  const int64_t maxima = static_cast<int64_t>(queries) * d_, sums = maxima + queries;
  for (int j = 0; j < queries; ++j) {
    float max = -INFINITY, total = 0;
    for (size_t p = 0; p < merge.ranges; ++p) max = std::max(max, data[parts[p].part + maxima + j]);
    for (size_t p = 0; p < merge.ranges; ++p)
      total += data[parts[p].part + sums + j] * std::exp(data[parts[p].part + maxima + j] - max);
    float* to = out_ + first + j / group_ * row_stride + static_cast<int64_t>(j % group_) * d_;
    std::fill_n(to, d_, 0.0f);
    for (size_t p = 0; p < merge.ranges; ++p) {
      const float share = std::exp(data[parts[p].part + maxima + j] - max) / total;
      context_.kernels.add_scaled(data + parts[p].part + static_cast<int64_t>(j) * d_, share, to, d_);
    }
  }
}

}  // namespace inkstone
