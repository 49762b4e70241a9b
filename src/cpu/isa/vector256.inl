// The vector type of AVX2 with FMA and F16C: 8 floats, tails by masks or through a small copy.
struct F32 {
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;
  __m256 v;

  static F32 zero() { return {_mm256_setzero_ps()}; }
  static F32 all(float x) { return {_mm256_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm256_loadu_ps(p)}; }
  // The first n of the vector, zeros beyond.
  static F32 load(const float* p, int64_t n) { return n >= kLanes ? load(p) : F32{_mm256_maskload_ps(p, mask(n))}; }
  void store(float* p) const { _mm256_storeu_ps(p, v); }
  void store(float* p, int64_t n) const { n >= kLanes ? store(p) : _mm256_maskstore_ps(p, mask(n), v); }
  static __m256i mask(int64_t n) {
    const int count = static_cast<int>(n < 0 ? 0 : n > kLanes ? kLanes : n);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
};

F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
F32 fnma(F32 a, F32 b, F32 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b
F32 sqrt(F32 a) { return {_mm256_sqrt_ps(a.v)}; }
F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }  // b where either is NaN
F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }
F32 round(F32 a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
// a * 2^n for whole n in [-127, 128]: 0 and infinity at the ends.
F32 scale_by_power(F32 a, F32 n) {
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n.v), _mm256_set1_epi32(127));
  const __m256i low = _mm256_max_epi32(exponent, _mm256_setzero_si256());
  const __m256i bounded = _mm256_min_epi32(low, _mm256_set1_epi32(255));
  return {_mm256_mul_ps(a.v, _mm256_castsi256_ps(_mm256_slli_epi32(bounded, 23)))};
}
// a in lanes below n, b beyond.
F32 first(F32 a, F32 b, int64_t n) { return {_mm256_blendv_ps(b.v, a.v, _mm256_castsi256_ps(F32::mask(n)))}; }
float reduce_add(F32 a) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}
float reduce_max(F32 a) {
  __m128 best = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  best = _mm_max_ps(best, _mm_movehl_ps(best, best));
  return _mm_cvtss_f32(_mm_max_ss(best, _mm_movehdup_ps(best)));
}

F32 from_bf16(__m128i bits) { return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))}; }
__m128i load_u16(const unsigned char* p, int64_t n) {
  if (n >= 8) return _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p));
  unsigned char bytes[16] = {};
  if (n > 0) memcpy(bytes, p, static_cast<size_t>(2 * n));
  return _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(bytes));
}
__m128i load_u8(const unsigned char* p, int64_t n) {
  uint64_t bytes = 0;
  if (n >= 8) {
    memcpy(&bytes, p, 8);
  } else if (n > 0) {
    memcpy(&bytes, p, static_cast<size_t>(n));
  }
  return _mm_cvtsi64_si128(static_cast<long long>(bytes));
}
F32 load_bf16(const unsigned char* p, int64_t n) { return from_bf16(load_u16(p, n)); }
F32 load_f16(const unsigned char* p, int64_t n) { return {_mm256_cvtph_ps(load_u16(p, n))}; }
F32 load_f32(const unsigned char* p, int64_t n) { return F32::load(reinterpret_cast<const float*>(p), n); }
F32 load_u8_as_f32(const unsigned char* p) { return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(load_u8(p, 8)))}; }
// e4m3 as float16: its exponent and mantissa fit, 2^8 too small; all ones is NaN in both once set.
F32 load_e4m3(const unsigned char* p, int64_t n) {
  const __m128i code = _mm_cvtepu8_epi16(load_u8(p, n));
  const __m128i magnitude = _mm_and_si128(code, _mm_set1_epi16(0x7f));
  const __m128i sign = _mm_slli_epi16(_mm_and_si128(code, _mm_set1_epi16(0x80)), 8);
  const __m128i nan = _mm_cmpeq_epi16(magnitude, _mm_set1_epi16(0x7f));
  const __m128i half = _mm_or_si128(_mm_or_si128(_mm_slli_epi16(magnitude, 7), sign), nan);
  return F32{_mm256_cvtph_ps(half)} * F32::all(256.0f);
}
F32 load_e8m0(const unsigned char* p, int64_t n) {  // 2^(code - 127); 2^-127 is a subnormal
  const __m256i bits = _mm256_slli_epi32(_mm256_cvtepu8_epi32(load_u8(p, n)), 23);
  return {_mm256_castsi256_ps(_mm256_max_epi32(bits, _mm256_set1_epi32(0x00400000)))};
}

