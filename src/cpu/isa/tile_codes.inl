// Weights as bf16 tiles: 256 positions of a row at a time, each step of 32 positions 64 bytes, kTileElements apart.
//
// 4 bits, the common case (affine, groups of 64 or more, bf16 scales): a group has only 16 values, so they are computed
// once (FMA, rounding to bf16) and looked up. 64 bytes of codes are 32 lanes of 16 bits; shifting by 4 j brings code j
// of each lane to its low bits, which with the lane's half (bit 4) index a table of two groups: shift, ternary logic,
// vpermw, store for 32 weights.
constexpr int kRowSteps = static_cast<int>(kPositionBlock / kStep);

__m512i bf16_pair(F32 low, F32 high) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.v, low.v)); }

void put_step(uint16_t* out, int step, __m512i values) { _mm512_storeu_si512(out + step * kTileElements, values); }

// Scales [first, first + n) of the matrix as floats, zeros beyond n. n <= 16.
F32 load_scales(ScaleFormat format, const unsigned char* scales, int64_t first, int64_t n) {
  switch (format) {
    case ScaleFormat::f32: return load_f32(scales + 4 * first, n);
    case ScaleFormat::f16: return load_f16(scales + 2 * first, n);
    case ScaleFormat::bf16: return load_bf16(scales + 2 * first, n);
    case ScaleFormat::e8m0: return ::inkstone::first(load_e8m0(scales + first, n), F32::zero(), n);
    case ScaleFormat::e4m3: return load_e4m3(scales + first, n);
    case ScaleFormat::none: break;
  }
  return F32::zero();
}

// A row of the matrix; scales and biases start at the row's own.
struct TileRow {
  const Matrix& w;
  const unsigned char* codes;
  int64_t group;  // index of the row's first scale

  TileRow(const Matrix& matrix, int64_t row)
      : w(matrix), codes(matrix.weight + row * matrix.row_bytes), group(row * matrix.groups) {}
};

// bf16 scales of one or two neighbouring groups, widened and broadcast.
struct ScalePair {
  F32 low, high;
  ScalePair(const unsigned char* scales, int64_t index, bool two) {
    uint32_t bits = 0;
    memcpy(&bits, scales + 2 * index, two ? 4 : 2);
    const __m512i both = _mm512_set1_epi32(static_cast<int>(bits));
    low.v = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    high.v = two ? _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000u)))) : low.v;
  }
};

struct TileAffine4 {
  static bool takes(const Matrix& w) {
    return w.format == WeightFormat::affine && w.bits == 4 && w.group >= 64 && w.scale_format == ScaleFormat::bf16 &&
           w.in % 128 == 0;
  }
  static void positions(const TileRow& row, int64_t begin, uint16_t* out) {
    const Matrix& w = row.w;
    const __m512i low_bits = _mm512_set1_epi16(15);
    const __m512i half = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(16), 1);
    const __m512 codes = _mm512_load_ps(kCodes4);
    const bool two = w.group == 64;
    for (int block = 0; block < 2; ++block, out += 4 * kTileElements) {
      const int64_t column = begin + block * 128;
      if (column >= w.in) {
        for (int j = 0; j < 4; ++j) put_step(out, j, _mm512_setzero_si512());
        continue;
      }
      const int64_t group = row.group + (two ? column / 64 : column / w.group);
      const ScalePair scales(w.scales, group, two), biases(w.biases, group, two);
      const F32 first_values{_mm512_fmadd_ps(codes, scales.low.v, biases.low.v)};
      const F32 second_values = two ? F32{_mm512_fmadd_ps(codes, scales.high.v, biases.high.v)} : first_values;
      const __m512i table = bf16_pair(first_values, second_values);
      const __m512i words = in_register(U32::load(row.codes + column / 2)).v;
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const __m512i shifted = _mm512_srli_epi16(words, static_cast<unsigned>(4 * j));
        const __m512i index = _mm512_ternarylogic_epi32(shifted, low_bits, half, 0xea);  // (a & b) | c
        put_step(out, j, _mm512_permutexvar_epi16(index, table));
      }
    }
  }
};

// 2 and 4 bits in general: codes as above, values through floats. kCodes codes in each lane of 16 bits.
template <class Lane>
struct TileLane {
  static constexpr int kCodes = 16 / Lane::kBits;
  static constexpr int64_t kBlock = 32 * kCodes;

