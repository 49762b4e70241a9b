#include "format/quantization.h"

#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/float16.h"

namespace inkstone {
namespace {

// Element i of a floating-point row that may stand at any address.
float float_at(const std::byte* row, int64_t i, DType dtype) {
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, row + i * 4, 4);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, row + i * 2, 2);
  CHECK(dtype == DType::bf16 || dtype == DType::f16);
  return dtype == DType::bf16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

const std::byte* row_of(const ConstTensor& tensor, int64_t row) {
  return tensor.data + row * tensor.shape[-1] * dtype_size(tensor.dtype);
}

void dequantize_affine(const WeightView& weight, int64_t row, std::span<float> out) {
  const std::byte* codes = row_of(weight.weight, row);
  const std::byte* scales = row_of(weight.scales, row);
  const std::byte* biases = row_of(weight.biases, row);
  const int group = weight.quantization.group_size;
  for (int64_t i = 0; i < weight.in; ++i) {
    const float scale = float_at(scales, i / group, weight.scales.dtype);
    const float bias = float_at(biases, i / group, weight.biases.dtype);
    const float product = scale * static_cast<float>(code_at(codes, i, weight.quantization.bits));
    out[static_cast<size_t>(i)] = product + bias;  // two roundings, as the reference on the CPU
  }
}

void dequantize_fp(const WeightView& weight, int64_t row, std::span<float> out) {
  const std::byte* codes = row_of(weight.weight, row);
  const std::byte* scales = row_of(weight.scales, row);
  const auto [mode, bits, group] = weight.quantization;
  for (int64_t i = 0; i < weight.in; ++i) {
    const uint32_t s = std::to_integer<uint32_t>(scales[i / group]);
    const float scale = mode == QuantMode::nvfp4 ? e4m3_to_f32(s) : e8m0_to_f32(s);
    const uint32_t code = code_at(codes, i, bits);
    out[static_cast<size_t>(i)] = scale * (mode == QuantMode::mxfp8 ? e4m3_to_f32(code) : e2m1_to_f32(code));
  }
}

}  // namespace

uint32_t code_at(const std::byte* row, int64_t i, int bits) {
  const int64_t bit = i * bits;
  const int shift = static_cast<int>(bit & 7);
  uint32_t window = std::to_integer<uint32_t>(row[bit >> 3]);
  if (shift + bits > 8) window |= std::to_integer<uint32_t>(row[(bit >> 3) + 1]) << 8;
  return (window >> shift) & ((1u << bits) - 1);
}

float e2m1_to_f32(uint32_t code) {
  static constexpr float kMagnitude[] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};
  const float magnitude = kMagnitude[code & 7];
  return code & 8 ? -magnitude : magnitude;
}

float e4m3_to_f32(uint32_t code) {
  const uint32_t sign = (code & 0x80) << 24;
  const uint32_t exponent = (code >> 3) & 15;
  const uint32_t mantissa = code & 7;
  if (exponent == 15 && mantissa == 7) return std::bit_cast<float>(sign | 0x7fc00000u);
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-9f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  return std::bit_cast<float>(sign | ((exponent + 120) << 23) | (mantissa << 20));
}

float e8m0_to_f32(uint32_t code) {
  if (code == 0) return 0x1p-127f;  // a float32 subnormal
  if (code == 255) return std::bit_cast<float>(0x7fc00000u);
  return std::bit_cast<float>(code << 23);
}

void dequantize_row(const WeightView& weight, int64_t row, std::span<float> out) {
  CHECK(weight.experts == 0 && row >= 0 && row < weight.out && static_cast<int64_t>(out.size()) == weight.in);
  switch (weight.quantization.mode) {
    case QuantMode::none: {
      const std::byte* values = row_of(weight.weight, row);
      for (int64_t i = 0; i < weight.in; ++i) out[static_cast<size_t>(i)] = float_at(values, i, weight.weight.dtype);
      return;
    }
    case QuantMode::affine: return dequantize_affine(weight, row, out);
    case QuantMode::mxfp4:
    case QuantMode::mxfp8:
    case QuantMode::nvfp4: return dequantize_fp(weight, row, out);
  }
}

std::string quantization_problem(const Quantization& quantization) {
  const QuantMode mode = quantization.mode;
  const int bits = quantization.bits, group = quantization.group_size;
  switch (mode) {
    case QuantMode::none: return bits == 0 && group == 0 ? "" : "parameters without a mode";
    case QuantMode::affine:
      if (bits < 2 || bits > 8 || bits == 7) return fmt::format("bits {}: expected 2, 3, 4, 5, 6 or 8", bits);
      if (group != 32 && group != 64 && group != 128)
        return fmt::format("group_size {}: expected 32, 64 or 128", group);
      return "";
    case QuantMode::mxfp4:
    case QuantMode::mxfp8:
    case QuantMode::nvfp4: break;
  }
  const Quantization fixed = default_quantization(mode);
  if (bits != fixed.bits) return fmt::format("{} bits {}: expected {}", quant_mode_name(mode), bits, fixed.bits);
  if (group != fixed.group_size)
    return fmt::format("{} group_size {}: expected {}", quant_mode_name(mode), group, fixed.group_size);
  return "";
}

Quantization default_quantization(QuantMode mode) {
  switch (mode) {
    case QuantMode::none: return {};
    case QuantMode::affine: return {mode, 4, 64};
    case QuantMode::mxfp4: return {mode, 4, 32};
    case QuantMode::mxfp8: return {mode, 8, 32};
    case QuantMode::nvfp4: return {mode, 4, 16};
  }
  return {};
}

std::optional<QuantMode> quant_mode_of(std::string_view name) {
  for (const QuantMode mode : {QuantMode::affine, QuantMode::mxfp4, QuantMode::mxfp8, QuantMode::nvfp4})
    if (name == quant_mode_name(mode)) return mode;
  return std::nullopt;
}

const char* quant_mode_name(QuantMode mode) {
  switch (mode) {
    case QuantMode::none: return "none";
    case QuantMode::affine: return "affine";
    case QuantMode::mxfp4: return "mxfp4";
    case QuantMode::mxfp8: return "mxfp8";
    case QuantMode::nvfp4: return "nvfp4";
  }
  return "?";
}

std::string quantization_text(const Quantization& quantization) {
  if (quantization.mode == QuantMode::none) return "none";
  return fmt::format("{} {} bits, groups of {}", quant_mode_name(quantization.mode), quantization.bits,
                     quantization.group_size);
}

}  // namespace inkstone