__m256i bf16_words(F32 x) {  // in the low halves of the lanes; to nearest even; NaN stays NaN
  const __m256i bits = _mm256_castps_si256(x.v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
}
void store_bf16(F32 x, uint16_t* p, int64_t n) {
  const __m256i words = bf16_words(x);
  const __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  uint16_t values[8];
  _mm_storeu_si128(reinterpret_cast<__m128i_u*>(values), halves);
  memcpy(p, values, static_cast<size_t>(2 * (n < 8 ? n : 8)));
}

// Two vectors whose elements alternate in memory: bf16, or q4 that share bytes. n lanes of each.
void load_bf16_pairs(const unsigned char* p, int64_t n, F32& even, F32& odd) {
  const __m256i words = n >= 8 ? _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p))
                               : _mm256_maskload_epi32(reinterpret_cast<const int*>(p), F32::mask(n));
  even.v = _mm256_castsi256_ps(_mm256_slli_epi32(words, 16));
  odd.v = _mm256_castsi256_ps(_mm256_and_si256(words, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
}
void store_bf16_pairs(F32 even, F32 odd, unsigned char* p, int64_t n) {
  const __m256i words = _mm256_or_si256(bf16_words(even), _mm256_slli_epi32(bf16_words(odd), 16));
  F32{_mm256_castsi256_ps(words)}.store(reinterpret_cast<float*>(p), n);
}
void load_u4_pairs(const unsigned char* p, F32& even, F32& odd) {
  const __m256i words = _mm256_cvtepu8_epi32(load_u8(p, 8));
  even.v = _mm256_cvtepi32_ps(_mm256_and_si256(words, _mm256_set1_epi32(15)));
  odd.v = _mm256_cvtepi32_ps(_mm256_srli_epi32(words, 4));
}

// Integers: words of codes, and permutations.
struct U32 {
  __m256i v;
  static U32 load(const unsigned char* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p))}; }
  static U32 load(const unsigned char* p, int64_t n) {
    return {_mm256_maskload_epi32(reinterpret_cast<const int*>(p), F32::mask(n))};
  }
  static U32 load(const int32_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p))}; }
};
// Keeps a load in its register: the compiler would otherwise repeat it for each use, across cache lines.
U32 in_register(U32 a) {
  asm("" : "+x"(a.v));
  return a;
}
// Lane i of the result is p[index[i]], index < 8.
F32 pick8(const float* p, U32 index) { return {_mm256_permutevar8x32_ps(_mm256_loadu_ps(p), index.v)}; }
F32 gather(const float* p, U32 index, int64_t n) {
  return {_mm256_mask_i32gather_ps(_mm256_setzero_ps(), p, index.v, _mm256_castsi256_ps(F32::mask(n)), 4)};
}

// Code j of each 32-bit lane.
template <int kWidth>
struct LaneUint {
  static constexpr int kBits = kWidth;
  F32 get(U32 words, int shift) const {
    const __m256i codes = _mm256_and_si256(_mm256_srli_epi32(words.v, shift), _mm256_set1_epi32((1 << kWidth) - 1));
    return {_mm256_cvtepi32_ps(codes)};
  }
};
using Lane2 = LaneUint<2>;
using Lane4 = LaneUint<4>;
struct LaneE2m1 {  // vpermps looks at the low 3 bits: the magnitude; bit 3 is the sign
  static constexpr int kBits = 4;
  __m256 table = _mm256_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6);
  F32 get(U32 words, int shift) const {
    const __m256i codes = _mm256_srli_epi32(words.v, shift);
    const __m256i sign = _mm256_and_si256(_mm256_slli_epi32(codes, 28), _mm256_set1_epi32(INT32_MIN));
    return {_mm256_xor_ps(_mm256_permutevar8x32_ps(table, codes), _mm256_castsi256_ps(sign))};
  }
};

