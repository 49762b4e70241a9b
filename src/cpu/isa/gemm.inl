// Many rows: dequantised weights [m, k] times packed activations [k, panel].
//
// A register tile holds kTileRows weight rows x two vectors of tokens: weights are broadcast from their natural row
// layout, so nothing is interleaved. AVX-512: 14 x 32, 28 sums, 2 tokens vectors; a step of k costs 14 broadcasts, 2
// loads and 28 FMAs: loads 8 cycles, FMAs 14. AVX2: 6 x 16, 12 sums.
constexpr int kTileRows = kLanes == 16 ? 14 : 6;
constexpr int kPanel = 2 * kLanes;

struct DequantizeUse {
  const Matrix& w;
  int64_t row, begin, end;
  float* out;
  float* scratch;

  RowScales scales() const {
    const int64_t last = end < w.in ? end : w.in;
    return widen_row(w, row, begin / w.group, last / w.group, scratch);
  }
  template <class Lane>
  void lane(const Lane& format) const {
    using At = LaneScales<Lane>;
    const At at(w.group);
    const RowScales values = scales();
    for (int64_t i = begin; i < end; i += At::kBlock) {
      const int64_t lanes = i < w.in ? (w.in - i) / At::kCodes : 0;
      const unsigned char* codes = w.weight + row * w.row_bytes + i / At::kCodes * 4;
      const U32 words = lanes >= kLanes ? U32::load(codes) : U32::load(codes, lanes);
      // Beyond the end: the pad of zeros behind the scales, which the last partial block may overrun.
      const F32 scale = lanes > 0 ? at.get(values.scales, i - begin) : F32::zero();
      const F32 bias = values.biases != nullptr && lanes > 0 ? at.get(values.biases, i - begin) : F32::zero();
#pragma GCC unroll 16
      for (int j = 0; j < At::kCodes; ++j)
        fma(format.get(words, j * Lane::kBits), scale, bias).store(out + (i - begin) + j * kLanes);
    }
  }
  template <class Group>
  void group(const Group&) const {
    const RowScales values = scales();
    int64_t i = begin;
    for (; i < end && i < w.in; i += kUnit) {
      const unsigned char* codes = w.weight + row * w.row_bytes + i * Group::kBits / 8;
      const F32 scale = F32::all(values.scales[(i - begin) / w.group]);
      const F32 bias = values.biases != nullptr ? F32::all(values.biases[(i - begin) / w.group]) : F32::zero();
#pragma GCC unroll 4
      for (int v = 0; v < kUnit / kLanes; ++v)
        fma(Group::get(codes, v), scale, bias).store(out + (i - begin) + v * kLanes);
    }
    for (; i < end; i += kLanes) F32::zero().store(out + (i - begin));
  }
  template <class Plain>
  void plain(const Plain&) const {
    int64_t i = begin;
    for (; i < end && i < w.in; i += kLanes)
      Plain::get(w.weight + row * w.row_bytes + i * Plain::kBytes, w.in - i).store(out + (i - begin));
    for (; i < end; i += kLanes) F32::zero().store(out + (i - begin));
  }
};

void dequantize(const Matrix& w, int64_t row, int64_t begin, int64_t end, float* out, float* scratch) {
  with_format(w, DequantizeUse{w, row, begin, end, out, scratch});
}

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
  for (int64_t l = 0; l < k; ++l, b += ldb) {
    F32 x[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) x[v] = F32::load(b + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i) {
      const F32 w = F32::all(a[i * stride + l]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[i][v] = fma(w, x[v], sums[i][v]);
    }
  }
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
  for (; m >= kTileRows; step(kTileRows)) tile<kTileRows, kVectors, kLda>(k, a, lda, b, ldb, c, ldc, accumulate);
  for (; m >= 4; step(4)) tile<4, kVectors, kLda>(k, a, lda, b, ldb, c, ldc, accumulate);
  for (; m > 0; step(1)) tile<1, kVectors, kLda>(k, a, lda, b, ldb, c, ldc, accumulate);
}

void gemm(int64_t m, int n, int64_t k, const float* a, int64_t lda, const float* b, int64_t ldb, float* c, int64_t ldc,
          bool accumulate) {
  if (n <= kLanes) {
    if (lda == kPositionBlock) return tiles<1, kPositionBlock>(m, k, a, lda, b, ldb, c, ldc, accumulate);
    return tiles<1, 0>(m, k, a, lda, b, ldb, c, ldc, accumulate);
  }
  if (lda == kPositionBlock) return tiles<2, kPositionBlock>(m, k, a, lda, b, ldb, c, ldc, accumulate);
  if (lda == 32) return tiles<2, 32>(m, k, a, lda, b, ldb, c, ldc, accumulate);
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
