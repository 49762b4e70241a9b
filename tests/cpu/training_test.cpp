// Every verb of training, on every table, at awkward sizes: gradients against differences of the forward pass in double
// precision, written out here; an optimiser's step against its formula.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numeric>

#include "base/float16.h"
#include "tests/cpu/reference.h"

namespace inkstone::testing {
namespace {

using Doubles = std::vector<double>;
using Floats = std::vector<float>;

constexpr double kTolerance = 2e-5;  // of a gradient's largest element
constexpr float kBefore = 0.5f;      // stands where gradients are added

Doubles widen(const Floats& x) { return {x.begin(), x.end()}; }
Doubles widen(const Buffer& x) {
  const float* values = reinterpret_cast<const float*>(x.data());
  return {values, values + x.size() / sizeof(float)};
}
Tensor tensor(Floats& values, const Shape& shape) {
  return {reinterpret_cast<std::byte*>(values.data()), DType::f32, shape};
}
Floats before(int64_t count) { return Floats(static_cast<size_t>(count), kBefore); }

double dot(const Floats& dy, const Doubles& y) {
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += dy[i] * y[i];
  return sum;
}

class TrainingIsa : public ::testing::TestWithParam<std::string> {
 protected:
  Floats random(int64_t count, float scale = 1.0f) { return random_floats(rng, count, scale); }

  // got, which had `start` in it, against the loss' differences along each of `at`, or along 60 of them.
  void expect_gradient(const Floats& got, Doubles& at, const std::function<double()>& loss, const std::string& what,
                       float start = 0) {
    ASSERT_EQ(got.size(), at.size()) << what;
    for (const float value : got) ASSERT_TRUE(std::isfinite(value)) << what;
    std::vector<size_t> places(at.size());
    std::iota(places.begin(), places.end(), size_t{0});
    if (places.size() > 200) {
      std::shuffle(places.begin(), places.end() - 1, rng);
      places.erase(places.begin() + 59, places.end() - 1);
    }
    Doubles expected;
    for (const size_t place : places) {
      const double here = at[place], step = 1e-4;
      at[place] = here + step;
      const double more = loss();
      at[place] = here - step;
      expected.push_back((more - loss()) / (2 * step));
      at[place] = here;
    }
    double largest = 1e-3;  // and what was there rounds off 2^-24 of itself
    for (const double value : expected) largest = std::max(largest, std::fabs(value));
    for (size_t i = 0; i < places.size(); ++i)
      EXPECT_NEAR(got[places[i]] - start, expected[i], kTolerance * largest + 2e-7 * start)
          << what << ", element " << places[i];
  }

