// The arithmetic units of 64-bit Arm, each with every operand in registers: 24 independent chains, in assembly for the
// reasons that peaks_x86.cpp gives.
#include <stdint.h>
#include <string.h>

#include "cpu/kernels.h"

namespace inkstone {
namespace {

#define INKSTONE_CHAINS(INSTRUCTION)                                                                                  \
  INSTRUCTION("0")                                                                                                    \
  INSTRUCTION("1")                                                                                                    \
  INSTRUCTION("2") INSTRUCTION("3") INSTRUCTION("4") INSTRUCTION("5") INSTRUCTION("6") INSTRUCTION("7")               \
      INSTRUCTION("8") INSTRUCTION("9") INSTRUCTION("10") INSTRUCTION("11") INSTRUCTION("12") INSTRUCTION("13")       \
          INSTRUCTION("14") INSTRUCTION("15") INSTRUCTION("16") INSTRUCTION("17") INSTRUCTION("18") INSTRUCTION("19") \
              INSTRUCTION("20") INSTRUCTION("21") INSTRUCTION("22") INSTRUCTION("23")
#define INKSTONE_VECTORS                                                                                              \
  "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16", "v17", \
      "v18", "v19", "v20", "v21", "v22", "v23", "v30", "v31"
#define INKSTONE_CLEAR(n) "movi v" n ".4s, #0\n"

// `operand` fills both factors: small enough that no sum overflows.
#define INKSTONE_PEAK(NAME, STEP, OPERAND)                                                                                   \
  void NAME(int64_t rounds) {                                                                                                \
    const uint32_t operand = OPERAND;                                                                                        \
    asm volatile(".arch armv8.2-a+dotprod+i8mm+bf16\n" INKSTONE_CHAINS(INKSTONE_CLEAR)                                     \
                 "dup v30.4s, %w[operand]\n dup v31.4s, %w[operand]\n"                         \
                 "1:\n" INKSTONE_CHAINS(STEP) "subs %[rounds], %[rounds], #1\n b.ne 1b\n"      \
                 : [rounds] "+r"(rounds)                                                       \
                 : [operand] "r"(operand)                                                      \
                 : INKSTONE_VECTORS, "cc"); \
  }
#define INKSTONE_FMLA(n) "fmla v" n ".4s, v30.4s, v31.4s\n"
#define INKSTONE_SDOT(n) "sdot v" n ".4s, v30.16b, v31.16b\n"
#define INKSTONE_SMMLA(n) "smmla v" n ".4s, v30.16b, v31.16b\n"
#define INKSTONE_BFMMLA(n) "bfmmla v" n ".4s, v30.8h, v31.8h\n"
INKSTONE_PEAK(neon_f32, INKSTONE_FMLA, 0x3a83126f)
INKSTONE_PEAK(dot_int8, INKSTONE_SDOT, 0x01010101)
INKSTONE_PEAK(matrix_int8, INKSTONE_SMMLA, 0x01010101)
INKSTONE_PEAK(matrix_bf16, INKSTONE_BFMMLA, 0x3a833a83)

constexpr Peak kTable[] = {
    {.name = "f32", .isa = "scalar", .feature = "", .operations = 24 * 2 * 4, .run = neon_f32},
    {.name = "dotprod_int8", .isa = "neon", .feature = "asimddp", .operations = 24 * 2 * 16, .run = dot_int8},
    {.name = "i8mm_int8", .isa = "neon", .feature = "i8mm", .operations = 24 * 2 * 32, .run = matrix_int8},
    {.name = "neon_bf16", .isa = "neon", .feature = "bf16", .operations = 24 * 2 * 16, .run = matrix_bf16},
};

}  // namespace

extern const PeakTable kPeaks = {kTable, sizeof kTable / sizeof kTable[0]};

}  // namespace inkstone
