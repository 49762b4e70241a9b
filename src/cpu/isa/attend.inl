// Attention of some queries over a range of one KV head's tokens: an online softmax, one KV block at a time.
//
//   s = scale q . k;  m' = max(m, s);  out = out exp(m - m') + exp(s - m') v;  sum likewise
//
// Few queries (decoding): dot products straight from the cache, up to 4 queries at a time share each load of K and V;
// the next block is prefetched meanwhile. Many (prompts): K is transposed and V widened once a block, and both
// products go through the register tiles of gemm.
constexpr int kFewQueries = 16;  // above, transposing K costs less than it saves

template <bool kBf16>
F32 load_kv(const void* cache, int64_t at, int64_t n) {
  if constexpr (kBf16) return load_bf16(static_cast<const unsigned char*>(cache) + 2 * at, n);
  return load_f32(static_cast<const unsigned char*>(cache) + 4 * at, n);
}

float exp_one(float x) {
  float lanes[kLanes];
  exp(F32::all(x)).store(lanes);
  return lanes[0];
}

// One query's row of a block's raw scores becomes its weights; returns what earlier sums must be multiplied with.
float softmax_step(const AttendArgs& a, int query, int first_token, float* scores, float& running_max, float& sum) {
  const int visible = a.limits[query] - first_token;  // may be more than the block holds
  const int end = a.end - first_token < visible ? a.end - first_token : visible;
  const F32 none = F32::all(-__builtin_inff()), scale = F32::all(a.scale);
  F32 best = none;
  for (int t = 0; t < a.block_tokens; t += kLanes) {
    const F32 s = first(F32::load(scores + t) * scale, none, end - t);
    s.store(scores + t);
    best = max(best, s);
  }
  const float top = reduce_max(best);
  const float new_max = top > running_max ? top : running_max;
  if (end <= 0) {
    for (int t = 0; t < a.block_tokens; t += kLanes) F32::zero().store(scores + t);
    return 1.0f;
  }
  F32 total = F32::zero();
  for (int t = 0; t < a.block_tokens; t += kLanes) {
    const F32 p = exp(F32::load(scores + t) - F32::all(new_max));
    p.store(scores + t);
    total = total + p;
  }
  const float correction = new_max == running_max ? 1.0f : exp_one(running_max - new_max);
  running_max = new_max;
  sum = sum * correction + reduce_add(total);
  return correction;
}

template <bool kBf16, int kQ>
void few_scores(const AttendArgs& a, int query, int64_t base, int64_t next, float (*scores)[64]) {
  constexpr int kTokens = kLanes / kQ;
  constexpr int64_t kBytes = kBf16 ? 2 : 4;
  const int64_t row_bytes = a.d * kBytes;
  for (int t = 0; t < a.block_tokens; t += kTokens) {
    const int64_t ahead = next * kBytes + t * row_bytes;
    for (int64_t byte = 0; byte < kTokens * row_bytes; byte += 64) {
      prefetch(static_cast<const unsigned char*>(a.k) + ahead + byte);
      prefetch(static_cast<const unsigned char*>(a.v) + ahead + byte);
    }
    F32 sums[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) sums[i] = F32::zero();
    for (int i = 0; i < a.d; i += kLanes) {
      F32 q[kQ];
#pragma GCC unroll 4
      for (int j = 0; j < kQ; ++j) q[j] = F32::load(a.q + static_cast<int64_t>(query + j) * a.d + i, a.d - i);
#pragma GCC unroll 16
      for (int u = 0; u < kTokens; ++u) {
        const F32 k = load_kv<kBf16>(a.k, base + static_cast<int64_t>(t + u) * a.d + i, a.d - i);
#pragma GCC unroll 4
        for (int j = 0; j < kQ; ++j) sums[j * kTokens + u] = fma(q[j], k, sums[j * kTokens + u]);
      }
    }
    float lanes[kLanes];
    reduce_each(sums).store(lanes);
    for (int j = 0; j < kQ; ++j) memcpy(&scores[j][t], lanes + j * kTokens, kTokens * sizeof(float));
  }
}

template <bool kBf16, int kQ>
void few_values(const AttendArgs& a, int query, int64_t base, int tokens, const float (*scores)[64],
                const float* corrections) {
  constexpr int kVectors = 4;
  for (int i = 0; i < a.d; i += kVectors * kLanes) {
    F32 sums[kQ][kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kQ; ++j)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const int at = i + v * kLanes;
        const float* out = a.out + static_cast<int64_t>(query + j) * a.d + (at < a.d ? at : 0);
        sums[j][v] = F32::load(out, a.d - at) * F32::all(corrections[j]);
      }
    const bool whole = i + kVectors * kLanes <= a.d;
    for (int t = 0; t < tokens; ++t) {
      const int64_t row = base + static_cast<int64_t>(t) * a.d + i;
      F32 value[kVectors];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        value[v] = load_kv<kBf16>(a.v, row + v * kLanes, whole ? kLanes : a.d - i - v * kLanes);
#pragma GCC unroll 4
      for (int j = 0; j < kQ; ++j) {
        const F32 p = F32::all(scores[j][t]);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) sums[j][v] = fma(p, value[v], sums[j][v]);
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kQ; ++j)
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        const int at = i + v * kLanes;
        if (at < a.d) sums[j][v].store(a.out + static_cast<int64_t>(query + j) * a.d + at, a.d - at);
      }
  }
}