  std::mt19937 rng{50};
};

// y [rows, out] = x w^T + scale b (a x), all double.
Doubles adapted(const Doubles& x, const Doubles& w, const Doubles& a, const Doubles& b, double scale, int64_t rows,
                int64_t out, int64_t in) {
  const int64_t rank = static_cast<int64_t>(a.size()) / in;
  Doubles y(static_cast<size_t>(rows * out));
  for (int64_t t = 0; t < rows; ++t) {
    Doubles low(static_cast<size_t>(rank));
    for (int64_t r = 0; r < rank; ++r)
      for (int64_t i = 0; i < in; ++i) low[r] += a[r * in + i] * x[t * in + i];
    for (int64_t o = 0; o < out; ++o) {
      double sum = 0;
      for (int64_t i = 0; i < in; ++i) sum += w[o * in + i] * x[t * in + i];
      for (int64_t r = 0; r < rank; ++r) sum += scale * b[o * rank + r] * low[r];
      y[t * out + o] = sum;
    }
  }
  return y;
}

// Two weights of one input: a quantised one with an adapter, and one that learns whole.
TEST_P(TrainingIsa, LinearOfEveryFormat) {
  for (const WeightSpec& spec : all_weight_specs()) {
    for (const auto& [rows, groups, out] : {std::tuple{1, 1, 1}, {3, 3, 37}, {2, 1, 70}, {17, 2, 9}, {70, 1, 5}}) {
      const auto device = open_test_device(GetParam(), 2);
      const int64_t in = groups * (spec.group == 0 ? 33 : spec.unit()), other_out = 3;
      const std::string what = spec.name() + ", " + std::to_string(rows) + " x " + std::to_string(in);
      TestWeight quantised(rng, spec, out, in), plain(rng, {QuantMode::none, 0, 0, DType::f32}, other_out, in);
      Linear first = device->pack(quantised.view);
      const Linear second = device->pack(plain.view);
      first.lora = std::make_unique<Lora>(random_lora(rng, *device, out, in, 3, false));
      Floats x = random(rows * in), dy = random(rows * out), other_dy = random(rows * other_out), dx(x.size(), NAN);
      Floats da = before(3 * in), db = before(out * 3), dw = before(other_out * in);
      const LinearGradient gradient{{}, tensor(da, {1, 3, in}), tensor(db, {1, out, 3}), {}};
      const LinearGradient whole{tensor(dw, {other_out, in}), {}, {}, {}};
      const Linear* const weights[] = {&first, &second};
      const ConstTensor dys[] = {matrix(dy, rows, out), matrix(other_dy, rows, other_out)};
      const LinearGradient* const gradients[] = {&gradient, &whole};
      device->training()->linear_backward(matrix(x, rows, in), weights, dys, gradients, matrix(dx, rows, in));

      Doubles at = widen(x), a = widen(first.lora->a), b = widen(first.lora->b), w = plain.dense;
      const auto loss = [&] {
        return dot(dy, adapted(at, quantised.dense, a, b, first.lora->scale, rows, out, in)) +
               dot(other_dy, adapted(at, w, {}, {}, 0, rows, other_out, in));
      };
      expect_gradient(dx, at, loss, what + ", dx");
      expect_gradient(da, a, loss, what + ", da", kBefore);
      expect_gradient(db, b, loss, what + ", db", kBefore);
      expect_gradient(dw, w, loss, what + ", dw", kBefore);
    }
  }
}

// y = m / norms (W x + scale b (a x)), where the norms count as constants.
TEST_P(TrainingIsa, Magnitude) {
  for (const auto& [rows, out] : {std::pair{1, 5}, {9, 37}}) {
    const auto device = open_test_device(GetParam(), 2);
    const int64_t in = 3 * 64;
    TestWeight weight(rng, {QuantMode::affine, 4, 64, DType::bf16}, out, in);
    Linear linear = device->pack(weight.view);
    linear.lora = std::make_unique<Lora>(random_lora(rng, *device, out, in, 2, false));
    Floats m = random(out);
    device->training()->renew_magnitude(linear, tensor(m, {out}));
    Doubles at, a = widen(linear.lora->a), b = widen(linear.lora->b), magnitude = widen(m), norms;
    for (int64_t o = 0; o < out; ++o) {
      double squares = 0;
      for (int64_t i = 0; i < in; ++i) {
        double value = weight.dense[o * in + i];
        for (int r = 0; r < 2; ++r) value += linear.lora->scale * b[o * 2 + r] * a[r * in + i];
        squares += value * value;
      }
      norms.push_back(std::sqrt(squares));
      EXPECT_NEAR(widen(linear.lora->magnitude)[o], m[o] / norms[o], 1e-5 * std::fabs(m[o] / norms[o]));
    }
    Floats x = random(rows * in), dy = random(rows * out), dx(x.size(), NAN);
    Floats da = before(2 * in), db = before(out * 2), dm = before(out);
    const LinearGradient gradient{{}, tensor(da, {1, 2, in}), tensor(db, {1, out, 2}), tensor(dm, {out})};
    const Linear* const weights[] = {&linear};
    const ConstTensor dys[] = {matrix(dy, rows, out)};
    const LinearGradient* const gradients[] = {&gradient};
    device->training()->linear_backward(matrix(x, rows, in), weights, dys, gradients, matrix(dx, rows, in));
    at = widen(x);
    const auto loss = [&, rows = rows, out = out] {
      Doubles y = adapted(at, weight.dense, a, b, linear.lora->scale, rows, out, in);
      for (size_t i = 0; i < y.size(); ++i) y[i] *= magnitude[i % out] / norms[i % out];
      return dot(dy, y);
    };
    expect_gradient(dx, at, loss, "dx");
    expect_gradient(da, a, loss, "da", kBefore);
    expect_gradient(db, b, loss, "db", kBefore);
    expect_gradient(dm, magnitude, loss, "dm", kBefore);
  }
}

Doubles normed(const Doubles& x, const Doubles& weight, double eps) {
  const size_t n = weight.size();
  Doubles y(x.size());
  for (size_t row = 0; row < x.size(); row += n) {
    double squares = 0;
    for (size_t i = 0; i < n; ++i) squares += x[row + i] * x[row + i];
    for (size_t i = 0; i < n; ++i)
      y[row + i] = x[row + i] / std::sqrt(squares / static_cast<double>(n) + eps) * weight[i];
  }
  return y;
}

TEST_P(TrainingIsa, RmsNorm) {
  const auto device = open_test_device(GetParam(), 2);
  for (const int n : {1, 7, 16, 33, 1030}) {
    const int rows = 11;
    Floats x = random(rows * n), dy = random(rows * n), weight = random(n), dx = before(rows * n), dw = before(n);
    Norm norm;
    norm.size = n;
    norm.eps = 1e-2f;
    norm.weight = device->upload(weight);
    device->training()->rms_norm_backward(matrix(x, rows, n), norm, matrix(dy, rows, n), matrix(dx, rows, n),
                                          tensor(dw, {n}));
    Doubles at = widen(x), w = widen(weight);
    const auto loss = [&] { return dot(dy, normed(at, w, norm.eps)); };
    expect_gradient(dx, at, loss, "dx of " + std::to_string(n), kBefore);
    expect_gradient(dw, w, loss, "dweight of " + std::to_string(n), kBefore);
  }
}

TEST_P(TrainingIsa, NormRope) {
  const auto device = open_test_device(GetParam(), 2);
  for (const int d : {2, 6, 40, 64, 128}) {
    const std::vector<int32_t> positions = {0, 1, 5, 40959};
    const int rows = static_cast<int>(positions.size()), heads = 3;
    Rope rope;
    for (int i = 0; i < d / 2; ++i) rope.inverse_frequencies.push_back(std::pow(1e6, -2.0 * i / d));
    rope.attention_factor = 1.25;
    Floats table(static_cast<size_t>(rows * d)), weight = random(d);
    device->rope_table(positions, rope, matrix(table, rows, d));
    Floats x = random(rows * heads * d), dy = random(rows * heads * d), dx(x.size(), NAN), dw = before(d);
    const Floats given = dy;
    Norm norm;
    norm.size = d;
    norm.eps = 1e-6f;
    norm.weight = device->upload(weight);
    device->training()->norm_rope_backward(matrix(x, rows, heads * d), norm, matrix(table, rows, d),
                                           matrix(dy, rows, heads * d), matrix(dx, rows, heads * d), tensor(dw, {d}));
    Doubles at = widen(x), w = widen(weight);
    const auto loss = [&] {
      Doubles y = normed(at, w, norm.eps);
      for (int t = 0; t < rows * heads; ++t) {
        for (int i = 0; i < d / 2; ++i) {
          const double cosine = table[t / heads * d + i], sine = table[t / heads * d + d / 2 + i];
          double& a = y[t * d + i];
          double& b = y[t * d + d / 2 + i];
          std::tie(a, b) = std::pair(a * cosine - b * sine, b * cosine + a * sine);
        }
      }
      return dot(given, y);
    };
    expect_gradient(dx, at, loss, "dx of " + std::to_string(d));
    expect_gradient(dw, w, loss, "dweight of " + std::to_string(d), kBefore);
  }
}

struct Sequences {
  std::vector<Span> spans;
  int heads, kv_heads, d, tokens;
};

Doubles attended(const Sequences& s, const Doubles& q, const Doubles& k, const Doubles& v, double scale) {
  Doubles out(q.size());
  for (const Span& span : s.spans)
    for (int t = 0; t < span.rows; ++t)
      for (int head = 0; head < s.heads; ++head) {
        const int kv_head = head / (s.heads / s.kv_heads);
        const int64_t row = (int64_t{span.first_row + t} * s.heads + head) * s.d;
        const auto past = [&](int j) { return (int64_t{span.first_row + j} * s.kv_heads + kv_head) * s.d; };
        Doubles p;
        double sum = 0;
        for (int j = 0; j <= t; ++j) {
          double score = 0;
          for (int i = 0; i < s.d; ++i) score += q[row + i] * k[past(j) + i];
          p.push_back(std::exp(scale * score));
          sum += p.back();
        }
        for (int j = 0; j <= t; ++j)
          for (int i = 0; i < s.d; ++i) out[row + i] += p[j] / sum * v[past(j) + i];
      }
  return out;
}

TEST_P(TrainingIsa, Attention) {
  for (const auto& [heads, kv_heads, d, lengths] : {std::tuple{1, 1, 1, std::vector{1, 2}},
                                                    {4, 2, 24, std::vector{1, 5, 17}},
                                                    {3, 1, 64, std::vector{35}},
                                                    {2, 2, 40, std::vector{67, 3}}}) {
    const auto device = open_test_device(GetParam(), 2);
    Sequences s{{}, heads, kv_heads, d, 0};
    for (const int length : lengths) {
      s.spans.push_back({.first_row = s.tokens, .rows = length, .kv_length = length});
      s.tokens += length;
    }
    const int wide = heads * d, narrow = kv_heads * d;
    const float scale = 1 / std::sqrt(static_cast<float>(d));
    Floats q = random(s.tokens * wide), k = random(s.tokens * narrow), v = random(s.tokens * narrow);
    Floats dout = random(s.tokens * wide), dq(q.size(), NAN), dk(k.size(), NAN), dv(v.size(), NAN);
    Doubles dq_at = widen(q), dk_at = widen(k), dv_at = widen(v);
    const Doubles forward = attended(s, dq_at, dk_at, dv_at, scale);
    Floats out(forward.begin(), forward.end());
    device->training()->attend_backward(
        matrix(q, s.tokens, wide), matrix(k, s.tokens, narrow), matrix(v, s.tokens, narrow),
        matrix(out, s.tokens, wide), matrix(dout, s.tokens, wide), s.spans, kv_heads, scale, matrix(dq, s.tokens, wide),
        matrix(dk, s.tokens, narrow), matrix(dv, s.tokens, narrow));
    const auto loss = [&] { return dot(dout, attended(s, dq_at, dk_at, dv_at, scale)); };
    const std::string what = " of " + std::to_string(s.tokens) + " x " + std::to_string(d);
    expect_gradient(dq, dq_at, loss, "dq" + what);
    expect_gradient(dk, dk_at, loss, "dk" + what);
    expect_gradient(dv, dv_at, loss, "dv" + what);
  }
}

double silu(double x) { return x / (1 + std::exp(-x)); }

TEST_P(TrainingIsa, Swiglu) {
  const auto device = open_test_device(GetParam(), 2);
  for (const int n : {1, 7, 16, 33, 100}) {
    Floats gate = random(2 * n, 3), up = random(2 * n), dy = random(2 * n), y(gate.size(), NAN);
    Doubles g = widen(gate), u = widen(up);
    const auto outputs = [&] {
      Doubles all;
      for (size_t i = 0; i < g.size(); ++i) all.push_back(silu(g[i]) * u[i]);
      return all;
    };
    device->training()->swiglu(matrix(gate, 2, n), matrix(up, 2, n), matrix(y, 2, n));
    for (size_t i = 0; i < y.size(); ++i) EXPECT_NEAR(y[i], outputs()[i], 2e-6 * std::fabs(outputs()[i]) + 1e-30);
    device->training()->swiglu_backward(matrix(gate, 2, n), matrix(up, 2, n), matrix(dy, 2, n), matrix(gate, 2, n),
                                        matrix(up, 2, n));  // in place
    const auto loss = [&] { return dot(dy, outputs()); };
    expect_gradient(gate, g, loss, "dgate");
    expect_gradient(up, u, loss, "dup");
  }
}

// Gates that overflow exp() or vanish in it.
TEST_P(TrainingIsa, SwigluOfExtremes) {
  const auto device = open_test_device(GetParam(), 1);
  Floats gate = {0.0f, -0.0f, 88.0f, -88.0f, 200.0f, -200.0f, 1e30f, -1e30f, 1e-30f}, up(9, 2.0f), dy(9, 3.0f);
  const Floats given = gate;
  device->training()->swiglu_backward(matrix(gate, 1, 9), matrix(up, 1, 9), matrix(dy, 1, 9), matrix(gate, 1, 9),
                                      matrix(up, 1, 9));
  for (size_t i = 0; i < 9; ++i) {
    const double x = given[i], sigmoid = 1 / (1 + std::exp(-x)),
                 slope = x < -700 ? 0 : sigmoid * (1 + x * (1 - sigmoid));
    EXPECT_NEAR(gate[i], 6 * slope, 1e-5) << x;
    EXPECT_NEAR(up[i], 3 * (x < -700 ? 0 : x * sigmoid), 1e-5 * std::fabs(x) + 1e-30) << x;
  }
}

TEST_P(TrainingIsa, CrossEntropy) {
  const auto device = open_test_device(GetParam(), 2);
  for (const int n : {1, 7, 33, 1030}) {
    const int rows = 5;
    Floats logits = random(rows * n, 4), losses(rows, NAN);
    if (n > 1) logits[0] = 200;  // its other probabilities underflow, the loss of one of them does not
    std::vector<int32_t> targets;
    for (int r = 0; r < rows; ++r) targets.push_back(r == 0 ? n - 1 : static_cast<int32_t>(rng() % n));
    Doubles at = widen(logits);
    const auto loss_of = [&](int r) {
      double sum = 0;
      for (int i = 0; i < n; ++i) sum += std::exp(at[r * n + i]);
      return std::log(sum) - at[r * n + targets[r]];
    };
    const auto loss = [&] {
      double sum = 0;
      for (int r = 0; r < rows; ++r) sum += 0.25 * loss_of(r);
      return sum;
    };
    device->training()->cross_entropy(matrix(logits, rows, n), targets, 0.25f, losses);
    for (int r = 0; r < rows; ++r) EXPECT_NEAR(losses[r], loss_of(r), 1e-5 * (1 + loss_of(r))) << n;
    expect_gradient(logits, at, loss, "dlogits of " + std::to_string(n));
  }
}

TEST_P(TrainingIsa, RowsAreAdded) {
  const auto device = open_test_device(GetParam(), 3);
  for (const int n : {1, 7, 65, 130}) {
    const std::vector<int32_t> rows = {3, 0, 3, 3, 1};
    Floats dx = random(static_cast<int64_t>(rows.size()) * n), table = before(4 * n), scattered = before(4 * n);
    Doubles expected = widen(table);
    for (size_t r = 0; r < rows.size(); ++r)
      for (int i = 0; i < n; ++i) expected[rows[r] * n + i] += dx[r * n + i];
    device->training()->embed_backward(rows, matrix(dx, 5, n), matrix(table, 4, n));
    device->training()->scatter_add(matrix(dx, 5, n), rows, matrix(scattered, 4, n));
    for (size_t i = 0; i < table.size(); ++i) EXPECT_NEAR(table[i], expected[i], 1e-6 * (1 + std::fabs(expected[i])));
    EXPECT_EQ(scattered, table);
  }
}

// A layer of experts whose matrices learn whole or by adapters; some experts have no row, and one has most.
TEST_P(TrainingIsa, Experts) {
  const int64_t experts = 5, k = 2, width = 64, hidden = 33, rank = 2;
  for (const int64_t rows : {1, 23}) {
    for (const bool adapters : {false, true}) {
      const auto device = open_test_device(GetParam(), 2);
      const WeightSpec spec{QuantMode::none, 0, 0, DType::bf16};
      TestWeight gate(rng, spec, hidden, width, experts), up(rng, spec, hidden, width, experts);
      TestWeight down(rng, spec, width, hidden, experts);
      Mlp mlp{device->pack(gate.view), device->pack(up.view), device->pack(down.view)};
      struct Learned {
        Linear* linear;
        Doubles w, a{}, b{};
        Floats dw{}, da{}, db{};
        LinearGradient gradient{};
      };
      Learned learned[] = {{&mlp.gate_proj, gate.dense}, {&mlp.up_proj, up.dense}, {&mlp.down_proj, down.dense}};
      for (Learned& one : learned) {
        const int64_t out = one.linear->out(), in = one.linear->in();
        if (adapters) {
          one.linear->lora = std::make_unique<Lora>(random_lora(rng, *device, out, in, rank, false, experts));
          one.a = widen(one.linear->lora->a);
          one.b = widen(one.linear->lora->b);
          one.da = before(experts * rank * in);
          one.db = before(experts * out * rank);
          one.gradient.a = tensor(one.da, {experts, rank, in});
          one.gradient.b = tensor(one.db, {experts, out, rank});
        } else {
          one.dw = before(experts * out * in);
          one.gradient.weight = tensor(one.dw, {experts, out, in});
        }
      }
      std::vector<int32_t> chosen;
      for (int64_t t = 0; t < rows; ++t) {
        chosen.push_back(1);
        chosen.push_back(t % 3 == 0 ? 4 : 2);
      }
      Floats weights = random(rows * k), h = random(rows * width), dx = random(rows * width), x = before(rows * width);
      const Routing routing{{reinterpret_cast<std::byte*>(chosen.data()), DType::i32, Shape{rows, k}},
                            matrix(weights, rows, k)};
      Floats gates(static_cast<size_t>(rows * k * hidden)), ups(gates.size());
      Floats downs(static_cast<size_t>(rows * k * width)), dh(h.size(), NAN), dweights(weights.size(), NAN);
      const ExpertsTape tape{matrix(gates, rows * k, hidden), matrix(ups, rows * k, hidden),
                             matrix(downs, rows * k, width)};

      Doubles h_at = widen(h), weights_at = widen(weights);
      const auto outputs = [&, rows = rows] {
        Doubles y(static_cast<size_t>(rows * width));
        for (int64_t pair = 0; pair < rows * k; ++pair) {
          const int64_t e = chosen[pair], t = pair / k;
          const auto product = [&](const Learned& one, const Doubles& input) {
            const int64_t out = one.linear->out(), in = one.linear->in();
            const auto slab = [&](const Doubles& all, int64_t size) {
              return all.empty() ? Doubles{} : Doubles(all.begin() + e * size, all.begin() + (e + 1) * size);
            };
            return adapted(input, slab(one.w, out * in), slab(one.a, rank * in), slab(one.b, out * rank), 1.5, 1, out,
                           in);
          };
          const Doubles row(h_at.begin() + t * width, h_at.begin() + (t + 1) * width);
          Doubles act = product(learned[0], row);
          const Doubles factor = product(learned[1], row);
          for (size_t i = 0; i < act.size(); ++i) act[i] = silu(act[i]) * factor[i];
          const Doubles out = product(learned[2], act);
          for (int64_t i = 0; i < width; ++i) y[t * width + i] += weights_at[pair] * out[i];
        }
        return y;
      };
      TrainingDevice& training = *device->training();
      training.experts_add(matrix(h, rows, width), mlp, routing, tape, matrix(x, rows, width));
      const Doubles expected = outputs();
      double largest = 0;
      for (const double value : expected) largest = std::max(largest, std::fabs(value));
      for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i] - kBefore, expected[i], 1e-5 * largest);
      training.experts_backward(matrix(h, rows, width), mlp, routing, tape, matrix(dx, rows, width),
                                {learned[0].gradient, learned[1].gradient, learned[2].gradient},
                                matrix(dh, rows, width), matrix(dweights, rows, k));
      const auto loss = [&] { return dot(dx, outputs()); };
      expect_gradient(dh, h_at, loss, "dh");
      expect_gradient(dweights, weights_at, loss, "dweights");
      for (Learned& one : learned) {
        if (adapters) {
          expect_gradient(one.da, one.a, loss, "da", kBefore);
          expect_gradient(one.db, one.b, loss, "db", kBefore);
        } else {
          expect_gradient(one.dw, one.w, loss, "dw", kBefore);
        }
      }
    }
  }
}

