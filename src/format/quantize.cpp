#include "format/quantize.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/float16.h"
#include "format/quantization.h"
#include "tensor/widen.h"

namespace inkstone {
namespace {

// Both without branches, for loops.
inline uint32_t to_e2m1(float value) {
  // The nearest of the values in the order of their codes: of two that are as near the first, so the smaller one, and
  // never -0.
  const float size = std::abs(value);
  uint32_t code = 0;
  for (const float middle : {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f}) code += size > middle;
  return code | static_cast<uint32_t>((code > 0) & (value < 0)) << 3;
}

inline uint32_t to_e4m3(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffffu;
  // Below 2^-6 in steps of 2^-9, which adding 2^14 rounds to.
  const uint32_t small = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0x1p14f) - 0x46800000u;
  const uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
  const uint32_t normal = std::min((rounded >> 20) - (120u << 3), 0x7eu);  // 448 and beyond: 448
  const uint32_t code = magnitude < 0x3c800000u ? small : normal;
  return (bits >> 24 & 0x80) | (magnitude > 0x7f800000u ? 0x7f : code);
}

// Loops go over blocks of this many values, which the compiler makes vectors of. Every group size is a multiple.
constexpr size_t kBlock = 16;
constexpr size_t kMaxGroup = 128;

// Codes, a byte each, as a part of a row, which is one little-endian bit stream. A multiple of 8 of them: 8 become one
// word, in which neighbours are joined, then pairs, then fours.
template <int kBits>
void pack(const uint8_t* codes, size_t count, std::byte* out) {
  constexpr uint64_t kEven8 = 0x00ff00ff00ff00ff, kEven16 = 0x0000ffff0000ffff, kEven32 = 0xffffffff;
  for (size_t i = 0; i < count; i += 8, out += kBits) {
    uint64_t word;
    std::memcpy(&word, codes + i, 8);
    word = (word & kEven8) | (word >> 8 & kEven8) << kBits;
    word = (word & kEven16) | (word >> 16 & kEven16) << 2 * kBits;
    word = (word & kEven32) | (word >> 32) << 4 * kBits;
    std::memcpy(out, &word, kBits);
  }
}

void pack(const uint8_t* codes, size_t count, int bits, std::byte* out) {
  switch (bits) {
    case 2: return pack<2>(codes, count, out);
    case 3: return pack<3>(codes, count, out);
    case 4: return pack<4>(codes, count, out);
    case 5: return pack<5>(codes, count, out);
    case 6: return pack<6>(codes, count, out);
    case 8: return pack<8>(codes, count, out);
    default: CHECK(false);
  }
}

struct AffineGroup {
  float scale = 0, bias = 0;
};

AffineGroup affine_group(std::span<const float> values, float levels) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float lows[kBlock], highs[kBlock];
  std::fill_n(lows, kBlock, kInfinity);
  std::fill_n(highs, kBlock, -kInfinity);
  for (size_t begin = 0; begin < values.size(); begin += kBlock)
    for (size_t i = 0; i < kBlock; ++i) {  // NaN is neither
      const float value = values[begin + i];
      lows[i] = value < lows[i] ? value : lows[i];
      highs[i] = value > highs[i] ? value : highs[i];
    }
  const float minimum = *std::min_element(lows, lows + kBlock), maximum = *std::max_element(highs, highs + kBlock);
  const bool from_below = std::abs(minimum) > std::abs(maximum);
  float scale = std::max((maximum - minimum) / levels, 1e-7f);
  if (!from_below) scale = -scale;
  const float edge = from_below ? minimum : maximum;
  const float steps = std::rint(edge / scale);
  if (steps == 0) return {scale, 0};
  return {edge / steps, edge};
}

// clamp(rint((value - bias) / scale), 0, levels); NaN becomes 0, as the reference's does. Clamped first, which is the
// same, so that adding 2^23 rounds, half to even, and leaves the code in the low bits.
void affine_codes(std::span<const float> values, const AffineGroup& group, float levels, uint8_t* codes) {
  for (size_t begin = 0; begin < values.size(); begin += kBlock)
    for (size_t i = 0; i < kBlock; ++i) {
      float code = (values[begin + i] - group.bias) / group.scale;
      code = code > 0 ? code : 0;
      code = code < levels ? code : levels;
      codes[begin + i] = static_cast<uint8_t>(std::bit_cast<uint32_t>(code + 0x1p23f));
    }
}

