// Arithmetic. What AVX2 has too is done by AVX2 on each half, so that rounding and NaN are the processor's own.
#pragma once

namespace inkstone {
namespace {

// P: _mm256 or _mm512 with the masked forms, from AVX2's _mm256_NAME.
#define EMULATE_HALVES_1(NAME, T, V, HALF)                                                                         \
  inline V _mm512_##NAME(V a) { return lanes::join(_mm256_##NAME(lanes::low(a)), _mm256_##NAME(lanes::high(a))); } \
  EMULATE_MASKS_1(_mm512, NAME, T, V, V)                                                                           \
  EMULATE_MASKS_1(_mm256, NAME, T, HALF, HALF)
#define EMULATE_HALVES_2(NAME, T, V, HALF)                                                                          \
  inline V _mm512_##NAME(V a, V b) {                                                                                \
    return lanes::join(_mm256_##NAME(lanes::low(a), lanes::low(b)), _mm256_##NAME(lanes::high(a), lanes::high(b))); \
  }                                                                                                                 \
  EMULATE_MASKS_2(_mm512, NAME, T, V, V, V)                                                                         \
  EMULATE_MASKS_2(_mm256, NAME, T, HALF, HALF, HALF)
#define EMULATE_FMA(NAME)                                                              \
  inline __m512 _mm512_##NAME(__m512 a, __m512 b, __m512 c) {                          \
    return lanes::join(_mm256_##NAME(lanes::low(a), lanes::low(b), lanes::low(c)),     \
                       _mm256_##NAME(lanes::high(a), lanes::high(b), lanes::high(c))); \
  }                                                                                    \
  EMULATE_MASKS_3(_mm512, NAME, float, __m512, __m512, __m512)                         \
  inline __m512 _mm512_mask3_##NAME(__m512 a, __m512 b, __m512 c, uint64_t k) {        \
    return lanes::select<float>(k, c, _mm512_##NAME(a, b, c));                         \
  }

#define EMULATE_PS(NAME) EMULATE_HALVES_2(NAME, float, __m512, __m256)
EMULATE_PS(add_ps)
EMULATE_PS(sub_ps)
EMULATE_PS(mul_ps)
EMULATE_PS(div_ps)
EMULATE_PS(max_ps)
EMULATE_PS(min_ps)
EMULATE_PS(and_ps)
EMULATE_PS(or_ps)
EMULATE_PS(xor_ps)
EMULATE_PS(andnot_ps)
EMULATE_PS(unpacklo_ps)
EMULATE_PS(unpackhi_ps)
#undef EMULATE_PS
EMULATE_HALVES_1(sqrt_ps, float, __m512, __m256)
EMULATE_HALVES_1(movehdup_ps, float, __m512, __m256)
EMULATE_HALVES_1(moveldup_ps, float, __m512, __m256)
EMULATE_FMA(fmadd_ps)
EMULATE_FMA(fmsub_ps)
EMULATE_FMA(fnmadd_ps)
EMULATE_FMA(fnmsub_ps)
EMULATE_HALVES_2(add_pd, double, __m512d, __m256d)
EMULATE_HALVES_2(sub_pd, double, __m512d, __m256d)
EMULATE_HALVES_2(mul_pd, double, __m512d, __m256d)

#define EMULATE_INT(NAME, T) EMULATE_HALVES_2(NAME, T, __m512i, __m256i)
EMULATE_INT(add_epi8, int8_t)
EMULATE_INT(add_epi16, int16_t)
EMULATE_INT(add_epi32, int32_t)
EMULATE_INT(add_epi64, int64_t)
EMULATE_INT(sub_epi8, int8_t)
EMULATE_INT(sub_epi16, int16_t)
EMULATE_INT(sub_epi32, int32_t)
EMULATE_INT(sub_epi64, int64_t)
EMULATE_INT(adds_epi8, int8_t)
EMULATE_INT(adds_epi16, int16_t)
EMULATE_INT(adds_epu8, int8_t)
EMULATE_INT(adds_epu16, int16_t)
EMULATE_INT(subs_epi8, int8_t)
EMULATE_INT(subs_epi16, int16_t)
EMULATE_INT(subs_epu8, int8_t)
EMULATE_INT(subs_epu16, int16_t)
EMULATE_INT(mullo_epi16, int16_t)
EMULATE_INT(mullo_epi32, int32_t)
EMULATE_INT(mulhi_epi16, int16_t)
EMULATE_INT(mulhi_epu16, int16_t)
EMULATE_INT(mulhrs_epi16, int16_t)
EMULATE_INT(mul_epi32, int64_t)
EMULATE_INT(mul_epu32, int64_t)
EMULATE_INT(madd_epi16, int32_t)
EMULATE_INT(maddubs_epi16, int16_t)
EMULATE_INT(avg_epu8, int8_t)
EMULATE_INT(avg_epu16, int16_t)
EMULATE_INT(max_epi8, int8_t)
EMULATE_INT(max_epi16, int16_t)
EMULATE_INT(max_epi32, int32_t)
EMULATE_INT(max_epu8, int8_t)
EMULATE_INT(max_epu16, int16_t)
EMULATE_INT(max_epu32, int32_t)
EMULATE_INT(min_epi8, int8_t)
EMULATE_INT(min_epi16, int16_t)
EMULATE_INT(min_epi32, int32_t)
EMULATE_INT(min_epu8, int8_t)
EMULATE_INT(min_epu16, int16_t)
EMULATE_INT(min_epu32, int32_t)
EMULATE_INT(sllv_epi32, int32_t)
EMULATE_INT(srlv_epi32, int32_t)
EMULATE_INT(srav_epi32, int32_t)
EMULATE_INT(sllv_epi64, int64_t)
EMULATE_INT(srlv_epi64, int64_t)
EMULATE_INT(shuffle_epi8, int8_t)
EMULATE_INT(unpacklo_epi8, int8_t)
EMULATE_INT(unpackhi_epi8, int8_t)
EMULATE_INT(unpacklo_epi16, int16_t)
EMULATE_INT(unpackhi_epi16, int16_t)
EMULATE_INT(unpacklo_epi32, int32_t)
EMULATE_INT(unpackhi_epi32, int32_t)
EMULATE_INT(unpacklo_epi64, int64_t)
EMULATE_INT(unpackhi_epi64, int64_t)
EMULATE_INT(packs_epi16, int8_t)
EMULATE_INT(packs_epi32, int16_t)
EMULATE_INT(packus_epi16, int8_t)
EMULATE_INT(packus_epi32, int16_t)
#undef EMULATE_INT
EMULATE_HALVES_1(abs_epi8, int8_t, __m512i, __m256i)
EMULATE_HALVES_1(abs_epi16, int16_t, __m512i, __m256i)
EMULATE_HALVES_1(abs_epi32, int32_t, __m512i, __m256i)
inline __m512i _mm512_sad_epu8(__m512i a, __m512i b) {
  return lanes::join(_mm256_sad_epu8(lanes::low(a), lanes::low(b)), _mm256_sad_epu8(lanes::high(a), lanes::high(b)));
}

// Bits, which AVX2 calls si256 for every element.
#define EMULATE_BITS(NAME)                                                                           \
  inline __m512i _mm512_##NAME##_si512(__m512i a, __m512i b) {                                       \
    return lanes::join(_mm256_##NAME##_si256(lanes::low(a), lanes::low(b)),                          \
                       _mm256_##NAME##_si256(lanes::high(a), lanes::high(b)));                       \
  }                                                                                                  \
  inline __m512i _mm512_##NAME##_epi32(__m512i a, __m512i b) { return _mm512_##NAME##_si512(a, b); } \
  inline __m512i _mm512_##NAME##_epi64(__m512i a, __m512i b) { return _mm512_##NAME##_si512(a, b); } \
  EMULATE_MASKS_2(_mm512, NAME##_epi32, int32_t, __m512i, __m512i, __m512i)                          \
  EMULATE_MASKS_2(_mm512, NAME##_epi64, int64_t, __m512i, __m512i, __m512i)                          \
  inline __m256i _mm256_##NAME##_epi32(__m256i a, __m256i b) { return _mm256_##NAME##_si256(a, b); } \
  inline __m256i _mm256_##NAME##_epi64(__m256i a, __m256i b) { return _mm256_##NAME##_si256(a, b); } \
  EMULATE_MASKS_2(_mm256, NAME##_epi32, int32_t, __m256i, __m256i, __m256i)
EMULATE_BITS(and)
EMULATE_BITS(or)
EMULATE_BITS(xor)
EMULATE_BITS(andnot)
#undef EMULATE_BITS

// Shifts of all elements by one count; counts beyond the width give zeros (or signs).
#define EMULATE_SHIFT(NAME, T)                                                             \
  inline __m512i _mm512_##NAME(__m512i a, unsigned count) {                                \
    const int n = count > 255 ? 255 : static_cast<int>(count);                             \
    return lanes::join(_mm256_##NAME(lanes::low(a), n), _mm256_##NAME(lanes::high(a), n)); \
  }                                                                                        \
  EMULATE_MASKS_2(_mm512, NAME, T, __m512i, __m512i, unsigned)                             \
  EMULATE_MASKS_2(_mm256, NAME, T, __m256i, __m256i, int)
EMULATE_SHIFT(slli_epi16, int16_t)
EMULATE_SHIFT(slli_epi32, int32_t)
EMULATE_SHIFT(slli_epi64, int64_t)
EMULATE_SHIFT(srli_epi16, int16_t)
EMULATE_SHIFT(srli_epi32, int32_t)
EMULATE_SHIFT(srli_epi64, int64_t)
EMULATE_SHIFT(srai_epi16, int16_t)
EMULATE_SHIFT(srai_epi32, int32_t)
#undef EMULATE_SHIFT

// What AVX2 does not have, for both widths.
#define EMULATE_BOTH_1(NAME, T, EXPRESSION)                   \
  inline __m512i _mm512_##NAME(__m512i v) {                   \
    return lanes::each<T>(v, [](T a) { return EXPRESSION; }); \
  }                                                           \
  inline __m256i _mm256_##NAME(__m256i v) {                   \
    return lanes::each<T>(v, [](T a) { return EXPRESSION; }); \
  }                                                           \
  EMULATE_MASKS_1(_mm512, NAME, T, __m512i, __m512i)
#define EMULATE_BOTH_2(NAME, T, EXPRESSION)                           \
  inline __m512i _mm512_##NAME(__m512i v, __m512i w) {                \
    return lanes::each<T>(v, w, [](T a, T b) { return EXPRESSION; }); \
  }                                                                   \
  inline __m256i _mm256_##NAME(__m256i v, __m256i w) {                \
    return lanes::each<T>(v, w, [](T a, T b) { return EXPRESSION; }); \
  }                                                                   \
  EMULATE_MASKS_2(_mm512, NAME, T, __m512i, __m512i, __m512i)         \
  EMULATE_MASKS_2(_mm256, NAME, T, __m256i, __m256i, __m256i)
EMULATE_BOTH_1(abs_epi64, int64_t, a < 0 ? 0 - static_cast<uint64_t>(a) : static_cast<uint64_t>(a))
EMULATE_BOTH_2(max_epi64, int64_t, a > b ? a : b)
EMULATE_BOTH_2(min_epi64, int64_t, a < b ? a : b)
EMULATE_BOTH_2(mullo_epi64, uint64_t, a* b)
EMULATE_BOTH_2(sllv_epi16, uint16_t, b < 16 ? a << b : 0)
EMULATE_BOTH_2(srlv_epi16, uint16_t, b < 16 ? a >> b : 0)
EMULATE_BOTH_2(srav_epi16, int16_t, a >> (static_cast<uint16_t>(b) < 16 ? b : 15))
EMULATE_BOTH_2(srav_epi64, int64_t, a >> (static_cast<uint64_t>(b) < 64 ? b : 63))
EMULATE_BOTH_2(rolv_epi32, uint32_t, (a << (b & 31)) | (a >> (-b & 31)))
EMULATE_BOTH_2(rorv_epi32, uint32_t, (a >> (b & 31)) | (a << (-b & 31)))
#undef EMULATE_BOTH_1
#undef EMULATE_BOTH_2
inline __m512i _mm512_srai_epi64(__m512i a, unsigned n) { return _mm512_srav_epi64(a, _mm512_set1_epi64(n)); }
inline __m512i _mm512_ror_epi32(__m512i a, int n) { return _mm512_rorv_epi32(a, _mm512_set1_epi32(n)); }
inline __m512i _mm512_rol_epi32(__m512i a, int n) { return _mm512_rolv_epi32(a, _mm512_set1_epi32(n)); }

// Bit (a b c) of `table` for every bit.
template <class V>
inline V ternary_logic(V a, V b, V c, int table) {
  return lanes::each<uint64_t>(a, b, c, [table](uint64_t x, uint64_t y, uint64_t z) {
    uint64_t r = 0;
    for (int i = 0; i < 8; ++i)
      if ((table >> i & 1) != 0) r |= ((i & 4) != 0 ? x : ~x) & ((i & 2) != 0 ? y : ~y) & ((i & 1) != 0 ? z : ~z);
    return r;
  });
}
inline __m512i _mm512_ternarylogic_epi32(__m512i a, __m512i b, __m512i c, int t) { return ternary_logic(a, b, c, t); }
inline __m512i _mm512_ternarylogic_epi64(__m512i a, __m512i b, __m512i c, int t) { return ternary_logic(a, b, c, t); }
inline __m256i _mm256_ternarylogic_epi32(__m256i a, __m256i b, __m256i c, int t) { return ternary_logic(a, b, c, t); }
inline __m256i _mm256_ternarylogic_epi64(__m256i a, __m256i b, __m256i c, int t) { return ternary_logic(a, b, c, t); }

inline __m256 round_half(__m256 a, int how) {
  switch (how & 7) {
    case _MM_FROUND_TO_NEAREST_INT: return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    case _MM_FROUND_TO_NEG_INF: return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    case _MM_FROUND_TO_POS_INF: return _mm256_round_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    case _MM_FROUND_TO_ZERO: return _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    default: return _mm256_round_ps(a, _MM_FROUND_CUR_DIRECTION);
  }
}
inline __m512 _mm512_roundscale_ps(__m512 a, int how) {
  if ((how >> 4) != 0) emulation_failed("roundscale to fractions");
  return lanes::join(round_half(lanes::low(a), how), round_half(lanes::high(a), how));
}
inline __m256 _mm256_roundscale_ps(__m256 a, int how) {
  if ((how >> 4) != 0) emulation_failed("roundscale to fractions");
  return round_half(a, how);
}

// a * 2^floor(b), rounded once: every product by 2^-350 .. 2^350 is exact in double, and beyond it nothing changes.
inline float scale_by_power_of_two(float a, float b) {
  if (a != a) return a + a;
  if (b != b) return b + b;
  const bool infinite = a - a != 0;
  if (b - b != 0) {  // 0 * 2^inf and inf * 2^-inf are invalid
    if (b > 0) return a == 0 ? __builtin_nanf("") : a * b;
    return infinite ? __builtin_nanf("") : a * 0.0f;
  }
  const double power = __builtin_floor(b < -350 ? -350.0 : b > 350 ? 350.0 : static_cast<double>(b));
  const uint64_t bits = static_cast<uint64_t>(1023 + static_cast<int64_t>(power)) << 52;
  double factor;
  memcpy(&factor, &bits, sizeof factor);
  return static_cast<float>(static_cast<double>(a) * factor);
}
inline __m512 _mm512_scalef_ps(__m512 a, __m512 b) { return lanes::each<float>(a, b, scale_by_power_of_two); }
inline __m256 _mm256_scalef_ps(__m256 a, __m256 b) { return lanes::each<float>(a, b, scale_by_power_of_two); }
EMULATE_MASKS_2(_mm512, scalef_ps, float, __m512, __m512, __m512)

// Sums in the order of the compiler's own: halves, halves of those, and so on.
inline float _mm512_reduce_add_ps(__m512 v) {
  const __m256 a = _mm256_add_ps(lanes::high(v), lanes::low(v));
  const auto b = lanes::of<float>(_mm_add_ps(lanes::high(a), lanes::low(a)));
  return (b[0] + b[2]) + (b[1] + b[3]);
}
inline float _mm512_reduce_max_ps(__m512 v) {
  const __m256 a = _mm256_max_ps(lanes::high(v), lanes::low(v));
  __m128 b = _mm_max_ps(lanes::high(a), lanes::low(a));
  b = _mm_max_ps(_mm_movehl_ps(b, b), b);
  return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(b), b));
}
inline float _mm512_reduce_min_ps(__m512 v) {
  const __m256 a = _mm256_min_ps(lanes::high(v), lanes::low(v));
  __m128 b = _mm_min_ps(lanes::high(a), lanes::low(a));
  b = _mm_min_ps(_mm_movehl_ps(b, b), b);
  return _mm_cvtss_f32(_mm_min_ss(_mm_movehdup_ps(b), b));
}
inline float _mm512_mask_reduce_add_ps(uint64_t k, __m512 v) { return _mm512_reduce_add_ps(_mm512_maskz_mov_ps(k, v)); }
inline int _mm512_reduce_add_epi32(__m512i v) {
  uint32_t sum = 0;
  for (const uint32_t x : lanes::of<uint32_t>(v).at) sum += x;
  return static_cast<int>(sum);
}
inline int _mm512_reduce_max_epi32(__m512i v) {
  int32_t most = INT32_MIN;
  for (const int32_t x : lanes::of<int32_t>(v).at) most = x > most ? x : most;
  return most;
}
inline long long _mm512_reduce_add_epi64(__m512i v) {
  uint64_t sum = 0;
  for (const uint64_t x : lanes::of<uint64_t>(v).at) sum += x;
  return static_cast<long long>(sum);
}

}  // namespace
}  // namespace inkstone