TEST_P(TrainingIsa, Route) {
  const auto device = open_test_device(GetParam(), 2);
  for (const auto& [experts, k] : {std::pair{1, 1}, {7, 3}, {8, 8}, {131, 8}}) {
    for (const bool normalise : {false, true}) {
      const int rows = 6;
      Floats logits = random(rows * experts, 2), weights(rows * k), dweights = random(rows * k),
             dlogits(logits.size(), NAN);
      std::vector<int32_t> chosen(static_cast<size_t>(rows * k));
      const Routing routing{{reinterpret_cast<std::byte*>(chosen.data()), DType::i32, Shape{rows, k}},
                            matrix(weights, rows, k)};
      device->route(matrix(logits, rows, experts), normalise, routing);
      device->training()->route_backward(matrix(logits, rows, experts), normalise, routing, matrix(dweights, rows, k),
                                         matrix(dlogits, rows, experts));
      Doubles at = widen(logits);
      const auto loss = [&, experts = experts, k = k] {
        double sum = 0;
        for (int t = 0; t < rows; ++t) {
          double whole = 0;
          if (normalise)
            for (int j = 0; j < k; ++j) whole += std::exp(at[t * experts + chosen[t * k + j]]);
          else
            for (int e = 0; e < experts; ++e) whole += std::exp(at[t * experts + e]);
          for (int j = 0; j < k; ++j)
            sum += dweights[t * k + j] * std::exp(at[t * experts + chosen[t * k + j]]) / whole;
        }
        return sum;
      };
      expect_gradient(dlogits, at, loss, std::to_string(k) + " of " + std::to_string(experts));
    }
  }
}

