// linear and linear_add: every format x ISA x awkward shape against a double-precision product of independently
// decoded weights; adapters; threads.
#include <gtest/gtest.h>

#include <cmath>

#include "tests/cpu/reference.h"

namespace inkstone::testing {
namespace {

// Accumulating n terms in float32 over several accumulators stays far below n * 2^-24; 4e-6 of sum |x||w| is
// 67 roundings of the largest partial sum.
constexpr double kTolerance = 4e-6;

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

class LinearFormats : public ::testing::TestWithParam<Case> {};

TEST_P(LinearFormats, MatchesDenseProduct) {
  const auto& [isa, spec] = GetParam();
  std::mt19937 rng(7);
  const auto device = open_test_device(isa, 2);
  const int group = spec.unit();
  // Several groups, partial vectors, partial blocks, partial chunks; odd numbers of rows of the weight.
  for (const int64_t groups :
       spec.group == 0 ? std::vector<int64_t>{1, 7, 67, 300} : std::vector<int64_t>{1, 3, 5, 11}) {
    const int64_t in = groups * group;
    for (const int64_t out : {1, 37}) {
      TestWeight weight(rng, spec, out, in);
      const Linear linear = device->pack(weight.view);
      for (const int rows : {1, 2, 3, 7, 8, 9, 16, 33, 130}) {
        std::vector<float> x = random_floats(rng, rows * in), y(static_cast<size_t>(rows * out), NAN);
        const DenseResult expected = dense_product(x, rows, weight.dense.data(), out, in);
        const Linear* const weights[] = {&linear};
        const Tensor ys[] = {matrix(y, rows, out)};
        device->linear(matrix(x, rows, in), weights, ys);
        EXPECT_LE(relative_error(y, expected), kTolerance) << rows << " rows, " << out << " x " << in;
        for (float& value : y) value *= 2;
        DenseResult doubled = expected;
        for (double& value : doubled.y) value *= 3;
        device->linear_add(matrix(x, rows, in), linear, ys[0]);
        EXPECT_LE(relative_error(y, doubled), 3 * kTolerance) << rows << " rows added, " << out << " x " << in;
      }
    }
  }
}

TEST_P(LinearFormats, EmbedsRows) {
  const auto& [isa, spec] = GetParam();
  std::mt19937 rng(8);
  const auto device = open_test_device(isa, 2);
  const int64_t in = spec.group == 0 ? 131 : spec.unit() * 5, out = 19;
  TestWeight weight(rng, spec, out, in);
  const Linear linear = device->pack(weight.view);
  const std::vector<int32_t> tokens = {18, 0, 7, 7, 3};
  std::vector<float> x(tokens.size() * static_cast<size_t>(in), NAN);
  device->embed(linear, tokens, matrix(x, static_cast<int64_t>(tokens.size()), in));
  for (size_t t = 0; t < tokens.size(); ++t) {
    for (int64_t i = 0; i < in; ++i) {
      const double expected = weight.dense[static_cast<size_t>(tokens[t] * in + i)];
      EXPECT_NEAR(x[t * static_cast<size_t>(in) + static_cast<size_t>(i)], expected, 1e-6 * (1 + std::fabs(expected)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, LinearFormats, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.isa + "_" + test.param.spec.name(); });

class Isa : public ::testing::TestWithParam<std::string> {};

// A group of weights of different formats that share an input: each with its own order of columns.
TEST_P(Isa, GroupOfMixedFormats) {
  std::mt19937 rng(9);
  const auto device = open_test_device(GetParam(), 2);
  const int64_t in = 384;
  const WeightSpec specs[] = {{QuantMode::affine, 4, 64, DType::bf16}, {QuantMode::affine, 2, 64, DType::bf16},
                              {QuantMode::affine, 8, 128, DType::f16}, {QuantMode::none, 0, 0, DType::bf16},
                              {QuantMode::affine, 8, 32, DType::bf16}, {QuantMode::nvfp4, 4, 16, DType::u8}};
  std::vector<TestWeight> weights;
  std::vector<Linear> linears;
  weights.reserve(std::size(specs));
  for (const WeightSpec& spec : specs) {
    weights.emplace_back(rng, spec, 21 + static_cast<int64_t>(weights.size()) * 13, in);
    linears.push_back(device->pack(weights.back().view));
  }
  for (const int rows : {1, 4, 20}) {
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
    for (size_t i = 0; i < weights.size(); ++i) {
      const DenseResult expected = dense_product(x, rows, weights[i].dense.data(), linears[i].out(), in);
      EXPECT_LE(relative_error(results[i], expected), kTolerance) << specs[i].name() << ", " << rows << " rows";
    }
  }
}

TEST_P(Isa, AdaptersAddAndScale) {
  std::mt19937 rng(10);
  const auto device = open_test_device(GetParam(), 2);
  const int64_t in = 192, out = 45;
  for (const bool dora : {false, true}) {
    TestWeight weight(rng, {QuantMode::affine, 4, 64, DType::bf16}, out, in);
    Linear linear = device->pack(weight.view);
    linear.lora = std::make_unique<Lora>(random_lora(rng, *device, out, in, 5, dora));
    const float* a = reinterpret_cast<const float*>(linear.lora->a.data());
    const float* b = reinterpret_cast<const float*>(linear.lora->b.data());
    const float* magnitude = reinterpret_cast<const float*>(linear.lora->magnitude.data());
    std::vector<double> merged = weight.dense;
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = 0; i < in; ++i) {
        double& w = merged[static_cast<size_t>(o * in + i)];
        for (int r = 0; r < 5; ++r) w += 1.5 * b[o * 5 + r] * a[r * in + i];
        if (dora) w *= magnitude[o];
      }
    }
    for (const int rows : {1, 6, 40}) {
      std::vector<float> x = random_floats(rng, rows * in), y(static_cast<size_t>(rows * out), NAN);
      DenseResult expected = dense_product(x, rows, merged.data(), out, in);
      const Linear* const weights[] = {&linear};
      const Tensor ys[] = {matrix(y, rows, out)};
      device->linear(matrix(x, rows, in), weights, ys);
      EXPECT_LE(relative_error(y, expected, 1e-2), 1e-5) << rows << " rows, dora " << dora;
      const std::vector<float> residual = random_floats(rng, rows * out);
      y = residual;
      for (size_t i = 0; i < y.size(); ++i) expected.y[i] += residual[i];
      device->linear_add(matrix(x, rows, in), linear, ys[0]);
      EXPECT_LE(relative_error(y, expected, 1e-2), 1e-5) << rows << " rows added, dora " << dora;
    }
  }
}

TEST_P(Isa, ThreadsDoNotChangeResults) {
  const int64_t in = 512, out = 700;
  for (const int rows : {1, 5, 37}) {
    std::vector<float> first;
    for (const int threads : {1, 2, 3}) {
      for (int repeat = 0; repeat < 2; ++repeat) {
        std::mt19937 rng(11);
        const auto device = open_test_device(GetParam(), threads);
        TestWeight weight(rng, {QuantMode::affine, 4, 64, DType::bf16}, out, in);
        const Linear linear = device->pack(weight.view);
        std::vector<float> x = random_floats(rng, rows * in), y(static_cast<size_t>(rows * out), 0.0f);
        device->linear_add(matrix(x, rows, in), linear, matrix(y, rows, out));
        if (first.empty()) first = y;
        EXPECT_EQ(y, first) << threads << " threads, " << rows << " rows";
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Isa, ::testing::ValuesIn(vector_isa_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace inkstone::testing
