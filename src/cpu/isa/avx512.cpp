// The kernels for AVX-512 (F, BW, DQ, VL, VNNI).
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "cpu/kernels.h"

namespace inkstone {
namespace {

float sqrt_f32(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

// Each builds on those before it.
// clang-format off
#include "cpu/isa/vector512.inl"
#include "cpu/isa/rows.inl"
#include "cpu/isa/codes.inl"
#include "cpu/isa/gemv.inl"
#include "cpu/isa/multiply16.inl"
#include "cpu/isa/gemm.inl"
#include "cpu/isa/kv_block.inl"
#include "cpu/isa/store_kv.inl"
#include "cpu/isa/attend.inl"
// clang-format on

}  // namespace

extern const Kernels kAvx512Kernels = {
    .name = "avx512",
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
