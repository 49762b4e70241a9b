// Constants, casts, halves, loads and stores. Under a mask no byte is touched whose bit is zero.
#pragma once

namespace inkstone {
namespace {
namespace lanes {

template <class T, class V>
EMULATED_CALL V masked_load(V v, uint64_t k, const void* p) {
  auto x = of<T>(v);
  for (int i = 0; i < x.kCount; ++i)
    if ((k >> i & 1) != 0) memcpy(&x[i], static_cast<const char*>(p) + i * sizeof(T), sizeof(T));
  put(v, x);
  return v;
}
template <class T, class V>
EMULATED_CALL void masked_store(void* p, uint64_t k, V v) {
  const auto x = of<T>(v);
  for (int i = 0; i < x.kCount; ++i)
    if ((k >> i & 1) != 0) memcpy(static_cast<char*>(p) + i * sizeof(T), &x[i], sizeof(T));
}
template <class V>
inline V load(const void* p) {
  V v;
  memcpy(&v, p, sizeof v);
  return v;
}
template <class V>
inline V load_aligned(const void* p) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof(V) != 0) emulation_failed("an aligned load from an address that is not");
  return load<V>(p);
}
template <class V>
inline void store_aligned(void* p, V v) {
  if (reinterpret_cast<uintptr_t>(p) % sizeof v != 0) emulation_failed("an aligned store to an address that is not");
  memcpy(p, &v, sizeof v);
}
// Arguments as _mm512_setr_ takes them (lowest first) or as _mm512_set_ does (highest first).
template <class V, class T, class... X>
inline V from_lowest(X... x) {
  static_assert(sizeof...(x) * sizeof(T) == sizeof(V));
  const Lanes<T, sizeof(V)> e = {{static_cast<T>(x)...}};
  V v;
  put(v, e);
  return v;
}
template <class V, class T, class... X>
inline V from_highest(X... x) {
  static_assert(sizeof...(x) * sizeof(T) == sizeof(V));
  const T given[] = {static_cast<T>(x)...};
  Lanes<T, sizeof(V)> e;
  for (int i = 0; i < e.kCount; ++i) e[i] = given[e.kCount - 1 - i];
  V v;
  put(v, e);
  return v;
}
// The part of v at its index-th multiple of sizeof(Part).
template <class Part, class V>
inline Part extract(V v, int index) {
  Part part;
  memcpy(&part, reinterpret_cast<const char*>(&v) + static_cast<size_t>(index) % (sizeof v / sizeof part) * sizeof part,
         sizeof part);
  return part;
}
template <class Part, class V>
inline V insert(V v, Part part, int index) {
  memcpy(reinterpret_cast<char*>(&v) + static_cast<size_t>(index) % (sizeof v / sizeof part) * sizeof part, &part,
         sizeof part);
  return v;
}
template <class V, class Part>
EMULATED_CALL V repeat(Part part) {
  V v;
  for (size_t i = 0; i < sizeof v / sizeof part; ++i)
    memcpy(reinterpret_cast<char*>(&v) + i * sizeof part, &part, sizeof part);
  return v;
}

}  // namespace lanes

