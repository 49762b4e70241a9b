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

// BF16 arithmetic has its own rules, whatever MXCSR says: to nearest even, subnormals are zeros on the way in and on
// the way out. AVX2 obeys MXCSR, so that is set while one of these lives; what computes meanwhile must be a call, or
// the compiler would move it out.
struct Bf16Rules {
  unsigned saved = _mm_getcsr();
  Bf16Rules() { _mm_setcsr(0x9fc0); }
  ~Bf16Rules() { _mm_setcsr(saved); }
};
// The even and the odd ones of 16 bf16 numbers as floats.
inline __m256 bf16_even(__m256i v) { return _mm256_castsi256_ps(_mm256_slli_epi32(v, 16)); }
inline __m256 bf16_odd(__m256i v) {
  return _mm256_castsi256_ps(_mm256_and_si256(v, _mm256_set1_epi32(static_cast<int>(0xffff0000))));
}
inline uint16_t to_bf16(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  if (__builtin_fabsf(x) < 0x1p-126f) return static_cast<uint16_t>(bits >> 16 & 0x8000);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);  // infinity stays itself
}
// The odd neighbours first, then the even ones, as Intel writes it.
EMULATED_CALL void bf16_step(__m256* sum, const __m256i* a, const __m256i* b) {
  *sum = _mm256_fmadd_ps(bf16_odd(*a), bf16_odd(*b), *sum);
  *sum = _mm256_fmadd_ps(bf16_even(*a), bf16_even(*b), *sum);
}
inline __m256 dot_bf16(__m256 sum, __m256i a, __m256i b) {
  const Bf16Rules rules;
  bf16_step(&sum, &a, &b);
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

inline __m256 _mm256_dpbf16_ps(__m256 sum, __m256bh a, __m256bh b) {
  return lanes::dot_bf16(sum, reinterpret_cast<__m256i>(a), reinterpret_cast<__m256i>(b));
}
inline __m512 _mm512_dpbf16_ps(__m512 sum, __m512bh a, __m512bh b) {
  const __m512i x = reinterpret_cast<__m512i>(a), y = reinterpret_cast<__m512i>(b);
  return lanes::join(lanes::dot_bf16(lanes::low(sum), lanes::low(x), lanes::low(y)),
                     lanes::dot_bf16(lanes::high(sum), lanes::high(x), lanes::high(y)));
}
EMULATE_MASKS_3(_mm512, dpbf16_ps, float, __m512, __m512bh, __m512bh)
inline __m256bh _mm512_cvtneps_pbh(__m512 v) {
  return lanes::convert<float, uint16_t, __m256bh>(v, [](float x) { return lanes::to_bf16(x); });
}
inline __m128bh _mm256_cvtneps_pbh(__m256 v) {
  return lanes::convert<float, uint16_t, __m128bh>(v, [](float x) { return lanes::to_bf16(x); });
}
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
