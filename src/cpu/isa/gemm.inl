// Many rows: dequantised weights [m, k] times packed activations [k, panel].
//
// A register tile holds kTileRows weight rows x two vectors of tokens: weights are broadcast from their natural row
// layout, so nothing is interleaved. AVX-512: 14 x 32, 28 sums, 2 tokens vectors; a step of k costs 14 broadcasts, 2
// loads and 28 FMAs: loads 8 cycles, FMAs 14. AVX2: 6 x 16, 12 sums. NEON: 8 x 8, 16 sums, 2 tokens vectors and 8
// vectors of 4 weights each of 32 registers: an FMA there takes one lane of an operand, so 4 steps of k cost 16 loads
// and 64 FMAs and no broadcasts, which would need the FMAs' ports.
constexpr int kTileRows = kLanes == 16 ? 14 : kLanes == 8 ? 6 : 8;
constexpr int kPanel = 2 * kLanes;

struct DequantizeUse {
  const DequantizeArgs& a;

  RowScales scales(int64_t row) const {
    const int64_t last = a.end < a.w->in ? a.end : a.w->in;
    return widen_row(*a.w, row, a.begin / a.w->group, last / a.w->group, a.scratch);
  }
  const unsigned char* codes(int64_t row, int64_t bits) const {
    return a.w->weight + row * a.w->row_bytes + a.begin * bits / 8;
  }
  // The same columns' next chunk, or the next panel's first: rows lie too far apart for the hardware to follow, and a
  // chunk is multiplied meanwhile.
  void prefetch_next(const unsigned char* from, int64_t bits) const {
    const int64_t bytes = (a.end - a.begin) * bits / 8;
    const unsigned char* next = from + (a.end < a.w->in ? bytes : a.rows * a.w->row_bytes - a.begin * bits / 8);
    for (int64_t at = 0; at <= bytes; at += 64) prefetch(next + at);
  }
  template <class Lane>
  void lane(const Lane& format) const {
    using At = LaneScales<Lane>;
    const At at(a.w->group);
    for (int64_t r = 0; r < a.rows; ++r) {
      const RowScales values = scales(a.row + r);
      const unsigned char* from = codes(a.row + r, Lane::kBits);
      prefetch_next(from, Lane::kBits);
      float* out = a.out + r * a.stride;
      for (int64_t i = 0; i < a.end - a.begin; i += At::kBlock, from += 4 * kLanes) {
        const int64_t left = a.w->in - a.begin - i, lanes = left > 0 ? left / At::kCodes : 0;
        const U32 words = in_register(lanes >= kLanes ? U32::load(from) : U32::load(from, lanes));
        const F32 scale = lanes > 0 ? at.get(values.scales, i) : F32::zero();
        const F32 bias = values.biases != nullptr && lanes > 0 ? at.get(values.biases, i) : F32::zero();
#pragma GCC unroll 16
        for (int j = 0; j < At::kCodes; ++j)
          fma(format.get(words, j * Lane::kBits), scale, bias).store(out + i + j * kLanes);
      }
    }
  }
  template <class Group>
  void group(const Group&) const {
    const int shift = __builtin_ctz(static_cast<unsigned>(a.w->group));
    for (int64_t r = 0; r < a.rows; ++r) {
      const RowScales values = scales(a.row + r);
      const unsigned char* from = codes(a.row + r, Group::kBits);
      prefetch_next(from, Group::kBits);
      float* out = a.out + r * a.stride;
      int64_t i = 0;
      for (; i < a.end - a.begin && a.begin + i < a.w->in; i += kUnit, from += kUnit * Group::kBits / 8) {
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {  // groups of 16 have a scale for each half of the unit
          const int64_t g = (i + h * kUnit / 2) >> shift;
          const F32 scale = F32::all(values.scales[g]);
          const F32 bias = values.biases != nullptr ? F32::all(values.biases[g]) : F32::zero();
#pragma GCC unroll 4
          for (int v = h * kHalfVectors; v < (h + 1) * kHalfVectors; ++v)
            fma(Group::get(from, v), scale, bias).store(out + i + v * kLanes);
        }
      }
      for (; i < a.end - a.begin; i += kLanes) F32::zero().store(out + i);
    }
  }
  template <class Plain>
  void plain(const Plain&) const {
    for (int64_t r = 0; r < a.rows; ++r) {
      const unsigned char* from = codes(a.row + r, 8 * Plain::kBytes);
      prefetch_next(from, 8 * Plain::kBytes);
      for (int64_t i = 0; i < a.end - a.begin; i += kLanes) {
        const int64_t left = a.w->in - a.begin - i;
        const F32 v = left > 0 ? Plain::get(from + i * Plain::kBytes, left) : F32::zero();
        v.store(a.out + r * a.stride + i);
      }
    }
  }
};

