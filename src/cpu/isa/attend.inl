// Attention of some queries over a range of one KV head's tokens: an online softmax, some KV blocks at a time.
//
//   s = scale q . k;  m' = max(m, s);  out = out exp(m - m') + exp(s - m') v;  sum likewise
//
// Both products take rows of a left operand (queries, or weights of the softmax) times a block's matrix (kernels.h),
// and the lanes are its columns. Few queries (decoding): straight from the cache, block by block for all queries, up to
// 4 sharing each load; while K is read V is fetched, while V is read the next K. Many (prompts): blocks are widened to
// panels of floats and go through the register tiles of gemm.
constexpr int kFewQueries = 16;  // above, widening a block costs less than it saves
constexpr int kStepTokens = 64;  // of many: enough to amortise loading and storing the sums

// What to fetch while a product runs: `lines` cache lines a pair of rows, from `at` on.
struct Fetch {
  const unsigned char* at;
  int lines;
};

// sums[j][v] += a_j[row] m[row][column + v * kLanes ..] over rows [begin, end), begin even; columns beyond n are zeros.
template <KvType kType, int kQ, int kVectors>
void product(const float* a, int64_t lda, const unsigned char* m, int64_t width, int begin, int end, int64_t column,
             int64_t n, Fetch& fetch, F32 (&sums)[kQ][kVectors]) {
  int row = begin;
  for (; row + 2 <= end; row += 2) {
    for (int line = 0; line < fetch.lines; ++line, fetch.at += 64) prefetch(fetch.at);
    if constexpr (kQ > kVectors) {  // whichever needs fewer registers
      F32 rows[kVectors][2];
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        load_rows<kType>(m, width, row, column + v * kLanes, n - v * kLanes, rows[v][0], rows[v][1]);
#pragma GCC unroll 4
      for (int j = 0; j < kQ; ++j)
#pragma GCC unroll 2
        for (int r = 0; r < 2; ++r) {
          const F32 x = F32::all(a[j * lda + row + r]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) sums[j][v] = fma(x, rows[v][r], sums[j][v]);
        }
    } else {
      F32 x[kQ][2];
#pragma GCC unroll 4
      for (int j = 0; j < kQ; ++j) {
        x[j][0] = F32::all(a[j * lda + row]);
        x[j][1] = F32::all(a[j * lda + row + 1]);
      }
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        F32 even, odd;
        load_rows<kType>(m, width, row, column + v * kLanes, n - v * kLanes, even, odd);
#pragma GCC unroll 4
        for (int j = 0; j < kQ; ++j) sums[j][v] = fma(x[j][1], odd, fma(x[j][0], even, sums[j][v]));
      }
    }
  }
  if (row == end) return;  // the odd row after it was never written
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    F32 even, odd;
    load_rows<kType>(m, width, row, column + v * kLanes, n - v * kLanes, even, odd);
#pragma GCC unroll 4
    for (int j = 0; j < kQ; ++j) sums[j][v] = fma(F32::all(a[j * lda + row]), even, sums[j][v]);
  }
}

float exp_one(float x) {
  float lanes[kLanes];
  exp(F32::all(x)).store(lanes);
  return lanes[0];
}

// One query's row of raw scores of kTokens tokens from first_token on becomes its weights; returns what earlier sums
// must be multiplied with.
template <int kTokens>
float softmax_step(const AttendArgs& a, int query, int first_token, float* scores) {
  const int visible = a.limits[query] - first_token;  // may be more than the step holds
  const int end = a.end - first_token < visible ? a.end - first_token : visible;
  if (end <= 0) {
    for (int t = 0; t < kTokens; t += kLanes) F32::zero().store(scores + t);
    return 1.0f;
  }
  constexpr int kCount = kTokens / kLanes;
  const F32 none = F32::all(-__builtin_inff()), scale = F32::all(a.scale);
  F32 s[kCount];
  F32 best = none;
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    s[i] = F32::load(scores + i * kLanes) * scale;
    if (end < kTokens) s[i] = first(s[i], none, end - i * kLanes);
    best = max(best, s[i]);
  }
  const float top = reduce_max(best), old_max = a.max[query];
  const float new_max = top > old_max ? top : old_max;
  F32 total = F32::zero();
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    const F32 p = exp(s[i] - F32::all(new_max));
    p.store(scores + i * kLanes);
    total = total + p;
  }
  const float correction = new_max == old_max ? 1.0f : exp_one(old_max - new_max);
  a.max[query] = new_max;
  a.sum[query] = a.sum[query] * correction + reduce_add(total);
  return correction;
}

