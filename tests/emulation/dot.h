// VNNI and BF16: sums of products of neighbours.
#pragma once

namespace inkstone {
namespace {
namespace lanes {

inline int32_t wrapped(int64_t x) { return static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint64_t>(x))); }

// sum[i] + the products of its neighbours in a and b, wrapping or saturating once at the end.
template <class A, class B, class V>
EMULATED_CALL V dot(V sum, V a, V b, bool saturate) {
  auto s = of<int32_t>(sum);
  const auto x = of<A>(a);
  const auto y = of<B>(b);
  constexpr int kPer = 4 / static_cast<int>(sizeof(A));
  for (int i = 0; i < s.kCount; ++i) {
    int64_t total = s[i];
    for (int j = 0; j < kPer; ++j) total += static_cast<int64_t>(x[i * kPer + j]) * y[i * kPer + j];
    s[i] = !saturate ? wrapped(total) : total > INT32_MAX ? INT32_MAX : total < INT32_MIN ? INT32_MIN : wrapped(total);
  }
  put(sum, s);
  return sum;
}

// BF16 arithmetic has its own rules, whatever MXCSR says: subnormals are zeros on the way in and on the way out.
inline float flushed(float x) { return __builtin_fabsf(x) < 0x1p-126f ? __builtin_copysignf(0.0f, x) : x; }
inline float from_bf16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float x;
  memcpy(&x, &wide, sizeof x);
  return flushed(x);
}
// One step: the sum before, the product and the result flushed, one rounding.
inline float bf16_step(float sum, uint16_t a, uint16_t b) {
  return flushed(__builtin_fmaf(from_bf16(a), from_bf16(b), flushed(sum)));
}
inline uint16_t to_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  if (__builtin_fabsf(x) < 0x1p-126f) return static_cast<uint16_t>(bits >> 16 & 0x8000);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // infinity stays itself
}
// The odd neighbours first, then the even ones, as Intel writes it.
template <class V, class W>
EMULATED_CALL V dot_bf16(V sum, W a, W b) {
  auto s = of<float>(sum);
  const auto x = of<uint16_t>(a), y = of<uint16_t>(b);
  for (int i = 0; i < s.kCount; ++i) s[i] = bf16_step(bf16_step(s[i], x[2 * i + 1], y[2 * i + 1]), x[2 * i], y[2 * i]);
  put(sum, s);
  return sum;
}

}  // namespace lanes

#define EMULATE_DOT(P, V, NAME, A, B, SATURATE)                                          \
  inline V P##_##NAME(V sum, V a, V b) { return lanes::dot<A, B>(sum, a, b, SATURATE); } \
  EMULATE_MASKS_3(P, NAME, int32_t, V, V, V)
EMULATE_DOT(_mm512, __m512i, dpwssd_epi32, int16_t, int16_t, false)
EMULATE_DOT(_mm512, __m512i, dpwssds_epi32, int16_t, int16_t, true)
EMULATE_DOT(_mm512, __m512i, dpbusd_epi32, uint8_t, int8_t, false)
EMULATE_DOT(_mm512, __m512i, dpbusds_epi32, uint8_t, int8_t, true)
EMULATE_DOT(_mm256, __m256i, dpwssd_epi32, int16_t, int16_t, false)
EMULATE_DOT(_mm256, __m256i, dpwssds_epi32, int16_t, int16_t, true)
EMULATE_DOT(_mm256, __m256i, dpbusd_epi32, uint8_t, int8_t, false)
EMULATE_DOT(_mm256, __m256i, dpbusds_epi32, uint8_t, int8_t, true)
#undef EMULATE_DOT

inline __m512 _mm512_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) { return lanes::dot_bf16(sum, a, b); }
inline __m256 _mm256_dpbf16_ps(__m256 sum, __m256bh a, __m256bh b) { return lanes::dot_bf16(sum, a, b); }
inline __m256bh _mm512_cvtneps_pbh(__m512 v) { return lanes::convert<float, uint16_t, __m256bh>(v, lanes::to_bf16); }
inline __m128bh _mm256_cvtneps_pbh(__m256 v) { return lanes::convert<float, uint16_t, __m128bh>(v, lanes::to_bf16); }
// b's in the lower half.
inline __m512bh _mm512_cvtne2ps_pbh(__m512 a, __m512 b) {
  return reinterpret_cast<__m512bh>(
      lanes::join(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(b)), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(a))));
}
inline __m256bh _mm256_cvtne2ps_pbh(__m256 a, __m256 b) {
  return reinterpret_cast<__m256bh>(
      lanes::join(reinterpret_cast<__m128i>(_mm256_cvtneps_pbh(b)), reinterpret_cast<__m128i>(_mm256_cvtneps_pbh(a))));
}
inline __m512 _mm512_cvtpbh_ps(__m256bh v) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(v)), 16));
}

}  // namespace
}  // namespace inkstone
