// Causal attention over a paged KV cache. Spans of few rows split over KV heads and fixed ranges of tokens, whose
// partial softmaxes are merged; prompts split over KV heads and chunks of rows. A group's KV is read once for all of
// its query heads. What a span's result is does not depend on the other spans of its batch nor on the threads.
#pragma once

#include <vector>

#include "cpu/context.h"
#include "device/device.h"

namespace inkstone {

KvType kv_type(const KvFormat& format);

class Attention {
 public:
  explicit Attention(Context& context) : context_(context) {}

  // q, out [T, H * d]
  void attend(const float* q, const KvLayer& kv, int query_heads, const Batch& batch, float scale, float* out);

 private:
  struct Task {
    const Span* span;
    int kv_head;
    int row, rows;   // of the span
    int begin, end;  // tokens
    int64_t part;    // floats into Scratch::attend_parts, or -1: the whole, to be written at once
  };
  struct Merge {
    size_t task;  // the first of `ranges` tasks
    size_t ranges;
  };

  void plan(const Batch& batch, int kv_heads, int group, int d);
  void run(const Task& task, float* scratch);
  void merge(const Merge& merge);

  Context& context_;
  std::vector<Task> tasks_;
  std::vector<Merge> merges_;
  int64_t part_floats_ = 0;
  int64_t kv_tokens_ = 0;  // read by all tasks together
  // Of the call that runs.
  const float* q_ = nullptr;
  const KvLayer* kv_ = nullptr;
  const Batch* batch_ = nullptr;
  float* out_ = nullptr;
  float scale_ = 0;
  int group_ = 0, kv_heads_ = 0, d_ = 0, max_queries_ = 0;
};

}  // namespace inkstone
