// Products with Precision::fast: activations as 16-bit integers with a scale for each group of the weight.
//
// The bound: q = x * 32767 / max of its group, rounded, is off by half a unit and by the rounding of the quotient
// (2^-23 of 32767: 0.004 units), so that y is off by at most 0.51 / 32767 of sum |w| max|x|. float32 adds as much as it
// adds in linear_test.cpp. Weights that are not multiplied as integers (plain, mxfp8) meet the same bound.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/cpu/reference.h"

namespace inkstone::testing {
namespace {

constexpr double kUnit = 0.51 / 32767;
constexpr double kFloat32 = 4e-6;

struct Case {
  std::string isa;
  WeightSpec spec;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string& isa : vector_isa_names())
    for (const WeightSpec& spec : all_weight_specs()) all.push_back({isa, spec});
  return all;
}

// Each x replaced by the largest |x| of its group.
std::vector<float> group_maxima(const std::vector<float>& x, int group) {
  std::vector<float> maxima(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t begin = i / static_cast<size_t>(group) * static_cast<size_t>(group);
    for (size_t j = begin; j < begin + static_cast<size_t>(group); ++j)
      maxima[i] = std::max(maxima[i], std::fabs(x[j]));
  }
  return maxima;
}

// Largest error in units of what the header allows.
double error_of_bound(const std::vector<float>& y, const std::vector<float>& x, int64_t rows, const TestWeight& weight,
                      double factor = 1) {
  const int64_t out = weight.view.out, in = weight.view.in;
  const int group = std::max(1, weight.view.quantization.group_size);
  const DenseResult expected = dense_product(x, rows, weight.dense.data(), out, in);
  const DenseResult bound = dense_product(group_maxima(x, group), rows, weight.dense.data(), out, in);
  double worst = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double allowed = kUnit * bound.magnitude[i] + kFloat32 * expected.magnitude[i] + 1e-12;
    const double error = std::fabs(y[i] - factor * expected.y[i]) / (factor * allowed);
    worst = std::isnan(error) ? INFINITY : std::max(worst, error);
  }
  return worst;
}

std::vector<float> product(Device& device, const Linear& linear, std::vector<float>& x, int64_t rows) {
  std::vector<float> y(static_cast<size_t>(rows * linear.out()), NAN);
  const Linear* const weights[] = {&linear};
  const Tensor ys[] = {matrix(y, rows, linear.out())};
  device.linear(matrix(x, rows, linear.in()), weights, ys);
  return y;
}

class FastLinearFormats : public ::testing::TestWithParam<Case> {};

// Several groups, partial blocks, more than a chunk; odd numbers of rows of the weight, every number of rows of x that
// a kernel is made for, and several parts. TestWeight ends where a page that faults begins.
TEST_P(FastLinearFormats, MatchesDenseProduct) {
  const auto& [isa, spec] = GetParam();
  std::mt19937 rng(21);
  const auto device = open_test_device(isa, 2, Precision::fast);
  struct Shape {
    int64_t groups, plain_columns, out;
    std::vector<int> rows;
  };
  const Shape shapes[] = {{1, 1, 1, {1, 2, 9}},
                          {3, 67, 37, {1, 3, 10}},
                          {8, 131, 11, {1, 2, 3, 4, 5, 6, 7, 8}},
                          {21, 300, 1, {1, 5}},
                          {35, 1100, 35, {1, 19}}};
  for (const Shape& shape : shapes) {
    const int64_t in = spec.group == 0 ? shape.plain_columns : shape.groups * spec.unit(), out = shape.out;
    TestWeight weight(rng, spec, out, in);
    const Linear linear = device->pack(weight.view);
    for (const int rows : shape.rows) {
      std::vector<float> x = random_floats(rng, rows * in);
      std::vector<float> y = product(*device, linear, x, rows);
      EXPECT_LE(error_of_bound(y, x, rows, weight), 1) << rows << " rows, " << out << " x " << in;
      for (float& value : y) value *= 2;
      device->linear_add(matrix(x, rows, in), linear, matrix(y, rows, out));
      EXPECT_LE(error_of_bound(y, x, rows, weight, 3), 1) << rows << " rows added, " << out << " x " << in;
    }
  }
}

