// Comparisons into masks, and masks as numbers.
#pragma once

namespace inkstone {
namespace {
namespace lanes {

// One predicate of integers, by the number of _MM_CMPINT_*.
template <class T, class V>
EMULATED_CALL uint64_t compare(V a, V b, int predicate) {
  return where<T>(a, b, [predicate](T x, T y) {
    switch (predicate & 7) {
      case 0: return x == y;
      case 1: return x < y;
      case 2: return x <= y;
      case 3: return false;
      case 4: return x != y;
      case 5: return x >= y;
      case 6: return x > y;
      default: return true;
    }
  });
}
// Of floats, by the number of _CMP_*: which of equal (1), less (2), greater (4) and unordered (8) make it true.
template <class V>
EMULATED_CALL uint64_t compare_floats(V a, V b, int predicate) {
  static constexpr int kTrueFor[16] = {1, 2, 3, 8, 14, 13, 12, 7, 9, 10, 11, 0, 6, 5, 4, 15};
  const int wanted = kTrueFor[predicate & 15];
  return where<float>(a, b, [wanted](float x, float y) {
    return (wanted & (x == y ? 1 : x < y ? 2 : x > y ? 4 : 8)) != 0;
  });
}

}  // namespace lanes

#define EMULATE_COMPARE(P, V, NAME, T, M)                                                \
  inline M P##_cmp_##NAME##_mask(V a, V b, int predicate) {                              \
    return static_cast<M>(lanes::compare<T>(a, b, predicate));                           \
  }                                                                                      \
  inline M P##_mask_cmp_##NAME##_mask(M k, V a, V b, int predicate) {                    \
    return static_cast<M>(k & lanes::compare<T>(a, b, predicate));                       \
  }                                                                                      \
  inline M P##_cmpeq_##NAME##_mask(V a, V b) { return P##_cmp_##NAME##_mask(a, b, 0); }  \
  inline M P##_cmplt_##NAME##_mask(V a, V b) { return P##_cmp_##NAME##_mask(a, b, 1); }  \
  inline M P##_cmple_##NAME##_mask(V a, V b) { return P##_cmp_##NAME##_mask(a, b, 2); }  \
  inline M P##_cmpneq_##NAME##_mask(V a, V b) { return P##_cmp_##NAME##_mask(a, b, 4); } \
  inline M P##_cmpge_##NAME##_mask(V a, V b) { return P##_cmp_##NAME##_mask(a, b, 5); }  \
  inline M P##_cmpgt_##NAME##_mask(V a, V b) { return P##_cmp_##NAME##_mask(a, b, 6); }
EMULATE_COMPARE(_mm512, __m512i, epi8, int8_t, __mmask64)
EMULATE_COMPARE(_mm512, __m512i, epu8, uint8_t, __mmask64)
EMULATE_COMPARE(_mm512, __m512i, epi16, int16_t, __mmask32)
EMULATE_COMPARE(_mm512, __m512i, epu16, uint16_t, __mmask32)
EMULATE_COMPARE(_mm512, __m512i, epi32, int32_t, __mmask16)
EMULATE_COMPARE(_mm512, __m512i, epu32, uint32_t, __mmask16)
EMULATE_COMPARE(_mm512, __m512i, epi64, int64_t, __mmask8)
EMULATE_COMPARE(_mm256, __m256i, epi8, int8_t, __mmask32)
EMULATE_COMPARE(_mm256, __m256i, epu8, uint8_t, __mmask32)
EMULATE_COMPARE(_mm256, __m256i, epi16, int16_t, __mmask16)
EMULATE_COMPARE(_mm256, __m256i, epu16, uint16_t, __mmask16)
EMULATE_COMPARE(_mm256, __m256i, epi32, int32_t, __mmask8)
EMULATE_COMPARE(_mm256, __m256i, epu32, uint32_t, __mmask8)
#undef EMULATE_COMPARE