// 8 codes of a bit stream: kBits bytes in each 128-bit lane; a shuffle gives each code its two bytes.
template <int kBits>
struct StreamTable {
  alignas(32) unsigned char bytes[32] = {};
  alignas(32) uint32_t shifts[8] = {};
  constexpr StreamTable() {
    for (int i = 0; i < 8; ++i) {
      const int at = i * kBits / 8;
      bytes[4 * i] = static_cast<unsigned char>(at);
      bytes[4 * i + 1] = static_cast<unsigned char>(at + 1 < 8 ? at + 1 : 0x80);
      bytes[4 * i + 2] = bytes[4 * i + 3] = 0x80;
      shifts[i] = static_cast<uint32_t>(i * kBits % 8);
    }
  }
};
template <int kBits>
constexpr StreamTable<kBits> kStream{};

// A unit of 32 codes has 4 * kBits bytes; the last loads stay within it.
template <int kBits>
F32 stream_codes(const unsigned char* unit, int v) {
  const int at = v * kBits, from = at < 4 * kBits - 8 ? at : 4 * kBits - 8;
  uint64_t word;
  memcpy(&word, unit + from, 8);
  const __m256i bytes = _mm256_set1_epi64x(static_cast<long long>(word >> (8 * (at - from))));
  const __m256i pairs =
      _mm256_shuffle_epi8(bytes, _mm256_load_si256(reinterpret_cast<const __m256i*>(kStream<kBits>.bytes)));
  const __m256i shifts = _mm256_load_si256(reinterpret_cast<const __m256i*>(kStream<kBits>.shifts));
  return {_mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srlv_epi32(pairs, shifts), _mm256_set1_epi32((1 << kBits) - 1)))};
}

// Consecutive weights that one load brings to a register tile: one, broadcast.
constexpr int kElements = 1;
F32 load_elements(const float* p) { return F32::all(*p); }
F32 fma_element(F32 w, int, F32 x, F32 sum) { return fma(w, x, sum); }

// Activations and codes in 16 bits, their sums of products in 32.
struct I32 {
  __m256i v;
  static I32 zero() { return {_mm256_setzero_si256()}; }
};
struct I16 {
  static constexpr int kLanes = 16;
  __m256i v;
  static I16 load(const int16_t* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p))}; }
};
// sum + a[2 i] b[2 i] + a[2 i + 1] b[2 i + 1]
I32 dot_add(I16 a, I16 b, I32 sum) { return {_mm256_add_epi32(sum.v, _mm256_madd_epi16(a.v, b.v))}; }
F32 to_f32(I32 a) { return {_mm256_cvtepi32_ps(a.v)}; }
void store_rounded(F32 x, int16_t* p) {  // of at most 32767
  const __m256i whole = _mm256_cvtps_epi32(x.v);
  _mm_storeu_si128(reinterpret_cast<__m128i_u*>(p),
                   _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1)));
}

