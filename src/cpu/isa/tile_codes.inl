// Weights as bf16 tiles: 256 positions of a row at a time, each step of 32 positions 64 bytes, kTileElements apart.
//
// 4 bits, the common case (affine, groups of 64 or more, whole blocks): a group has only 16 values, so they are
// computed once (FMA, rounding to bf16) and looked up. 64 bytes of codes are 32 lanes of 16 bits; shifting by 4 j
// brings code j of each lane to its low bits, which with the lane's half (bit 4) index a table of two groups: shift,
// ternary logic, vpermw, store for 32 weights.
constexpr int kRowSteps = static_cast<int>(kPositionBlock / kStep);

__m512i bf16_pair(F32 low, F32 high) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.v, low.v)); }

void put_step(uint16_t* out, int step, __m512i values) { _mm512_storeu_si512(out + step * kTileElements, values); }

// Some groups' scales as floats: `count` of them from the matrix's scale `first` on, and kScalePad zeros behind; biases
// are 0 where there are none. Room for 2 kScalePad more than `count` each.
void widen_groups(const Matrix& w, int64_t first, int64_t count, float* scales, float* biases) {
  const int bytes = scale_bytes(w.scale_format);
  widen_scales(w.scale_format, w.scales + first * bytes, count, scales);
  if (w.biases != nullptr) return widen_scales(w.scale_format, w.biases + first * bytes, count, biases);
  for (int64_t i = 0; i < count + kScalePad; i += kLanes) F32::zero().store(biases + i);
}

// 256 positions of a row: where its codes are, what their groups' scales are, how many columns are left in the row.
struct RowPart {
  const Matrix& w;
  const unsigned char* codes;
  const float* scales;
  const float* biases;
  int64_t left;
};

// kGroups: groups in 128 columns, 1 or 2.
template <int kGroups>
struct TileAffine4 {
  static void positions(const RowPart& row, uint16_t* out) {
    const __m512i low_bits = _mm512_set1_epi16(15);
    const __m512i half = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(16), 1);
    const __m512 codes = _mm512_load_ps(kCodes4);
    const int second = kGroups == 2 ? 2 : row.w.group == 128 ? 1 : 0;
#pragma GCC unroll 2
    for (int block = 0; block < 2; ++block, out += 4 * kTileElements) {
      const float* scale = row.scales + block * second;
      const float* bias = row.biases + block * second;
      const F32 values{_mm512_fmadd_ps(codes, _mm512_set1_ps(scale[0]), _mm512_set1_ps(bias[0]))};
      const F32 others =
          kGroups == 1 ? values : F32{_mm512_fmadd_ps(codes, _mm512_set1_ps(scale[1]), _mm512_set1_ps(bias[1]))};
      const __m512i table = bf16_pair(values, others);
      const __m512i words = in_register(U32::load(row.codes + block * 64)).v;
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        const __m512i shifted = j == 0 ? words : _mm512_srli_epi16(words, static_cast<unsigned>(4 * j));
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

  static void positions(const RowPart& row, uint16_t* out) {
    const Lane lane;
    alignas(64) int32_t groups[32];  // of the block: which of its groups a lane's codes are in
    for (int l = 0; l < 32; ++l) groups[l] = l * kCodes / row.w.group;
    const __m512i low_groups = _mm512_load_si512(groups), high_groups = _mm512_load_si512(groups + 16);
    for (int64_t column = 0; column < kPositionBlock; column += kBlock, out += kCodes * kTileElements) {
      const int64_t left = row.left - column, columns = left < kBlock ? left : kBlock;
      if (left <= 0) {
        for (int j = 0; j < kCodes; ++j) put_step(out, j, _mm512_setzero_si512());
        continue;
      }
      const int64_t bytes = columns * Lane::kBits / 8, count = (columns + row.w.group - 1) / row.w.group;
      const __mmask64 there = bytes >= 64 ? ~__mmask64{0} : (__mmask64{1} << bytes) - 1;
      const __m512i words = _mm512_maskz_loadu_epi8(there, row.codes + column * Lane::kBits / 8);
      const F32 scales = F32::load(row.scales + column / row.w.group, count);
      const F32 biases = F32::load(row.biases + column / row.w.group, count);
      const F32 scale[2] = {{_mm512_permutexvar_ps(low_groups, scales.v)},
                            {_mm512_permutexvar_ps(high_groups, scales.v)}};
      const F32 bias[2] = {{_mm512_permutexvar_ps(low_groups, biases.v)},
                           {_mm512_permutexvar_ps(high_groups, biases.v)}};
#pragma GCC unroll 8
      for (int j = 0; j < kCodes; ++j) {
        const __m512i shifted = _mm512_srli_epi16(words, static_cast<unsigned>(Lane::kBits * j));
        const U32 low{_mm512_cvtepu16_epi32(_mm512_castsi512_si256(shifted))};
        const U32 high{_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(shifted, 1))};
        put_step(out, j,
                 bf16_pair(fma(lane.get(low, 0), scale[0], bias[0]), fma(lane.get(high, 0), scale[1], bias[1])));
      }
    }
  }
};

