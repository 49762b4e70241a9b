// The matrix unit of Intel's AMX with bf16: what the table `amx` adds to that of AVX-512.
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
#include "cpu/isa/tile_codes.inl"
#include "cpu/isa/tile_products.inl"
#include "cpu/isa/kv_block.inl"
#include "cpu/isa/attend_amx.inl"
// clang-format on

}  // namespace

extern const TileKernels kAmxTiles = {
    .codes_per_lane = tile_codes_per_lane,
    .pack = tile_pack,
    .dequantize = tile_dequantize,
    .multiply = tile_multiply,
    .store = tile_store,
    .gate = tile_gate,
    .stream = tile_stream,
    .attend = tile_attend,
};

}  // namespace inkstone