#define EMULATE_TEST(P, V, NAME, T, M)                                                   \
  inline M P##_test_##NAME##_mask(V a, V b) {                                            \
    return static_cast<M>(lanes::where<T>(a, b, [](T x, T y) { return (x & y) != 0; })); \
  }                                                                                      \
  inline M P##_testn_##NAME##_mask(V a, V b) {                                           \
    return static_cast<M>(lanes::where<T>(a, b, [](T x, T y) { return (x & y) == 0; })); \
  }                                                                                      \
  inline M P##_mov##NAME##_mask(V a) {                                                   \
    return static_cast<M>(lanes::where<T>(a, a, [](T x, T) { return x < 0; }));          \
  }                                                                                      \
  inline V P##_movm_##NAME(M k) { return lanes::select<T>(k, lanes::zero<V>(), lanes::all<V>(static_cast<T>(-1))); }
EMULATE_TEST(_mm512, __m512i, epi8, int8_t, __mmask64)
EMULATE_TEST(_mm512, __m512i, epi16, int16_t, __mmask32)
EMULATE_TEST(_mm512, __m512i, epi32, int32_t, __mmask16)
EMULATE_TEST(_mm512, __m512i, epi64, int64_t, __mmask8)
EMULATE_TEST(_mm256, __m256i, epi8, int8_t, __mmask32)
EMULATE_TEST(_mm256, __m256i, epi16, int16_t, __mmask16)
EMULATE_TEST(_mm256, __m256i, epi32, int32_t, __mmask8)
#undef EMULATE_TEST

inline __mmask16 _mm512_cmp_ps_mask(__m512 a, __m512 b, int predicate) {
  return static_cast<__mmask16>(lanes::compare_floats(a, b, predicate));
}
inline __mmask16 _mm512_mask_cmp_ps_mask(__mmask16 k, __m512 a, __m512 b, int predicate) {
  return static_cast<__mmask16>(k & lanes::compare_floats(a, b, predicate));
}
inline __mmask8 _mm256_cmp_ps_mask(__m256 a, __m256 b, int predicate) {
  return static_cast<__mmask8>(lanes::compare_floats(a, b, predicate));
}

#define EMULATE_MASK(BITS, T)                                                                         \
  inline T _kand_mask##BITS(T a, T b) { return static_cast<T>(a & b); }                               \
  inline T _kandn_mask##BITS(T a, T b) { return static_cast<T>(~a & b); }                             \
  inline T _kor_mask##BITS(T a, T b) { return static_cast<T>(a | b); }                                \
  inline T _kxor_mask##BITS(T a, T b) { return static_cast<T>(a ^ b); }                               \
  inline T _kxnor_mask##BITS(T a, T b) { return static_cast<T>(~(a ^ b)); }                           \
  inline T _knot_mask##BITS(T a) { return static_cast<T>(~a); }                                       \
  inline T _kshiftli_mask##BITS(T a, unsigned n) { return n < BITS ? static_cast<T>(a << n) : T{0}; } \
  inline T _kshiftri_mask##BITS(T a, unsigned n) { return n < BITS ? static_cast<T>(a >> n) : T{0}; } \
  inline unsigned char _kortestz_mask##BITS##_u8(T a, T b) { return (a | b) == 0; }
EMULATE_MASK(8, __mmask8)
EMULATE_MASK(16, __mmask16)
EMULATE_MASK(32, __mmask32)
EMULATE_MASK(64, __mmask64)
#undef EMULATE_MASK
inline __mmask16 _mm512_kand(__mmask16 a, __mmask16 b) { return _kand_mask16(a, b); }
inline __mmask16 _mm512_kor(__mmask16 a, __mmask16 b) { return _kor_mask16(a, b); }
inline __mmask16 _mm512_knot(__mmask16 a) { return _knot_mask16(a); }
inline __mmask16 _cvtu32_mask16(unsigned k) { return static_cast<__mmask16>(k); }
inline __mmask32 _cvtu32_mask32(unsigned k) { return k; }
inline __mmask64 _cvtu64_mask64(uint64_t k) { return k; }
inline unsigned _cvtmask16_u32(__mmask16 k) { return k; }

}  // namespace
}  // namespace inkstone
