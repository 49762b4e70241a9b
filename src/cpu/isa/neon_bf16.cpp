// The matrix instructions of Armv8.6 (BFMMLA): what the table `neon_bf16` adds to that of NEON.
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
#include "cpu/isa/bf16_codes.inl"
#include "cpu/isa/bf16_products.inl"
// clang-format on

}  // namespace

extern const TileKernels kNeonBf16Tiles = {
    .codes_per_lane = tile_codes_per_lane,
    .pack = tile_pack,
    .dequantize = tile_dequantize,
    .multiply = tile_multiply,
    .store = tile_store,
    .gate = tile_gate,
    .stream = tile_stream,
    .attend = nullptr,
};

}  // namespace inkstone