inline __m512 _mm512_setzero_ps() { return lanes::zero<__m512>(); }
inline __m512d _mm512_setzero_pd() { return lanes::zero<__m512d>(); }
inline __m512i _mm512_setzero_si512() { return lanes::zero<__m512i>(); }
inline __m512i _mm512_setzero_epi32() { return lanes::zero<__m512i>(); }
inline __m512 _mm512_undefined_ps() { return lanes::zero<__m512>(); }
inline __m512i _mm512_undefined_epi32() { return lanes::zero<__m512i>(); }
inline __m512 _mm512_set1_ps(float x) { return lanes::all<__m512>(x); }
inline __m512d _mm512_set1_pd(double x) { return lanes::all<__m512d>(x); }
inline __m512i _mm512_set1_epi8(char x) { return lanes::all<__m512i>(x); }
inline __m512i _mm512_set1_epi16(short x) { return lanes::all<__m512i>(x); }
inline __m512i _mm512_set1_epi32(int x) { return lanes::all<__m512i>(x); }
inline __m512i _mm512_set1_epi64(long long x) { return lanes::all<__m512i>(x); }
EMULATE_MASKS_1(_mm512, set1_epi8, int8_t, __m512i, char)
EMULATE_MASKS_1(_mm512, set1_epi16, int16_t, __m512i, short)
EMULATE_MASKS_1(_mm512, set1_epi32, int32_t, __m512i, int)
EMULATE_MASKS_1(_mm512, set1_epi64, int64_t, __m512i, long long)
EMULATE_MASKS_1(_mm256, set1_epi8, int8_t, __m256i, char)
EMULATE_MASKS_1(_mm256, set1_epi16, int16_t, __m256i, short)
EMULATE_MASKS_1(_mm256, set1_epi32, int32_t, __m256i, int)

#define EMULATE_SET(NAME, T, V)             \
  template <class... X>                     \
  inline V _mm512_setr_##NAME(X... x) {     \
    return lanes::from_lowest<V, T>(x...);  \
  }                                         \
  template <class... X>                     \
  inline V _mm512_set_##NAME(X... x) {      \
    return lanes::from_highest<V, T>(x...); \
  }
EMULATE_SET(epi8, int8_t, __m512i)
EMULATE_SET(epi16, int16_t, __m512i)
EMULATE_SET(epi32, int32_t, __m512i)
EMULATE_SET(epi64, int64_t, __m512i)
EMULATE_SET(ps, float, __m512)
EMULATE_SET(pd, double, __m512d)
#undef EMULATE_SET

#define EMULATE_CAST(FROM, TO, F, T) \
  inline T _mm512_cast##FROM##_##TO(F v) { return reinterpret_cast<T>(v); }
EMULATE_CAST(ps, si512, __m512, __m512i)
EMULATE_CAST(si512, ps, __m512i, __m512)
EMULATE_CAST(pd, si512, __m512d, __m512i)
EMULATE_CAST(si512, pd, __m512i, __m512d)
EMULATE_CAST(ps, pd, __m512, __m512d)
EMULATE_CAST(pd, ps, __m512d, __m512)
#undef EMULATE_CAST
// The upper part of a widening cast is undefined: here it is a pattern that no sum survives (NaN in every format).
inline __m512i _mm512_castsi256_si512(__m256i v) { return lanes::join(v, _mm256_set1_epi8(-1)); }
inline __m512 _mm512_castps256_ps512(__m256 v) { return lanes::join(v, _mm256_castsi256_ps(_mm256_set1_epi8(-1))); }
inline __m512i _mm512_castsi128_si512(__m128i v) { return lanes::insert(_mm512_set1_epi8(-1), v, 0); }
inline __m512 _mm512_castps128_ps512(__m128 v) {
  return lanes::insert(_mm512_castsi512_ps(_mm512_set1_epi8(-1)), v, 0);
}
inline __m512i _mm512_zextsi256_si512(__m256i v) { return lanes::join(v, _mm256_setzero_si256()); }
inline __m512 _mm512_zextps256_ps512(__m256 v) { return lanes::join(v, _mm256_setzero_ps()); }
inline __m512i _mm512_zextsi128_si512(__m128i v) { return lanes::insert(_mm512_setzero_si512(), v, 0); }
inline __m512 _mm512_zextps128_ps512(__m128 v) { return lanes::insert(_mm512_setzero_ps(), v, 0); }
inline __m256i _mm512_castsi512_si256(__m512i v) { return lanes::low(v); }
inline __m256 _mm512_castps512_ps256(__m512 v) { return lanes::low(v); }
inline __m128i _mm512_castsi512_si128(__m512i v) { return lanes::extract<__m128i>(v, 0); }
inline __m128 _mm512_castps512_ps128(__m512 v) { return lanes::extract<__m128>(v, 0); }
inline float _mm512_cvtss_f32(__m512 v) { return lanes::of<float>(v)[0]; }
inline int _mm512_cvtsi512_si32(__m512i v) { return lanes::of<int32_t>(v)[0]; }

