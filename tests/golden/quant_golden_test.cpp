// Quantised matrices of the reference, decoded: .dequant_f32 bit for bit, .dequant after rounding to its dtype, and
// products .y_f32 = x W^T and .yt_f32 = xn W within float32 rounding of sum |x||w|.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/float16.h"
#include "tests/golden/fixture_folder.h"
#include "tests/golden/quant_data.h"

namespace inkstone {
namespace {

uint32_t bits_at(const ConstTensor& tensor, int64_t i) {
  uint32_t bits = 0;
  const size_t size = static_cast<size_t>(dtype_size(tensor.dtype));
  std::memcpy(&bits, tensor.data + i * static_cast<int64_t>(size), size);
  return bits;
}

uint32_t rounded(float value, DType dtype) {
  if (dtype == DType::bf16) return f32_to_bf16(value);
  if (dtype == DType::f16) return f32_to_f16(value);
  return std::bit_cast<uint32_t>(value);
}

double widened(const ConstTensor& tensor, int64_t i) {
  const uint32_t bits = bits_at(tensor, i);
  if (tensor.dtype == DType::bf16) return bf16_to_f32(static_cast<uint16_t>(bits));
  if (tensor.dtype == DType::f16) return f16_to_f32(static_cast<uint16_t>(bits));
  return std::bit_cast<float>(bits);
}

std::vector<float> decode(const WeightView& view) {
  std::vector<float> matrix(static_cast<size_t>(view.out * view.in));
  for (int64_t row = 0; row < view.out; ++row)
    dequantize_row(view, row, std::span(matrix).subspan(static_cast<size_t>(row * view.in), view.in));
  return matrix;
}

void check_dequant(const Safetensors& file, const WeightView& view, const std::vector<float>& matrix) {
  if (const ConstTensor* exact = file.find(view.name + ".dequant_f32")) {
    ASSERT_EQ(exact->shape, (Shape{view.out, view.in}));
    for (size_t i = 0; i < matrix.size(); ++i)
      ASSERT_EQ(bits_at(*exact, static_cast<int64_t>(i)), std::bit_cast<uint32_t>(matrix[i])) << view.name << " " << i;
    return;
  }
  const ConstTensor* own = file.find(view.name + ".dequant");
  if (own == nullptr) return;
  // The reference multiplies and adds in its own dtype: off by a few roundings of the larger of product and bias.
  const double ulp = own->dtype == DType::bf16 ? 0x1p-8 : own->dtype == DType::f16 ? 0x1p-11 : 0x1p-24;
  for (int64_t i = 0; i < static_cast<int64_t>(matrix.size()); ++i) {
    const double expected = widened(*own, i);
    double size = std::abs(expected);
    if (!view.biases.empty()) {
      const int64_t group = i / view.in * view.biases.shape[1] + i % view.in / view.quantization.group_size;
      const double bias = std::abs(widened(view.biases, group));
      size = 2 * (size + bias);
    } else {
      ASSERT_EQ(bits_at(*own, i), rounded(matrix[static_cast<size_t>(i)], own->dtype)) << view.name << " " << i;
    }
    ASSERT_NEAR(expected, matrix[static_cast<size_t>(i)], size * ulp + 1e-7) << view.name << " " << i;
  }
}

// y [rows, n] = x [rows, k] times the matrix: transposed ([n, k]) or as it is ([k, n]).
void check_product(const ConstTensor& x, const ConstTensor& y, const std::vector<float>& matrix, bool transposed,
                   const std::string& name) {
  const int64_t rows = x.shape[0], k = x.shape[1], n = y.shape[1];
  ASSERT_EQ(static_cast<int64_t>(matrix.size()), k * n);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < k; ++i) {
        const double w = matrix[static_cast<size_t>(transposed ? j * k + i : i * n + j)];
        const double term = widened(x, r * k + i) * w;
        sum += term;
        magnitude += std::abs(term);
      }
      ASSERT_NEAR(widened(y, r * n + j), sum, 1e-5 * magnitude + 1e-12) << name << " row " << r << " column " << j;
    }
}

void check_file(const std::filesystem::path& path) {
  const Safetensors file(path);
  int checked = 0;
  for (const auto& [tensor_name, tensor] : file.tensors()) {
    if (!tensor_name.ends_with(".scales")) continue;
    const std::string name = tensor_name.substr(0, tensor_name.size() - 7);
    const WeightView view = quant_matrix(file, name);
    const std::vector<float> matrix = decode(view);
    check_dequant(file, view, matrix);
    const ConstTensor* x = file.find("x");
    const ConstTensor* xn = file.find("xn");
    if (const ConstTensor* y = file.find(name + ".y_f32"); y && x) check_product(*x, *y, matrix, true, name + ".y_f32");
    if (const ConstTensor* y = file.find(name + ".yt_f32"); y && xn)
      check_product(*xn, *y, matrix, false, name + ".yt_f32");
    if (::testing::Test::HasFatalFailure()) return;
    ++checked;
  }
  EXPECT_GT(checked, 0) << "no quantised matrix in " << path;
}

TEST(QuantGolden, EveryMatrixDecodesAsTheReference) {
  int files = 0;
  for (const auto& path : entries(fixture_root() / "quant"))
    if (path.extension() == ".safetensors") {
      SCOPED_TRACE(path.string());
      check_file(path);
      ++files;
    }
  if (files == 0) GTEST_SKIP() << "no quant fixtures in " << fixture_root();
}

}  // namespace
}  // namespace inkstone
