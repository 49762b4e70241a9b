// Conversions between widths, integers and floats.
#pragma once

namespace inkstone {
namespace {
namespace lanes {

// From and To are elements; the vectors have as many of either.
template <class From, class To, class W, class V, class F>
EMULATED_CALL W convert(V v, F f) {
  const auto x = of<From>(v);
  Lanes<To, sizeof(W)> r;
  static_assert(x.kCount == r.kCount);
  for (int i = 0; i < x.kCount; ++i) r[i] = f(x[i]);
  W w;
  put(w, r);
  return w;
}
template <class From, class To>
inline To saturated(From x) {
  constexpr bool kSigned = static_cast<To>(-1) < 0;
  constexpr int kBits = 8 * static_cast<int>(sizeof(To)) - (kSigned ? 1 : 0);
  constexpr From kMost = static_cast<From>((static_cast<uint64_t>(1) << kBits) - 1);
  constexpr From kLeast = kSigned ? static_cast<From>(-static_cast<int64_t>(kMost) - 1) : From{0};
  return static_cast<To>(x > kMost ? kMost : x < kLeast ? kLeast : x);
}

}  // namespace lanes

// Widening, AVX2's on the halves of the narrower vector.
#define EMULATE_WIDEN(NAME, T)                                                       \
  inline __m512i _mm512_##NAME(__m256i v) {                                          \
    return lanes::join(_mm256_##NAME(lanes::low(v)), _mm256_##NAME(lanes::high(v))); \
  }                                                                                  \
  EMULATE_MASKS_1(_mm512, NAME, T, __m512i, __m256i)                                 \
  EMULATE_MASKS_1(_mm256, NAME, T, __m256i, __m128i)
EMULATE_WIDEN(cvtepu8_epi16, int16_t)
EMULATE_WIDEN(cvtepi8_epi16, int16_t)
EMULATE_WIDEN(cvtepu16_epi32, int32_t)
EMULATE_WIDEN(cvtepi16_epi32, int32_t)
EMULATE_WIDEN(cvtepu32_epi64, int64_t)
EMULATE_WIDEN(cvtepi32_epi64, int64_t)
#undef EMULATE_WIDEN
inline __m512i _mm512_cvtepu8_epi32(__m128i v) { return _mm512_cvtepu16_epi32(_mm256_cvtepu8_epi16(v)); }
inline __m512i _mm512_cvtepi8_epi32(__m128i v) { return _mm512_cvtepi16_epi32(_mm256_cvtepi8_epi16(v)); }
EMULATE_MASKS_1(_mm512, cvtepu8_epi32, int32_t, __m512i, __m128i)
EMULATE_MASKS_1(_mm512, cvtepi8_epi32, int32_t, __m512i, __m128i)

// Narrowing: the low bits (cvt), or clamped to the range of the signed (cvts) or unsigned (cvtus) type.
#define EMULATE_NARROW(P, V, FROM, TO, F, T, W)                                                      \
  inline W P##_cvtepi##FROM##_epi##TO(V v) {                                                         \
    return lanes::convert<uint##FROM##_t, uint##TO##_t, W>(                                          \
        v, [](uint##FROM##_t x) { return static_cast<uint##TO##_t>(x); });                           \
  }                                                                                                  \
  inline W P##_cvtsepi##FROM##_epi##TO(V v) {                                                        \
    return lanes::convert<F, T, W>(v, [](F x) { return lanes::saturated<F, T>(x); });                \
  }                                                                                                  \
  inline W P##_cvtusepi##FROM##_epi##TO(V v) {                                                       \
    return lanes::convert<u##F, u##T, W>(v, [](u##F x) { return lanes::saturated<u##F, u##T>(x); }); \
  }                                                                                                  \
  EMULATE_MASKS_1(P, cvtepi##FROM##_epi##TO, T, W, V)                                                \
  EMULATE_MASKS_1(P, cvtsepi##FROM##_epi##TO, T, W, V)                                               \
  inline void P##_mask_cvtepi##FROM##_storeu_epi##TO(void* p, uint64_t k, V v) {                     \
    lanes::masked_store<T>(p, k, P##_cvtepi##FROM##_epi##TO(v));                                     \
  }                                                                                                  \
  inline void P##_mask_cvtsepi##FROM##_storeu_epi##TO(void* p, uint64_t k, V v) {                    \
    lanes::masked_store<T>(p, k, P##_cvtsepi##FROM##_epi##TO(v));                                    \
  }
EMULATE_NARROW(_mm512, __m512i, 32, 16, int32_t, int16_t, __m256i)
EMULATE_NARROW(_mm512, __m512i, 32, 8, int32_t, int8_t, __m128i)
EMULATE_NARROW(_mm512, __m512i, 16, 8, int16_t, int8_t, __m256i)
EMULATE_NARROW(_mm512, __m512i, 64, 32, int64_t, int32_t, __m256i)
EMULATE_NARROW(_mm256, __m256i, 32, 16, int32_t, int16_t, __m128i)
EMULATE_NARROW(_mm256, __m256i, 16, 8, int16_t, int8_t, __m128i)
#undef EMULATE_NARROW

inline __m512 _mm512_cvtepi32_ps(__m512i v) {
  return lanes::join(_mm256_cvtepi32_ps(lanes::low(v)), _mm256_cvtepi32_ps(lanes::high(v)));
}
inline __m512 _mm512_cvtepu32_ps(__m512i v) {
  return lanes::convert<uint32_t, float, __m512>(v, [](uint32_t x) { return static_cast<float>(x); });
}
inline __m512i _mm512_cvtps_epi32(__m512 v) {
  return lanes::join(_mm256_cvtps_epi32(lanes::low(v)), _mm256_cvtps_epi32(lanes::high(v)));
}
inline __m512i _mm512_cvttps_epi32(__m512 v) {
  return lanes::join(_mm256_cvttps_epi32(lanes::low(v)), _mm256_cvttps_epi32(lanes::high(v)));
}
EMULATE_MASKS_1(_mm512, cvtepi32_ps, float, __m512, __m512i)
EMULATE_MASKS_1(_mm512, cvtps_epi32, int32_t, __m512i, __m512)
inline __m512 _mm512_cvtph_ps(__m256i v) {
  return lanes::join(_mm256_cvtph_ps(lanes::low(v)), _mm256_cvtph_ps(lanes::high(v)));
}
inline __m256i _mm512_cvtps_ph(__m512 v, int how) {
  if ((how & 7) != _MM_FROUND_TO_NEAREST_INT && (how & 4) == 0) emulation_failed("cvtps_ph that rounds up or down");
  return lanes::join(_mm256_cvtps_ph(lanes::low(v), _MM_FROUND_TO_NEAREST_INT),
                     _mm256_cvtps_ph(lanes::high(v), _MM_FROUND_TO_NEAREST_INT));
}
EMULATE_MASKS_1(_mm512, cvtph_ps, float, __m512, __m256i)
inline __m512d _mm512_cvtps_pd(__m256 v) {
  return lanes::join(_mm256_cvtps_pd(lanes::low(v)), _mm256_cvtps_pd(lanes::high(v)));
}
inline __m256 _mm512_cvtpd_ps(__m512d v) {
  return lanes::join(_mm256_cvtpd_ps(lanes::low(v)), _mm256_cvtpd_ps(lanes::high(v)));
}

}  // namespace
}  // namespace inkstone
