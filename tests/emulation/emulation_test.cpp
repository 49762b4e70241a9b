// The emulated instructions against values worked out by hand: those whose corners kernels rely on.
#include <gtest/gtest.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace inkstone {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kLeastNormal = std::numeric_limits<float>::min();
constexpr float kLeast = std::numeric_limits<float>::denorm_min();

template <class T, class V>
std::array<T, sizeof(V) / sizeof(T)> elements(V v) {
  return std::bit_cast<std::array<T, sizeof(V) / sizeof(T)>>(v);
}
uint32_t bits(float x) { return std::bit_cast<uint32_t>(x); }

TEST(Emulation, MaskedMovesDoNotTouchMaskedMemory) {
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* mapped = mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  char* const end = static_cast<char*>(mapped) + page;  // nothing can be read from here on
  ASSERT_EQ(mprotect(end, page, PROT_NONE), 0);
  memset(mapped, 7, page);
  const auto bytes = elements<int8_t>(_mm512_maskz_loadu_epi8(0x7, end - 3));
  EXPECT_EQ(bytes[2], 7);
  EXPECT_EQ(bytes[3], 0);
  EXPECT_EQ(elements<int16_t>(_mm512_mask_loadu_epi16(_mm512_set1_epi16(9), 1, end - 2))[0], 0x0707);
  EXPECT_EQ(elements<int16_t>(_mm512_mask_loadu_epi16(_mm512_set1_epi16(9), 1, end - 2))[31], 9);
  EXPECT_EQ(elements<int32_t>(_mm512_maskz_loadu_epi32(0x3, end - 8))[2], 0);
  EXPECT_EQ(elements<int32_t>(_mm256_maskz_loadu_epi32(0, end))[0], 0);
  _mm512_mask_storeu_ps(end - 4, 1, _mm512_set1_ps(2));
  _mm512_mask_cvtepi32_storeu_epi8(end - 5, 1, _mm512_set1_epi32(0x1ff));
  EXPECT_EQ(static_cast<unsigned char>(end[-5]), 0xff);
  EXPECT_EQ(elements<float>(_mm512_maskz_loadu_ps(1, end - 4))[0], 2);
  const __m512i index = _mm512_setr_epi32(0, 1 << 20, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  const auto gathered = elements<float>(_mm512_mask_i32gather_ps(_mm512_set1_ps(5), 1, index, end - 4, 4));
  EXPECT_EQ(gathered[0], 2);
  EXPECT_EQ(gathered[1], 5);
  munmap(mapped, 2 * page);
}

TEST(Emulation, ArgumentsInBothOrders) {
  const auto up = elements<int32_t>(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const auto down = elements<int32_t>(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0));
  for (int i = 0; i < 16; ++i) EXPECT_EQ(up[i], i);
  EXPECT_EQ(up, down);
}

TEST(Emulation, ShiftsBeyondTheWidth) {
  const __m512i counts = _mm512_setr_epi32(0, 1, 31, 32, 33, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  const __m512i x = _mm512_set1_epi32(static_cast<int>(0x80000001));
  const auto right = elements<uint32_t>(_mm512_srlv_epi32(x, counts));
  EXPECT_EQ(right[1], 0x40000000u);
  EXPECT_EQ(right[2], 1u);
  EXPECT_EQ(right[3], 0u);
  EXPECT_EQ(right[5], 0u);
  EXPECT_EQ(elements<int32_t>(_mm512_srav_epi32(x, counts))[4], -1);
  EXPECT_EQ(elements<uint32_t>(_mm512_sllv_epi32(x, counts))[2], 0x80000000u);
  EXPECT_EQ(elements<uint32_t>(_mm512_srli_epi32(x, 32))[0], 0u);
  const __m512i halves = _mm512_set1_epi16(static_cast<short>(0x8001));
  const auto by = [](int n) { return _mm512_set1_epi16(static_cast<short>(n)); };
  EXPECT_EQ(elements<uint16_t>(_mm512_srlv_epi16(halves, by(15)))[7], 1);
  EXPECT_EQ(elements<uint16_t>(_mm512_srlv_epi16(halves, by(16)))[7], 0);
  EXPECT_EQ(elements<uint16_t>(_mm512_sllv_epi16(halves, by(0x1001)))[7], 0);
  EXPECT_EQ(elements<int16_t>(_mm512_srav_epi16(halves, by(-1)))[7], -1);
  EXPECT_EQ(elements<uint32_t>(_mm512_ror_epi32(x, 1))[0], 0xc0000000u);
}

TEST(Emulation, Permutations) {
  std::array<uint16_t, 32> low, high, index;
  for (int i = 0; i < 32; ++i) {
    low[i] = static_cast<uint16_t>(i);
    high[i] = static_cast<uint16_t>(100 + i);
    index[i] = static_cast<uint16_t>(63 - 2 * i);
  }
  index[30] = 0xffc0 | 33;  // only the lowest six bits count
  const __m512i a = _mm512_loadu_si512(low.data()), b = _mm512_loadu_si512(high.data());
  const __m512i at = _mm512_loadu_si512(index.data());
  const auto both = elements<uint16_t>(_mm512_permutex2var_epi16(a, at, b));
  EXPECT_EQ(both[0], 131);  // 63: the last of b
  EXPECT_EQ(both[15], 101);
  EXPECT_EQ(both[16], 31);
  EXPECT_EQ(both[30], 101);
  EXPECT_EQ(elements<uint16_t>(_mm512_permutexvar_epi16(at, a))[0], 31);
  const __m512i reversed = _mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 16 + 3);
  const __m512 floats = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const auto picked = elements<float>(_mm512_permutexvar_ps(reversed, floats));
  for (int i = 0; i < 15; ++i) EXPECT_EQ(picked[i], 15 - i);
  EXPECT_EQ(picked[15], 3);
  EXPECT_EQ(elements<float>(_mm512_permutex2var_ps(floats, reversed, _mm512_set1_ps(-1)))[15], -1);
  // Lanes of 4: 1 and 3 of the first, then 0 and 2 of the second.
  const auto shuffled = elements<float>(_mm512_shuffle_f32x4(floats, floats, 0b10'00'11'01));
  EXPECT_EQ(shuffled[0], 4);
  EXPECT_EQ(shuffled[4], 12);
  EXPECT_EQ(shuffled[8], 0);
  EXPECT_EQ(shuffled[15], 11);
  const auto pairs = elements<float>(_mm512_shuffle_ps(floats, _mm512_setzero_ps(), 0b11'10'00'11));
  EXPECT_EQ(pairs[12], 15);
  EXPECT_EQ(pairs[13], 12);
  EXPECT_EQ(pairs[14], 0);
  EXPECT_EQ(elements<int32_t>(_mm512_alignr_epi32(_mm512_set1_epi32(-1), reversed, 14))[1], 19);
  EXPECT_EQ(elements<int32_t>(_mm512_alignr_epi32(_mm512_set1_epi32(-1), reversed, 14))[2], -1);
  EXPECT_EQ(elements<uint16_t>(_mm512_bsrli_epi128(a, 2))[7], 0);
  EXPECT_EQ(elements<uint16_t>(_mm512_bsrli_epi128(a, 2))[8], 9);
  // Interleaving stays within 128 bits, and so does packing.
  EXPECT_EQ(elements<float>(_mm512_unpackhi_ps(floats, _mm512_setzero_ps()))[14], 15);
  EXPECT_EQ(elements<int16_t>(_mm512_packs_epi32(reversed, _mm512_set1_epi32(70000)))[4], 32767);
  EXPECT_EQ(elements<int16_t>(_mm512_packs_epi32(reversed, _mm512_set1_epi32(70000)))[8], 11);
  EXPECT_EQ(elements<int32_t>(_mm512_maskz_compress_epi32(0x8001, reversed))[1], 19);
}

TEST(Emulation, TernaryLogic) {
  const __m512i a = _mm512_set1_epi32(0b11110000), b = _mm512_set1_epi32(0b11001100), c = _mm512_set1_epi32(0b10101010);
  EXPECT_EQ(elements<uint8_t>(_mm512_ternarylogic_epi32(a, b, c, 0xd8))[0], 0xd8);  // the table is what it gives
  EXPECT_EQ(elements<uint8_t>(_mm512_ternarylogic_epi32(a, b, c, 0x96))[0], 0x96);
}

TEST(Emulation, Comparisons) {
  const __m512 a = _mm512_setr_ps(1, 2, 3, kNan, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  const __m512 b = _mm512_setr_ps(2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  EXPECT_EQ(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ) & 0xf, 0b0001);
  EXPECT_EQ(_mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q) & 0xf, 0b1000);
  EXPECT_EQ(_mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ) & 0xf, 0b1101);
  EXPECT_EQ(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ) & 0xf, 0b0110);
  EXPECT_EQ(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ) & 0xf, 0b1110);
  EXPECT_EQ(_mm512_cmpgt_epi8_mask(_mm512_setzero_si512(), _mm512_set1_epi8(-1)), ~uint64_t{0});
  EXPECT_EQ(_mm512_cmpgt_epu8_mask(_mm512_setzero_si512(), _mm512_set1_epi8(-1)), 0u);
}

TEST(Emulation, PowersOfTwo) {
  const auto scaled = [](float a, float b) {
    return elements<float>(_mm512_scalef_ps(_mm512_set1_ps(a), _mm512_set1_ps(b)))[5];
  };
  EXPECT_EQ(scaled(3, 2.9f), 12);  // 2^floor
  EXPECT_EQ(scaled(3, -0.5f), 1.5f);
  EXPECT_EQ(scaled(1, -149), kLeast);
  EXPECT_EQ(scaled(1, -150), 0);          // half of the least: to even
  EXPECT_EQ(scaled(1.5f, -150), kLeast);  // more than half of it
  EXPECT_EQ(scaled(kLeast, 149), 1);
  EXPECT_EQ(scaled(-1, 1000), -kInf);
  EXPECT_EQ(bits(scaled(-1, -1e30f)), 0x80000000u);
  EXPECT_EQ(scaled(2, -kInf), 0);
  EXPECT_EQ(scaled(0, 1e30f), 0);
  EXPECT_TRUE(std::isnan(scaled(0, kInf)));
  EXPECT_TRUE(std::isnan(scaled(kInf, -kInf)));
  EXPECT_TRUE(std::isnan(scaled(1, kNan)));
  const auto rounded = [](float a, int how) {
    return elements<float>(_mm512_roundscale_ps(_mm512_set1_ps(a), how))[9];
  };
  EXPECT_EQ(rounded(2.5f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), 2);
  EXPECT_EQ(rounded(-2.5f, _MM_FROUND_TO_NEG_INF), -3);
  EXPECT_EQ(rounded(2.1f, _MM_FROUND_TO_POS_INF), 3);
  EXPECT_EQ(rounded(-2.9f, _MM_FROUND_TO_ZERO), -2);
}

TEST(Emulation, MaximaAndNan) {  // the second operand where either is NaN, as the kernels know
  const __m512 nan = _mm512_set1_ps(kNan), one = _mm512_set1_ps(1);
  EXPECT_EQ(elements<float>(_mm512_max_ps(nan, one))[0], 1);
  EXPECT_TRUE(std::isnan(elements<float>(_mm512_max_ps(one, nan))[15]));
}

TEST(Emulation, Narrowing) {
  const __m512i x = _mm512_set1_epi32(0x12345);
  EXPECT_EQ(elements<uint16_t>(_mm512_cvtepi32_epi16(x))[3], 0x2345);
  EXPECT_EQ(elements<int16_t>(_mm512_cvtsepi32_epi16(x))[3], 32767);
  EXPECT_EQ(elements<int8_t>(_mm512_cvtsepi32_epi8(_mm512_set1_epi32(-129)))[15], -128);
  EXPECT_EQ(elements<uint8_t>(_mm512_cvtusepi32_epi8(_mm512_set1_epi32(-1)))[15], 255);
  EXPECT_EQ(elements<int8_t>(_mm512_cvtepi16_epi8(_mm512_set1_epi16(0x17f)))[31], 127);
  EXPECT_EQ(elements<int16_t>(_mm512_cvtepu8_epi16(_mm256_set1_epi8(-1)))[31], 255);
  EXPECT_EQ(elements<int32_t>(_mm512_cvtepi8_epi32(_mm_set1_epi8(-1)))[15], -1);
}

TEST(Emulation, IntegerDotProducts) {
  const auto words = [](int a, int b, int sum) {
    return elements<int32_t>(_mm512_dpwssd_epi32(_mm512_set1_epi32(sum), _mm512_set1_epi16(static_cast<short>(a)),
                                                 _mm512_set1_epi16(static_cast<short>(b))))[7];
  };
  EXPECT_EQ(words(-3, 5, 100), 70);
  EXPECT_EQ(words(-32768, -32768, 0), INT32_MIN);  // 2^31 wraps, which vpmaddwd knows as well
  EXPECT_EQ(words(-32768, -32768, -1), INT32_MAX);
  EXPECT_EQ(elements<int32_t>(
                _mm512_dpwssds_epi32(_mm512_set1_epi32(1), _mm512_set1_epi16(-32768), _mm512_set1_epi16(-32768)))[0],
            INT32_MAX);
  // The first operand's bytes are unsigned, and four products do not saturate on the way.
  EXPECT_EQ(
      elements<int32_t>(_mm512_dpbusd_epi32(_mm512_set1_epi32(1), _mm512_set1_epi8(-1), _mm512_set1_epi8(-128)))[0],
      1 - 4 * 255 * 128);
  EXPECT_EQ(elements<int32_t>(_mm256_dpbusd_epi32(_mm256_set1_epi32(0), _mm256_set1_epi8(2), _mm256_set1_epi8(-3)))[7],
            -24);
  EXPECT_EQ(elements<int16_t>(_mm512_maddubs_epi16(_mm512_set1_epi8(-1), _mm512_set1_epi8(127)))[0], 32767);
}

uint16_t bf16(float x) { return static_cast<uint16_t>(bits(x) >> 16); }
__m512bh pairs(uint16_t even, uint16_t odd) {
  return std::bit_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(static_cast<uint32_t>(odd) << 16 | even)));
}
float dot(float sum, __m512bh a, __m512bh b) { return elements<float>(_mm512_dpbf16_ps(_mm512_set1_ps(sum), a, b))[3]; }

