// Where the processor has AVX-512 with VNNI and BF16: random and awkward bits through its instructions and through the
// emulated ones.
#include <gtest/gtest.h>
#include <immintrin.h>

#include <random>
#include <vector>

namespace inkstone {
namespace {

struct Operands {
  alignas(64) uint32_t a[16], b[16], c[16];
};
using Instruction = void (*)(const Operands&, void* result);

struct Pair {
  const char* name;
  Instruction native, emulated;
};

// The global name is the compiler's own.
#define NATIVE __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16"), noinline))
// No vector crosses a call: with AVX-512 it would travel in another register than without.
#define A(V) (*reinterpret_cast<const V*>(x.a))
#define B(V) (*reinterpret_cast<const V*>(x.b))
#define C(V) (*reinterpret_cast<const V*>(x.c))
#define PAIR(NAME, ...)                                 \
  Pair {                                                \
#NAME, [](const Operands& x, void* result) NATIVE {   \
      const auto v = ::_mm512_##NAME(__VA_ARGS__);        \
      memcpy(result, &v, sizeof v);                       \
    }, [](const Operands& x, void* result) {              \
      const auto v = _mm512_##NAME(__VA_ARGS__);          \
      memcpy(result, &v, sizeof v);                       \
    } \
  }
#define INTS(NAME) PAIR(NAME, A(__m512i), B(__m512i))
#define FLOATS(NAME) PAIR(NAME, A(__m512), B(__m512))

const Pair kPairs[] = {
    INTS(sllv_epi16),
    INTS(srlv_epi16),
    INTS(srav_epi16),
    INTS(srav_epi32),
    INTS(rorv_epi32),
    INTS(permutexvar_epi16),
    INTS(permutexvar_epi32),
    INTS(shuffle_epi8),
    INTS(madd_epi16),
    INTS(maddubs_epi16),
    INTS(packs_epi32),
    INTS(packus_epi16),
    INTS(mullo_epi64),
    INTS(max_epi64),
    FLOATS(scalef_ps),
    FLOATS(max_ps),
    FLOATS(unpacklo_ps),
    PAIR(permutexvar_ps, A(__m512i), B(__m512)),
    PAIR(permutex2var_epi16, A(__m512i), B(__m512i), C(__m512i)),
    PAIR(permutex2var_epi32, A(__m512i), B(__m512i), C(__m512i)),
    PAIR(ternarylogic_epi32, A(__m512i), B(__m512i), C(__m512i), 0xca),
    PAIR(shuffle_ps, A(__m512), B(__m512), 0x4e),
    PAIR(shuffle_f32x4, A(__m512), B(__m512), 0x93),
    PAIR(alignr_epi8, A(__m512i), B(__m512i), 5),
    PAIR(dpwssd_epi32, A(__m512i), B(__m512i), C(__m512i)),
    PAIR(dpwssds_epi32, A(__m512i), B(__m512i), C(__m512i)),
    PAIR(dpbusd_epi32, A(__m512i), B(__m512i), C(__m512i)),
    PAIR(dpbusds_epi32, A(__m512i), B(__m512i), C(__m512i)),
    PAIR(cvtsepi32_epi16, A(__m512i)),
    PAIR(cvtusepi32_epi8, A(__m512i)),
    PAIR(cvtps_epi32, A(__m512)),
    PAIR(cvtneps_pbh, A(__m512)),
    PAIR(cvtne2ps_pbh, A(__m512), B(__m512)),
    PAIR(maskz_compress_epi32, static_cast<__mmask16>(x.b[0]), A(__m512i)),
    PAIR(cmp_ps_mask, A(__m512), B(__m512), _CMP_NLE_US),
    PAIR(cmpgt_epu8_mask, A(__m512i), B(__m512i)),
    PAIR(fmadd_ps, A(__m512), B(__m512), C(__m512)),
    PAIR(reduce_add_ps, A(__m512)),
};

uint32_t awkward(std::mt19937& rng) {
  static constexpr uint32_t kBits[] = {0,          0x80000000, 1,          0x7f800000, 0xff800000,
                                       0x7fc00000, 0x7fffffff, 0x007fffff, 0x00800000, 0x3f808000,
                                       0x80008000, 0xffffffff, 0x3f800000, 0x43160000};
  const uint32_t choice = static_cast<uint32_t>(rng());
  if (choice % 4 == 0) return kBits[choice / 4 % std::size(kBits)];
  if (choice % 4 == 1) return (static_cast<uint32_t>(rng()) & 0x83ffffff) | 0x3c000000;  // floats of about one
  return static_cast<uint32_t>(rng());
}

TEST(EmulationNative, Agrees) {
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vnni") ||
      !__builtin_cpu_supports("avx512bf16"))
    GTEST_SKIP() << "this processor has no AVX-512 with VNNI and BF16 to compare the emulation with";
  std::mt19937 rng(5);
  for (int round = 0; round < 2000; ++round) {
    Operands x;
    for (uint32_t* to : {x.a, x.b, x.c})
      for (int i = 0; i < 16; ++i) to[i] = awkward(rng);
    for (const Pair& pair : kPairs) {
      alignas(64) uint32_t native[16] = {}, emulated[16] = {};
      pair.native(x, native);
      pair.emulated(x, emulated);
      ASSERT_EQ(memcmp(native, emulated, sizeof native), 0) << pair.name << ", round " << round;
    }
  }
}

}  // namespace
}  // namespace inkstone