  static void positions(const TileRow& row, int64_t begin, uint16_t* out) {
    const Matrix& w = row.w;
    const Lane lane;
    alignas(64) int32_t groups[32];  // of the block: which of its groups a lane's codes are in
    for (int l = 0; l < 32; ++l) groups[l] = l * kCodes / w.group;
    const __m512i low_groups = _mm512_load_si512(groups), high_groups = _mm512_load_si512(groups + 16);
    for (int64_t column = begin; column < begin + kPositionBlock; column += kBlock, out += kCodes * kTileElements) {
      const int64_t left = w.in - column;
      if (left <= 0) {
        for (int j = 0; j < kCodes; ++j) put_step(out, j, _mm512_setzero_si512());
        continue;
      }
      const int64_t columns = left < kBlock ? left : kBlock;
      const int64_t bytes = (columns * Lane::kBits + 7) / 8, first_group = column / w.group;
      const int64_t count = (columns + w.group - 1) / w.group;
      const __mmask64 there = bytes >= 64 ? ~__mmask64{0} : (__mmask64{1} << bytes) - 1;
      const __m512i words = _mm512_maskz_loadu_epi8(there, row.codes + column * Lane::kBits / 8);
      const F32 scales = load_scales(w.scale_format, w.scales, row.group + first_group, count);
      const F32 biases = w.biases == nullptr
                             ? F32::zero()
                             : load_scales(w.scale_format, w.biases, row.group + first_group, count);
      const F32 scale[2] = {{_mm512_permutexvar_ps(low_groups, scales.v)}, {_mm512_permutexvar_ps(high_groups, scales.v)}};
      const F32 bias[2] = {{_mm512_permutexvar_ps(low_groups, biases.v)}, {_mm512_permutexvar_ps(high_groups, biases.v)}};
#pragma GCC unroll 8
      for (int j = 0; j < kCodes; ++j) {
        const __m512i shifted = _mm512_srli_epi16(words, static_cast<unsigned>(Lane::kBits * j));
        const U32 low{_mm512_cvtepu16_epi32(_mm512_castsi512_si256(shifted))};
        const U32 high{_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(shifted, 1))};
        put_step(out, j, bf16_pair(fma(lane.get(low, 0), scale[0], bias[0]), fma(lane.get(high, 0), scale[1], bias[1])));
      }
    }
  }
};

// 3, 5, 6, 8 bits and e4m3: units of 32 codes in natural order, one scale each.
template <class Group>
struct TileGroup {
  static void positions(const TileRow& row, int64_t begin, uint16_t* out) {
    const Matrix& w = row.w;
    const int shift = __builtin_ctz(static_cast<unsigned>(w.group));
    const int64_t first_group = row.group + (begin >> shift), count = (kPositionBlock + w.group - 1) >> shift;
    const int64_t left = w.groups - (begin >> shift);
    alignas(64) float scales[16], biases[16];
    const int64_t n = left < count ? (left < 0 ? 0 : left) : count;
    load_scales(w.scale_format, w.scales, first_group, n).store(scales);
    (w.biases == nullptr ? F32::zero() : load_scales(w.scale_format, w.biases, first_group, n)).store(biases);
    const unsigned char* unit = row.codes + begin * Group::kBits / 8;
    for (int s = 0; s < kRowSteps; ++s, unit += kUnit * Group::kBits / 8) {
      const int64_t column = begin + s * kStep;
      if (column >= w.in) {
        put_step(out, s, _mm512_setzero_si512());
        continue;
      }
      const int64_t g = (column >> shift) - (begin >> shift);
      const F32 scale = F32::all(scales[g]), bias = F32::all(biases[g]);
      put_step(out, s, bf16_pair(fma(Group::get(unit, 0), scale, bias), fma(Group::get(unit, 1), scale, bias)));
    }
  }
};

template <class Plain>
struct TilePlain {
  static void positions(const TileRow& row, int64_t begin, uint16_t* out) {
    for (int s = 0; s < kRowSteps; ++s) {
      const int64_t column = begin + s * kStep, left = row.w.in - column;
      const unsigned char* from = row.codes + column * Plain::kBytes;
      const F32 low = left > 0 ? Plain::get(from, left) : F32::zero();
      const F32 high = left > kLanes ? Plain::get(from + kLanes * Plain::kBytes, left - kLanes) : F32::zero();
      put_step(out, s, bf16_pair(low, high));
    }
  }
};

template <>
struct TilePlain<PlainBf16> {
  static void positions(const TileRow& row, int64_t begin, uint16_t* out) {
    for (int s = 0; s < kRowSteps; ++s) {
      const int64_t column = begin + s * kStep, left = row.w.in - column;
      const __mmask32 there = left >= 32 ? ~__mmask32{0} : left <= 0 ? 0 : (__mmask32{1} << left) - 1;
      put_step(out, s, _mm512_maskz_loadu_epi16(there, row.codes + column * 2));
    }
  }
};

// Adapts with_format (codes.inl) to the types above.
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

// Calls use(Format{}) with the type above that reads w.
template <class Use>
void with_tile_format(const Matrix& w, const Use& use) {
  if (TileAffine4::takes(w)) return use(TileAffine4{});
  with_format(w, TileFormats<Use>{use});
}

int tile_codes_per_lane(const Matrix& w) { return codes_per_lane(w) / 2 > 0 ? codes_per_lane(w) / 2 : 1; }

void tile_dequantize(const TileDequantizeArgs& a) {
  const int64_t tile_stride = (a.end - a.begin) / kStep * kTileElements;
  with_tile_format(*a.w, [&](auto format) {
    for (int64_t r = 0; r < a.rows; ++r) {
      const TileRow row(*a.w, a.row + r);
      uint16_t* out = a.out + r / kTileEdge * tile_stride + r % kTileEdge * kStep;
      for (int64_t p = a.begin; p < a.end; p += kPositionBlock, out += kRowSteps * kTileElements)
        decltype(format)::positions(row, p, out);
    }
  });
  for (int64_t r = a.rows; r % kTileEdge != 0; ++r) {
    uint16_t* out = a.out + r / kTileEdge * tile_stride + r % kTileEdge * kStep;
    for (int64_t s = 0; s < (a.end - a.begin) / kStep; ++s) put_step(out, static_cast<int>(s), _mm512_setzero_si512());
  }
}
