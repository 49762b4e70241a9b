// What the emulation is made of: halves of vectors, vectors as arrays of elements, masks.
#pragma once

// What loops over elements is called: inlined by the thousand it would cost the compiler minutes.
#define EMULATED_CALL __attribute__((noinline))

namespace inkstone {
namespace {

[[noreturn]] inline void emulation_failed(const char* what) {
  fprintf(stderr, "emulated instruction: %s\n", what);
  abort();
}

namespace lanes {

inline __m256i low(__m512i v) { return _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(&v)); }
inline __m256i high(__m512i v) { return _mm256_loadu_si256(reinterpret_cast<const __m256i_u*>(&v) + 1); }
inline __m256 low(__m512 v) { return _mm256_castsi256_ps(low(reinterpret_cast<__m512i>(v))); }
inline __m256 high(__m512 v) { return _mm256_castsi256_ps(high(reinterpret_cast<__m512i>(v))); }
inline __m256d low(__m512d v) { return _mm256_castsi256_pd(low(reinterpret_cast<__m512i>(v))); }
inline __m256d high(__m512d v) { return _mm256_castsi256_pd(high(reinterpret_cast<__m512i>(v))); }
inline __m128i low(__m256i v) { return _mm256_castsi256_si128(v); }
inline __m128i high(__m256i v) { return _mm256_extracti128_si256(v, 1); }
inline __m128 low(__m256 v) { return _mm256_castps256_ps128(v); }
inline __m128 high(__m256 v) { return _mm256_extractf128_ps(v, 1); }

inline __m512i join(__m256i a, __m256i b) {
  __m512i v;
  _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(&v), a);
  _mm256_storeu_si256(reinterpret_cast<__m256i_u*>(&v) + 1, b);
  return v;
}
inline __m512 join(__m256 a, __m256 b) {
  return reinterpret_cast<__m512>(join(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
inline __m512d join(__m256d a, __m256d b) {
  return reinterpret_cast<__m512d>(join(_mm256_castpd_si256(a), _mm256_castpd_si256(b)));
}
inline __m256i join(__m128i a, __m128i b) { return _mm256_set_m128i(b, a); }
inline __m256 join(__m128 a, __m128 b) { return _mm256_set_m128(b, a); }

// A vector's elements. n bytes, so that neither direction can lose any.
template <class T, size_t n>
struct Lanes {
  static constexpr int kCount = static_cast<int>(n / sizeof(T));
  T at[n / sizeof(T)];
  T& operator[](int i) { return at[i]; }
  const T& operator[](int i) const { return at[i]; }
};
template <class T, class V>
inline Lanes<T, sizeof(V)> of(V v) {
  Lanes<T, sizeof(V)> x;
  memcpy(&x, &v, sizeof v);
  return x;
}
template <class V, class T, size_t n>
inline void put(V& v, const Lanes<T, n>& x) {
  static_assert(sizeof v == n);
  memcpy(&v, &x, n);
}

// f of every element.
template <class T, class V, class F>
EMULATED_CALL V each(V a, F f) {
  auto x = of<T>(a);
  for (T& e : x.at) e = static_cast<T>(f(e));
  put(a, x);
  return a;
}
template <class T, class V, class F>
EMULATED_CALL V each(V a, V b, F f) {
  auto x = of<T>(a);
  const auto y = of<T>(b);
  for (int i = 0; i < x.kCount; ++i) x[i] = static_cast<T>(f(x[i], y[i]));
  put(a, x);
  return a;
}
template <class T, class V, class F>
EMULATED_CALL V each(V a, V b, V c, F f) {
  auto x = of<T>(a);
  const auto y = of<T>(b), z = of<T>(c);
  for (int i = 0; i < x.kCount; ++i) x[i] = static_cast<T>(f(x[i], y[i], z[i]));
  put(a, x);
  return a;
}
// The mask of the elements where f holds.
template <class T, class V, class F>
EMULATED_CALL uint64_t where(V a, V b, F f) {
  const auto x = of<T>(a), y = of<T>(b);
  uint64_t k = 0;
  for (int i = 0; i < x.kCount; ++i) k |= static_cast<uint64_t>(f(x[i], y[i]) ? 1 : 0) << i;
  return k;
}
// b where the mask has a one, a elsewhere.
template <class T, class V>
EMULATED_CALL V select(uint64_t k, V a, V b) {
  auto x = of<T>(a);
  const auto y = of<T>(b);
  for (int i = 0; i < x.kCount; ++i) x[i] = (k >> i & 1) != 0 ? y[i] : x[i];
  put(a, x);
  return a;
}
template <class V>
inline V zero() {
  V v;
  memset(&v, 0, sizeof v);
  return v;
}
template <class V, class T>
inline V all(T x) {
  Lanes<T, sizeof(V)> e;
  for (T& to : e.at) to = x;
  V v;
  put(v, e);
  return v;
}

}  // namespace lanes

// The forms under a mask of the function P##_##NAME, whose mask counts elements of T.
#define EMULATE_MASKS_1(P, NAME, T, V, A)                                                              \
  inline V P##_mask_##NAME(V src, uint64_t k, A a) { return lanes::select<T>(k, src, P##_##NAME(a)); } \
  inline V P##_maskz_##NAME(uint64_t k, A a) { return lanes::select<T>(k, lanes::zero<V>(), P##_##NAME(a)); }
#define EMULATE_MASKS_2(P, NAME, T, V, A, B)                                                                   \
  inline V P##_mask_##NAME(V src, uint64_t k, A a, B b) { return lanes::select<T>(k, src, P##_##NAME(a, b)); } \
  inline V P##_maskz_##NAME(uint64_t k, A a, B b) { return lanes::select<T>(k, lanes::zero<V>(), P##_##NAME(a, b)); }
// The first of three operands is what stays where the mask is zero.
#define EMULATE_MASKS_3(P, NAME, T, V, A, B)                                                                  \
  inline V P##_mask_##NAME(V a, uint64_t k, A b, B c) { return lanes::select<T>(k, a, P##_##NAME(a, b, c)); } \
  inline V P##_maskz_##NAME(uint64_t k, V a, A b, B c) {                                                      \
    return lanes::select<T>(k, lanes::zero<V>(), P##_##NAME(a, b, c));                                        \
  }

}  // namespace
}  // namespace inkstone
