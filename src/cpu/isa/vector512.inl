// The vector type of AVX-512 (F, BW, DQ, VL, VNNI): 16 floats, tails by masks.
struct F32 {
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  __m512 v;

  static F32 zero() { return {_mm512_setzero_ps()}; }
  static F32 all(float x) { return {_mm512_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  // The first n of the vector, zeros beyond.
  static F32 load(const float* p, int64_t n) { return n >= kLanes ? load(p) : F32{_mm512_maskz_loadu_ps(mask(n), p)}; }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store(float* p, int64_t n) const { n >= kLanes ? store(p) : _mm512_mask_storeu_ps(p, mask(n), v); }
  static __mmask16 mask(int64_t n) { return static_cast<__mmask16>(n <= 0 ? 0 : (1u << n) - 1u); }
};

F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
F32 fnma(F32 a, F32 b, F32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b
F32 sqrt(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }  // b where either is NaN
F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
F32 round(F32 a) { return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
F32 scale_by_power(F32 a, F32 n) { return {_mm512_scalef_ps(a.v, n.v)}; }  // a * 2^n
// a in lanes below n, b beyond.
F32 first(F32 a, F32 b, int64_t n) { return {_mm512_mask_blend_ps(n >= 16 ? 0xffff : F32::mask(n), b.v, a.v)}; }
float reduce_add(F32 a) { return _mm512_reduce_add_ps(a.v); }
float reduce_max(F32 a) { return _mm512_reduce_max_ps(a.v); }

F32 from_bf16(__m256i bits) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))}; }
__m256i load_u16(const unsigned char* p, int64_t n) {
  if (n >= 16) return _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(p));
  return _mm256_maskz_loadu_epi16(F32::mask(n), p);
}
__m128i load_u8(const unsigned char* p, int64_t n) {
  if (n >= 16) return _mm_loadu_si128(reinterpret_cast<const __m128i_u*>(p));
  return _mm_maskz_loadu_epi8(F32::mask(n), p);
}
F32 load_bf16(const unsigned char* p, int64_t n) { return from_bf16(load_u16(p, n)); }
F32 load_f16(const unsigned char* p, int64_t n) { return {_mm512_cvtph_ps(load_u16(p, n))}; }
F32 load_f32(const unsigned char* p, int64_t n) {
  return {n >= 16 ? _mm512_loadu_ps(p) : _mm512_maskz_loadu_ps(F32::mask(n), p)};
}
F32 load_u8_as_f32(const unsigned char* p) { return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(load_u8(p, 16)))}; }
// e4m3 as float16: its exponent and mantissa fit, 2^8 too small; all ones is NaN in both once set.
F32 load_e4m3(const unsigned char* p, int64_t n) {
  const __m256i code = _mm256_cvtepu8_epi16(load_u8(p, n));
  const __m256i magnitude = _mm256_and_si256(code, _mm256_set1_epi16(0x7f));
  const __m256i sign = _mm256_slli_epi16(_mm256_and_si256(code, _mm256_set1_epi16(0x80)), 8);
  const __m256i nan = _mm256_cmpeq_epi16(magnitude, _mm256_set1_epi16(0x7f));
  const __m256i half = _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi16(magnitude, 7), sign), nan);
  return F32{_mm512_cvtph_ps(half)} * F32::all(256.0f);
}
F32 load_e8m0(const unsigned char* p, int64_t n) {  // 2^(code - 127); 2^-127 is a subnormal
  const __m512i bits = _mm512_slli_epi32(_mm512_cvtepu8_epi32(load_u8(p, n)), 23);
  return {_mm512_castsi512_ps(_mm512_max_epi32(bits, _mm512_set1_epi32(0x00400000)))};
}

