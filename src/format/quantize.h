// Encoding of matrices as MLX's mx.quantize does on the CPU, bit for bit; the counterpart of format/quantization.h.
// Pure functions, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/quantized.h"

namespace inkstone {

// What a row of `in` columns takes: bytes of codes, of scales and of biases. `dtype` (bf16, f16 or f32) is that of the
// matrix and so of affine scales and biases; scales of the other modes are one byte each, and they have no biases.
struct QuantizedRowBytes {
  size_t codes = 0, scales = 0, biases = 0;
};
QuantizedRowBytes quantized_row_bytes(const Quantization& quantization, int64_t in, DType dtype);

// Quantises a row: values.size() columns, a multiple of the group size (CHECKed, as are the sizes of the outputs, which
// are those of quantized_row_bytes). The values must be ones that `dtype` can hold.
//
// affine: of a group with minimum and maximum, edge is the one farther from zero, n = 2^bits - 1,
//   s = max((maximum - minimum) / n, 1e-7), negative where edge is the maximum; q0 = rint(edge / s); unless q0 = 0,
//   s = edge / q0 and bias = edge, else bias = 0. Codes are clamp(rint((w - bias) / s), 0, n), half to even, from the
//   float32 s and bias, which are rounded to dtype only afterwards.
// mxfp4, mxfp8: scale 2^e as byte e + 127, e = rint(log2(max |w| / 6 or / 448)) between -127 and 127, and 0 for a group
// of
//   zeros. Codes are w / 2^e rounded to e2m1 or e4m3.
// nvfp4: scale e4m3(max |w| / 6); codes e2m1(w / scale), and 0 where the scale is 0.
//   In these three each quotient and logarithm is rounded to dtype, as the reference computes them in it.
void quantize_row(std::span<const float> values, const Quantization& quantization, DType dtype,
                  std::span<std::byte> codes, std::span<std::byte> scales, std::span<std::byte> biases);

// Row `row` of a quantised matrix (no experts) as mx.dequantize computes it in `dtype`: scale and bias are rounded to
// it, then scale * code, then the sum. As float32. Plain matrices are rounded to dtype.
void dequantize_row_in(const WeightView& weight, int64_t row, DType dtype, std::span<float> out);

uint32_t f32_to_e2m1(float value);  // nearest, of two as near the smaller, at most 6, never -0; NaN: 0
uint32_t f32_to_e4m3(float value);  // nearest, half to even, at most 448; NaN: NaN

// The nearest value that dtype (bf16, f16, f32) has.
float rounded_to(float value, DType dtype);
// Elements of dtype from float32; out.size() == values.size() * dtype_size(dtype).
void narrow(std::span<const float> values, DType dtype, std::span<std::byte> out);

}  // namespace inkstone
