// Weights as bf16 tiles for BFMMLA, which multiplies 2 rows x 4 positions with 2 tokens x 4 positions:
//   tile  [8 quads of positions][8 pairs of rows][2 rows][4 positions], positions in natural order
// so that neighbouring vectors are neighbouring pairs of rows. Activations lie the same way, tokens for rows.
//
// 2 and 4 bits: a group has at most 16 values, so they are computed once (FMA, rounding to bf16) and looked up: for 16
// weights an index vector, two lookups (low and high bytes) and two interleavings.
constexpr int kRowSteps = static_cast<int>(kPositionBlock / kStep);
constexpr int kQuads = 8;
constexpr int64_t kQuadElements = kTileElements / kQuads;

// Row or token r of a step of positions.
uint16_t* tile_row(uint16_t* tile, int64_t r) { return tile + r / 2 * 8 + r % 2 * 4; }

void put_quad(uint16_t* out, uint16x4_t values) { vst1_u16(out, values); }
void put_quads(uint16_t* out, uint16x8_t values) {
  put_quad(out, vget_low_u16(values));
  put_quad(out + kQuadElements, vget_high_u16(values));
}
void put_zeros(uint16_t* out) {
  for (int q = 0; q < kQuads; ++q) put_quad(out + q * kQuadElements, vdup_n_u16(0));
}
uint16x8_t bf16_of(F32 low, F32 high) {
  return vreinterpretq_u16_bf16(vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(low.v), high.v));
}

