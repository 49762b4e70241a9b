// Norms, RoPE, SwiGLU, KV stores and the small kernels, by ISA, at awkward sizes and extreme values; and how an ISA is
// chosen.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "base/float16.h"
#include "cpu/dispatch.h"
#include "tests/cpu/reference.h"

namespace inkstone::testing {
namespace {

constexpr int kSizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 100, 1024, 1030};

class ElementwiseIsa : public ::testing::TestWithParam<std::string> {
 protected:
  const Kernels& kernels() const { return select_kernels(GetParam()); }
  std::mt19937 rng{40};
};

Norm norm_of(Device& device, const std::vector<float>& weight, float eps) {
  Norm norm;
  norm.size = static_cast<int64_t>(weight.size());
  norm.eps = eps;
  norm.weight = device.upload(weight);
  return norm;
}

TEST_P(ElementwiseIsa, RmsNorm) {
  const auto device = open_test_device(GetParam(), 2);
  for (const int n : kSizes) {
    const int rows = 40;
    const std::vector<float> weight = random_floats(rng, n);
    std::vector<float> x = random_floats(rng, rows * n, 3.0f), y(x.size(), NAN);
    const Norm norm = norm_of(*device, weight, 1e-6f);
    device->rms_norm(matrix(x, rows, n), norm, matrix(y, rows, n));
    for (int t = 0; t < rows; ++t) {
      double sum = 0;
      for (int i = 0; i < n; ++i) sum += std::pow(static_cast<double>(x[t * n + i]), 2);
      for (int i = 0; i < n; ++i)
        EXPECT_NEAR(y[t * n + i], x[t * n + i] / std::sqrt(sum / n + 1e-6) * weight[i], 3e-6 * std::fabs(y[t * n + i]));
    }
    device->rms_norm(matrix(x, rows, n), norm, matrix(x, rows, n));  // in place
    EXPECT_EQ(x, y);
  }
}

TEST_P(ElementwiseIsa, NormRope) {
  const auto device = open_test_device(GetParam(), 2);
  for (const int d : {2, 6, 32, 40, 64, 96, 128, 256}) {
    const std::vector<int32_t> positions = {0, 1, 5, 40959, 131071};
    const int rows = static_cast<int>(positions.size()), heads = 3;
    Rope rope;
    for (int i = 0; i < d / 2; ++i) rope.inverse_frequencies.push_back(std::pow(1e6, -2.0 * i / d));
    rope.attention_factor = 1.25;
    std::vector<float> table(static_cast<size_t>(rows * d), NAN);
    device->rope_table(positions, rope, matrix(table, rows, d));
    const std::vector<float> weight = random_floats(rng, d);
    std::vector<float> x = random_floats(rng, rows * heads * d);
    const std::vector<float> before = x;
    device->norm_rope(matrix(x, rows, heads * d), norm_of(*device, weight, 1e-6f), matrix(table, rows, d));
    for (int t = 0; t < rows * heads; ++t) {
      const float* head = before.data() + t * d;
      double sum = 0;
      for (int i = 0; i < d; ++i) sum += static_cast<double>(head[i]) * head[i];
      const double scale = 1.25 / std::sqrt(sum / d + 1e-6);
      for (int i = 0; i < d / 2; ++i) {
        const double angle = positions[static_cast<size_t>(t / heads)] * std::pow(1e6, -2.0 * i / d);
        const double a = head[i] * scale * weight[i], b = head[i + d / 2] * scale * weight[i + d / 2];
        const double size = 2e-6 * (std::fabs(a) + std::fabs(b));
        EXPECT_NEAR(x[t * d + i], a * std::cos(angle) - b * std::sin(angle), size) << d;
        EXPECT_NEAR(x[t * d + i + d / 2], b * std::cos(angle) + a * std::sin(angle), size) << d;
      }
    }
  }
}

TEST_P(ElementwiseIsa, SwigluAndExtremes) {
  for (const int n : kSizes) {
    std::vector<float> gate = random_floats(rng, n, 5.0f), up = random_floats(rng, n);
    if (n >= 15) {
      const float extremes[] = {0.0f, -0.0f, 88.0f, -88.0f, 200.0f, -200.0f, 1e30f, -1e30f, 1e-30f};
      std::copy(std::begin(extremes), std::end(extremes), gate.begin());
    }
    const std::vector<float> before = gate;
    kernels().swiglu(gate.data(), up.data(), gate.data(), n);
    for (int i = 0; i < n; ++i) {
      const double g = before[static_cast<size_t>(i)], expected = g / (1 + std::exp(-g)) * up[static_cast<size_t>(i)];
      EXPECT_NEAR(gate[static_cast<size_t>(i)], expected, 2e-6 * std::fabs(expected) + 1e-36) << g;
    }
  }
}

TEST_P(ElementwiseIsa, SoftmaxSumsToOne) {
  for (const int n : kSizes) {
    std::vector<float> x = random_floats(rng, n, 20.0f);
    const std::vector<float> before = x;
    kernels().softmax(x.data(), n);
    const double max = *std::max_element(before.begin(), before.end());
    double sum = 0;
    for (const float value : before) sum += std::exp(value - max);
    for (int i = 0; i < n; ++i) EXPECT_NEAR(x[i], std::exp(before[i] - max) / sum, 2e-6);
  }
}

TEST_P(ElementwiseIsa, SmallKernelsTouchOnlyTheirRange) {
  for (const int n : kSizes) {
    const std::vector<float> x = random_floats(rng, n);
    std::vector<float> y = random_floats(rng, n + 1);
    std::vector<float> expected = y;
    for (int i = 0; i < n; ++i) expected[i] = std::fma(0.5f, x[i], y[i]);
    kernels().add_scaled(x.data(), 0.5f, y.data(), n);
    EXPECT_EQ(y, expected);
    for (int i = 0; i < n; ++i) expected[i] *= x[i];
    kernels().multiply(x.data(), y.data(), n);
    EXPECT_EQ(y, expected);
    std::vector<uint16_t> halves(static_cast<size_t>(n + 1), 0x1234);
    kernels().to_bf16(x.data(), halves.data(), n);
    for (int i = 0; i < n; ++i) EXPECT_EQ(halves[i], f32_to_bf16(x[i]));
    EXPECT_EQ(halves.back(), 0x1234);
  }
}

TEST_P(ElementwiseIsa, Bf16RoundsToEvenAndKeepsNan) {
  std::vector<float> x = {1.00390625f, 1.01171875f, INFINITY, -INFINITY, 3.4e38f, 1e-40f, -0.0f, 0.1f};
  std::vector<uint16_t> y(x.size());
  kernels().to_bf16(x.data(), y.data(), static_cast<int64_t>(x.size()));
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], f32_to_bf16(x[i])) << x[i];
  std::vector<float> nans(8, NAN);
  kernels().to_bf16(nans.data(), y.data(), 8);
  for (const uint16_t bits : y) EXPECT_TRUE(std::isnan(bf16_to_f32(bits)));
}

