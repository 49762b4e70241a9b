// Precision::fast in the matrix unit: products and the gated MLP for every format x awkward shape, against the same
// double-precision references as the exact kernels, within what rounding both operands to bf16 can do.
#include <gtest/gtest.h>

#include <cmath>

#include "cpu/dispatch.h"
#include "tests/cpu/reference.h"

namespace inkstone::testing {
namespace {

// A bf16 has 8 bits of precision: each operand is off by at most 2^-8 of itself, each product by 2^-7, with a little
// for the sums.
constexpr double kTolerance = 1.05 / 128;

struct Case {
  std::string isa;
  WeightSpec spec;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const Kernels* table : supported_kernels())
    if (table->tiles != nullptr)
      for (const WeightSpec& spec : all_weight_specs()) all.push_back({table->name, spec});
  return all;
}

class TileFormats : public ::testing::TestWithParam<Case> {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TileFormats);  // machines without a matrix unit

TEST_P(TileFormats, MatchesDenseProduct) {
  const auto& [isa, spec] = GetParam();
  std::mt19937 rng(17);
  const auto device = open_test_device(isa, 2, Precision::fast);
  const int group = spec.unit();
  // Partial and whole blocks of positions; partial tiles, several panels and blocks of tokens: the last two where the
  // matrix is small, since the reference is slow.
  for (const int64_t groups :
       spec.group == 0 ? std::vector<int64_t>{1, 67, 300, 512} : std::vector<int64_t>{1, 3, 8, 11}) {
    const int64_t in = groups * group;
    for (const int64_t out : {1, 37, 300}) {
      TestWeight weight(rng, spec, out, in);
      const Linear linear = device->pack(weight.view);
      for (const int rows : {2, 16, 17, 33, 50, 530}) {
        if ((out == 300 && rows != 17 && rows != 33) || (rows == 530 && groups > 3)) continue;
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

// down(silu(gate h) * up h) with the same weights in Precision::f32, whose own test is exact.
TEST_P(TileFormats, MlpIsTheExactOnesWithinRounding) {
  const auto& [isa, spec] = GetParam();
  std::mt19937 rng(18);
  const int group = spec.group == 0 ? 32 : spec.unit();
  const auto exact = open_test_device(isa, 2, Precision::f32), fast = open_test_device(isa, 2, Precision::fast);
  for (const int64_t hidden : {group * 1, group * 5}) {
    for (const int64_t width : {group * 3, group * 8}) {
      TestWeight gate(rng, spec, width, hidden), up(rng, spec, width, hidden), down(rng, spec, hidden, width);
      const Mlp mlp{exact->pack(gate.view), exact->pack(up.view), exact->pack(down.view)};
      for (const int rows : {2, 33, 530}) {
        if (rows == 530 && hidden > group) continue;
        std::vector<float> h = random_floats(rng, rows * hidden), x = random_floats(rng, rows * hidden), y = x;
        exact->mlp_add(matrix(h, rows, hidden), mlp, matrix(x, rows, hidden));
        fast->mlp_add(matrix(h, rows, hidden), mlp, matrix(y, rows, hidden));
        double distance = 0, size = 0;
        for (size_t i = 0; i < x.size(); ++i) {
          distance += std::pow(x[i] - y[i], 2);
          size += std::pow(x[i], 2);
        }
        EXPECT_LE(std::sqrt(distance / size), 0.02) << rows << " rows, " << hidden << " -> " << width;
      }
    }
  }
}

TEST_P(TileFormats, ThreadsDoNotChangeResults) {
  const auto& [isa, spec] = GetParam();
  const int64_t in = 8 * std::max(spec.group, 32), out = 200;
  for (const int rows : {5, 70}) {
    std::vector<float> first;
    for (const int threads : {1, 2, 3}) {
      std::mt19937 rng(19);
      const auto device = open_test_device(isa, threads, Precision::fast);
      TestWeight weight(rng, spec, out, in);
      const Linear linear = device->pack(weight.view);
      std::vector<float> x = random_floats(rng, rows * in), y = random_floats(rng, rows * out);
      device->linear_add(matrix(x, rows, in), linear, matrix(y, rows, out));
      if (first.empty()) first = y;
      EXPECT_EQ(y, first) << threads << " threads, " << rows << " rows";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, TileFormats, ::testing::ValuesIn(cases()),
                         [](const auto& test) { return test.param.isa + "_" + test.param.spec.name(); });

}  // namespace
}  // namespace inkstone::testing