// A thousand times larger, zeros, a group of zeros, groups too small to divide by, extremes.
TEST_P(FastLinearFormats, HoldsTheBoundForOddActivations) {
  const auto& [isa, spec] = GetParam();
  std::mt19937 rng(22);
  const auto device = open_test_device(isa, 1, Precision::fast);
  const int64_t group = std::max(32, spec.group), in = 6 * group, out = 9;
  TestWeight weight(rng, spec, out, in);
  const Linear linear = device->pack(weight.view);
  for (const int rows : {1, 3}) {
    std::vector<float> x = random_floats(rng, rows * in);
    for (int64_t r = 0; r < rows; ++r) {
      float* row = x.data() + r * in;
      for (int64_t i = 0; i < group; i += 7) row[i] = 0;
      row[3] = 1000.0f;
      row[group + 5] = -1e6f;
      for (int64_t i = 2 * group; i < 3 * group; ++i) row[i] = i % 2 == 0 ? 0.0f : -0.0f;
      for (int64_t i = 3 * group; i < 4 * group; ++i) row[i] *= 1e-36f;
      for (int64_t i = 4 * group; i < 5 * group; ++i) row[i] = i % 3 == 0 ? 1.0f : -1.0f;
    }
    EXPECT_LE(error_of_bound(product(*device, linear, x, rows), x, rows, weight), 1) << rows << " rows";
    std::fill(x.begin(), x.end(), 0.0f);
    EXPECT_EQ(product(*device, linear, x, rows), std::vector<float>(static_cast<size_t>(rows * out), 0.0f));
  }
}

// What is not finite must not become a number.
TEST_P(FastLinearFormats, InfinityAndNaNStayVisible) {
  const auto& [isa, spec] = GetParam();
  std::mt19937 rng(23);
  const auto device = open_test_device(isa, 1, Precision::fast);
  const int64_t in = 4 * std::max(32, spec.group), out = 5;
  TestWeight weight(rng, spec, out, in);
  const Linear linear = device->pack(weight.view);
  for (const float value : {INFINITY, -INFINITY, NAN}) {
    std::vector<float> x = random_floats(rng, 2 * in);
    x[static_cast<size_t>(in / 2 + 3)] = value;
    const std::vector<float> y = product(*device, linear, x, 2);
    for (int64_t o = 0; o < 2 * out; ++o) EXPECT_EQ(std::isfinite(y[static_cast<size_t>(o)]), o >= out) << o;
  }
}

INSTANTIATE_TEST_SUITE_P(All, FastLinearFormats, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.isa + "_" + test.param.spec.name(); });

class FastIsa : public ::testing::TestWithParam<std::string> {};