void dequantize(const DequantizeArgs& a) { with_format(*a.w, DequantizeUse{a}); }

// Square by square: L tokens x L columns are transposed in registers, each column goes to its position.
void pack(const Matrix& w, const float* const* x, int rows, int64_t begin, int64_t end, float* out) {
  const int c = codes_per_lane(w);
  const int64_t block = static_cast<int64_t>(kLanes) * c;
  for (int64_t i = begin; i < end; i += kLanes) {
    for (int t = 0; t < kPanel; t += kLanes) {
      F32 square[kLanes];
      for (int r = 0; r < kLanes; ++r)
        square[r] = t + r < rows && i < w.in ? F32::load(x[t + r] + i, w.in - i) : F32::zero();
      transpose(square);
      for (int j = 0; j < kLanes; ++j) {
        const int64_t column = i + j, within = column % block;
        const int64_t position = column - within + within % c * kLanes + within / c;
        square[j].store(out + (position - begin) * kPanel + t);
      }
    }
  }
}

// kLda: the stride of a where it is known (0: lda): then one register addresses all rows of the tile.
template <int kRows, int kVectors, int kLda>
void tile(int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc, bool accumulate) {
  const int64_t stride = kLda != 0 ? kLda : lda;
  F32 sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sums[i][v] = accumulate ? F32::load(c + i * ldc + v * kLanes) : F32::zero();
  const auto step = [&](int64_t l, int e, bool elements) __attribute__((always_inline)) {
    F32 x[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) x[v] = F32::load(b + v * kLanes);
    b += ldb;
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const F32 w = elements ? load_elements(a + i * stride + l) : F32::all(a[i * stride + l]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[i][v] = fma_element(w, e, x[v], sums[i][v]);
    }
  };
  int64_t l = 0;
  for (; l + kElements <= k; l += kElements)
#pragma GCC unroll 4
    for (int e = 0; e < kElements; ++e) step(l, e, true);
  if constexpr (kElements > 1)
    for (; l < k; ++l) step(l, 0, false);
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sums[i][v].store(c + i * ldc + v * kLanes);
}

template <int kVectors, int kLda>
void tiles(int64_t m, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc,
           bool accumulate) {
  const auto step = [&](int rows) {
    m -= rows;
    a += rows * lda;
    c += rows * ldc;
  };
  while (m >= kTileRows) {
    tile<kTileRows, kVectors, kLda>(k, a, lda, b, ldb, c, ldc, accumulate);
    step(kTileRows);
  }
  while (m >= 4) {
    tile<4, kVectors, kLda>(k, a, lda, b, ldb, c, ldc, accumulate);
    step(4);
  }
  while (m > 0) {
    tile<1, kVectors, kLda>(k, a, lda, b, ldb, c, ldc, accumulate);
    step(1);
  }
}

void gemm(int64_t m, int n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc,
          bool accumulate) {
  if (n <= kLanes) {
    if (lda == kPositionBlock) return tiles<1, kPositionBlock>(m, k, a, lda, b, ldb, c, ldc, accumulate);
    return tiles<1, 0>(m, k, a, lda, b, ldb, c, ldc, accumulate);
  }
  if (lda == kPositionBlock) return tiles<2, kPositionBlock>(m, k, a, lda, b, ldb, c, ldc, accumulate);
  if (lda == 64) return tiles<2, 64>(m, k, a, lda, b, ldb, c, ldc, accumulate);
  return tiles<2, 0>(m, k, a, lda, b, ldb, c, ldc, accumulate);
}

void store_transposed(const float* c, int64_t ldc, int m, int n, float* y, int64_t y_stride, bool add) {
  for (int o = 0; o < m; o += kLanes) {
    for (int t = 0; t < n; t += kLanes) {
      F32 square[kLanes];
      for (int r = 0; r < kLanes; ++r) square[r] = o + r < m ? F32::load(c + (o + r) * ldc + t) : F32::zero();
      transpose(square);
      for (int r = 0; r < kLanes && t + r < n; ++r) {
        float* to = y + (t + r) * y_stride + o;
        (add ? F32::load(to, m - o) + square[r] : square[r]).store(to, m - o);
      }
    }
  }
}
