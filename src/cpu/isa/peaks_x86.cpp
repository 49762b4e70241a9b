// The arithmetic units of x86-64, each with every operand in registers: 12 independent chains (6 tiles), more than
// latency times throughput of any of them. In assembly: a compiler would spill, merge or drop chains that compute
// nothing. So this file needs no flags either; whoever calls a function has asked the system for its feature.
#include <stdint.h>
#include <string.h>

#include "cpu/kernels.h"

namespace inkstone {
namespace {

// The formatter would move these lines again at every run.
// clang-format off
#define INKSTONE_CHAINS(INSTRUCTION) \
  INSTRUCTION("0") INSTRUCTION("1") INSTRUCTION("2") INSTRUCTION("3") INSTRUCTION("4") INSTRUCTION("5") \
  INSTRUCTION("6") INSTRUCTION("7") INSTRUCTION("8") INSTRUCTION("9") INSTRUCTION("10") INSTRUCTION("11")
// clang-format on
#define INKSTONE_VECTORS \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm14", "xmm15"

const float kShrink = 0.999f, kGrow = 0.001f;  // x = 0.999 x + 0.001 stays near 1: neither infinite nor subnormal
const uint32_t kPairs = 0x3a833a83;            // two bf16 of 0.001, or integers of 16 or 8 bits

void sse2_f32(int64_t rounds) {
#define INKSTONE_MULTIPLY_ADD(n) "mulps %%xmm14, %%xmm" n "\n addps %%xmm15, %%xmm" n "\n"
#define INKSTONE_CLEAR(n) "xorps %%xmm" n ", %%xmm" n "\n"
  asm volatile(INKSTONE_CHAINS(INKSTONE_CLEAR)
               "movss %[shrink], %%xmm14\n shufps $0, %%xmm14, %%xmm14\n"
               "movss %[grow], %%xmm15\n shufps $0, %%xmm15, %%xmm15\n"
               "1:\n" INKSTONE_CHAINS(INKSTONE_MULTIPLY_ADD) "dec %[rounds]\n jnz 1b\n"
               : [rounds] "+r"(rounds)
               : [shrink] "m"(kShrink), [grow] "m"(kGrow)
               : INKSTONE_VECTORS, "cc");
#undef INKSTONE_MULTIPLY_ADD
#undef INKSTONE_CLEAR
}

void avx2_f32(int64_t rounds) {
#define INKSTONE_FMA(n) "vfmadd213ps %%ymm15, %%ymm14, %%ymm" n "\n"
#define INKSTONE_CLEAR(n) "vxorps %%ymm" n ", %%ymm" n ", %%ymm" n "\n"
  asm volatile(INKSTONE_CHAINS(INKSTONE_CLEAR)
               "vbroadcastss %[shrink], %%ymm14\n vbroadcastss %[grow], %%ymm15\n"
               "1:\n" INKSTONE_CHAINS(INKSTONE_FMA) "dec %[rounds]\n jnz 1b\n vzeroupper\n"
               : [rounds] "+r"(rounds)
               : [shrink] "m"(kShrink), [grow] "m"(kGrow)
               : INKSTONE_VECTORS, "cc");
#undef INKSTONE_FMA
#undef INKSTONE_CLEAR
}

// The pairs of products need an addition of their own.
void avx2_int16(int64_t rounds) {
#define INKSTONE_DOT(n) "vpmaddwd %%ymm15, %%ymm14, %%ymm13\n vpaddd %%ymm13, %%ymm" n ", %%ymm" n "\n"
#define INKSTONE_CLEAR(n) "vpxor %%ymm" n ", %%ymm" n ", %%ymm" n "\n"
  asm volatile(INKSTONE_CHAINS(INKSTONE_CLEAR)
               "vpbroadcastd %[pairs], %%ymm14\n vpbroadcastd %[pairs], %%ymm15\n"
               "1:\n" INKSTONE_CHAINS(INKSTONE_DOT) "dec %[rounds]\n jnz 1b\n vzeroupper\n"
               : [rounds] "+r"(rounds)
               : [pairs] "m"(kPairs)
               : INKSTONE_VECTORS, "cc");
#undef INKSTONE_DOT
#undef INKSTONE_CLEAR
}

#define INKSTONE_CLEAR(n) "vpxord %%zmm" n ", %%zmm" n ", %%zmm" n "\n"

void avx512_f32(int64_t rounds) {
#define INKSTONE_FMA(n) "vfmadd213ps %%zmm15, %%zmm14, %%zmm" n "\n"
  asm volatile(INKSTONE_CHAINS(INKSTONE_CLEAR)
               "vbroadcastss %[shrink], %%zmm14\n vbroadcastss %[grow], %%zmm15\n"
               "1:\n" INKSTONE_CHAINS(INKSTONE_FMA) "dec %[rounds]\n jnz 1b\n vzeroupper\n"
               : [rounds] "+r"(rounds)
               : [shrink] "m"(kShrink), [grow] "m"(kGrow)
               : INKSTONE_VECTORS, "cc");
#undef INKSTONE_FMA
}

void avx512_bf16(int64_t rounds) {
#define INKSTONE_DOT(n) "vdpbf16ps %%zmm15, %%zmm14, %%zmm" n "\n"
  asm volatile(INKSTONE_CHAINS(INKSTONE_CLEAR)
               "vpbroadcastd %[pairs], %%zmm14\n vpbroadcastd %[pairs], %%zmm15\n"
               "1:\n" INKSTONE_CHAINS(INKSTONE_DOT) "dec %[rounds]\n jnz 1b\n vzeroupper\n"
               : [rounds] "+r"(rounds)
               : [pairs] "m"(kPairs)
               : INKSTONE_VECTORS, "cc");
#undef INKSTONE_DOT
}

void vnni_int16(int64_t rounds) {
#define INKSTONE_DOT(n) "vpdpwssd %%zmm15, %%zmm14, %%zmm" n "\n"
  asm volatile(INKSTONE_CHAINS(INKSTONE_CLEAR)
               "vpbroadcastd %[pairs], %%zmm14\n vpbroadcastd %[pairs], %%zmm15\n"
               "1:\n" INKSTONE_CHAINS(INKSTONE_DOT) "dec %[rounds]\n jnz 1b\n vzeroupper\n"
               : [rounds] "+r"(rounds)
               : [pairs] "m"(kPairs)
               : INKSTONE_VECTORS, "cc");
#undef INKSTONE_DOT
}

void vnni_int8(int64_t rounds) {
#define INKSTONE_DOT(n) "vpdpbusd %%zmm15, %%zmm14, %%zmm" n "\n"
  asm volatile(INKSTONE_CHAINS(INKSTONE_CLEAR)
               "vpbroadcastd %[pairs], %%zmm14\n vpbroadcastd %[pairs], %%zmm15\n"
               "1:\n" INKSTONE_CHAINS(INKSTONE_DOT) "dec %[rounds]\n jnz 1b\n vzeroupper\n"
               : [rounds] "+r"(rounds)
               : [pairs] "m"(kPairs)
               : INKSTONE_VECTORS, "cc");
#undef INKSTONE_DOT
}
#undef INKSTONE_CLEAR

// Eight tiles of 16 rows x 64 bytes: 0 to 5 accumulate, 6 and 7 are the operands.
struct TileConfig {
  uint8_t palette = 1, start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// Whoever computes with tiles on this thread finds its own configuration again, if not their contents.
#define INKSTONE_TILE_PEAK(NAME, INSTRUCTION)                                                              \
  void NAME(int64_t rounds) {                                                                              \
    const TileConfig config;                                                                               \
    TileConfig before;                                                                                     \
    uint32_t operand[256];                                                                                 \
    for (uint32_t & pair : operand) pair = kPairs;                                                         \
    asm volatile(                                                                                          \
        "sttilecfg %[before]\n ldtilecfg %[config]\n"                                                      \
        "tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n"                                            \
        "tilezero %%tmm3\n tilezero %%tmm4\n tilezero %%tmm5\n"                                            \
        "tileloadd (%[operand],%[stride],1), %%tmm6\n tileloadd (%[operand],%[stride],1), %%tmm7\n"        \
        "1:\n" INSTRUCTION " %%tmm7, %%tmm6, %%tmm0\n" INSTRUCTION " %%tmm7, %%tmm6, %%tmm1\n" INSTRUCTION \
        " %%tmm7, %%tmm6, %%tmm2\n" INSTRUCTION " %%tmm7, %%tmm6, %%tmm3\n" INSTRUCTION                    \
        " %%tmm7, %%tmm6, %%tmm4\n" INSTRUCTION                                                            \
        " %%tmm7, %%tmm6, %%tmm5\n"                                                                        \
        "dec %[rounds]\n jnz 1b\n ldtilecfg %[before]\n"                                                   \
        : [rounds] "+r"(rounds), [before] "+m"(before)                                                     \
        : [config] "m"(config), [operand] "r"(operand), [stride] "r"(int64_t{64}), "m"(operand)            \
        : "cc");                                                                                           \
  }
INKSTONE_TILE_PEAK(amx_bf16, "tdpbf16ps")
INKSTONE_TILE_PEAK(amx_int8, "tdpbssd")

constexpr Peak kTable[] = {
    {.name = "f32", .isa = "scalar", .feature = "", .operations = 12 * 2 * 4, .run = sse2_f32},
    {.name = "f32", .isa = "avx2", .feature = "", .operations = 12 * 2 * 8, .run = avx2_f32},
    {.name = "f32", .isa = "avx512", .feature = "", .operations = 12 * 2 * 16, .run = avx512_f32},
    {.name = "avx2_int16", .isa = "avx2", .feature = "avx2", .operations = 12 * 2 * 16, .run = avx2_int16},
    {.name = "avx512_bf16", .isa = "avx512", .feature = "avx512_bf16", .operations = 12 * 2 * 32, .run = avx512_bf16},
    {.name = "vnni_int16", .isa = "avx512", .feature = "avx512_vnni", .operations = 12 * 2 * 32, .run = vnni_int16},
    {.name = "vnni_int8", .isa = "avx512", .feature = "avx512_vnni", .operations = 12 * 2 * 64, .run = vnni_int8},
    {.name = "amx_bf16", .isa = "amx", .feature = "amx_bf16", .operations = 6 * 2 * 16 * 16 * 32, .run = amx_bf16},
    {.name = "amx_int8", .isa = "amx", .feature = "amx_int8", .operations = 6 * 2 * 16 * 16 * 64, .run = amx_int8},
};

}  // namespace

extern const PeakTable kPeaks = {kTable, sizeof kTable / sizeof kTable[0]};

}  // namespace inkstone
