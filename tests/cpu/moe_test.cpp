// route and experts_add against a plain double-precision Mixture of Experts.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/cpu/reference.h"

namespace inkstone::testing {
namespace {

class MoeIsa : public ::testing::TestWithParam<std::string> {};

struct Routed {
  Routed(int64_t rows, int64_t k) : experts(static_cast<size_t>(rows * k), -1), weights(static_cast<size_t>(rows * k)) {
    routing.experts = {reinterpret_cast<std::byte*>(experts.data()), DType::i32, Shape{rows, k}};
    routing.weights = matrix(weights, rows, k);
  }
  std::vector<int32_t> experts;
  std::vector<float> weights;
  Routing routing;
};

TEST_P(MoeIsa, RoutesToTheLargest) {
  std::mt19937 rng(30);
  const auto device = open_test_device(GetParam(), 2);
  for (const int64_t experts : {1, 7, 8, 128, 131}) {
    for (const bool normalise : {false, true}) {
      const int64_t rows = 37, k = std::min<int64_t>(experts, 8);
      std::vector<float> logits = random_floats(rng, rows * experts, 3.0f);
      const std::vector<float> before = logits;
      Routed routed(rows, k);
      device->route(matrix(logits, rows, experts), normalise, routed.routing);
      EXPECT_EQ(logits, before);
      for (int64_t t = 0; t < rows; ++t) {
        const float* row = logits.data() + t * experts;
        std::vector<int32_t> order(static_cast<size_t>(experts));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row[a] > row[b]; });
        double all = 0, chosen = 0;
        for (int64_t e = 0; e < experts; ++e) all += std::exp(static_cast<double>(row[e]));
        for (int64_t j = 0; j < k; ++j) chosen += std::exp(static_cast<double>(row[order[static_cast<size_t>(j)]]));
        for (int64_t j = 0; j < k; ++j) {
          const int32_t e = order[static_cast<size_t>(j)];
          EXPECT_EQ(routed.experts[static_cast<size_t>(t * k + j)], e);
          const double weight = std::exp(static_cast<double>(row[e])) / (normalise ? chosen : all);
          EXPECT_NEAR(routed.weights[static_cast<size_t>(t * k + j)], weight, 2e-6);
        }
      }
    }
  }
}

TEST_P(MoeIsa, LowerIndexFirstAmongEquals) {
  const auto device = open_test_device(GetParam(), 1);
  std::vector<float> logits(20, 1.0f);
  logits[13] = 2.0f;
  Routed routed(1, 4);
  device->route(matrix(logits, 1, 20), true, routed.routing);
  EXPECT_EQ(routed.experts, (std::vector<int32_t>{13, 0, 1, 2}));
}

