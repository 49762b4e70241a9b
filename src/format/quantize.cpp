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

// Appends codes to a row that is one little-endian bit stream.
class BitWriter {
 public:
  explicit BitWriter(std::span<std::byte> out) : out_(out) {}

  void add(uint32_t code, int bits) {
    window_ |= static_cast<uint64_t>(code) << held_;
    for (held_ += bits; held_ >= 8; held_ -= 8, window_ >>= 8) out_[at_++] = static_cast<std::byte>(window_ & 0xff);
  }
  bool is_full() const { return at_ == out_.size() && held_ == 0; }

 private:
  std::span<std::byte> out_;
  size_t at_ = 0;
  uint64_t window_ = 0;
  int held_ = 0;
};

struct AffineGroup {
  float scale = 0, bias = 0;
};

AffineGroup affine_group(std::span<const float> values, float levels) {
  float minimum = std::numeric_limits<float>::infinity(), maximum = -minimum;
  for (const float value : values) {
    minimum = std::min(minimum, value);
    maximum = std::max(maximum, value);
  }
  const bool from_below = std::abs(minimum) > std::abs(maximum);
  float scale = std::max((maximum - minimum) / levels, 1e-7f);
  if (!from_below) scale = -scale;
  const float edge = from_below ? minimum : maximum;
  const float steps = std::rint(edge / scale);
  if (steps == 0) return {scale, 0};
  return {edge / steps, edge};
}

void quantize_affine(std::span<const float> values, const Quantization& quantization, DType dtype,
                     std::span<std::byte> codes, std::span<std::byte> scales, std::span<std::byte> biases) {
  const size_t group = static_cast<size_t>(quantization.group_size);
  const size_t element = static_cast<size_t>(dtype_size(dtype));
  const float levels = static_cast<float>((1u << quantization.bits) - 1);
  BitWriter writer(codes);
  for (size_t begin = 0, i = 0; begin < values.size(); begin += group, ++i) {
    const std::span<const float> part = values.subspan(begin, group);
    const auto [scale, bias] = affine_group(part, levels);
    for (const float value : part) {
      // std::max puts NaN to 0, as the reference's does: no value reaches the conversion out of range.
      const float code = std::min(std::max(0.0f, std::rint((value - bias) / scale)), levels);
      writer.add(static_cast<uint32_t>(code), quantization.bits);
    }
    narrow(std::span(&scale, 1), dtype, scales.subspan(i * element, element));
    narrow(std::span(&bias, 1), dtype, biases.subspan(i * element, element));
  }
  CHECK(writer.is_full());
}

// The exponent's byte for values up to 2^e times the code's largest; of nothing but zeros it is 0, as the reference has
// it.
uint32_t e8m0_scale(float ratio, DType dtype) {
  if (std::isnan(ratio)) return 255;
  const float exponent = ratio == 0 ? 0 : rounded_to(std::log2(ratio), dtype);
  return static_cast<uint32_t>(std::clamp(std::rint(exponent), -127.0f, 127.0f) + 127);
}

void quantize_fp(std::span<const float> values, const Quantization& quantization, DType dtype,
                 std::span<std::byte> codes, std::span<std::byte> scales) {
  const size_t group = static_cast<size_t>(quantization.group_size);
  const bool wide = quantization.mode == QuantMode::mxfp8, nv = quantization.mode == QuantMode::nvfp4;
  BitWriter writer(codes);
  for (size_t begin = 0, i = 0; begin < values.size(); begin += group, ++i) {
    const std::span<const float> part = values.subspan(begin, group);
    float largest = 0;
    for (const float value : part) largest = std::max(largest, std::abs(value));
    const float ratio = rounded_to(largest / (wide ? 448.0f : 6.0f), dtype);
    const uint32_t byte = nv ? f32_to_e4m3(ratio) : e8m0_scale(ratio, dtype);
    const float scale = nv ? e4m3_to_f32(byte) : e8m0_to_f32(byte);
    for (const float value : part) {
      const float scaled = scale == 0 ? 0 : rounded_to(value / scale, dtype);
      writer.add(wide ? f32_to_e4m3(scaled) : f32_to_e2m1(scaled), quantization.bits);
    }
    scales[i] = static_cast<std::byte>(byte);
  }
  CHECK(writer.is_full());
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
  if (q.mode != QuantMode::affine) {  // one product (or none): rounded once
    dequantize_row(weight, row, out);
    for (float& value : out) value = rounded_to(value, dtype);
    return;
  }
  CHECK(weight.experts == 0 && row >= 0 && row < weight.out && static_cast<int64_t>(out.size()) == weight.in);
  const int64_t groups = weight.in / q.group_size;
  const auto parameters = [&](const ConstTensor& tensor) {
    std::vector<float> values(static_cast<size_t>(groups));
    widen({tensor.data + row * groups * dtype_size(tensor.dtype), tensor.dtype, Shape{groups}}, values);
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

uint32_t f32_to_e2m1(float value) {
  // The nearest of the values in the order of their codes: of two that are as near the first, so the smaller one, and
  // never -0.
  const float size = std::abs(value);
  uint32_t code = 0;
  for (const float middle : {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f}) code += size > middle;
  return code > 0 && value < 0 ? code | 8 : code;
}

uint32_t f32_to_e4m3(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 24 & 0x80;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7f;
  if (magnitude >= 0x43e00000u) return sign | 0x7e;  // 448 and beyond
  if (magnitude < 0x3c800000u) {                     // below 2^-6: in steps of 2^-9, which adding 2^14 rounds to
    const float shifted = std::bit_cast<float>(magnitude) + 0x1p14f;
    return sign | (std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0x1p14f));
  }
  const uint32_t rounded = magnitude + 0x7ffffu + ((magnitude >> 20) & 1u);
  return sign | std::min((rounded >> 20) - (120u << 3), 0x7eu);
}

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
