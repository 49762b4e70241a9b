#include "cpu/attention_backward.h"

#include <cmath>
#include <cstring>

namespace inkstone {
namespace {

constexpr int64_t kQueries = 32;      // rows of scores at a time
constexpr int64_t kDepth = 256;       // of a product: what a panel of its right side keeps in L1
constexpr int64_t kSpareFloats = 64;  // vectors may read and write beyond the end of a row

// c [m, n] (+)= a [m, k] b [k, n]; b and c are rows of whole vectors.
void multiply(const Kernels& kernels, int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const float* b,
              int64_t ldb, float* c, int64_t ldc, bool accumulate) {
  for (int64_t begin = 0; begin < k; begin += kDepth)
    for (int64_t j = 0; j < n; j += kernels.panel)
      kernels.gemm(m, static_cast<int>(std::min<int64_t>(kernels.panel, n - j)), std::min(kDepth, k - begin), a + begin,
                   lda, b + begin * ldb + j, ldb, c + j, ldc, accumulate || begin > 0);
}

// to [columns, rows] of a [rows, columns], both of rows with room for whole vectors.
void transpose(const Kernels& kernels, const float* a, int64_t lda, int64_t rows, int64_t columns, float* to,
               int64_t stride) {
  kernels.store_transposed(a, lda, static_cast<int>(rows), static_cast<int>(columns), to, stride, false);
}

// One thread's memory: a head's matrices with rows of whole vectors.
struct Memory {
  int64_t width, length;        // of rows of d and of T floats
  float *k, *v, *dk, *dv;       // [T, width]
  float *k_turned, *v_turned;   // [d, length]
  float *q, *dout, *dq;         // [kQueries, width]
  float *p, *dp;                // [kQueries, length]
  float *p_turned, *ds_turned;  // [T, kQueries]