inline __m256i _mm512_extracti32x8_epi32(__m512i v, int i) { return lanes::extract<__m256i>(v, i); }
inline __m256i _mm512_extracti64x4_epi64(__m512i v, int i) { return lanes::extract<__m256i>(v, i); }
inline __m256 _mm512_extractf32x8_ps(__m512 v, int i) { return lanes::extract<__m256>(v, i); }
inline __m128i _mm512_extracti32x4_epi32(__m512i v, int i) { return lanes::extract<__m128i>(v, i); }
inline __m128 _mm512_extractf32x4_ps(__m512 v, int i) { return lanes::extract<__m128>(v, i); }
inline __m512i _mm512_inserti32x8(__m512i v, __m256i part, int i) { return lanes::insert(v, part, i); }
inline __m512i _mm512_inserti64x4(__m512i v, __m256i part, int i) { return lanes::insert(v, part, i); }
inline __m512 _mm512_insertf32x8(__m512 v, __m256 part, int i) { return lanes::insert(v, part, i); }
inline __m512i _mm512_inserti32x4(__m512i v, __m128i part, int i) { return lanes::insert(v, part, i); }
inline __m512 _mm512_insertf32x4(__m512 v, __m128 part, int i) { return lanes::insert(v, part, i); }
inline __m512i _mm512_broadcast_i32x4(__m128i v) { return lanes::repeat<__m512i>(v); }
inline __m512i _mm512_broadcast_i32x8(__m256i v) { return lanes::repeat<__m512i>(v); }
inline __m512i _mm512_broadcast_i64x4(__m256i v) { return lanes::repeat<__m512i>(v); }
inline __m512 _mm512_broadcast_f32x4(__m128 v) { return lanes::repeat<__m512>(v); }
inline __m512 _mm512_broadcast_f32x8(__m256 v) { return lanes::repeat<__m512>(v); }
inline __m256i _mm256_broadcast_i32x4(__m128i v) { return lanes::repeat<__m256i>(v); }
inline __m512i _mm512_broadcastb_epi8(__m128i v) { return lanes::all<__m512i>(lanes::of<int8_t>(v)[0]); }
inline __m512i _mm512_broadcastw_epi16(__m128i v) { return lanes::all<__m512i>(lanes::of<int16_t>(v)[0]); }
inline __m512i _mm512_broadcastd_epi32(__m128i v) { return lanes::all<__m512i>(lanes::of<int32_t>(v)[0]); }
inline __m512i _mm512_broadcastq_epi64(__m128i v) { return lanes::all<__m512i>(lanes::of<int64_t>(v)[0]); }
inline __m512 _mm512_broadcastss_ps(__m128 v) { return lanes::all<__m512>(lanes::of<float>(v)[0]); }

// P: _mm512, _mm256 or _mm. NAME, T: the element.
#define EMULATE_MOVES(P, NAME, T, V)                                                                                   \
  inline V P##_loadu_##NAME(const void* p) { return lanes::load<V>(p); }                                               \
  inline void P##_storeu_##NAME(void* p, V v) { memcpy(p, &v, sizeof v); }                                             \
  inline V P##_maskz_loadu_##NAME(uint64_t k, const void* p) { return lanes::masked_load<T>(lanes::zero<V>(), k, p); } \
  inline V P##_mask_loadu_##NAME(V src, uint64_t k, const void* p) { return lanes::masked_load<T>(src, k, p); }        \
  inline void P##_mask_storeu_##NAME(void* p, uint64_t k, V v) { lanes::masked_store<T>(p, k, v); }                    \
  inline V P##_mask_blend_##NAME(uint64_t k, V a, V b) { return lanes::select<T>(k, a, b); }                           \
  inline V P##_mask_mov_##NAME(V src, uint64_t k, V a) { return lanes::select<T>(k, src, a); }                         \
  inline V P##_maskz_mov_##NAME(uint64_t k, V a) { return lanes::select<T>(k, lanes::zero<V>(), a); }