// 3, 5, 6, 8 bits and e4m3: units of 32 codes in natural order, one scale each, or one for each half.
template <class Group>
struct TileGroup {
  static void positions(const RowPart& row, uint16_t* out) {
    const int shift = __builtin_ctz(static_cast<unsigned>(row.w.group));
    const unsigned char* unit = row.codes;
    for (int s = 0; s < kRowSteps; ++s, unit += kUnit * Group::kBits / 8) {
      if (s * kStep >= row.left) {
        put_step(out, s, _mm512_setzero_si512());
        continue;
      }
      const int64_t g = s * kStep >> shift, h = (s * kStep + kStep / 2) >> shift;
      put_step(out, s,
               bf16_pair(fma(Group::get(unit, 0), F32::all(row.scales[g]), F32::all(row.biases[g])),
                         fma(Group::get(unit, 1), F32::all(row.scales[h]), F32::all(row.biases[h]))));
    }
  }
};

struct TileBf16 {
  static void positions(const RowPart& row, uint16_t* out) {
    for (int s = 0; s < kRowSteps; ++s) {
      const int64_t left = row.left - s * kStep;
      const __mmask32 there = left >= 32 ? ~__mmask32{0} : left <= 0 ? 0 : (__mmask32{1} << left) - 1;
      put_step(out, s, _mm512_maskz_loadu_epi16(there, row.codes + s * kStep * 2));
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
    use(TileBf16{});  // no other plain format comes here
  }
};

// Calls use(Format{}) with the type above that reads w.
template <class Use>
void with_tile_format(const Matrix& w, const Use& use) {
  const bool whole = w.format == WeightFormat::affine && w.bits == 4 && w.in % kPositionBlock == 0;
  if (whole && w.group == 64) return use(TileAffine4<2>{});
  if (whole && w.group > 64) return use(TileAffine4<1>{});
  with_format(w, TileFormats<Use>{use});
}

int tile_codes_per_lane(const Matrix& w) { return codes_per_lane(w) / 2 > 0 ? codes_per_lane(w) / 2 : 1; }

// Bytes of so many columns of a row.
int64_t column_bytes(const Matrix& w, int64_t columns) { return w.groups > 0 ? columns * w.bits / 8 : columns * 2; }

void tile_dequantize(const TileDequantizeArgs& a) {
  const Matrix& w = *a.w;
  const int64_t tile_stride = (a.end - a.begin) / kStep * kTileElements;
  const int64_t end = a.end < w.in ? a.end : w.in, first_group = w.groups > 0 ? a.begin / w.group : 0;
  const int64_t groups = w.groups > 0 ? (end + w.group - 1) / w.group - first_group : 0;
  alignas(64) float scales[kMaxTileChunk / 16 + 2 * kScalePad], biases[kMaxTileChunk / 16 + 2 * kScalePad];
  with_tile_format(w, [&](auto format) {
    for (int64_t r = 0; r < a.rows; ++r) {
      if (groups > 0) widen_groups(w, (a.row + r) * w.groups + first_group, groups, scales, biases);
      RowPart part{w, w.weight + (a.row + r) * w.row_bytes + column_bytes(w, a.begin), scales, biases, w.in - a.begin};
      uint16_t* out = a.out + r / kTileEdge * tile_stride + r % kTileEdge * kStep;
      for (int64_t p = a.begin; p < a.end; p += kPositionBlock, out += kRowSteps * kTileElements) {
        // The panel is in L2: each line is wanted for writing before its turn.
        for (int64_t s = 0; s < kRowSteps; ++s) __builtin_prefetch(out + 2 * kStep + s * kTileElements, 1);
        decltype(format)::positions(part, out);
        part.codes += column_bytes(w, kPositionBlock);
        if (groups > 0) part.scales += kPositionBlock / w.group, part.biases += kPositionBlock / w.group;
        part.left -= kPositionBlock;
      }
    }
  });
  for (int64_t r = a.rows; r % kTileEdge != 0; ++r) {
    uint16_t* out = a.out + r / kTileEdge * tile_stride + r % kTileEdge * kStep;
    for (int64_t s = 0; s < (a.end - a.begin) / kStep; ++s) put_step(out, static_cast<int>(s), _mm512_setzero_si512());
  }
}
