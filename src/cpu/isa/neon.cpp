// The kernels for Arm's Advanced SIMD, which every AArch64 has.
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "cpu/kernels.h"

namespace inkstone {
namespace {

float sqrt_f32(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }

// Each builds on those before it.
// clang-format off
#include "cpu/isa/vector128.inl"
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

extern const Kernels kNeonKernels = {
    .name = "neon",
    .tiles = nullptr,
    .lanes = kLanes,
    .panel = kPanel,
    .tile_rows = kTileRows,
#include "cpu/isa/table.inl"
};

}  // namespace inkstone
