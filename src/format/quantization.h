// Decoding of quantised matrices, plainly and exactly: the oracle for kernels, and what slow paths use.
// Formulas and layouts: docs/formats.md.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "tensor/quantized.h"

namespace inkstone {

// Code i of a row, a little-endian bit stream of `bits`-bit codes, least significant bit first.
uint32_t code_at(const std::byte* row, int64_t i, int bits);

float e2m1_to_f32(uint32_t code);  // 4 bits: 0 .5 1 1.5 2 3 4 6 and their negatives
float e4m3_to_f32(uint32_t code);  // 8 bits, bias 7, no infinity; 0x7f and 0xff are NaN
float e8m0_to_f32(uint32_t code);  // 2^(code - 127)

// Row `row` of a matrix (no experts), widened to float32. out.size() == weight.in.
void dequantize_row(const WeightView& weight, int64_t row, std::span<float> out);

// Why parameters are not ones that MLX writes ("bits 7: expected 2, 3, 4, 5, 6 or 8"), or "" if they are.
std::string quantization_problem(const Quantization& quantization);
// What MLX quantises with in a mode where nothing is said; the only choice but for affine.
Quantization default_quantization(QuantMode mode);
const char* quant_mode_name(QuantMode mode);                      // "affine"
std::optional<QuantMode> quant_mode_of(std::string_view name);    // but none
std::string quantization_text(const Quantization& quantization);  // "affine 4 bits, groups of 64", "none"

}  // namespace inkstone