void quantize_affine(std::span<const float> values, const Quantization& quantization, DType dtype,
                     std::span<std::byte> codes, std::span<std::byte> scales, std::span<std::byte> biases) {
  const size_t group = static_cast<size_t>(quantization.group_size);
  const size_t bytes = group * static_cast<size_t>(quantization.bits) / 8;
  const size_t element = static_cast<size_t>(dtype_size(dtype));
  const float levels = static_cast<float>((1u << quantization.bits) - 1);
  uint8_t unpacked[kMaxGroup];
  for (size_t i = 0; i * group < values.size(); ++i) {
    const std::span<const float> part = values.subspan(i * group, group);
    const AffineGroup chosen = affine_group(part, levels);
    affine_codes(part, chosen, levels, unpacked);
    pack(unpacked, group, quantization.bits, codes.data() + i * bytes);
    narrow(std::span(&chosen.scale, 1), dtype, scales.subspan(i * element, element));
    narrow(std::span(&chosen.bias, 1), dtype, biases.subspan(i * element, element));
  }
}

// The exponent's byte for values up to 2^e times the code's largest; of nothing but zeros it is 0, as the reference has
// it.
uint32_t e8m0_scale(float ratio, DType dtype) {
  if (std::isnan(ratio)) return 255;
  const float exponent = ratio == 0 ? 0 : rounded_to(std::log2(ratio), dtype);
  return static_cast<uint32_t>(std::clamp(std::rint(exponent), -127.0f, 127.0f) + 127);
}

float largest_of(std::span<const float> values) {
  float largest[kBlock] = {};
  for (size_t begin = 0; begin < values.size(); begin += kBlock)
    for (size_t i = 0; i < kBlock; ++i) {
      const float size = std::abs(values[begin + i]);
      largest[i] = size > largest[i] ? size : largest[i];
    }
  return *std::max_element(largest, largest + kBlock);
}

// Quotients of one block, each rounded to dtype, as codes.
void fp_codes(const float* values, float scale, bool wide, DType dtype, uint8_t* codes) {
  float scaled[kBlock];
  for (size_t i = 0; i < kBlock; ++i) scaled[i] = values[i] / scale;
  if (dtype == DType::bf16)
    for (float& value : scaled) value = bf16_to_f32(f32_to_bf16(value));
  else if (dtype == DType::f16)
    for (float& value : scaled) value = f16_to_f32(f32_to_f16(value));
  if (wide)
    for (size_t i = 0; i < kBlock; ++i) codes[i] = static_cast<uint8_t>(to_e4m3(scaled[i]));
  else
    for (size_t i = 0; i < kBlock; ++i) codes[i] = static_cast<uint8_t>(to_e2m1(scaled[i]));
}

void quantize_fp(std::span<const float> values, const Quantization& quantization, DType dtype,
                 std::span<std::byte> codes, std::span<std::byte> scales) {
  const size_t group = static_cast<size_t>(quantization.group_size);
  const size_t bytes = group * static_cast<size_t>(quantization.bits) / 8;
  const bool wide = quantization.mode == QuantMode::mxfp8, nv = quantization.mode == QuantMode::nvfp4;
  for (size_t i = 0; i * group < values.size(); ++i) {
    const std::span<const float> part = values.subspan(i * group, group);
    const float ratio = rounded_to(largest_of(part) / (wide ? 448.0f : 6.0f), dtype);
    const uint32_t byte = nv ? f32_to_e4m3(ratio) : e8m0_scale(ratio, dtype);
    const float scale = nv ? e4m3_to_f32(byte) : e8m0_to_f32(byte);
    uint8_t unpacked[kMaxGroup] = {};
    if (scale != 0)
      for (size_t at = 0; at < group; at += kBlock) fp_codes(part.data() + at, scale, wide, dtype, unpacked + at);
    pack(unpacked, group, quantization.bits, codes.data() + i * bytes);
    scales[i] = static_cast<std::byte>(byte);
  }
}

}  // namespace