// Few queries at one block.
struct FewBlock {
  const unsigned char* k;
  const unsigned char* v;
  const unsigned char* next_k;
  int64_t lines;        // of K, and of V
  int tokens;           // that were written
  const float* q_sums;  // [queries, groups] of quantised types
};

// Spreads `lines` over `pairs` pairs of rows.
Fetch spread(const unsigned char* at, int64_t lines, int64_t pairs) {
  return {at, static_cast<int>((lines + pairs - 1) / pairs)};
}

template <KvType kType, int kQ>
void few_scores(const AttendArgs& a, int query, const FewBlock& block, float (*scores)[kKvTokens]) {
  constexpr int kVectors = kLanes == 16 || kQ == 4 ? 2 : 4;
  constexpr int kTiles = kKvTokens / (kVectors * kLanes);
  const float* q = a.q + static_cast<int64_t>(query) * a.d;
  const int groups = is_quantized(kType) ? a.d / a.group : 1, rows = a.d / groups;
  Fetch fetch = spread(block.v, query == 0 ? block.lines : 0, static_cast<int64_t>(kTiles) * a.d / 2);
  for (int t = 0; t < kKvTokens; t += kVectors * kLanes) {
    F32 totals[kQ][kVectors] = {};
    for (int g = 0; g < groups; ++g) {
      F32 sums[kQ][kVectors] = {};
      product<kType>(q, a.d, block.k, kKvTokens, g * rows, (g + 1) * rows, t, kKvTokens, fetch, sums);
      for (int j = 0; j < kQ; ++j) {
        for (int v = 0; v < kVectors; ++v) {
          if constexpr (is_quantized(kType)) {
            const KvScales s = kv_scales(a, block.k);
            const int at = g * kKvTokens + t + v * kLanes;
            const F32 q_sum = F32::all(block.q_sums[(query + j) * groups + g]);
            totals[j][v] =
                fma(F32::load(s.biases + at), q_sum, fma(F32::load(s.scales + at), sums[j][v], totals[j][v]));
          } else {
            totals[j][v] = sums[j][v];
          }
        }
      }
    }
    for (int j = 0; j < kQ; ++j)
      for (int v = 0; v < kVectors; ++v) totals[j][v].store(&scores[j][t + v * kLanes]);
  }
}

// out = out * corrections + biases + p m for some columns from `column` on, n of them there.
template <KvType kType, int kQ, int kVectors>
void few_columns(const AttendArgs& a, int query, const FewBlock& block, const float* p, const float* corrections,
                 const float* biases, int column, int n, Fetch& fetch) {
  float* out = a.out + static_cast<int64_t>(query) * a.d + column;
  F32 sums[kQ][kVectors];
#pragma GCC unroll 4
  for (int j = 0; j < kQ; ++j)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      sums[j][v] =
          fma(F32::load(out + j * a.d + v * kLanes, n - v * kLanes), F32::all(corrections[j]), F32::all(biases[j]));
  product<kType>(p, kKvTokens, block.v, a.d, 0, block.tokens, column, n, fetch, sums);
#pragma GCC unroll 4
  for (int j = 0; j < kQ; ++j)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[j][v].store(out + j * a.d + v * kLanes, n - v * kLanes);
}

// The softmax's weights times the scales of group g, and their sum with its biases.
template <int kQ>
void scale_weights(const AttendArgs& a, const FewBlock& block, int g, const float (*p)[kKvTokens],
                   float (*scaled)[kKvTokens], float* biases) {
  const KvScales s = kv_scales(a, block.v);
  for (int j = 0; j < kQ; ++j) {
    F32 sum = F32::zero();
    for (int t = 0; t < kKvTokens; t += kLanes) {
      const F32 weight = F32::load(&p[j][t]);
      const int n = block.tokens - t, at = g * kKvTokens + t;
      (weight * first(F32::load(s.scales + at), F32::zero(), n)).store(&scaled[j][t]);
      sum = fma(weight, first(F32::load(s.biases + at), F32::zero(), n), sum);
    }
    biases[j] = reduce_add(sum);
  }
}