// Codes that MLX never writes but a file may hold.
TEST_P(ElementwiseIsa, EveryE4m3AndE8m0Code) {
  const auto device = open_test_device(GetParam(), 1);
  std::vector<uint8_t> codes(256), scales(8, 127);
  for (int i = 0; i < 256; ++i) codes[static_cast<size_t>(i)] = static_cast<uint8_t>(i);
  WeightView view;
  view.out = 1;
  view.in = 256;
  view.quantization = {QuantMode::mxfp8, 8, 32};
  view.weight = {reinterpret_cast<const std::byte*>(codes.data()), DType::u32, {1, 64}};
  view.scales = {reinterpret_cast<const std::byte*>(scales.data()), DType::u8, {1, 8}};
  const Linear linear = device->pack(view);
  std::vector<float> x(256);
  const std::vector<int32_t> tokens = {0};
  for (const int scale : {0, 1, 100, 127, 200}) {
    std::fill(scales.begin(), scales.end(), static_cast<uint8_t>(scale));
    device->embed(linear, tokens, matrix(x, 1, 256));
    for (int i = 0; i < 256; ++i) {
      const int exponent = (i >> 3) & 15, mantissa = i & 7;
      double expected = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
      expected = std::ldexp(i & 128 ? -expected : expected, scale - 127);
      if ((i & 127) == 127) {
        EXPECT_TRUE(std::isnan(x[static_cast<size_t>(i)])) << i;
      } else {
        EXPECT_EQ(x[static_cast<size_t>(i)], static_cast<float>(expected)) << i << " with scale " << scale;
      }
    }
  }
}

TEST_P(ElementwiseIsa, GatherRowsAndDownload) {
  const auto device = open_test_device(GetParam(), 2);
  std::vector<float> x = random_floats(rng, 5 * 9), out(3 * 9);
  const std::vector<int32_t> rows = {1, 1, 4};
  device->gather_rows(matrix(x, 5, 9), rows, matrix(out, 3, 9));
  for (int r = 0; r < 3; ++r)
    for (int i = 0; i < 9; ++i) EXPECT_EQ(out[r * 9 + i], x[rows[r] * 9 + i]);
  std::vector<float> copy(x.size());
  device->download(matrix(x, 5, 9), copy);
  EXPECT_EQ(copy, x);
  const uint16_t half[] = {0x3f80, 0xc000};
  std::vector<float> widened(2);
  device->download({reinterpret_cast<const std::byte*>(half), DType::bf16, {2}}, widened);
  EXPECT_EQ(widened, (std::vector<float>{1.0f, -2.0f}));
}

INSTANTIATE_TEST_SUITE_P(All, ElementwiseIsa, ::testing::ValuesIn(isa_names()),
                         [](const auto& test) { return test.param; });

TEST(Dispatch, NamesWhatThereIs) {
  ASSERT_FALSE(supported_kernels().empty());
  EXPECT_STREQ(supported_kernels().front()->name, "scalar");
  EXPECT_EQ(&select_kernels("scalar"), supported_kernels().front());
  try {
    select_kernels("avx9000");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Errc::usage);
    EXPECT_NE(std::string(error.what()).find("avx9000"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("scalar"), std::string::npos);
  }
}

TEST(Dispatch, EnvironmentChoosesAndOptionWins) {
  const char* before = std::getenv("INKSTONE_ISA");
  const std::string saved = before != nullptr ? before : "";
  setenv("INKSTONE_ISA", "scalar", 1);
  EXPECT_STREQ(select_kernels("").name, "scalar");
  EXPECT_EQ(&select_kernels(supported_kernels().back()->name), supported_kernels().back());
  setenv("INKSTONE_ISA", "nonsense", 1);
  EXPECT_THROW(select_kernels(""), Error);
  unsetenv("INKSTONE_ISA");
  EXPECT_EQ(&select_kernels(""), supported_kernels().back());
  if (before != nullptr) setenv("INKSTONE_ISA", saved.c_str(), 1);
}

}  // namespace
}  // namespace inkstone::testing