TEST(Emulation, Bf16Conversion) {
  const auto converted = [](uint32_t x) {
    return elements<uint16_t>(_mm512_cvtneps_pbh(_mm512_set1_ps(std::bit_cast<float>(x))))[2];
  };
  EXPECT_EQ(converted(0x3f808000), 0x3f80);  // a tie: to even
  EXPECT_EQ(converted(0x3f818000), 0x3f82);
  EXPECT_EQ(converted(0x3f808001), 0x3f81);
  EXPECT_EQ(converted(0x7f7fffff), 0x7f80);  // to infinity
  EXPECT_EQ(converted(0xff800000), 0xff80);
  EXPECT_EQ(converted(0x7f800001), 0x7fc0);  // NaN stays one, quiet
  EXPECT_EQ(converted(0x807fffff), 0x8000);  // subnormals do not
  const auto two = elements<uint16_t>(_mm512_cvtne2ps_pbh(_mm512_set1_ps(1), _mm512_set1_ps(2)));
  EXPECT_EQ(two[0], bf16(2));
  EXPECT_EQ(two[31], bf16(1));
}

TEST(Emulation, Bf16DotProducts) {
  EXPECT_EQ(dot(10, pairs(bf16(2), bf16(3)), pairs(bf16(5), bf16(-7))), -1);
  // Odd neighbours first: 1 is lost in 2^25, which then goes away. The other way round it would stay.
  EXPECT_EQ(dot(1, pairs(bf16(-0x1p25f), bf16(0x1p25f)), pairs(bf16(1), bf16(1))), 0);
  // A subnormal is zero: as a factor, as the sum, as the result.
  EXPECT_EQ(dot(0, pairs(0x0040, 0), pairs(bf16(0x1p100f), 0)), 0);
  EXPECT_EQ(dot(kLeast, pairs(0, 0), pairs(0, 0)), 0);
  EXPECT_EQ(bits(dot(0, pairs(bf16(-kLeastNormal), 0), pairs(bf16(0.5f), 0))), 0x80000000u);
  EXPECT_TRUE(std::isnan(dot(0, pairs(bf16(kInf), 0), pairs(0, 0))));
  EXPECT_EQ(dot(0, pairs(bf16(kInf), 0), pairs(bf16(2), 0)), kInf);
  // And whoever computes afterwards finds the subnormals that it had.
  volatile float least = kLeast;
  EXPECT_EQ(least * 2, std::bit_cast<float>(2u));
}

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};
// 0: 3 x 5 sums. 1: 3 rows of 2 steps. 2: 2 steps of 5 columns. 3: whole.
TileConfig small_shapes() {
  TileConfig c;
  const uint16_t bytes[] = {20, 8, 20, 64};
  const uint8_t rows[] = {3, 3, 2, 16};
  for (int i = 0; i < 4; ++i) {
    c.bytes[i] = bytes[i];
    c.rows[i] = rows[i];
  }
  return c;
}
void configure(const TileConfig& c) { _tile_loadconfig(&c); }