__m512i bf16_words(F32 x) {  // in the low halves of the lanes; to nearest even; NaN stays NaN
  const __m512i bits = _mm512_castps_si512(x.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  return _mm512_srli_epi32(_mm512_mask_blend_epi32(nan, rounded, quiet), 16);
}
void store_bf16(F32 x, uint16_t* p, int64_t n) {
  _mm256_mask_storeu_epi16(p, n >= 16 ? 0xffff : F32::mask(n), _mm512_cvtepi32_epi16(bf16_words(x)));
}

// Two vectors whose elements alternate in memory: bf16, or q4 that share bytes. n lanes of each.
void load_bf16_pairs(const unsigned char* p, int64_t n, F32& even, F32& odd) {
  const __m512i words = n >= 16 ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32(F32::mask(n), p);
  even.v = _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
  odd.v = _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}
void store_bf16_pairs(F32 even, F32 odd, unsigned char* p, int64_t n) {
  const __m512i words = _mm512_or_si512(bf16_words(even), _mm512_slli_epi32(bf16_words(odd), 16));
  _mm512_mask_storeu_epi32(p, n >= 16 ? 0xffff : F32::mask(n), words);
}
void load_u4_pairs(const unsigned char* p, F32& even, F32& odd) {
  const __m512i words = _mm512_cvtepu8_epi32(load_u8(p, 16));
  even.v = _mm512_cvtepi32_ps(_mm512_and_si512(words, _mm512_set1_epi32(15)));
  odd.v = _mm512_cvtepi32_ps(_mm512_srli_epi32(words, 4));
}

// Integers: words of codes, and permutations.
struct U32 {
  __m512i v;
  static U32 load(const unsigned char* p) { return {_mm512_loadu_si512(p)}; }
  static U32 load(const unsigned char* p, int64_t n) { return {_mm512_maskz_loadu_epi32(F32::mask(n), p)}; }
  static U32 load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
};
// Keeps a load in its register: the compiler would otherwise repeat it for each use, across cache lines.
U32 in_register(U32 a) {
  asm("" : "+v"(a.v));
  return a;
}
// Lane i of the result is p[index[i]], index < 8.
F32 pick8(const float* p, U32 index) {
  return {_mm512_permutexvar_ps(index.v, _mm512_castps256_ps512(_mm256_loadu_ps(p)))};
}
F32 gather(const float* p, U32 index, int64_t n) {
  return {_mm512_mask_i32gather_ps(_mm512_setzero_ps(), n >= 16 ? 0xffff : F32::mask(n), index.v, p, 4)};
}

// Code j of each 32-bit lane. vpermps looks at the low 4 bits only, so no mask is needed.
struct Lookup {
  __m512 table;
  explicit Lookup(const float* values) : table(_mm512_loadu_ps(values)) {}
  F32 get(U32 words, int shift) const {
    return {_mm512_permutexvar_ps(_mm512_srli_epi32(words.v, static_cast<unsigned>(shift)), table)};
  }
};
alignas(64) constexpr float kCodes4[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
alignas(64) constexpr float kCodes2[16] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
alignas(64) constexpr float kE2m1[16] = {0,     0.5f,  1,     1.5f,  2,     3,     4,     6,
                                         -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
struct Lane2 : Lookup {
  static constexpr int kBits = 2;
  Lane2() : Lookup(kCodes2) {}
};
struct Lane4 : Lookup {
  static constexpr int kBits = 4;
  Lane4() : Lookup(kCodes4) {}
};
struct LaneE2m1 : Lookup {
  static constexpr int kBits = 4;
  LaneE2m1() : Lookup(kE2m1) {}
};

// 16 codes of a bit stream: 2 * kBits bytes in every 128-bit lane; a shuffle gives each code its two bytes.
template <int kBits>
struct StreamTable {
  alignas(64) unsigned char bytes[64] = {};
  alignas(64) uint32_t shifts[16] = {};
  constexpr StreamTable() {
    for (int i = 0; i < 16; ++i) {
      const int at = i * kBits / 8;
      bytes[4 * i] = static_cast<unsigned char>(at);
      bytes[4 * i + 1] = static_cast<unsigned char>(at + 1 < 2 * kBits ? at + 1 : 0x80);
      bytes[4 * i + 2] = bytes[4 * i + 3] = 0x80;
      shifts[i] = static_cast<uint32_t>(i * kBits % 8);
    }
  }
};
template <int kBits>
constexpr StreamTable<kBits> kStream{};

template <int kBits>
F32 stream_codes(const unsigned char* unit, int v) {
  const __m128i bytes = _mm_maskz_loadu_epi8(static_cast<__mmask16>((1u << (2 * kBits)) - 1u), unit + v * 2 * kBits);
  const __m512i pairs = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(bytes), _mm512_load_si512(kStream<kBits>.bytes));
  const __m512i codes = _mm512_and_si512(_mm512_srlv_epi32(pairs, _mm512_load_si512(kStream<kBits>.shifts)),
                                         _mm512_set1_epi32((1 << kBits) - 1));
  return {_mm512_cvtepi32_ps(codes)};
}

// Consecutive weights that one load brings to a register tile: one, broadcast.
constexpr int kElements = 1;
F32 load_elements(const float* p) { return F32::all(*p); }
F32 fma_element(F32 w, int, F32 x, F32 sum) { return fma(w, x, sum); }

// Activations and codes in 16 bits, their sums of products in 32.
struct I32 {
  __m512i v;
  static I32 zero() { return {_mm512_setzero_si512()}; }
};
struct I16 {
  static constexpr int kLanes = 32;
  __m512i v;
  static I16 load(const int16_t* p) { return {_mm512_loadu_si512(p)}; }
};
// sum + a[2 i] b[2 i] + a[2 i + 1] b[2 i + 1]
I32 dot_add(I16 a, I16 b, I32 sum) { return {_mm512_dpwssd_epi32(sum.v, a.v, b.v)}; }
F32 to_f32(I32 a) { return {_mm512_cvtepi32_ps(a.v)}; }
void store_rounded(F32 x, int16_t* p) {  // of at most 32767
  _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(p), _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x.v)));
}