EMULATE_MOVES(_mm512, epi8, int8_t, __m512i)
EMULATE_MOVES(_mm512, epi16, int16_t, __m512i)
EMULATE_MOVES(_mm512, epi32, int32_t, __m512i)
EMULATE_MOVES(_mm512, epi64, int64_t, __m512i)
EMULATE_MOVES(_mm512, ps, float, __m512)
EMULATE_MOVES(_mm512, pd, double, __m512d)
EMULATE_MOVES(_mm256, epi8, int8_t, __m256i)
EMULATE_MOVES(_mm256, epi16, int16_t, __m256i)
EMULATE_MOVES(_mm256, epi32, int32_t, __m256i)
EMULATE_MOVES(_mm256, epi64, int64_t, __m256i)
EMULATE_MOVES(_mm256, ps, float, __m256)
EMULATE_MOVES(_mm, epi8, int8_t, __m128i)
EMULATE_MOVES(_mm, epi16, int16_t, __m128i)
EMULATE_MOVES(_mm, epi32, int32_t, __m128i)
EMULATE_MOVES(_mm, ps, float, __m128)
#undef EMULATE_MOVES

inline __m512i _mm512_loadu_si512(const void* p) { return lanes::load<__m512i>(p); }
inline void _mm512_storeu_si512(void* p, __m512i v) { memcpy(p, &v, sizeof v); }
inline __m512i _mm512_load_si512(const void* p) { return lanes::load_aligned<__m512i>(p); }
inline __m512i _mm512_load_epi32(const void* p) { return lanes::load_aligned<__m512i>(p); }
inline __m512 _mm512_load_ps(const void* p) { return lanes::load_aligned<__m512>(p); }
inline __m512i _mm512_stream_load_si512(const void* p) { return lanes::load_aligned<__m512i>(p); }
inline void _mm512_store_si512(void* p, __m512i v) { lanes::store_aligned(p, v); }
inline void _mm512_store_epi32(void* p, __m512i v) { lanes::store_aligned(p, v); }
inline void _mm512_store_ps(void* p, __m512 v) { lanes::store_aligned(p, v); }
inline void _mm512_stream_si512(void* p, __m512i v) { lanes::store_aligned(p, v); }
inline void _mm512_stream_ps(void* p, __m512 v) { lanes::store_aligned(p, v); }

inline __m512i _mm512_mask_i32gather_epi32(__m512i src, uint64_t k, __m512i index, const void* p, int scale) {
  auto x = lanes::of<int32_t>(src);
  const auto at = lanes::of<int32_t>(index);
  for (int i = 0; i < 16; ++i)
    if ((k >> i & 1) != 0) memcpy(&x[i], static_cast<const char*>(p) + static_cast<int64_t>(at[i]) * scale, 4);
  lanes::put(src, x);
  return src;
}
inline __m512i _mm512_i32gather_epi32(__m512i index, const void* p, int scale) {
  return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), 0xffff, index, p, scale);
}
inline __m512 _mm512_mask_i32gather_ps(__m512 src, uint64_t k, __m512i index, const void* p, int scale) {
  return _mm512_castsi512_ps(_mm512_mask_i32gather_epi32(_mm512_castps_si512(src), k, index, p, scale));
}
inline __m512 _mm512_i32gather_ps(__m512i index, const void* p, int scale) {
  return _mm512_castsi512_ps(_mm512_i32gather_epi32(index, p, scale));
}

}  // namespace
}  // namespace inkstone