QuantizedRowBytes quantized_row_bytes(const Quantization& quantization, int64_t in, DType dtype) {
  CHECK(quantization.mode != QuantMode::none && quantization_problem(quantization).empty());
  CHECK(in > 0 && in % quantization.group_size == 0 && in < INT64_MAX / 32);
  const size_t groups = static_cast<size_t>(in / quantization.group_size);
  const bool affine = quantization.mode == QuantMode::affine;
  const size_t element = affine ? static_cast<size_t>(dtype_size(dtype)) : 1;
  return {static_cast<size_t>(in * quantization.bits / 8), groups * element, affine ? groups * element : 0};
}

void quantize_row(std::span<const float> values, const Quantization& quantization, DType dtype,
                  std::span<std::byte> codes, std::span<std::byte> scales, std::span<std::byte> biases) {
  const QuantizedRowBytes bytes = quantized_row_bytes(quantization, static_cast<int64_t>(values.size()), dtype);
  CHECK(codes.size() == bytes.codes && scales.size() == bytes.scales && biases.size() == bytes.biases);
  if (quantization.mode == QuantMode::affine)
    quantize_affine(values, quantization, dtype, codes, scales, biases);
  else
    quantize_fp(values, quantization, dtype, codes, scales);
}

void dequantize_row_in(const WeightView& weight, int64_t row, DType dtype, std::span<float> out) {
  const Quantization& q = weight.quantization;
  const auto round = [dtype](std::span<float> values) {
    for (float& value : values) value = rounded_to(value, dtype);
  };
  if (q.mode == QuantMode::none) {
    const ConstTensor& matrix = weight.weight;
    widen({matrix.data + row * weight.in * dtype_size(matrix.dtype), matrix.dtype, Shape{weight.in}}, out);
    if (matrix.dtype != dtype) round(out);
    return;
  }
  if (q.mode != QuantMode::affine) {  // one product: rounded once
    dequantize_row(weight, row, out);
    return round(out);
  }
  CHECK(weight.experts == 0 && row >= 0 && row < weight.out && static_cast<int64_t>(out.size()) == weight.in);
  const int64_t groups = weight.in / q.group_size;
  const auto parameters = [&](const ConstTensor& tensor) {
    std::vector<float> values(static_cast<size_t>(groups));
    widen({tensor.data + row * groups * dtype_size(tensor.dtype), tensor.dtype, Shape{groups}}, values);
    if (tensor.dtype != dtype) round(values);
    return values;
  };
  const std::vector<float> scales = parameters(weight.scales), biases = parameters(weight.biases);
  const std::byte* codes = weight.weight.data + row * weight.weight.shape[-1] * dtype_size(weight.weight.dtype);
  for (int64_t i = 0; i < weight.in; ++i) {
    const size_t group = static_cast<size_t>(i / q.group_size);
    const float product = rounded_to(scales[group] * static_cast<float>(code_at(codes, i, q.bits)), dtype);
    out[static_cast<size_t>(i)] = rounded_to(product + biases[group], dtype);
  }
}

uint32_t f32_to_e2m1(float value) { return to_e2m1(value); }
uint32_t f32_to_e4m3(float value) { return to_e4m3(value); }

float rounded_to(float value, DType dtype) {
  if (dtype == DType::bf16) return bf16_to_f32(f32_to_bf16(value));
  if (dtype == DType::f16) return f16_to_f32(f32_to_f16(value));
  CHECK(dtype == DType::f32);
  return value;
}

void narrow(std::span<const float> values, DType dtype, std::span<std::byte> out) {
  CHECK(out.size() == values.size() * static_cast<size_t>(dtype_size(dtype)));
  if (dtype == DType::f32) {
    std::memcpy(out.data(), values.data(), out.size());
    return;
  }
  CHECK(dtype == DType::bf16 || dtype == DType::f16);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = dtype == DType::bf16 ? f32_to_bf16(values[i]) : f32_to_f16(values[i]);
    std::memcpy(out.data() + 2 * i, &bits, 2);
  }
}

}  // namespace inkstone
