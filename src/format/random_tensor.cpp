#include "format/random_tensor.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/float16.h"
#include "format/quantization.h"

namespace inkstone {
namespace {

constexpr int64_t kPiece = int64_t{1} << 22;  // bytes at a time
constexpr int kLevels = 4096;                 // of a normal distribution's table

// splitmix64 (Steele, Lea, Flood 2014) as a counter-based generator: word i of stream `seed`.
uint64_t word(uint64_t seed, uint64_t i) {
  uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

double uniform(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

// The quantile of the standard normal distribution, by bisection.
double normal_quantile(double p) {
  double low = -10, high = 10;
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (std::erfc(-middle / std::sqrt(2.0)) / 2 < p ? low : high) = middle;
  }
  return low;
}

const std::array<float, kLevels>& normal_table() {
  static const auto table = [] {
    std::array<float, kLevels> values{};
    for (int i = 0; i < kLevels; ++i)
      values[static_cast<size_t>(i)] = static_cast<float>(normal_quantile((i + 0.5) / kLevels));
    return values;
  }();
  return table;
}

uint32_t encode(float value, DType dtype) {
  CHECK(dtype == DType::bf16 || dtype == DType::f16 || dtype == DType::f32);
  if (dtype == DType::bf16) return f32_to_bf16(value);
  if (dtype == DType::f16) return f32_to_f16(value);
  return std::bit_cast<uint32_t>(value);
}

float rounded(float value, DType dtype) {
  if (dtype == DType::bf16) return bf16_to_f32(f32_to_bf16(value));
  if (dtype == DType::f16) return f16_to_f32(f32_to_f16(value));
  return value;
}

// Normal values of one dtype: four of them from each random word.
template <class T>
void normal_values(const RandomMatrix& matrix, const ByteSink& sink) {
  std::vector<T> table(kLevels);
  for (size_t i = 0; i < table.size(); ++i)
    table[i] = static_cast<T>(encode(static_cast<float>(normal_table()[i] * matrix.deviation), matrix.dtype));
  constexpr int64_t kCount = kPiece / static_cast<int64_t>(sizeof(T));
  const int64_t total = matrix.rows * matrix.columns;
  std::vector<T> piece(static_cast<size_t>(std::min(kCount, (total + 3) / 4 * 4)));
  for (int64_t at = 0; at < total; at += kCount) {
    const int64_t count = std::min(kCount, total - at);
    for (int64_t i = 0; i < count; i += 4) {
      const uint64_t bits = word(matrix.seed, static_cast<uint64_t>(at + i));
      for (int64_t k = 0; k < 4; ++k) piece[static_cast<size_t>(i + k)] = table[bits >> (16 * k) & (kLevels - 1)];
    }
    sink(std::as_bytes(std::span(piece).first(static_cast<size_t>(count))));
  }
}

// e4m3 codes of a normal distribution of deviation 16, one for each of 256 levels, and their true mean square.
struct E4m3Table {
  std::array<uint8_t, 256> codes{};
  double mean_square = 0;

  E4m3Table() {
    for (int i = 0; i < 256; ++i) {
      const float value = 16 * static_cast<float>(normal_quantile((i + 0.5) / 256));
      uint32_t best = 0;
      for (uint32_t code = 0; code < 0x7f; ++code)
        if (std::abs(e4m3_to_f32(code) - std::abs(value)) < std::abs(e4m3_to_f32(best) - std::abs(value))) best = code;
      codes[static_cast<size_t>(i)] = static_cast<uint8_t>(best | (value < 0 ? 0x80u : 0u));
      mean_square += std::pow(e4m3_to_f32(best), 2) / 256;
    }
  }
};

const E4m3Table& e4m3_table() {
  static const E4m3Table table;
  return table;
}

// The standard deviation of the codes that random_weight draws.
double code_deviation(const Quantization& quantization) {
  if (quantization.mode == QuantMode::mxfp8) return std::sqrt(e4m3_table().mean_square);
  if (quantization.mode == QuantMode::affine) return std::sqrt((std::pow(4.0, quantization.bits) - 1) / 12);
  double sum = 0;
  for (uint32_t code = 0; code < 8; ++code) sum += e2m1_to_f32(code) * e2m1_to_f32(code);
  return std::sqrt(sum / 8);
}

// The scale that gives decoded weights their deviation.
double typical_scale(const RandomMatrix& matrix) { return matrix.deviation / code_deviation(matrix.quantization); }

// Uniform codes of any width are random bytes; those of mxfp8 must not be NaN and are drawn from a table.
void random_codes(const RandomMatrix& matrix, const ByteSink& sink) {
  const int64_t total = matrix.rows * (matrix.columns * matrix.quantization.bits / 8);
  std::vector<uint64_t> piece(static_cast<size_t>(std::min(kPiece, total + 7) / 8));
  const bool table = matrix.quantization.mode == QuantMode::mxfp8;
  for (int64_t at = 0; at < total; at += kPiece) {
    const int64_t count = std::min(kPiece, total - at);
    for (int64_t i = 0; i * 8 < count; ++i)
      piece[static_cast<size_t>(i)] = word(matrix.seed, static_cast<uint64_t>(at / 8 + i));
    const auto bytes = std::as_writable_bytes(std::span(piece)).first(static_cast<size_t>(count));
    if (table)
      for (std::byte& b : bytes) b = std::byte{e4m3_table().codes[std::to_integer<size_t>(b)]};
    sink(bytes);
  }
}

// A group's scale for affine around `typical`: its size varies by a quarter, and about half are negative as in real
// files.
float affine_scale(const RandomMatrix& matrix, double typical, uint64_t group) {
  const uint64_t bits = word(matrix.seed ^ 0x5ca1e5u, group);
  const double size = typical * (0.75 + 0.5 * uniform(bits));
  return rounded(static_cast<float>(bits & 1 ? -size : size), matrix.dtype);
}

// Two neighbouring scale codes around `target`, and how often to take the upper one to keep the mean square.
struct ScaleChoice {
  uint8_t lower = 0, upper = 0;
  double upper_share = 0;
};

ScaleChoice choose_scale(const RandomMatrix& matrix) {
  const double target = typical_scale(matrix);
  const bool e4m3 = matrix.quantization.mode == QuantMode::nvfp4;
  const uint32_t last = e4m3 ? 0x7e : 0xfe;
  const auto value = [&](uint32_t code) { return static_cast<double>(e4m3 ? e4m3_to_f32(code) : e8m0_to_f32(code)); };
  uint32_t lower = 0;
  while (lower + 1 < last && value(lower + 1) <= target) ++lower;
  const double low = value(lower) * value(lower), high = value(lower + 1) * value(lower + 1);
  const double share = std::clamp((target * target - low) / (high - low), 0.0, 1.0);
  return {static_cast<uint8_t>(lower), static_cast<uint8_t>(lower + 1), share};
}

// Calls value(group) for every group and hands on the results.
template <class T, class F>
void per_group(const RandomMatrix& matrix, const ByteSink& sink, F&& value) {
  const int64_t total = matrix.rows * (matrix.columns / matrix.quantization.group_size);
  constexpr int64_t kCount = kPiece / static_cast<int64_t>(sizeof(T));
  std::vector<T> piece(static_cast<size_t>(std::min(kCount, total)));
  for (int64_t at = 0; at < total; at += kCount) {
    const int64_t count = std::min(kCount, total - at);
    for (int64_t i = 0; i < count; ++i)
      piece[static_cast<size_t>(i)] = static_cast<T>(value(static_cast<uint64_t>(at + i)));
    sink(std::as_bytes(std::span(piece).first(static_cast<size_t>(count))));
  }
}

}  // namespace

void random_weight(const RandomMatrix& matrix, const ByteSink& sink) {
  if (matrix.quantization.mode != QuantMode::none) return random_codes(matrix, sink);
  if (matrix.dtype == DType::f32) return normal_values<uint32_t>(matrix, sink);
  normal_values<uint16_t>(matrix, sink);
}

void random_scales(const RandomMatrix& matrix, const ByteSink& sink) {
  if (matrix.quantization.mode == QuantMode::affine) {
    const double typical = typical_scale(matrix);
    const auto scale = [&](uint64_t group) { return encode(affine_scale(matrix, typical, group), matrix.dtype); };
    if (matrix.dtype == DType::f32) return per_group<uint32_t>(matrix, sink, scale);
    return per_group<uint16_t>(matrix, sink, scale);
  }
  const ScaleChoice choice = choose_scale(matrix);
  per_group<uint8_t>(matrix, sink, [&](uint64_t group) {
    return uniform(word(matrix.seed ^ 0x5ca1e5u, group)) < choice.upper_share ? choice.upper : choice.lower;
  });
}

void random_biases(const RandomMatrix& matrix, const ByteSink& sink) {
  // Minus the middle code times the scale: the mean is zero.
  const float middle = (static_cast<float>(1u << matrix.quantization.bits) - 1) / 2;
  const double typical = typical_scale(matrix);
  const auto bias = [&](uint64_t group) {
    return encode(-middle * affine_scale(matrix, typical, group), matrix.dtype);
  };
  if (matrix.dtype == DType::f32) return per_group<uint32_t>(matrix, sink, bias);
  per_group<uint16_t>(matrix, sink, bias);
}

void constant_ones(int64_t count, DType dtype, const ByteSink& sink) {
  std::vector<std::byte> bytes;
  const uint32_t one = encode(1, dtype);
  for (int64_t i = 0; i < count; ++i) {
    const auto* begin = reinterpret_cast<const std::byte*>(&one);
    bytes.insert(bytes.end(), begin, begin + dtype_size(dtype));
  }
  sink(bytes);
}

}  // namespace inkstone