// 32 bytes of codes, seen as 16-bit lanes: codes[j] holds code j of every lane.
template <int kWidth>
struct Lane16 {
  static constexpr int kBits = kWidth;
  static constexpr int kVectors = 16 / kWidth;
  static void unpack(U32 words, I16* codes) {
    const __m256i mask = _mm256_set1_epi16((1 << kWidth) - 1);
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      const __m256i low = j == 0 ? words.v : _mm256_srli_epi16(words.v, j * kWidth);
      codes[j].v = j + 1 == kVectors ? low : _mm256_and_si256(low, mask);
    }
  }
};
// Twice the values of e2m1, which are whole and signed.
struct Lane16E2m1 {
  static constexpr int kBits = 4;
  static constexpr int kVectors = 4;
  static void unpack(U32 words, I16* codes) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i table =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
    const __m256i even = _mm256_shuffle_epi8(table, _mm256_and_si256(words.v, nibble));
    const __m256i odd = _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi16(words.v, 4), nibble));
    codes[0].v = _mm256_srai_epi16(_mm256_slli_epi16(even, 8), 8);
    codes[1].v = _mm256_srai_epi16(_mm256_slli_epi16(odd, 8), 8);
    codes[2].v = _mm256_srai_epi16(even, 8);
    codes[3].v = _mm256_srai_epi16(odd, 8);
  }
};

// 16 codes of a bit stream, 8 in each 128-bit lane: a shuffle gives each code its two bytes, a product by a power of
// two moves it to the top (there is no shift of 16-bit lanes by variable counts).
template <int kBits>
struct StreamTable16 {
  alignas(32) unsigned char bytes[2][32] = {};
  alignas(32) uint16_t factors[16] = {};
  constexpr StreamTable16() {
    for (int v = 0; v < 2; ++v) {
      for (int i = 0; i < 16; ++i) {
        const int at = (v * 16 + i) * kBits / 8 - from(v), shift = i * kBits % 8;
        bytes[v][2 * i] = static_cast<unsigned char>(at);
        bytes[v][2 * i + 1] = static_cast<unsigned char>(shift + kBits > 8 ? at + 1 : 0x80);
        factors[i] = static_cast<uint16_t>(1 << (16 - kBits - shift));
      }
    }
  }
  // Bytes of a load, and where the load of half v of a unit of 32 codes starts: it ends with the unit at the latest.
  static constexpr int kLoad = 4 * kBits < 16 ? 8 : 16;
  static constexpr int from(int v) { return v == 0 ? 0 : 4 * kBits - kLoad; }
};
template <int kBits>
constexpr StreamTable16<kBits> kStream16{};

template <int kBits>
void stream_unit16(const unsigned char* unit, I16* codes) {
  using Table = StreamTable16<kBits>;
  const __m256i factors = _mm256_load_si256(reinterpret_cast<const __m256i*>(kStream16<kBits>.factors));
#pragma GCC unroll 2
  for (int v = 0; v < 2; ++v) {
    const unsigned char* from = unit + Table::from(v);
    __m256i bytes;
    if constexpr (Table::kLoad == 16) {
      bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(from)));
    } else {
      bytes = _mm256_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i_u*>(from)));
    }
    const __m256i table = _mm256_load_si256(reinterpret_cast<const __m256i*>(kStream16<kBits>.bytes[v]));
    codes[v].v = _mm256_srli_epi16(_mm256_mullo_epi16(_mm256_shuffle_epi8(bytes, table), factors), 16 - kBits);
  }
}
template <>
void stream_unit16<8>(const unsigned char* unit, I16* codes) {
  codes[0].v = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(unit)));
  codes[1].v = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i_u*>(unit + 16)));
}

// Lane i of the result is the sum of a[i]'s lanes.
F32 reduce_each(const F32* a) {
  const __m256 low = _mm256_hadd_ps(_mm256_hadd_ps(a[0].v, a[1].v), _mm256_hadd_ps(a[2].v, a[3].v));
  const __m256 high = _mm256_hadd_ps(_mm256_hadd_ps(a[4].v, a[5].v), _mm256_hadd_ps(a[6].v, a[7].v));
  return {_mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31))};
}

void transpose(F32* r) {
  __m256 t[8], u[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm256_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    r[i].v = _mm256_permute2f128_ps(u[i], u[4 + i], 0x20);
    r[4 + i].v = _mm256_permute2f128_ps(u[i], u[4 + i], 0x31);
  }
}