TEST(EmulationTiles, Bf16Product) {
  configure(small_shapes());
  uint16_t a[3][4], b[2][10];
  float sums[3][6], expected[3][5];
  for (int m = 0; m < 3; ++m)
    for (int k = 0; k < 4; ++k) a[m][k] = bf16(static_cast<float>(m + 2 * k - 3));
  for (int k = 0; k < 2; ++k)
    for (int n = 0; n < 10; ++n) b[k][n] = bf16(static_cast<float>(3 * k - n));
  for (int m = 0; m < 3; ++m) {
    for (int n = 0; n < 6; ++n) sums[m][n] = 100;
    for (int n = 0; n < 5; ++n) {
      float sum = 100;
      for (int k = 0; k < 4; ++k) sum += static_cast<float>((m + 2 * k - 3) * (3 * (k / 2) - (2 * n + k % 2)));
      expected[m][n] = sum;
    }
  }
  _tile_loadd(0, sums, sizeof sums[0]);
  _tile_loadd(1, a, sizeof a[0]);
  _tile_stream_loadd(2, b, sizeof b[0]);
  _tile_dpbf16ps(0, 1, 2);
  _tile_stored(0, sums, sizeof sums[0]);
  for (int m = 0; m < 3; ++m) {
    for (int n = 0; n < 5; ++n) EXPECT_EQ(sums[m][n], expected[m][n]) << m << ", " << n;
    EXPECT_EQ(sums[m][5], 100) << "a store beyond the columns";
  }
  _tile_zero(0);
  _tile_stored(0, sums, sizeof sums[0]);
  EXPECT_EQ(sums[2][4], 0);
  _tile_release();
}