// The codes of 16 columns, a byte each.
uint8x16_t codes16(const Lane2&, const unsigned char* p) {
  alignas(16) static constexpr unsigned char kBytes[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
  alignas(16) static constexpr int8_t kShifts[16] = {0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6};
  uint32_t word;
  memcpy(&word, p, sizeof word);
  const uint8x16_t bytes = vqtbl1q_u8(vreinterpretq_u8_u32(vdupq_n_u32(word)), vld1q_u8(kBytes));
  return vandq_u8(vshlq_u8(bytes, vld1q_s8(kShifts)), vdupq_n_u8(3));
}
uint8x16_t nibbles16(const unsigned char* p) {
  const uint8x8_t bytes = vld1_u8(p), low = vand_u8(bytes, vdup_n_u8(15)), high = vshr_n_u8(bytes, 4);
  return vzip1q_u8(vcombine_u8(low, low), vcombine_u8(high, high));
}
uint8x16_t codes16(const Lane4&, const unsigned char* p) { return nibbles16(p); }
uint8x16_t codes16(const LaneE2m1&, const unsigned char* p) { return nibbles16(p); }

// What the codes stand for.
alignas(16) constexpr float kWholeValues[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
alignas(16) constexpr float kE2m1Values[16] = {0,     0.5f,  1,     1.5f,  2,     3,     4,     6,
                                               -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
template <class Lane>
const float* values_of(const Lane&) {
  return kWholeValues;
}
const float* values_of(const LaneE2m1&) { return kE2m1Values; }

// All values of a group, in bytes.
struct GroupTable {
  uint8x16_t low, high;
  GroupTable(const float* values, float scale, float bias) {
    F32 v[4];
    for (int i = 0; i < 4; ++i) v[i] = fma(F32::load(values + i * kLanes), F32::all(scale), F32::all(bias));
    const uint8x16_t first = vreinterpretq_u8_u16(bf16_of(v[0], v[1])),
                     last = vreinterpretq_u8_u16(bf16_of(v[2], v[3]));
    low = vuzp1q_u8(first, last);
    high = vuzp2q_u8(first, last);
  }
};

// A row's scales and biases of the groups that 256 positions from `begin` on touch.
struct TileScales {
  float scratch[2 * (kPositionBlock / 16 + kScalePad + 2 * kLanes)];  // the smallest group has 16 columns
  RowScales row;
  TileScales(const Matrix& w, int64_t r, int64_t begin) {
    const int64_t first = begin / w.group, end = (begin + kPositionBlock + w.group - 1) / w.group;
    row = widen_row(w, r, first, end < w.groups ? end : w.groups, scratch);
  }
  float bias(int64_t g) const { return row.biases != nullptr ? row.biases[g] : 0.0f; }
};

// positions(): 256 positions of row r of the matrix into a tile's row, kRowSteps tiles. Some of them are columns.
template <class Lane>
struct TileLane {
  static void positions(const Matrix& w, int64_t r, int64_t begin, uint16_t* out) {
    const Lane lane;
    const TileScales scales(w, r, begin);
    const int64_t columns = w.in - begin < kPositionBlock ? w.in - begin : kPositionBlock;
    const unsigned char* from = w.weight + r * w.row_bytes + begin * Lane::kBits / 8;
    prefetch(from + kPositionBlock * Lane::kBits / 8);
    for (int64_t i = 0, g = 0; i < columns; ++g) {
      const GroupTable table(values_of(lane), scales.row.scales[g], scales.bias(g));
      for (const int64_t end = i + w.group; i < end && i < columns; i += 16, from += 2 * Lane::kBits) {
        const uint8x16_t codes = codes16(lane, from);
        const uint8x16_t low = vqtbl1q_u8(table.low, codes), high = vqtbl1q_u8(table.high, codes);
        uint16_t* to = out + i / 4 * kQuadElements;
        put_quads(to, vreinterpretq_u16_u8(vzip1q_u8(low, high)));
        put_quads(to + 2 * kQuadElements, vreinterpretq_u16_u8(vzip2q_u8(low, high)));
      }
    }
    for (int64_t i = columns; i < kPositionBlock; i += 4) put_quad(out + i / 4 * kQuadElements, vdup_n_u16(0));
  }
};

// 3, 5, 6, 8 bits and e4m3: units of 32 codes, one scale each, or one for each half.
template <class Group>
struct TileGroup {
  static void positions(const Matrix& w, int64_t r, int64_t begin, uint16_t* out) {
    const TileScales scales(w, r, begin);
    const int shift = __builtin_ctz(static_cast<unsigned>(w.group));
    const unsigned char* unit = w.weight + r * w.row_bytes + begin * Group::kBits / 8;
    for (int64_t i = 0; i < kPositionBlock; i += kUnit, unit += kUnit * Group::kBits / 8, out += kTileElements) {
      if (begin + i >= w.in) {
        put_zeros(out);
        continue;
      }
      prefetch(unit + kPositionBlock * Group::kBits / 8);
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const int64_t g = (i + h * kUnit / 2) >> shift;
        const F32 scale = F32::all(scales.row.scales[g]), bias = F32::all(scales.bias(g));
#pragma GCC unroll 2
        for (int v = h * kQuads / 2; v < (h + 1) * kQuads / 2; v += 2)
          put_quads(out + v * kQuadElements,
                    bf16_of(fma(Group::get(unit, v), scale, bias), fma(Group::get(unit, v + 1), scale, bias)));
      }
    }
  }
};

template <class Plain>
uint16x8_t plain8(const unsigned char* p, int64_t n) {
  const F32 low = Plain::get(p, n),
            high = n > kLanes ? Plain::get(p + kLanes * Plain::kBytes, n - kLanes) : F32::zero();
  return bf16_of(low, high);
}
template <>
uint16x8_t plain8<PlainBf16>(const unsigned char* p, int64_t n) {
  return vcombine_u16(load_u16(p, n), n > 4 ? load_u16(p + 8, n - 4) : vdup_n_u16(0));
}

template <class Plain>
struct TilePlain {
  static void positions(const Matrix& w, int64_t r, int64_t begin, uint16_t* out) {
    const unsigned char* from = w.weight + r * w.row_bytes + begin * Plain::kBytes;
    for (int64_t i = 0; i < kPositionBlock; i += 8, from += 8 * Plain::kBytes) {
      const int64_t left = w.in - begin - i;
      if (i % 32 == 0) prefetch(from + kPositionBlock * Plain::kBytes);
      put_quads(out + i / 4 * kQuadElements, left > 0 ? plain8<Plain>(from, left) : vdupq_n_u16(0));
    }
  }
};

// Calls use(Format{}) with the type above that reads w, by way of with_format (codes.inl).
template <class Use>
struct TileFormats {
  const Use& use;
  template <class Lane>
  void lane(const Lane&) const {
    use(TileLane<Lane>{});
  }
  template <class Group>
  void group(const Group&) const {
    use(TileGroup<Group>{});
  }
  template <class Plain>
  void plain(const Plain&) const {
    use(TilePlain<Plain>{});
  }
};
template <class Use>
void with_tile_format(const Matrix& w, const Use& use) {
  with_format(w, TileFormats<Use>{use});
}

int tile_codes_per_lane(const Matrix&) { return 1; }  // natural order

// Rows [row, row + rows) of w, padded with zeros to whole tiles.
template <class Format>
void dequantize_rows(const Matrix& w, int64_t row, int64_t rows, int64_t begin, int64_t end, uint16_t* out) {
  const int64_t tile_stride = (end - begin) / kStep * kTileElements;
  for (int64_t r = 0; r < rows || r % kTileEdge != 0; ++r) {
    uint16_t* to = tile_row(out + r / kTileEdge * tile_stride, r % kTileEdge);
    for (int64_t p = begin; p < end; p += kPositionBlock, to += kRowSteps * kTileElements) {
      if (r < rows) {
        Format::positions(w, row + r, p, to);
      } else {
        for (int s = 0; s < kRowSteps; ++s) put_zeros(to + s * kTileElements);
      }
    }
  }
}

void tile_dequantize(const TileDequantizeArgs& a) {
  with_tile_format(*a.w,
                   [&](auto format) { dequantize_rows<decltype(format)>(*a.w, a.row, a.rows, a.begin, a.end, a.out); });
}
