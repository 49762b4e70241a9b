// The arithmetic units of AArch64, each with every operand in registers: 24 independent chains, more than latency times
// throughput of any of them. In assembly: a compiler would spill, merge or drop chains that compute nothing.
#include <stdint.h>

#include "cpu/kernels.h"

namespace inkstone {
namespace {

// The formatter would move these lines again at every run.
// clang-format off
#define INKSTONE_CHAINS(INSTRUCTION) \
  INSTRUCTION("0") INSTRUCTION("1") INSTRUCTION("2") INSTRUCTION("3") INSTRUCTION("4") INSTRUCTION("5") \
  INSTRUCTION("6") INSTRUCTION("7") INSTRUCTION("8") INSTRUCTION("9") INSTRUCTION("10") INSTRUCTION("11") \
  INSTRUCTION("12") INSTRUCTION("13") INSTRUCTION("14") INSTRUCTION("15") INSTRUCTION("16") INSTRUCTION("17") \
  INSTRUCTION("18") INSTRUCTION("19") INSTRUCTION("20") INSTRUCTION("21") INSTRUCTION("22") INSTRUCTION("23")
// clang-format on
#define INKSTONE_VECTORS                                                                                              \
  "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", \
      "v18", "v19", "v20", "v21", "v22", "v23", "v30", "v31"
#define INKSTONE_CLEAR(n) "movi v" n ".4s, #0\n"

// x + 0.5 * 2^-19 stays small for as many rounds as anyone measures.
void neon_f32(int64_t rounds) {
#define INKSTONE_FMA(n) "fmla v" n ".4s, v30.4s, v31.4s\n"
  asm volatile(INKSTONE_CHAINS(INKSTONE_CLEAR)
               "fmov v30.4s, #0.5\n movi v31.4s, #0x36, lsl #24\n"
               "1:\n" INKSTONE_CHAINS(INKSTONE_FMA) "subs %[rounds], %[rounds], #1\n b.ne 1b\n"
               : [rounds] "+r"(rounds)
               :
               : INKSTONE_VECTORS, "cc");
#undef INKSTONE_FMA
}

void neon_bf16(int64_t rounds) {
#define INKSTONE_PRODUCT(n) "bfmmla v" n ".4s, v30.8h, v31.8h\n"
  asm volatile(".arch_extension bf16\n" INKSTONE_CHAINS(INKSTONE_CLEAR)
               "movi v30.8h, #0x36, lsl #8\n movi v31.8h, #0x36, lsl #8\n"
               "1:\n" INKSTONE_CHAINS(INKSTONE_PRODUCT) "subs %[rounds], %[rounds], #1\n b.ne 1b\n"
               : [rounds] "+r"(rounds)
               :
               : INKSTONE_VECTORS, "cc");
#undef INKSTONE_PRODUCT
}

constexpr Peak kTable[] = {
    {.name = "f32", .isa = "scalar", .feature = "", .operations = 24 * 2 * 4, .run = neon_f32},
    {.name = "neon_bf16", .isa = "neon_bf16", .feature = "", .operations = 24 * 2 * 16, .run = neon_bf16},
};

}  // namespace

extern const PeakTable kPeaks = {kTable, sizeof kTable / sizeof kTable[0]};

}  // namespace inkstone