template <KvType kType, int kQ>
void few_values(const AttendArgs& a, int query, const FewBlock& block, const float (*scores)[kKvTokens],
                const float* corrections) {
  constexpr int kVectors = kQ == 4 && kLanes == 8 ? 2 : 4;
  const int groups = is_quantized(kType) ? a.d / a.group : 1, width = a.d / groups;
  const int tiles = (a.d + kVectors * kLanes - 1) / (kVectors * kLanes);
  const int pairs = tiles * (block.tokens / 2 > 0 ? block.tokens / 2 : 1);
  Fetch fetch = spread(block.next_k, query == 0 ? block.lines : 0, pairs);
  alignas(64) float scaled[kQ][kKvTokens];
  float biases[kQ] = {};
  for (int g = 0; g < groups; ++g) {
    const float* p = scores[0];
    if constexpr (is_quantized(kType)) {
      scale_weights<kQ>(a, block, g, scores, scaled, biases);
      p = scaled[0];
    }
    int i = g * width;
    const int end = i + width;
    for (; i + kVectors * kLanes <= end; i += kVectors * kLanes)
      few_columns<kType, kQ, kVectors>(a, query, block, p, corrections, biases, i, kVectors * kLanes, fetch);
    for (; i < end; i += kLanes) few_columns<kType, kQ, 1>(a, query, block, p, corrections, biases, i, end - i, fetch);
  }
}

// Calls run.operator()<4>, <2> or <1>(j) until all queries are through.
template <class Run>
void by_fours(int queries, const Run& run) {
  int j = 0;
  for (; j + 4 <= queries; j += 4) run.template operator()<4>(j);
  for (; j + 2 <= queries; j += 2) run.template operator()<2>(j);
  for (; j < queries; ++j) run.template operator()<1>(j);
}

template <KvType kType>
void attend_few(const AttendArgs& a) {
  alignas(64) float scores[kFewQueries][kKvTokens];
  float corrections[kFewQueries];
  if constexpr (is_quantized(kType)) {
    for (int i = 0; i < a.queries * a.d; i += a.group) {
      F32 sum = F32::zero();
      for (int l = 0; l < a.group; l += kLanes) sum = sum + F32::load(a.q + i + l);
      a.scratch[i / a.group] = reduce_add(sum);
    }
  }
  FewBlock block = {};
  block.lines = kv_lines(a);
  block.q_sums = a.scratch;
  for (int t = a.begin; t < a.end && a.limits[a.queries - 1] > t; t += kKvTokens) {
    const int32_t* table = a.blocks + t / kKvTokens;
    block.tokens = a.end - t < kKvTokens ? a.end - t : kKvTokens;
    block.k = a.k + table[0] * a.block_stride;
    block.v = a.v + table[0] * a.block_stride;
    block.next_k = a.k + (t + kKvTokens < a.end ? table[1] : table[0]) * a.block_stride;
    by_fours(a.queries, [&]<int kQ>(int j) { few_scores<kType, kQ>(a, j, block, scores + j); });
    for (int j = 0; j < a.queries; ++j) corrections[j] = softmax_step<kKvTokens>(a, j, t, scores[j]);
    by_fours(a.queries, [&]<int kQ>(int j) { few_values<kType, kQ>(a, j, block, scores + j, corrections + j); });
  }
}

// K [panel of tokens][d][kPanel] of one block, as floats.
template <KvType kType>
void widen_k(const AttendArgs& a, const unsigned char* block, float* panels) {
  for (int t = 0; t < kKvTokens; t += kLanes) {
    float* to = panels + static_cast<int64_t>(t / kPanel) * a.d * kPanel + t % kPanel;
    for (int i = 0; i < a.d; i += 2, to += 2 * kPanel) {
      F32 even, odd;
      load_k<kType>(a, block, i, t, even, odd);
      even.store(to);
      odd.store(to + kPanel);
    }
  }
}