  static int64_t floats(int64_t tokens, int d) {
    const int64_t width = round_up(d, kSpareFloats), length = round_up(tokens, kSpareFloats);
    return 4 * length * width + 2 * width * length + 3 * kQueries * width + 2 * kQueries * length +
           2 * length * kQueries + kSpareFloats;
  }
  Memory(float* at, int64_t tokens, int d) : width(round_up(d, kSpareFloats)), length(round_up(tokens, kSpareFloats)) {
    const auto take = [&](int64_t count) {
      float* const start = at;
      at += count;
      return start;
    };
    k = take(length * width);
    v = take(length * width);
    dk = take(length * width);
    dv = take(length * width);
    k_turned = take(width * length);
    v_turned = take(width * length);
    q = take(kQueries * width);
    dout = take(kQueries * width);
    dq = take(kQueries * width);
    p = take(kQueries * length);
    dp = take(kQueries * length);
    p_turned = take(length * kQueries);
    ds_turned = take(length * kQueries);
  }
};

void copy_rows(const float* from, int64_t from_stride, int64_t rows, int64_t columns, float* to, int64_t to_stride) {
  for (int64_t t = 0; t < rows; ++t) {
    std::memcpy(to + t * to_stride, from + t * from_stride, static_cast<size_t>(columns) * sizeof(float));
    std::memset(to + t * to_stride + columns, 0, static_cast<size_t>(to_stride - columns) * sizeof(float));
  }
}

// Queries [first, first + rows) of one head; keys [0, first + rows).
void block_backward(const Kernels& kernels, const AttentionGradient& a, const Memory& m, int64_t token, int head,
                    int64_t first, int64_t rows) {
  const int64_t d = a.d, q_width = int64_t{a.heads} * d, keys = first + rows;
  const int64_t at = (token + first) * q_width + head * d;
  copy_rows(a.q + at, q_width, rows, d, m.q, m.width);
  copy_rows(a.dout + at, q_width, rows, d, m.dout, m.width);
  multiply(kernels, rows, keys, d, m.q, m.width, m.k_turned, m.length, m.p, m.length, false);
  multiply(kernels, rows, keys, d, m.dout, m.width, m.v_turned, m.length, m.dp, m.length, false);
  for (int64_t i = 0; i < rows; ++i) {
    float* const p = m.p + i * m.length;
    float* const dp = m.dp + i * m.length;
    const int64_t seen = first + i + 1;
    for (int64_t j = 0; j < seen; ++j) p[j] *= a.scale;
    kernels.softmax(p, seen);
    const float* out = a.out + at + i * q_width;
    const float* dout = m.dout + i * m.width;
    float dot = 0;
    for (int64_t j = 0; j < d; ++j) dot += out[j] * dout[j];
    for (int64_t j = 0; j < seen; ++j) dp[j] = p[j] * (dp[j] - dot) * a.scale;  // dS
    for (int64_t j = seen; j < keys; ++j) p[j] = dp[j] = 0;
  }
  // Rows that a partial block lacks would be multiplied, too.
  for (int64_t i = rows; i < kQueries; ++i) {
    std::memset(m.p + i * m.length, 0, static_cast<size_t>(keys) * sizeof(float));
    std::memset(m.dp + i * m.length, 0, static_cast<size_t>(keys) * sizeof(float));
    std::memset(m.q + i * m.width, 0, static_cast<size_t>(m.width) * sizeof(float));
    std::memset(m.dout + i * m.width, 0, static_cast<size_t>(m.width) * sizeof(float));
  }
  transpose(kernels, m.p, m.length, kQueries, keys, m.p_turned, kQueries);
  transpose(kernels, m.dp, m.length, kQueries, keys, m.ds_turned, kQueries);
  multiply(kernels, keys, d, kQueries, m.p_turned, kQueries, m.dout, m.width, m.dv, m.width, true);
  multiply(kernels, keys, d, kQueries, m.ds_turned, kQueries, m.q, m.width, m.dk, m.width, true);
  multiply(kernels, rows, d, keys, m.dp, m.length, m.k, m.width, m.dq, m.width, false);
  for (int64_t i = 0; i < rows; ++i)
    std::memcpy(a.dq + at + i * q_width, m.dq + i * m.width, static_cast<size_t>(d) * sizeof(float));
}

}  // namespace

void attend_backward(Context& context, std::span<const Span> spans, const AttentionGradient& a) {
  int64_t longest = 0;
  for (const Span& span : spans) longest = std::max<int64_t>(longest, span.rows);
  const int64_t per_thread = round_up(Memory::floats(longest, a.d), 1024);
  float* const scratch = context.floats(Scratch::attend_backward, per_thread * context.pool.size());
  const int64_t kv_width = int64_t{a.kv_heads} * a.d, d = a.d;
  const int group = a.heads / a.kv_heads;
  context.for_each_task(static_cast<int64_t>(spans.size()) * a.kv_heads, true, [&](int rank, int64_t task) {
    const Kernels& kernels = context.kernels;
    const Span& span = spans[static_cast<size_t>(task / a.kv_heads)];
    const int kv_head = static_cast<int>(task % a.kv_heads);
    const int64_t tokens = span.rows, token = span.first_row, at = token * kv_width + kv_head * d;
    const Memory m(scratch + rank * per_thread, tokens, a.d);
    copy_rows(a.k + at, kv_width, tokens, d, m.k, m.width);
    copy_rows(a.v + at, kv_width, tokens, d, m.v, m.width);
    transpose(kernels, m.k, m.width, tokens, d, m.k_turned, m.length);
    transpose(kernels, m.v, m.width, tokens, d, m.v_turned, m.length);
    std::memset(m.dk, 0, static_cast<size_t>(tokens * m.width) * sizeof(float));
    std::memset(m.dv, 0, static_cast<size_t>(tokens * m.width) * sizeof(float));
    for (int head = kv_head * group; head < (kv_head + 1) * group; ++head)
      for (int64_t first = 0; first < tokens; first += kQueries)
        block_backward(kernels, a, m, token, head, first, std::min(kQueries, tokens - first));
    for (int64_t t = 0; t < tokens; ++t) {
      std::memcpy(a.dk + at + t * kv_width, m.dk + t * m.width, static_cast<size_t>(d) * sizeof(float));
      std::memcpy(a.dv + at + t * kv_width, m.dv + t * m.width, static_cast<size_t>(d) * sizeof(float));
    }
  });
}

}  // namespace inkstone