// 64 bytes of codes, seen as 16-bit lanes: codes[j] holds code j of every lane.
template <int kWidth>
struct Lane16 {
  static constexpr int kBits = kWidth;
  static constexpr int kVectors = 16 / kWidth;
  static void unpack(U32 words, I16* codes) {
    const __m512i mask = _mm512_set1_epi16((1 << kWidth) - 1);
#pragma GCC unroll 8
    for (int j = 0; j < kVectors; ++j) {
      const __m512i low = j == 0 ? words.v : _mm512_srli_epi16(words.v, static_cast<unsigned>(j * kWidth));
      codes[j].v = j + 1 == kVectors ? low : _mm512_and_si512(low, mask);
    }
  }
};
// Twice the values of e2m1, which are whole and signed.
struct Lane16E2m1 {
  static constexpr int kBits = 4;
  static constexpr int kVectors = 4;
  static void unpack(U32 words, I16* codes) {
    const __m512i nibble = _mm512_set1_epi8(15);
    const __m512i table =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12));
    const __m512i even = _mm512_shuffle_epi8(table, _mm512_and_si512(words.v, nibble));
    const __m512i odd = _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi16(words.v, 4), nibble));
    codes[0].v = _mm512_srai_epi16(_mm512_slli_epi16(even, 8), 8);
    codes[1].v = _mm512_srai_epi16(_mm512_slli_epi16(odd, 8), 8);
    codes[2].v = _mm512_srai_epi16(even, 8);
    codes[3].v = _mm512_srai_epi16(odd, 8);
  }
};

