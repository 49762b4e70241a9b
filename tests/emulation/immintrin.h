// AVX-512 (F, BW, DQ, VL, VNNI, BF16, and of VBMI the byte permutations) and AMX (tiles, int8, bf16) in plain code over
// AVX2, so that the sources under src/cpu/isa are tested on machines without them. The preset `emulate` puts this
// folder on the include path of those objects only: there `#include <immintrin.h>` finds this file, which adds the
// compiler's.
//
// How the names win: the emulation lives in namespace inkstone, where ISA files are, so its _mm512_add_ps hides the
// compiler's global one. An intrinsic that is not emulated is an error of the compiler ("target specific option
// mismatch"), never a fall back. Types (__m512i, __mmask16) are the compiler's own; without AVX-512 they travel through
// memory, which -Wno-psabi accepts. Immediates are plain parameters here; that they must be constants is for the native
// build to say.
//
// What an emulated instruction cannot do (a tile that is not configured) ends the process with a message.
#pragma once

#include_next <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The few that the compiler has as macros, which know no namespaces. Without optimisation it has many more.
#ifndef __OPTIMIZE__
#error "the emulation needs -O1 at least"
#endif
#undef _mm512_setr_epi32
#undef _mm512_setr_epi64
#undef _mm512_setr_ps
#undef _mm512_setr_pd
#undef _mm256_permutexvar_ps
#undef _mm256_dpwssd_epi32
#undef _mm256_dpwssds_epi32
#undef _mm256_dpbusd_epi32
#undef _mm256_dpbusds_epi32
#undef _kand_mask16
#undef _kandn_mask16
#undef _kor_mask16
#undef _kxor_mask16
#undef _kxnor_mask16
#undef _knot_mask16
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#undef _tile_dpbssd
#undef _tile_dpbsud
#undef _tile_dpbusd
#undef _tile_dpbuud

// ISA files pin vectors to registers by asm("" : "+v"(v)). A vector emulated in memory has no register to be pinned to.
#define asm(...) \
  static_assert((#__VA_ARGS__)[0] == '"' && (#__VA_ARGS__)[1] == '"', "only an empty asm can be left out")

// Each builds on those before it.
// clang-format off
#include "lanes.h"
#include "memory.h"
#include "arithmetic.h"
#include "compare.h"
#include "shuffle.h"
#include "convert.h"
#include "dot.h"
#include "tiles.h"
// clang-format on
