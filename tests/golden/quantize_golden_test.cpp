// Every matrix of quant/ that the reference quantised, quantised by us: the same bits. And .dequant, which it computes
// in the matrix's own dtype.
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "format/quantize.h"
#include "tensor/widen.h"
#include "tests/golden/fixture_folder.h"
#include "tests/golden/quant_data.h"

namespace inkstone {
namespace {

void expect_same(std::span<const std::byte> found, const ConstTensor* expected, int64_t row, const std::string& name) {
  const size_t bytes = expected == nullptr ? 0 : expected->bytes() / static_cast<size_t>(expected->shape[0]);
  ASSERT_EQ(found.size(), bytes) << name;
  if (bytes == 0) return;
  size_t different = 0;
  for (size_t i = 0; i < bytes; ++i) different += found[i] != expected->data[row * static_cast<int64_t>(bytes) + i];
  EXPECT_EQ(different, 0u) << name << " row " << row;
}

void check_quantize(const Safetensors& file, const ConstTensor& w, const std::string& name) {
  const Quantization quantization = parse_quant_name(name);
  ASSERT_NE(quantization.mode, QuantMode::none) << name;
  const int64_t rows = w.shape[0], in = w.shape[1];
  std::vector<float> values(static_cast<size_t>(rows * in));
  widen(w, values);
  const QuantizedRowBytes bytes = quantized_row_bytes(quantization, in, w.dtype);
  std::vector<std::byte> codes(bytes.codes), scales(bytes.scales), biases(bytes.biases);
  for (int64_t row = 0; row < rows; ++row) {
    quantize_row(std::span(values).subspan(static_cast<size_t>(row * in), static_cast<size_t>(in)), quantization,
                 w.dtype, codes, scales, biases);
    expect_same(scales, file.find(name + ".scales"), row, name + ".scales");
    expect_same(biases, file.find(name + ".biases"), row, name + ".biases");
    expect_same(codes, file.find(name + ".weight"), row, name + ".weight");
  }
}

void check_dequantize(const Safetensors& file, const ConstTensor& expected, const std::string& name) {
  const WeightView view = quant_matrix(file, name);
  ASSERT_EQ(expected.shape, (Shape{view.out, view.in}));
  std::vector<float> row(static_cast<size_t>(view.in)), values(static_cast<size_t>(view.in * view.out));
  widen(expected, values);
  for (int64_t o = 0; o < view.out; ++o) {
    dequantize_row_in(view, o, expected.dtype, row);
    for (size_t i = 0; i < row.size(); ++i)
      ASSERT_EQ(row[i], values[static_cast<size_t>(o) * row.size() + i]) << name << " " << o << " " << i;
  }
}

TEST(QuantizeGolden, EveryMatrixIsEncodedAsTheReferenceDoes) {
  int files = 0;
  for (const auto& path : entries(fixture_root() / "quant")) {
    if (path.extension() != ".safetensors") continue;
    SCOPED_TRACE(path.string());
    const Safetensors file(path);
    const ConstTensor* w = file.find("w");
    ASSERT_NE(w, nullptr);
    for (const auto& [name, tensor] : file.tensors()) {
      if (name.ends_with(".scales")) check_quantize(file, *w, name.substr(0, name.size() - 7));
      if (name.ends_with(".dequant")) check_dequantize(file, tensor, name.substr(0, name.size() - 8));
      if (::testing::Test::HasFatalFailure()) return;
    }
    ++files;
  }
  if (files == 0) GTEST_SKIP() << "no quant fixtures in " << fixture_root();
}

}  // namespace
}  // namespace inkstone