TEST_P(TrainingIsa, OptimisersSteps) {
  const auto device = open_test_device(GetParam(), 2);
  for (const int n : {1, 7, 33, 40000}) {
    for (const int64_t correction : {0, 3}) {
      const AdamStep step{.rate = 0.01f,
                          .beta1 = 0.8f,
                          .beta2 = 0.9f,
                          .eps = 1e-3f,
                          .weight_decay = 0.1f,
                          .correction = correction,
                          .gradient_scale = 0.5f};
      Floats value = random(n), gradient = random(n), mean = random(n), square = random(n);
      for (float& x : square) x = std::fabs(x);
      const Floats given = value, first = mean, second = square;
      device->training()->adam(tensor(value, {n}), tensor(gradient, {n}), tensor(mean, {n}), tensor(square, {n}), step);
      for (int i = 0; i < n; ++i) {
        const double g = 0.5 * gradient[i], m = 0.8 * first[i] + 0.2 * g, v = 0.9 * second[i] + 0.1 * g * g;
        EXPECT_NEAR(mean[i], m, 1e-6 * (1 + std::fabs(m)));
        EXPECT_NEAR(square[i], v, 1e-6 * (1 + v));
        const double size = correction > 0 ? m / (1 - std::pow(0.8, 3)) / (std::sqrt(v / (1 - std::pow(0.9, 3))) + 1e-3)
                                           : m / (std::sqrt(v) + 1e-3);
        EXPECT_NEAR(value[i], given[i] * (1 - 0.01 * 0.1) - 0.01 * size, 2e-6 * (1 + std::fabs(size)));
      }
    }
    Floats value = random(n), gradient = random(n);
    const Floats given = value;
    device->training()->scale_and_add(tensor(value, {n}), 0.75f, tensor(gradient, {n}), -0.5f);
    double squares = 0;
    for (int i = 0; i < n; ++i) {
      EXPECT_NEAR(value[i], 0.75 * given[i] - 0.5 * gradient[i], 1e-6);
      squares += static_cast<double>(gradient[i]) * gradient[i];
    }
    EXPECT_NEAR(device->training()->sum_of_squares(tensor(gradient, {n})), squares, 1e-12 * squares);
    std::vector<uint16_t> halves(static_cast<size_t>(n));
    device->training()->convert(tensor(value, {n}),
                                {reinterpret_cast<std::byte*>(halves.data()), DType::bf16, Shape{n}});
    for (int i = 0; i < n; ++i) EXPECT_EQ(halves[i], f32_to_bf16(value[i]));
    device->training()->fill_zero(tensor(value, {n}));
    EXPECT_EQ(value, Floats(value.size(), 0.0f));
  }
}