// 32 codes of a bit stream, 8 in each 128-bit lane: its words are fetched, then a shuffle gives each code its two
// bytes.
template <int kBits>
struct StreamTable16 {
  alignas(64) uint32_t words[16] = {};
  alignas(64) unsigned char bytes[64] = {};
  alignas(64) uint16_t shifts[32] = {};
  constexpr StreamTable16() {
    for (int i = 0; i < 16; ++i) words[i] = static_cast<uint32_t>(i / 4 * kBits / 4 + i % 4);
    for (int i = 0; i < 32; ++i) {
      const int at = i * kBits / 8 - i / 8 * kBits / 4 * 4, shift = i * kBits % 8;
      bytes[2 * i] = static_cast<unsigned char>(at);
      bytes[2 * i + 1] = static_cast<unsigned char>(shift + kBits > 8 ? at + 1 : 0x80);
      shifts[i] = static_cast<uint16_t>(shift);
    }
  }
};
template <int kBits>
constexpr StreamTable16<kBits> kStream16{};

template <int kBits>
void stream_unit16(const unsigned char* unit, I16* codes) {
  const __m512i stream =
      _mm512_castsi256_si512(_mm256_maskz_loadu_epi32(static_cast<__mmask8>((1u << kBits) - 1u), unit));
  const __m512i words = _mm512_permutexvar_epi32(_mm512_load_si512(kStream16<kBits>.words), stream);
  const __m512i pairs = _mm512_shuffle_epi8(words, _mm512_load_si512(kStream16<kBits>.bytes));
  codes[0].v = _mm512_and_si512(_mm512_srlv_epi16(pairs, _mm512_load_si512(kStream16<kBits>.shifts)),
                                _mm512_set1_epi16((1 << kBits) - 1));
}
template <>
void stream_unit16<8>(const unsigned char* unit, I16* codes) {
  codes[0].v = _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(unit)));
}

// Lane i of the result is the sum of a[i]'s lanes.
F32 reduce_each(const F32* a) {
  F32 v[4];
  for (int i = 0; i < 4; ++i) {
    const __m512 p =
        _mm512_add_ps(_mm512_shuffle_f32x4(a[i].v, a[4 + i].v, 0x44), _mm512_shuffle_f32x4(a[i].v, a[4 + i].v, 0xee));
    const __m512 q = _mm512_add_ps(_mm512_shuffle_f32x4(a[8 + i].v, a[12 + i].v, 0x44),
                                   _mm512_shuffle_f32x4(a[8 + i].v, a[12 + i].v, 0xee));
    v[i].v = _mm512_add_ps(_mm512_shuffle_f32x4(p, q, 0x88), _mm512_shuffle_f32x4(p, q, 0xdd));
  }
  const __m512 low = _mm512_add_ps(_mm512_unpacklo_ps(v[0].v, v[1].v), _mm512_unpackhi_ps(v[0].v, v[1].v));
  const __m512 high = _mm512_add_ps(_mm512_unpacklo_ps(v[2].v, v[3].v), _mm512_unpackhi_ps(v[2].v, v[3].v));
  return {_mm512_add_ps(_mm512_shuffle_ps(low, high, 0x44), _mm512_shuffle_ps(low, high, 0xee))};
}

void transpose(F32* r) {
  __m512 t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i].v, r[i + 1].v);
    t[i + 1] = _mm512_unpackhi_ps(r[i].v, r[i + 1].v);
  }
  __m512 u[16];
  for (int i = 0; i < 16; i += 4) {
    u[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
    u[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
    u[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    u[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {  // u[4 k + i]: lane group g holds columns 4 g + i of rows 4 k .. 4 k + 3
    const __m512 a = _mm512_shuffle_f32x4(u[i], u[4 + i], 0x88), b = _mm512_shuffle_f32x4(u[i], u[4 + i], 0xdd);
    const __m512 c = _mm512_shuffle_f32x4(u[8 + i], u[12 + i], 0x88),
                 d = _mm512_shuffle_f32x4(u[8 + i], u[12 + i], 0xdd);
    r[i].v = _mm512_shuffle_f32x4(a, c, 0x88);
    r[8 + i].v = _mm512_shuffle_f32x4(a, c, 0xdd);
    r[4 + i].v = _mm512_shuffle_f32x4(b, d, 0x88);
    r[12 + i].v = _mm512_shuffle_f32x4(b, d, 0xdd);
  }
}