TEST(EmulationTiles, Bf16SumsApart) {
  TileConfig c;
  for (int i = 0; i < 3; ++i) {
    c.bytes[i] = i == 1 ? 8 : 4;
    c.rows[i] = i == 2 ? 2 : 1;
  }
  configure(c);
  const auto product = [](float sum, std::array<uint16_t, 4> a) {
    const std::array<uint16_t, 4> ones = {bf16(1), bf16(1), bf16(1), bf16(1)};
    _tile_loadd(0, &sum, 4);
    _tile_loadd(1, a.data(), 8);
    _tile_loadd(2, ones.data(), 4);
    _tile_dpbf16ps(0, 1, 2);
    _tile_stored(0, &sum, 4);
    return sum;
  };
  // The even ones cancel before an odd one comes near them; in order 1 would be lost.
  EXPECT_EQ(product(0, {bf16(0x1p25f), bf16(1), bf16(-0x1p25f), 0}), 1);
  // What was there is added last.
  EXPECT_EQ(product(1, {bf16(0x1p25f), 0, bf16(-0x1p25f), 0}), 1);
  EXPECT_EQ(product(kLeast, {0x0001, 0x0001, 0, 0}), 0);
  EXPECT_TRUE(std::isnan(product(0, {bf16(kInf), bf16(-kInf), 0, 0})));
  _tile_release();
}