// V [panel of columns][kStepTokens][kPanel] of one block that is `first` tokens into the step, as floats.
template <KvType kType>
void widen_v(const AttendArgs& a, const unsigned char* block, int first, float* panels) {
  for (int i = 0; i < a.d; i += kLanes) {
    float* to = panels + (static_cast<int64_t>(i / kPanel) * kStepTokens + first) * kPanel + i % kPanel;
    for (int t = 0; t < kKvTokens; t += 2, to += 2 * kPanel) {
      F32 even, odd;
      load_v<kType>(a, block, t, i, even, odd);
      even.store(to);
      odd.store(to + kPanel);
    }
  }
}

template <KvType kType>
void attend_many(const AttendArgs& a) {
  const int64_t width = (a.d + kPanel - 1) / kPanel * kPanel;
  const int64_t q_stride = a.d <= kPositionBlock ? kPositionBlock : a.d;
  float* q = a.scratch;
  float* scores = q + a.queries * q_stride;
  float* out = scores + static_cast<int64_t>(a.queries) * kStepTokens;
  float* keys = out + a.queries * width;
  float* values = keys + static_cast<int64_t>(a.d) * kKvTokens;
  for (int j = 0; j < a.queries; ++j)
    for (int i = 0; i < a.d; i += kLanes)
      F32::load(a.q + static_cast<int64_t>(j) * a.d + i, a.d - i).store(q + j * q_stride + i, a.d - i);
  for (int64_t i = 0; i < a.queries * width; i += kLanes) F32::zero().store(out + i);
  for (int64_t i = 0; i < kStepTokens * width; i += kLanes) F32::zero().store(values + i);
  int start = 0;  // queries before it see nothing of this step
  for (int t = a.begin; t < a.end; t += kStepTokens) {
    while (start < a.queries && a.limits[start] <= t) ++start;
    const int m = a.queries - start;
    if (m == 0) break;
    const int tokens = a.end - t < kStepTokens ? a.end - t : kStepTokens;
    float* s = scores + static_cast<int64_t>(start) * kStepTokens;
    for (int b = 0; b < tokens; b += kKvTokens) {
      const int64_t block = a.blocks[(t + b) / kKvTokens] * a.block_stride;
      widen_k<kType>(a, a.k + block, keys);
      widen_v<kType>(a, a.v + block, b, values);
      for (int n = 0; n < kKvTokens; n += kPanel)
        gemm(m, kPanel, a.d, q + start * q_stride, q_stride, keys + static_cast<int64_t>(n) * a.d, kPanel, s + b + n,
             kStepTokens, false);
    }
    for (int j = start; j < a.queries; ++j) {
      const float correction = softmax_step<kStepTokens>(a, j, t, scores + static_cast<int64_t>(j) * kStepTokens);
      if (correction == 1.0f) continue;
      float* row = out + j * width;
      for (int i = 0; i < width; i += kLanes) (F32::load(row + i) * F32::all(correction)).store(row + i);
    }
    // Tokens that were never written are left out: even 0 times what lies there could be NaN.
    for (int64_t i = 0; i < width; i += kPanel)
      gemm(m, kPanel, tokens, s, kStepTokens, values + i * kStepTokens, kPanel, out + start * width + i, width, true);
  }
  for (int j = 0; j < a.queries; ++j)
    for (int i = 0; i < a.d; i += kLanes)
      F32::load(out + j * width + i).store(a.out + static_cast<int64_t>(j) * a.d + i, a.d - i);
}

template <KvType kType>
void attend_type(const AttendArgs& a) {
  for (int j = 0; j < a.queries; ++j) {
    a.max[j] = -__builtin_inff();
    a.sum[j] = 0;
  }
  if (a.queries > kFewQueries) return attend_many<kType>(a);
  for (int64_t i = 0, n = static_cast<int64_t>(a.queries) * a.d; i < n; i += kLanes)
    F32::zero().store(a.out + i, n - i);
  attend_few<kType>(a);
}

void attend(const AttendArgs& a) {
  switch (a.type) {
    case KvType::f32: return attend_type<KvType::f32>(a);
    case KvType::bf16: return attend_type<KvType::bf16>(a);
    case KvType::q8: return attend_type<KvType::q8>(a);
    case KvType::q4: return attend_type<KvType::q4>(a);
  }
}
