// The kernels for AVX2 with FMA and F16C.
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "cpu/kernels.h"

namespace inkstone {
namespace {

float sqrt_f32(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

// Each builds on those before it.
// clang-format off
#include "cpu/isa/vector256.inl"
#include "cpu/isa/rows.inl"
#include "cpu/isa/backward.inl"
#include "cpu/isa/codes.inl"
#include "cpu/isa/gemv.inl"
#include "cpu/isa/multiply16.inl"
#include "cpu/isa/gemm.inl"
#include "cpu/isa/kv_block.inl"
#include "cpu/isa/store_kv.inl"
#include "cpu/isa/attend.inl"
// clang-format on

}  // namespace

extern const Kernels kAvx2Kernels = {
    .name = "avx2",
    .tiles = nullptr,
    .lanes = kLanes,
    .panel = kPanel,
    .tile_rows = kTileRows,
#include "cpu/isa/table.inl"
};

}  // namespace inkstone