TEST(EmulationTiles, ByteProducts) {
  TileConfig c;
  for (int i = 0; i < 3; ++i) c.bytes[i] = 4, c.rows[i] = 1;
  configure(c);
  const int8_t a[4] = {-1, 2, 3, 4}, b[4] = {5, -6, 7, 8};
  int32_t sum = 0;
  _tile_loadd(1, a, 4);
  _tile_loadd(2, b, 4);
  _tile_zero(0);
  _tile_dpbssd(0, 1, 2);
  _tile_stored(0, &sum, 4);
  EXPECT_EQ(sum, -5 - 12 + 21 + 32);
  _tile_zero(0);
  _tile_dpbusd(0, 1, 2);
  _tile_stored(0, &sum, 4);
  EXPECT_EQ(sum, 255 * 5 - 12 + 21 + 32);
  _tile_release();
}

TEST(EmulationTilesDeathTest, WhatTheProcessorRefuses) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  float sums[16][16] = {};
  _tile_release();
  EXPECT_DEATH(_tile_zero(0), "no configuration");
  configure(small_shapes());
  EXPECT_DEATH(_tile_loadd(4, sums, 64), "without rows");
  EXPECT_DEATH(_tile_loadd(8, sums, 64), "beyond the eighth");
  EXPECT_DEATH(_tile_dpbf16ps(0, 1, 3), "shapes disagree");
  EXPECT_DEATH(_tile_dpbf16ps(0, 2, 1), "shapes disagree");
  EXPECT_DEATH(_tile_dpbf16ps(3, 3, 3), "not three");
  TileConfig c = small_shapes();
  c.rows[0] = 17;
  EXPECT_DEATH(configure(c), "16 rows of 64 bytes");
  c = small_shapes();
  c.rows[5] = 1;
  EXPECT_DEATH(configure(c), "rows but no bytes");
  c = small_shapes();
  c.reserved[3] = 1;
  EXPECT_DEATH(configure(c), "reserved");
  EXPECT_DEATH(_mm512_load_ps(&sums[0][1]), "aligned");
}

}  // namespace
}  // namespace inkstone