// One, two and three threads: the same bits.
TEST_P(TrainingIsa, ThreadsDoNotMatter) {
  const int64_t rows = 130, in = 320, out = 200, d = 32, heads = 4;
  std::vector<Floats> results;
  for (const int threads : {1, 2, 3}) {
    rng.seed(51);
    const auto device = open_test_device(GetParam(), threads);
    TestWeight weight(rng, {QuantMode::affine, 4, 64, DType::bf16}, out, in);
    const Linear linear = device->pack(weight.view);
    Floats x = random(rows * in), dy = random(rows * out), dx(x.size()), dw(static_cast<size_t>(out * in));
    const LinearGradient gradient{tensor(dw, {out, in}), {}, {}, {}};
    const Linear* const weights[] = {&linear};
    const ConstTensor dys[] = {matrix(dy, rows, out)};
    const LinearGradient* const gradients[] = {&gradient};
    device->training()->linear_backward(matrix(x, rows, in), weights, dys, gradients, matrix(dx, rows, in));
    Floats q = random(rows * heads * d), k = random(rows * d), v = random(rows * d), o = random(rows * heads * d);
    Floats dout = random(rows * heads * d), dq(q.size()), dk(k.size()), dv(v.size());
    const std::vector<Span> spans = {{.first_row = 0, .rows = 30, .kv_length = 30},
                                     {.first_row = 30, .rows = 100, .kv_length = 100}};
    device->training()->attend_backward(matrix(q, rows, heads * d), matrix(k, rows, d), matrix(v, rows, d),
                                        matrix(o, rows, heads * d), matrix(dout, rows, heads * d), spans, 1, 0.2f,
                                        matrix(dq, rows, heads * d), matrix(dk, rows, d), matrix(dv, rows, d));
    Floats all{static_cast<float>(device->training()->sum_of_squares(matrix(x, rows, in)))};
    for (const Floats* part : {&dx, &dw, &dq, &dk, &dv}) all.insert(all.end(), part->begin(), part->end());
    results.push_back(all);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

INSTANTIATE_TEST_SUITE_P(All, TrainingIsa, ::testing::ValuesIn(isa_names()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace inkstone::testing
