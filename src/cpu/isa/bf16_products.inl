// Products with BFMMLA: a vector holds the sums of 2 weights x 2 tokens.
//
// A register tile is 8 weights x 8 tokens: 16 vectors of sums, 4 of weights, 4 of activations, 24 of 32 registers. Four
// positions cost 8 loads and 16 BFMMLA of 32 products each. A sliver's chunk (32 tokens x 256 positions, 16 KiB) stays
// in L1 while the panel streams past it from L2.
constexpr int kEdgePairs = 4;       // of a register tile
constexpr int64_t kSumsEdge = 256;  // floats of a tile of sums
constexpr int64_t kSumsTile = 512;  // of a row tile of a sliver: two token tiles

float32x4_t first_halves(float32x4_t a, float32x4_t b) {
  return vreinterpretq_f32_f64(vzip1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
float32x4_t second_halves(float32x4_t a, float32x4_t b) {
  return vreinterpretq_f32_f64(vzip2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
bfloat16x8_t load_pair(const uint16_t* p) { return vreinterpretq_bf16_u16(vld1q_u16(p)); }

// 8 x 8 sums of a tile [16][16]: a and b start at their pairs of rows and tokens, c at its corner.
void multiply_corner(const uint16_t* a, const uint16_t* b, int64_t b_step, int64_t steps, float* c, bool accumulate) {
  float32x4_t sums[kEdgePairs][kEdgePairs];
#pragma GCC unroll 4
  for (int i = 0; i < kEdgePairs; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kEdgePairs; j += 2) {
      const float* at = c + 2 * i * kTileEdge + 2 * j;
      const F32 even = accumulate ? F32::load(at) : F32::zero(), odd = accumulate ? F32::load(at + kTileEdge) : even;
      sums[i][j] = first_halves(even.v, odd.v);
      sums[i][j + 1] = second_halves(even.v, odd.v);
    }
  }
  for (int64_t s = 0; s < steps; ++s, a += kTileElements, b += b_step) {
#pragma GCC unroll 2
    for (int q = 0; q < kQuads; ++q) {
      bfloat16x8_t x[kEdgePairs];
#pragma GCC unroll 4
      for (int j = 0; j < kEdgePairs; ++j) x[j] = load_pair(b + q * kQuadElements + j * 8);
#pragma GCC unroll 4
      for (int i = 0; i < kEdgePairs; ++i) {
        const bfloat16x8_t w = load_pair(a + q * kQuadElements + i * 8);
#pragma GCC unroll 4
        for (int j = 0; j < kEdgePairs; ++j) sums[i][j] = vbfmmlaq_f32(sums[i][j], w, x[j]);
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kEdgePairs; ++i) {
#pragma GCC unroll 2
    for (int j = 0; j < kEdgePairs; j += 2) {
      float* at = c + 2 * i * kTileEdge + 2 * j;
      vst1q_f32(at, first_halves(sums[i][j], sums[i][j + 1]));
      vst1q_f32(at + kTileEdge, second_halves(sums[i][j], sums[i][j + 1]));
    }
  }
}

// A row tile of the panel times `tokens` tokens of a sliver.
void multiply_row_tile(const uint16_t* a, const uint16_t* b, int tokens, int64_t steps, float* c, bool accumulate) {
  constexpr int kEdge = 2 * kEdgePairs;
  for (int t = 0; t < tokens; t += kEdge) {
    const int tile = t / kTileEdge, column = t % kTileEdge;
    for (int r = 0; r < kTileEdge; r += kEdge)
      multiply_corner(a + r * 4, b + tile * kTileElements + column * 4, kSliverStep, steps,
                      c + tile * kSumsEdge + r * kTileEdge + column, accumulate);
  }
}

// What comes next is left to dequantize(), which fetches each row's next positions itself.
void tile_multiply(const TileMultiplyArgs& a) {
  float* c = a.sums;
  for (int first = 0; first < a.tokens; first += kSliverTokens) {
    const int tokens = a.tokens - first < kSliverTokens ? a.tokens - first : kSliverTokens;
    const uint16_t* b = a.x + first / kSliverTokens * a.sliver_stride;
    for (int r = 0; r < a.row_tiles; ++r, c += kSumsTile)
      multiply_row_tile(a.panel + r * a.steps * kTileElements, b, tokens, a.steps, c, a.accumulate);
  }
}

void tile_pack(const TilePackArgs& a) {
  const int tiles = (a.rows + kTileEdge - 1) / kTileEdge;
  for (int t = 0; t < tiles * kTileEdge; ++t) {
    uint16_t* out = tile_row(a.out + t / kTileEdge * kTileElements, t % kTileEdge);
    for (int64_t p = a.begin; p < a.end; p += kStep, out += kSliverStep) {
      for (int q = 0; q < kQuads; q += 2) {
        const int64_t column = p + 4 * q, left = a.w->in - column;
        F32 low = F32::zero(), high = low;
        if (t < a.rows && left > 0) low = F32::load(a.x[t] + column, left);
        if (t < a.rows && left > kLanes) high = F32::load(a.x[t] + column + kLanes, left - kLanes);
        put_quads(out + q * kQuadElements, bf16_of(low, high));
      }
    }
  }
}

// Sums of `rows` rows and `tokens` tokens of a sliver, [row tile][token tile][16][16], into y[token][row].
void store_sliver(const float* sums, int rows, int tokens, float* y, int64_t y_stride, bool add) {
  for (int t = 0; t < tokens; t += kLanes) {
    for (int r = 0; r < rows; r += kLanes) {
      const float* from =
          sums + r / kTileEdge * kSumsTile + t / kTileEdge * kSumsEdge + r % kTileEdge * kTileEdge + t % kTileEdge;
      F32 square[kLanes];
      for (int i = 0; i < kLanes; ++i) square[i] = F32::load(from + i * kTileEdge);
      transpose(square);
      for (int i = 0; i < kLanes && t + i < tokens; ++i) {
        float* to = y + (t + i) * y_stride + r;
        (add ? F32::load(to, rows - r) + square[i] : square[i]).store(to, rows - r);
      }
    }
  }
}

void tile_store(const TileStoreArgs& a) {
  const int64_t sliver = (a.rows + kTileEdge - 1) / kTileEdge * kSumsTile;
  for (int t = 0; t < a.tokens; t += kSliverTokens)
    store_sliver(a.sums + t / kSliverTokens * sliver, a.rows,
                 a.tokens - t < kSliverTokens ? a.tokens - t : kSliverTokens, a.y + t * a.y_stride, a.y_stride, a.add);
}

// Four rows of gate and up and four tokens: silu(gate) * up, a quad of positions of each token.
void gate_square(const float* gate, const float* up, uint16_t* out, int token) {
  F32 square[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    const F32 g = F32::load(gate + i * kTileEdge), u = F32::load(up + i * kTileEdge);
    square[i] = g / (F32::all(1.0f) + exp(F32::zero() - g)) * u;
  }
  transpose(square);
  for (int i = 0; i < kLanes; i += 2) {
    const uint16x8_t pair = bf16_of(square[i], square[i + 1]);
    vst1q_u16(tile_row(out, token + i), pair);
  }
}

void tile_gate(const TileGateArgs& a) {
  const int64_t part = (a.rows + kTileEdge - 1) / kTileEdge * kSumsTile;  // of gate's sums of a sliver
  const int64_t padded = (a.down->in + kPositionBlock - 1) / kPositionBlock * kPositionBlock;
  const int64_t end = a.first + a.rows >= a.down->in ? padded - a.first : a.rows;  // zeros beyond the last column
  constexpr int kEdge = 2 * kEdgePairs;  // whole register tiles of tokens were multiplied
  for (int t = 0; t < (a.tokens + kEdge - 1) / kEdge * kEdge; t += kLanes) {
    const int tile = t % kSliverTokens / kTileEdge, token = t % kTileEdge;
    const float* gate = a.sums + t / kSliverTokens * 2 * part + tile * kSumsEdge + token;
    uint16_t* sliver = a.out + t / kSliverTokens * a.sliver_stride + tile * kTileElements;
    for (int64_t r = 0; r < end; r += kLanes) {
      const int64_t position = a.first + r, at = r / kTileEdge * kSumsTile + r % kTileEdge * kTileEdge;
      uint16_t* out = sliver + position / kStep * kSliverStep + position % kStep / 4 * kQuadElements;
      if (r < a.rows) {
        gate_square(gate + at, gate + part + at, out, token);
      } else {
        for (int i = 0; i < kLanes; i += 2) vst1q_u16(tile_row(out, token + i), vdupq_n_u16(0));
      }
    }
  }
}

template <class Format>
void stream_rows(const TileStreamArgs& a) {
  const Matrix& w = *a.w;
  alignas(64) uint16_t panel[kRowSteps * kTileElements];
  alignas(64) float sums[kSumsTile];
  for (int64_t row = a.begin; row < a.end; row += kTileEdge) {
    const int rows = static_cast<int>(a.end - row < kTileEdge ? a.end - row : kTileEdge);
    const uint16_t* x = a.x;
    for (int64_t p = 0; p < w.in; p += kPositionBlock, x += kRowSteps * kSliverStep) {
      dequantize_rows<Format>(w, row, rows, p, p + kPositionBlock, panel);
      multiply_row_tile(panel, x, a.tokens, kRowSteps, sums, p > 0);
    }
    store_sliver(sums, rows, a.tokens, a.y + row, a.y_stride, a.add);
  }
}

void tile_stream(const TileStreamArgs& a) {
  with_tile_format(*a.w, [&](auto format) { stream_rows<decltype(format)>(a); });
}
