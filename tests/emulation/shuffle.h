// Permutations. Those within 128 bits by a vector of indices are AVX2's (arithmetic.h).
#pragma once

namespace inkstone {
namespace {
namespace lanes {

// Element i is a's element `index(i)`.
template <class T, class V, class F>
EMULATED_CALL V pick(V a, F index) {
  const auto x = of<T>(a);
  auto r = x;
  for (int i = 0; i < x.kCount; ++i) r[i] = x[index(i)];
  put(a, r);
  return a;
}
// Index is the unsigned type of T's size.
template <class T, class Index, class V, class W>
inline V permute(W index, V a) {
  const auto at = of<Index>(index);
  return pick<T>(a, [&at](int i) { return static_cast<int>(at[i] & (at.kCount - 1u)); });
}
template <class T, class Index, class V, class W>
EMULATED_CALL V permute2(V a, W index, V b) {
  const auto x = of<T>(a), y = of<T>(b);
  const auto at = of<Index>(index);
  constexpr unsigned kCount = at.kCount;
  auto r = x;
  for (int i = 0; i < r.kCount; ++i) {
    const int from = static_cast<int>(at[i] & (kCount - 1));
    r[i] = (at[i] & kCount) != 0 ? y[from] : x[from];
  }
  put(a, r);
  return a;
}
// 128-bit lanes: the lower half of the result's from a, the upper half's from b, by 2 bits each (1 bit in 256).
template <class V>
EMULATED_CALL V shuffle_lanes(V a, V b, int imm) {
  constexpr int kCount = sizeof(V) / 16, kBits = kCount / 2;
  struct Quarters {
    __m128i at[kCount];
  } x, y, r;
  memcpy(&x, &a, sizeof a);
  memcpy(&y, &b, sizeof b);
  for (int i = 0; i < kCount; ++i) r.at[i] = (i < kCount / 2 ? x : y).at[imm >> (i * kBits) & (kCount - 1)];
  memcpy(&a, &r, sizeof a);
  return a;
}
// In each 128 bits: the lower two elements from a, the upper two from b, by 2 bits each.
template <class T, class V>
EMULATED_CALL V shuffle_pairs(V a, V b, int imm) {
  const auto x = of<T>(a), y = of<T>(b);
  auto r = x;
  for (int i = 0; i < r.kCount; ++i) r[i] = ((i & 2) == 0 ? x : y)[(i & ~3) + (imm >> (2 * (i & 3)) & 3)];
  put(a, r);
  return a;
}
// The elements from number n on of b followed by a, in each `kBytes` bytes.
template <class T, int kBytes, class V>
EMULATED_CALL V align(V a, V b, int n) {
  const auto x = of<T>(a), y = of<T>(b);
  auto r = x;
  constexpr int kCount = kBytes / static_cast<int>(sizeof(T));
  for (int i = 0; i < r.kCount; ++i) {
    const int from = i % kCount + n, base = i / kCount * kCount;
    r[i] = from < kCount ? y[base + from] : from < 2 * kCount ? x[base + from - kCount] : T{0};
  }
  put(a, r);
  return a;
}

}  // namespace lanes

#define EMULATE_PERMUTE(P, NAME, T, I, V, W)                                                         \
  inline V P##_permutexvar_##NAME(W index, V a) { return lanes::permute<T, I>(index, a); }           \
  inline V P##_permutex2var_##NAME(V a, W index, V b) { return lanes::permute2<T, I>(a, index, b); } \
  EMULATE_MASKS_2(P, permutexvar_##NAME, T, V, W, V)                                                 \
  EMULATE_MASKS_3(P, permutex2var_##NAME, T, V, W, V)
EMULATE_PERMUTE(_mm512, epi8, int8_t, uint8_t, __m512i, __m512i)
EMULATE_PERMUTE(_mm512, epi16, int16_t, uint16_t, __m512i, __m512i)
EMULATE_PERMUTE(_mm512, epi32, int32_t, uint32_t, __m512i, __m512i)
EMULATE_PERMUTE(_mm512, epi64, int64_t, uint64_t, __m512i, __m512i)
EMULATE_PERMUTE(_mm256, epi8, int8_t, uint8_t, __m256i, __m256i)
EMULATE_PERMUTE(_mm256, epi16, int16_t, uint16_t, __m256i, __m256i)
EMULATE_PERMUTE(_mm256, epi32, int32_t, uint32_t, __m256i, __m256i)
EMULATE_PERMUTE(_mm256, ps, float, uint32_t, __m256, __m256i)
#undef EMULATE_PERMUTE
// The most frequent of all: by AVX2's, which takes 3 bits of the 4.
inline __m512 _mm512_permutexvar_ps(__m512i index, __m512 a) {
  const auto half = [&a](__m256i at) {
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(lanes::low(a), at), _mm256_permutevar8x32_ps(lanes::high(a), at),
                            _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)));
  };
  return lanes::join(half(lanes::low(index)), half(lanes::high(index)));
}
EMULATE_MASKS_2(_mm512, permutexvar_ps, float, __m512, __m512i, __m512)
inline __m512 _mm512_permutex2var_ps(__m512 a, __m512i index, __m512 b) {
  return lanes::permute2<float, uint32_t>(a, index, b);
}
EMULATE_MASKS_3(_mm512, permutex2var_ps, float, __m512, __m512i, __m512)

inline __m512 _mm512_shuffle_f32x4(__m512 a, __m512 b, int imm) { return lanes::shuffle_lanes(a, b, imm); }
inline __m512i _mm512_shuffle_i32x4(__m512i a, __m512i b, int imm) { return lanes::shuffle_lanes(a, b, imm); }
inline __m512i _mm512_shuffle_i64x2(__m512i a, __m512i b, int imm) { return lanes::shuffle_lanes(a, b, imm); }
inline __m256 _mm256_shuffle_f32x4(__m256 a, __m256 b, int imm) { return lanes::shuffle_lanes(a, b, imm); }
inline __m256i _mm256_shuffle_i32x4(__m256i a, __m256i b, int imm) { return lanes::shuffle_lanes(a, b, imm); }
inline __m512 _mm512_shuffle_ps(__m512 a, __m512 b, int imm) { return lanes::shuffle_pairs<float>(a, b, imm); }
inline __m512 _mm512_permute_ps(__m512 a, int imm) { return lanes::shuffle_pairs<float>(a, a, imm); }
inline __m512i _mm512_shuffle_epi32(__m512i a, int imm) { return lanes::shuffle_pairs<int32_t>(a, a, imm); }
inline __m512i _mm512_permutex_epi64(__m512i a, int imm) {
  return lanes::pick<int64_t>(a, [imm](int i) { return (i & 4) + (imm >> (2 * (i & 3)) & 3); });
}
inline __m512i _mm512_shufflelo_epi16(__m512i a, int imm) {
  return lanes::pick<int16_t>(a, [imm](int i) { return (i & 4) != 0 ? i : (i & ~3) + (imm >> (2 * (i & 3)) & 3); });
}
inline __m512i _mm512_shufflehi_epi16(__m512i a, int imm) {
  return lanes::pick<int16_t>(a, [imm](int i) { return (i & 4) == 0 ? i : (i & ~3) + (imm >> (2 * (i & 3)) & 3); });
}
inline __m512i _mm512_alignr_epi8(__m512i a, __m512i b, int n) { return lanes::align<int8_t, 16>(a, b, n); }
inline __m512i _mm512_alignr_epi32(__m512i a, __m512i b, int n) { return lanes::align<int32_t, 64>(a, b, n & 15); }
inline __m512i _mm512_alignr_epi64(__m512i a, __m512i b, int n) { return lanes::align<int64_t, 64>(a, b, n & 7); }
inline __m512i _mm512_bsrli_epi128(__m512i a, int n) { return lanes::align<int8_t, 16>(_mm512_setzero_si512(), a, n); }
inline __m512i _mm512_bslli_epi128(__m512i a, int n) {
  return n > 15 ? _mm512_setzero_si512() : lanes::align<int8_t, 16>(a, _mm512_setzero_si512(), 16 - n);
}

// The elements of the mask's ones, moved to the front; and from the front to the ones.
#define EMULATE_COMPRESS(P, NAME, T, V)                                                               \
  inline V P##_mask_compress_##NAME(V src, uint64_t k, V a) {                                         \
    auto r = lanes::of<T>(src);                                                                       \
    const auto x = lanes::of<T>(a);                                                                   \
    for (int i = 0, to = 0; i < x.kCount; ++i)                                                        \
      if ((k >> i & 1) != 0) r[to++] = x[i];                                                          \
    lanes::put(src, r);                                                                               \
    return src;                                                                                       \
  }                                                                                                   \
  inline V P##_maskz_compress_##NAME(uint64_t k, V a) { return P##_mask_compress_##NAME(V{}, k, a); } \
  inline V P##_mask_expand_##NAME(V src, uint64_t k, V a) {                                           \
    auto r = lanes::of<T>(src);                                                                       \
    const auto x = lanes::of<T>(a);                                                                   \
    for (int i = 0, from = 0; i < x.kCount; ++i)                                                      \
      if ((k >> i & 1) != 0) r[i] = x[from++];                                                        \
    lanes::put(src, r);                                                                               \
    return src;                                                                                       \
  }                                                                                                   \
  inline V P##_maskz_expand_##NAME(uint64_t k, V a) { return P##_mask_expand_##NAME(V{}, k, a); }
EMULATE_COMPRESS(_mm512, epi32, int32_t, __m512i)
EMULATE_COMPRESS(_mm512, ps, float, __m512)
#undef EMULATE_COMPRESS

}  // namespace
}  // namespace inkstone