template <bool kBf16, int kQ>
void attend_few(const AttendArgs& a, int query) {
  alignas(64) float scores[kQ][64];
  float corrections[kQ];
  for (int t = a.begin; t < a.end; t += a.block_tokens) {
    if (a.limits[query + kQ - 1] <= t) break;
    const int64_t base = a.blocks[t / a.block_tokens] * a.block_stride;
    const bool last = t + a.block_tokens >= a.end;
    const int64_t next = last ? base : a.blocks[t / a.block_tokens + 1] * a.block_stride;
    few_scores<kBf16, kQ>(a, query, base, next, scores);
    for (int j = 0; j < kQ; ++j)
      corrections[j] = softmax_step(a, query + j, t, scores[j], a.max[query + j], a.sum[query + j]);
    few_values<kBf16, kQ>(a, query, base, last ? a.end - t : a.block_tokens, scores, corrections);
  }
}

// Kt [d][block_tokens] and V [block_tokens][width] of one block, as floats. Tokens from `tokens` on may never have been
// written: their V must not be multiplied, not even with 0.
template <bool kBf16>
void widen_block(const AttendArgs& a, int64_t base, int tokens, int width, float* kt, float* values) {
  for (int t = 0; t < a.block_tokens; t += kLanes) {
    for (int i = 0; i < a.d; i += kLanes) {
      F32 square[kLanes];
      for (int r = 0; r < kLanes; ++r)
        square[r] = load_kv<kBf16>(a.k, base + static_cast<int64_t>(t + r) * a.d + i, a.d - i);
      transpose(square);
      for (int r = 0; r < kLanes && i + r < a.d; ++r)
        square[r].store(kt + static_cast<int64_t>(i + r) * a.block_tokens + t);
    }
  }
  for (int t = 0; t < a.block_tokens; ++t) {
    for (int i = 0; i < width; i += kLanes) {
      const bool there = t < tokens && i < a.d;
      const F32 v = there ? load_kv<kBf16>(a.v, base + static_cast<int64_t>(t) * a.d + i, a.d - i) : F32::zero();
      v.store(values + static_cast<int64_t>(t) * width + i);
    }
  }
}

template <bool kBf16>
void attend_many(const AttendArgs& a) {
  const int width = (a.d + kPanel - 1) / kPanel * kPanel;
  const int64_t q_stride = a.d <= kPositionBlock ? kPositionBlock : a.d;
  float* q = a.scratch;
  float* scores = q + a.queries * q_stride;
  float* out = scores + static_cast<int64_t>(a.queries) * a.block_tokens;
  float* kt = out + static_cast<int64_t>(a.queries) * width;
  float* values = kt + static_cast<int64_t>(width) * a.block_tokens;
  for (int j = 0; j < a.queries; ++j)
    for (int i = 0; i < a.d; i += kLanes)
      F32::load(a.q + static_cast<int64_t>(j) * a.d + i, a.d - i).store(q + j * q_stride + i, a.d - i);
  for (int64_t i = 0; i < static_cast<int64_t>(a.queries) * width; i += kLanes) F32::zero().store(out + i);
  int start = 0;  // queries before it see nothing of this block
  for (int t = a.begin; t < a.end; t += a.block_tokens) {
    while (start < a.queries && a.limits[start] <= t) ++start;
    const int m = a.queries - start;
    if (m == 0) break;
    const int64_t base = a.blocks[t / a.block_tokens] * a.block_stride;
    widen_block<kBf16>(a, base, a.end - t, width, kt, values);
    float* s = scores + static_cast<int64_t>(start) * a.block_tokens;
    float* o = out + static_cast<int64_t>(start) * width;
    for (int n = 0; n < a.block_tokens; n += kPanel)
      gemm(m, kPanel, a.d, q + start * q_stride, q_stride, kt + n, a.block_tokens, s + n, a.block_tokens, false);
    for (int j = start; j < a.queries; ++j) {
      const float correction =
          softmax_step(a, j, t, scores + static_cast<int64_t>(j) * a.block_tokens, a.max[j], a.sum[j]);
      if (correction == 1.0f) continue;
      float* row = out + static_cast<int64_t>(j) * width;
      for (int i = 0; i < width; i += kLanes) (F32::load(row + i) * F32::all(correction)).store(row + i);
    }
    for (int i = 0; i < width; i += kPanel)
      gemm(m, kPanel, a.block_tokens, s, a.block_tokens, values + i, width, o + i, width, true);
  }
  for (int j = 0; j < a.queries; ++j)
    for (int i = 0; i < a.d; i += kLanes)
      F32::load(out + static_cast<int64_t>(j) * width + i).store(a.out + static_cast<int64_t>(j) * a.d + i, a.d - i);
}

template <bool kBf16>
void attend_any(const AttendArgs& a) {
  for (int j = 0; j < a.queries; ++j) {
    a.max[j] = -__builtin_inff();
    a.sum[j] = 0;
  }
  if (a.queries > kFewQueries) return attend_many<kBf16>(a);
  for (int64_t i = 0, n = static_cast<int64_t>(a.queries) * a.d; i < n; i += kLanes)
    F32::zero().store(a.out + i, n - i);
  int j = 0;
  for (; j + 4 <= a.queries; j += 4) attend_few<kBf16, 4>(a, j);
  for (; j + 2 <= a.queries; j += 2) attend_few<kBf16, 2>(a, j);
  for (; j < a.queries; ++j) attend_few<kBf16, 1>(a, j);
}

void attend(const AttendArgs& a) { a.bf16 ? attend_any<true>(a) : attend_any<false>(a); }
