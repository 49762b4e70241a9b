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
#include "cpu/isa/codes.inl"
#include "cpu/isa/gemv.inl"
#include "cpu/isa/multiply16.inl"
#include "cpu/isa/gemm.inl"
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
    .rms_norm = rms_norm,
    .norm_rope = norm_rope,
    .swiglu = swiglu,
    .softmax = softmax,
    .add_scaled = add_scaled,
    .multiply = multiply,
    .to_bf16 = to_bf16,
    .codes_per_lane = codes_per_lane,
    .prepare = prepare,
    .gemv = gemv,
    .prepare16 = prepare16,
    .multiply16 = multiply16,
    .dequantize = dequantize,
    .pack = pack,
    .gemm = gemm,
    .store_transposed = store_transposed,
    .store_kv = store_kv,
    .attend = attend,
};

}  // namespace inkstone