// Codes around 128 and a bias of -127.5 scales, as quantisers make them: the terms cancel. A product of the weight with
// the quantised x is off by max / sqrt(12) / 32767 of x: 2.2e-5 where the largest of 64 is 2.5 times the usual. A
// bias that took the exact sum of x would double it. The largest code and group show that no sum overflows.
TEST_P(FastIsa, CancellingBiasesCostNoAccuracy) {
  const int64_t in = 1024, out = 64;
  const int group = 64;
  std::mt19937 rng(24);
  std::vector<uint8_t> codes(static_cast<size_t>(out * in));
  for (uint8_t& code : codes) code = static_cast<uint8_t>(rng());
  std::vector<float> scales(static_cast<size_t>(out * in / group), 0.0078125f);
  std::vector<float> biases(scales.size(), -127.5f * 0.0078125f);
  const auto view = [](auto& values, DType dtype, Shape shape) {
    return ConstTensor{reinterpret_cast<const std::byte*>(values.data()), dtype, shape};
  };
  WeightView weight;
  weight.out = out;
  weight.in = in;
  weight.quantization = {QuantMode::affine, 8, group};
  weight.weight = view(codes, DType::u32, {out, in / 4});
  weight.scales = view(scales, DType::f32, {out, in / group});
  weight.biases = view(biases, DType::f32, {out, in / group});
  const auto device = open_test_device(GetParam(), 1, Precision::fast);
  const Linear linear = device->pack(weight);
  std::vector<float> x = random_floats(rng, in);
  const auto expected = [&](int64_t o) {
    double sum = 0;
    for (int64_t i = 0; i < in; ++i)
      sum += 0.0078125 * (codes[static_cast<size_t>(o * in + i)] - 127.5) * x[static_cast<size_t>(i)];
    return sum;
  };
  std::vector<float> y = product(*device, linear, x, 1);
  double error = 0, size = 0;
  for (int64_t o = 0; o < out; ++o) {
    error += std::pow(y[static_cast<size_t>(o)] - expected(o), 2);
    size += std::pow(expected(o), 2);
  }
  EXPECT_LE(std::sqrt(error / size), 3e-5);

  std::fill(codes.begin(), codes.end(), 255);
  std::fill(x.begin(), x.end(), -3.0f);
  y = product(*device, linear, x, 1);
  for (int64_t o = 0; o < out; ++o) EXPECT_NEAR(y[static_cast<size_t>(o)], expected(o), 1e-6 * std::fabs(expected(o)));
}

// A group of weights that share an input: integers, floats, and different groups.
TEST_P(FastIsa, GroupOfMixedFormats) {
  std::mt19937 rng(25);
  const auto device = open_test_device(GetParam(), 2, Precision::fast);
  const int64_t in = 384;
  const WeightSpec specs[] = {{QuantMode::affine, 8, 32, DType::bf16}, {QuantMode::mxfp8, 8, 32, DType::u8},
                              {QuantMode::affine, 4, 64, DType::bf16}, {QuantMode::affine, 2, 64, DType::bf16},
                              {QuantMode::none, 0, 0, DType::bf16},    {QuantMode::mxfp4, 4, 32, DType::u8},
                              {QuantMode::nvfp4, 4, 16, DType::u8},    {QuantMode::affine, 6, 128, DType::f16}};
  std::vector<TestWeight> weights;
  std::vector<Linear> linears;
  weights.reserve(std::size(specs));
  for (const WeightSpec& spec : specs) {
    weights.emplace_back(rng, spec, 21 + static_cast<int64_t>(weights.size()) * 13, in);
    linears.push_back(device->pack(weights.back().view));
  }
  for (const int rows : {1, 4, 12}) {
    std::vector<float> x = random_floats(rng, rows * in);
    std::vector<std::vector<float>> results;
    std::vector<const Linear*> group;
    std::vector<Tensor> ys;
    results.reserve(weights.size());
    for (const Linear& linear : linears) {
      results.emplace_back(static_cast<size_t>(rows * linear.out()), NAN);
      ys.push_back(matrix(results.back(), rows, linear.out()));
      group.push_back(&linear);
    }
    device->linear(matrix(x, rows, in), group, ys);
    for (size_t i = 0; i < weights.size(); ++i)
      EXPECT_LE(error_of_bound(results[i], x, rows, weights[i]), 1) << specs[i].name() << ", " << rows << " rows";
  }
}

TEST_P(FastIsa, ThreadsDoNotChangeResults) {
  const int64_t in = 512, out = 700;
  for (const int rows : {1, 5, 14}) {
    std::vector<float> first;
    for (const int threads : {1, 2, 3}) {
      std::mt19937 rng(26);
      const auto device = open_test_device(GetParam(), threads, Precision::fast);
      TestWeight weight(rng, {QuantMode::affine, 4, 64, DType::bf16}, out, in);
      const Linear linear = device->pack(weight.view);
      std::vector<float> x = random_floats(rng, rows * in);
      const std::vector<float> y = product(*device, linear, x, rows);
      if (first.empty()) first = y;
      EXPECT_EQ(y, first) << threads << " threads, " << rows << " rows";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FastIsa, ::testing::ValuesIn(vector_isa_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace inkstone::testing