// Routing chosen at random: some experts get nothing, some much.
void check_experts(Device& device, const WeightSpec& spec, int64_t rows, bool adapters) {
  std::mt19937 rng(31);
  const int64_t count = 8, width = 128, hidden = 192, k = 2;
  TestWeight gate(rng, spec, hidden, width, count), up(rng, spec, hidden, width, count);
  TestWeight down(rng, spec, width, hidden, count);
  Mlp experts{device.pack(gate.view), device.pack(up.view), device.pack(down.view)};
  const auto adapt = [&](Linear& linear, TestWeight& weight) {
    linear.lora = std::make_unique<Lora>(random_lora(rng, device, linear.out(), linear.in(), 3, false, count));
    const float* a = reinterpret_cast<const float*>(linear.lora->a.data());
    const float* b = reinterpret_cast<const float*>(linear.lora->b.data());
    const int64_t out = linear.out(), in = linear.in();
    for (int64_t o = 0; o < count * out; ++o)
      for (int64_t i = 0; i < in; ++i)
        for (int r = 0; r < 3; ++r)
          weight.dense[static_cast<size_t>(o * in + i)] += 1.5 * b[o * 3 + r] * a[(o / out * 3 + r) * in + i];
  };
  if (adapters) {
    adapt(experts.gate_proj, gate);
    adapt(experts.up_proj, up);
    adapt(experts.down_proj, down);
  }
  Routed routed(rows, k);
  for (int64_t t = 0; t < rows; ++t) {
    const int32_t first = static_cast<int32_t>(rng() % 3);  // crowded: experts 0 .. 2, and one of 3 .. 6; 7 has none
    routed.experts[static_cast<size_t>(t * k)] = first;
    routed.experts[static_cast<size_t>(t * k + 1)] = 3 + static_cast<int32_t>(rng() % 4);
    routed.weights[static_cast<size_t>(t * k)] = 0.75f;
    routed.weights[static_cast<size_t>(t * k + 1)] = 0.25f;
  }
  std::vector<float> h = random_floats(rng, rows * width), x = random_floats(rng, rows * width);
  std::vector<double> expected(x.begin(), x.end());
  for (int64_t t = 0; t < rows; ++t) {
    const std::vector<float> row(h.begin() + t * width, h.begin() + (t + 1) * width);
    for (int64_t j = 0; j < k; ++j) {
      const int64_t e = routed.experts[static_cast<size_t>(t * k + j)];
      const auto g = dense_product(row, 1, gate.dense.data() + e * hidden * width, hidden, width).y;
      const auto u = dense_product(row, 1, up.dense.data() + e * hidden * width, hidden, width).y;
      for (int64_t o = 0; o < width; ++o)
        for (int64_t f = 0; f < hidden; ++f)
          expected[static_cast<size_t>(t * width + o)] +=
              routed.weights[static_cast<size_t>(t * k + j)] * g[static_cast<size_t>(f)] /
              (1 + std::exp(-g[static_cast<size_t>(f)])) * u[static_cast<size_t>(f)] *
              down.dense[static_cast<size_t>((e * width + o) * hidden + f)];
    }
  }
  device.experts_add(matrix(h, rows, width), experts, routed.routing, matrix(x, rows, width));
  double largest = 0, worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    largest = std::max(largest, std::fabs(expected[i]));
    worst = std::isnan(x[i]) ? INFINITY : std::max(worst, std::fabs(x[i] - expected[i]));
  }
  EXPECT_LE(worst, 1e-5 * largest) << spec.name() << ", " << rows << " rows, adapters " << adapters;
}

TEST_P(MoeIsa, ExpertsMatchReference) {
  const auto device = open_test_device(GetParam(), 2);
  for (const int64_t rows : {1, 3, 16, 90}) {
    check_experts(*device, {QuantMode::affine, 4, 64, DType::bf16}, rows, false);
    check_experts(*device, {QuantMode::affine, 4, 64, DType::bf16}, rows, true);
    check_experts(*device, {QuantMode::mxfp4, 4, 32, DType::u8}, rows, false);
    check_experts(*device, {QuantMode::none, 0, 0, DType::bf16}, rows, false);
  }
}

// Experts that stand apart in the file give what a stack of the same gives.
TEST_P(MoeIsa, SeparateExpertsEqualStack) {
  std::mt19937 rng(32);
  const auto device = open_test_device(GetParam(), 2);
  const int64_t count = 4, width = 64, hidden = 96, rows = 5, k = 2;
  const WeightSpec spec{QuantMode::none, 0, 0, DType::bf16};
  TestWeight gate(rng, spec, hidden, width, count), up(rng, spec, hidden, width, count);
  TestWeight down(rng, spec, width, hidden, count);
  const auto apart = [](const WeightView& stack) {
    WeightView view;
    view.out = stack.out;
    view.in = stack.in;
    view.experts = stack.experts;
    for (int64_t e = 0; e < stack.experts; ++e) view.parts.push_back(stack.expert(e));
    return view;
  };
  Routed routed(rows, k);
  for (size_t i = 0; i < routed.experts.size(); ++i) {
    routed.experts[i] = static_cast<int32_t>((i * 5 + i / 2) % count);
    routed.weights[i] = 0.5f;
  }
  std::vector<float> h = random_floats(rng, rows * width);
  std::vector<float> stacked(h.size(), 0.0f), separate(h.size(), 0.0f);
  const Mlp a{device->pack(gate.view), device->pack(up.view), device->pack(down.view)};
  const Mlp b{device->pack(apart(gate.view)), device->pack(apart(up.view)), device->pack(apart(down.view))};
  device->experts_add(matrix(h, rows, width), a, routed.routing, matrix(stacked, rows, width));
  device->experts_add(matrix(h, rows, width), b, routed.routing, matrix(separate, rows, width));
  EXPECT_EQ(stacked, separate);
  EXPECT_NE(stacked, std::vector<float>(h.size(), 0.0f));
}

INSTANTIATE_TEST_SUITE_P(All, MoeIsa, ::testing::ValuesIn(vector_isa_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace inkstone::testing
