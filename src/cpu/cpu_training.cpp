#include "cpu/cpu_training.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "cpu/attention_backward.h"
#include "cpu/linear_backward.h"
#include "cpu/moe.h"

namespace inkstone {
namespace {

constexpr int64_t kGrain = 16384;  // floats of elementwise work that one thread takes
constexpr int64_t kStripe = 64;    // columns of a sum over rows

int64_t grain_rows(int64_t width) { return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, width)); }
const float* values(const Norm& norm) { return reinterpret_cast<const float*>(norm.weight.data()); }

class CpuTraining final : public TrainingDevice {
 public:
  CpuTraining(Context& context, Multiplier& multiplier)
      : context_(context), multiplier_(multiplier), linear_(context, multiplier) {}

  DType weight_dtype() const override { return context_.tiles() != nullptr ? DType::bf16 : DType::f32; }
  double sum_of_squares(const ConstTensor& x) override;
  void fill_zero(const Tensor& x) override {
    context_.pool.parallel_for(static_cast<int64_t>(x.bytes()), int64_t{1} << 20, [&](int64_t begin, int64_t end) {
      std::memset(x.data + begin, 0, static_cast<size_t>(end - begin));
    });
  }

 private:
  void do_linear_backward(const ConstTensor& x, std::span<const Linear* const> weights,
                          std::span<const ConstTensor> dys, std::span<const LinearGradient* const> gradients,
                          const Tensor& dx) override;
  void do_renew_magnitude(Linear& linear, const ConstTensor& m) override {
    linear_.renew_magnitude(linear, m.as<float>());
  }
  void do_rms_norm_backward(const ConstTensor& x, const Norm& norm, const ConstTensor& dy, const Tensor& dx,
                            const Tensor& dweight) override {
    norm_backward(x.as<float>(), norm, x.shape[0], dy.as<float>(), dx.as<float>(), dweight);
  }
  void do_norm_rope_backward(const ConstTensor& x, const Norm& norm, const ConstTensor& table, const Tensor& dy,
                             const Tensor& dx, const Tensor& dweight) override;
  void do_attend_backward(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v, const ConstTensor& out,
                          const ConstTensor& dout, std::span<const Span> spans, int kv_heads, float scale,
                          const Tensor& dq, const Tensor& dk, const Tensor& dv) override;
  void do_swiglu(const ConstTensor& gate, const ConstTensor& up, const Tensor& y) override {
    swiglu(gate.as<float>(), up.as<float>(), y.as<float>(), y.shape.elements());
  }
  void do_swiglu_backward(const ConstTensor& gate, const ConstTensor& up, const ConstTensor& dy, const Tensor& dgate,
                          const Tensor& dup) override {
    swiglu_backward(gate.as<float>(), up.as<float>(), dy.as<float>(), dgate.as<float>(), dup.as<float>(),
                    dy.shape.elements());
  }
  void do_embed_backward(std::span<const int32_t> tokens, const ConstTensor& dx, const Tensor& dtable) override {
    add_rows(dx, tokens, dtable);
  }
  void do_cross_entropy(const Tensor& logits, std::span<const int32_t> targets, float scale,
                        std::span<float> losses) override;
  void do_scatter_add(const ConstTensor& dx, std::span<const int32_t> rows, const Tensor& x) override {
    add_rows(dx, rows, x);
  }
  void do_experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing, const ExpertsTape& tape,
                      const Tensor& x) override;
  void do_experts_backward(const ConstTensor& h, const Mlp& experts, const Routing& routing, const ExpertsTape& tape,
                           const ConstTensor& dx, const MlpGradient& gradients, const Tensor& dh,
                           const Tensor& dweights) override;
  void do_route_backward(const ConstTensor& logits, bool normalise, const Routing& routing, const ConstTensor& dweights,
                         const Tensor& dlogits) override;
  void do_adam(const Tensor& value, const ConstTensor& gradient, const Tensor& mean, const Tensor& square,
               const AdamStep& step) override;
  void do_scale_and_add(const Tensor& value, float keep, const ConstTensor& gradient, float scale) override;
  void do_convert(const ConstTensor& from, const Tensor& to) override;

  void norm_backward(const float* x, const Norm& norm, int64_t rows, const float* dy, float* dx, const Tensor& dweight);
  void add_rows(const ConstTensor& from, std::span<const int32_t> rows, const Tensor& to);
  void swiglu(const float* gate, const float* up, float* y, int64_t n);
  void swiglu_backward(const float* gate, const float* up, const float* dy, float* dgate, float* dup, int64_t n);
  void group(const Mlp& experts, const Routing& routing);
  // Calls fn(expert, first pair, pairs) for each that has any.
  template <class F>
  void for_each_expert(F&& fn) const {
    for (size_t e = 0; e + 1 < groups_.offsets.size(); ++e)
      if (groups_.offsets[e] < groups_.offsets[e + 1])
        fn(static_cast<int64_t>(e), groups_.offsets[e], groups_.offsets[e + 1] - groups_.offsets[e]);
  }

  Context& context_;
  Multiplier& multiplier_;
  LinearBackward linear_;
  ExpertGroups groups_;
  std::vector<LinearProduct> products_;
  std::vector<float> inverse_rms_;
};

void CpuTraining::do_linear_backward(const ConstTensor& x, std::span<const Linear* const> weights,
                                     std::span<const ConstTensor> dys, std::span<const LinearGradient* const> gradients,
                                     const Tensor& dx) {
  linear_.begin();
  float* const to = dx.data != nullptr ? dx.as<float>() : nullptr;
  for (size_t i = 0; i < weights.size(); ++i)
    linear_.run(
        {weights[i], -1, x.as<float>(), dys[i].as<float>(), static_cast<int>(x.shape[0]), gradients[i], to, i > 0});
}

// Sums over rows go stripe by stripe of columns, so that their order does not depend on the threads.
void CpuTraining::norm_backward(const float* x, const Norm& norm, int64_t rows, const float* dy, float* dx,
                                const Tensor& dweight) {
  const int64_t n = norm.size;
  inverse_rms_.resize(static_cast<size_t>(rows));
  context_.pool.parallel_for(rows, grain_rows(n), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      inverse_rms_[static_cast<size_t>(t)] =
          context_.kernels.rms_norm_backward(x + t * n, values(norm), norm.eps, dy + t * n, dx + t * n, n);
  });
  if (dweight.data == nullptr) return;
  float* const sums = dweight.as<float>();
  context_.pool.parallel_for(n, kStripe, [&](int64_t begin, int64_t end) {
    for (int64_t t = 0; t < rows; ++t)
      context_.kernels.add_product(x + t * n + begin, dy + t * n + begin, inverse_rms_[static_cast<size_t>(t)],
                                   sums + begin, end - begin);
  });
}

void CpuTraining::do_norm_rope_backward(const ConstTensor& x, const Norm& norm, const ConstTensor& table,
                                        const Tensor& dy, const Tensor& dx, const Tensor& dweight) {
  const int64_t rows = x.shape[0], width = x.shape[1], d = norm.size;
  float* const from = dy.as<float>();
  context_.pool.parallel_for(rows, grain_rows(width), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      context_.kernels.rotate_back(from + t * width, static_cast<int>(width / d), static_cast<int>(d),
                                   table.as<float>() + t * d);
  });
  fill_zero(dx);
  norm_backward(x.as<float>(), norm, rows * (width / d), from, dx.as<float>(), dweight);
}

void CpuTraining::do_attend_backward(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v,
                                     const ConstTensor& out, const ConstTensor& dout, std::span<const Span> spans,
                                     int kv_heads, float scale, const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  const int d = static_cast<int>(k.shape[1] / kv_heads);
  inkstone::attend_backward(context_, spans,
                            {.q = q.as<float>(),
                             .k = k.as<float>(),
                             .v = v.as<float>(),
                             .out = out.as<float>(),
                             .dout = dout.as<float>(),
                             .heads = static_cast<int>(q.shape[1] / d),
                             .kv_heads = kv_heads,
                             .d = d,
                             .scale = scale,
                             .dq = dq.as<float>(),
                             .dk = dk.as<float>(),
                             .dv = dv.as<float>()});
}

void CpuTraining::swiglu(const float* gate, const float* up, float* y, int64_t n) {
  context_.pool.parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    context_.kernels.swiglu(gate + begin, up + begin, y + begin, end - begin);
  });
}

void CpuTraining::swiglu_backward(const float* gate, const float* up, const float* dy, float* dgate, float* dup,
                                  int64_t n) {
  context_.pool.parallel_for(n, kGrain, [&](int64_t begin, int64_t end) {
    context_.kernels.swiglu_backward(gate + begin, up + begin, dy + begin, dgate + begin, dup + begin, end - begin);
  });
}

// Stripe by stripe: a row may be asked for many times, and its sum has one order.
void CpuTraining::add_rows(const ConstTensor& from, std::span<const int32_t> rows, const Tensor& to) {
  const int64_t width = to.shape[1];
  context_.pool.parallel_for(width, kStripe, [&](int64_t begin, int64_t end) {
    for (size_t r = 0; r < rows.size(); ++r)
      context_.kernels.add_scaled(from.as<float>() + static_cast<int64_t>(r) * width + begin, 1.0f,
                                  to.as<float>() + rows[r] * width + begin, end - begin);
  });
}

void CpuTraining::do_cross_entropy(const Tensor& logits, std::span<const int32_t> targets, float scale,
                                   std::span<float> losses) {
  const int64_t n = logits.shape[1];
  context_.pool.parallel_for(logits.shape[0], grain_rows(n), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* const row = logits.as<float>() + r * n;
      const int32_t target = targets[static_cast<size_t>(r)];
      const float wanted = row[target];
      float most = row[0];
      for (int64_t i = 1; i < n; ++i) most = std::max(most, row[i]);
      context_.kernels.softmax(row, n);
      // The most probable has 1 / sum of exp(x - max), so this is exact where the target's own probability underflows.
      float best = row[0];
      for (int64_t i = 1; i < n; ++i) best = std::max(best, row[i]);
      losses[static_cast<size_t>(r)] = most - wanted - std::log(best);
      for (int64_t i = 0; i < n; ++i) row[i] *= scale;
      row[target] -= scale;
    }
  });
}

void CpuTraining::group(const Mlp& experts, const Routing& routing) {
  groups_.group(routing.experts.as<int32_t>(), routing.experts.shape.elements(), routing.experts.shape[1],
                experts.gate_proj.weight.experts);
}

// The tape's rows are the pairs in the order of groups_.
void CpuTraining::do_experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing,
                                 const ExpertsTape& tape, const Tensor& x) {
  const int64_t hidden = h.shape[1], width = tape.gate.shape[1], pairs = tape.gate.shape[0];
  const int64_t k = routing.experts.shape[1];
  group(experts, routing);
  float* const act = context_.floats(Scratch::expert_gates, pairs * width);
  products_.clear();
  for_each_expert([&](int64_t e, int32_t first, int rows) {
    const Activations input{h.as<float>(), hidden, groups_.rows.data() + first, rows};
    products_.push_back({&experts.gate_proj, e, input, tape.gate.as<float>() + first * width, width});
    products_.push_back({&experts.up_proj, e, input, tape.up.as<float>() + first * width, width});
  });
  multiplier_.multiply(products_, false);
  swiglu(tape.gate.as<float>(), tape.up.as<float>(), act, pairs * width);
  products_.clear();
  for_each_expert([&](int64_t e, int32_t first, int rows) {
    products_.push_back({&experts.down_proj,
                         e,
                         {act + first * width, width, nullptr, rows},
                         tape.down.as<float>() + first * hidden,
                         hidden});
  });
  multiplier_.multiply(products_, false);
  const float* weights = routing.weights.as<float>();
  context_.pool.parallel_for(h.shape[0], grain_rows(hidden * k), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * k; i < end * k; ++i)
      context_.kernels.add_scaled(tape.down.as<float>() + groups_.place[static_cast<size_t>(i)] * hidden, weights[i],
                                  x.as<float>() + i / k * hidden, hidden);
  });
}

void CpuTraining::do_experts_backward(const ConstTensor& h, const Mlp& experts, const Routing& routing,
                                      const ExpertsTape& tape, const ConstTensor& dx, const MlpGradient& gradients,
                                      const Tensor& dh, const Tensor& dweights) {
  const Kernels& kernels = context_.kernels;
  const int64_t hidden = h.shape[1], width = tape.gate.shape[1], pairs = tape.gate.shape[0];
  const int64_t k = routing.experts.shape[1];
  group(experts, routing);
  float* const inputs = context_.floats(Scratch::expert_rows, 3 * pairs * hidden);  // of each pair
  float* const ddown = inputs + pairs * hidden;
  float* const dinputs = ddown + pairs * hidden;
  float* const act = context_.floats(Scratch::expert_gates, 2 * pairs * width);
  float* const dact = act + pairs * width;
  const float* weights = routing.weights.as<float>();
  float* const dweight = dweights.as<float>();
  context_.pool.parallel_for(pairs, grain_rows(hidden), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = groups_.place[static_cast<size_t>(i)] * hidden;
      const float* down = tape.down.as<float>() + at;
      const float* grad = dx.as<float>() + i / k * hidden;
      std::memcpy(inputs + at, h.as<float>() + i / k * hidden, static_cast<size_t>(hidden) * sizeof(float));
      double dot = 0;
      for (int64_t j = 0; j < hidden; ++j) {
        dot += static_cast<double>(down[j]) * grad[j];
        ddown[at + j] = weights[i] * grad[j];
      }
      dweight[i] = static_cast<float>(dot);
    }
  });
  float* const gate = tape.gate.as<float>();
  float* const up = tape.up.as<float>();
  swiglu(gate, up, act, pairs * width);
  for_each_expert([&](int64_t e, int32_t first, int rows) {
    linear_.begin();
    linear_.run({&experts.down_proj, e, act + first * width, ddown + first * hidden, rows, &gradients.down_proj,
                 dact + first * width, false});
  });
  swiglu_backward(gate, up, dact, gate, up, pairs * width);
  for_each_expert([&](int64_t e, int32_t first, int rows) {
    const float* x = inputs + first * hidden;
    linear_.begin();
    linear_.run(
        {&experts.gate_proj, e, x, gate + first * width, rows, &gradients.gate_proj, dinputs + first * hidden, false});
    linear_.run({&experts.up_proj, e, x, up + first * width, rows, &gradients.up_proj, dinputs + first * hidden, true});
  });
  fill_zero(dh);
  context_.pool.parallel_for(h.shape[0], grain_rows(hidden * k), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * k; i < end * k; ++i)
      kernels.add_scaled(dinputs + groups_.place[static_cast<size_t>(i)] * hidden, 1.0f,
                         dh.as<float>() + i / k * hidden, hidden);
  });
}

// w_j = p_j / sum of the chosen p (or p_j): dp_j = (dw_j - sum_i dw_i w_i) / sum (or dw_j), 0 of those not chosen;
// then the softmax's dlogits_e = p_e (dp_e - sum_j dp_j p_j).
void CpuTraining::do_route_backward(const ConstTensor& logits, bool normalise, const Routing& routing,
                                    const ConstTensor& dweights, const Tensor& dlogits) {
  const int64_t experts = logits.shape[1], k = routing.experts.shape[1];
  context_.pool.parallel_for(logits.shape[0], grain_rows(experts), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* const p = dlogits.as<float>() + t * experts;
      std::memcpy(p, logits.as<float>() + t * experts, static_cast<size_t>(experts) * sizeof(float));
      context_.kernels.softmax(p, experts);
      const int32_t* chosen = routing.experts.as<int32_t>() + t * k;
      const float* weights = routing.weights.as<float>() + t * k;
      const float* dw = dweights.as<float>() + t * k;
      float chosen_sum = 0, mean = 0;
      for (int64_t j = 0; j < k; ++j) {
        chosen_sum += p[chosen[j]];
        mean += dw[j] * weights[j];
      }
      const auto dp = [&](int64_t j) { return normalise ? (dw[j] - mean) / chosen_sum : dw[j]; };
      float dot = 0;
      for (int64_t j = 0; j < k; ++j) dot += dp(j) * p[chosen[j]];
      for (int64_t e = 0; e < experts; ++e) {
        float slope = -dot;
        for (int64_t j = 0; j < k; ++j) slope += chosen[j] == e ? dp(j) : 0.0f;
        p[e] *= slope;
      }
    }
  });
}

void CpuTraining::do_adam(const Tensor& value, const ConstTensor& gradient, const Tensor& mean, const Tensor& square,
                          const AdamStep& step) {
  const double power = static_cast<double>(step.correction);
  const double first = step.correction > 0 ? 1 - std::pow(static_cast<double>(step.beta1), power) : 1;
  const double second = step.correction > 0 ? 1 - std::pow(static_cast<double>(step.beta2), power) : 1;
  context_.pool.parallel_for(value.shape.elements(), kGrain, [&](int64_t begin, int64_t end) {
    context_.kernels.adam({.value = value.as<float>() + begin,
                           .gradient = gradient.as<float>() + begin,
                           .mean = mean.as<float>() + begin,
                           .square = square.as<float>() + begin,
                           .n = end - begin,
                           .gradient_scale = step.gradient_scale,
                           .beta1 = step.beta1,
                           .beta2 = step.beta2,
                           .keep = 1.0f - step.rate * step.weight_decay,
                           .rate = static_cast<float>(step.rate / first),
                           .root_scale = static_cast<float>(1 / std::sqrt(second)),
                           .eps = step.eps});
  });
}

void CpuTraining::do_scale_and_add(const Tensor& value, float keep, const ConstTensor& gradient, float scale) {
  context_.pool.parallel_for(value.shape.elements(), kGrain, [&](int64_t begin, int64_t end) {
    float* const to = value.as<float>();
    if (keep != 1.0f)
      for (int64_t i = begin; i < end; ++i) to[i] *= keep;
    context_.kernels.add_scaled(gradient.as<float>() + begin, scale, to + begin, end - begin);
  });
}

double CpuTraining::sum_of_squares(const ConstTensor& x) {
  const int64_t n = x.shape.elements(), blocks = (n + kGrain - 1) / kGrain;
  std::vector<double> sums(static_cast<size_t>(blocks));
  context_.for_each_task(blocks, blocks > 1, [&](int, int64_t block) {
    double sum = 0;
    for (int64_t i = block * kGrain; i < std::min(n, (block + 1) * kGrain); ++i)
      sum += static_cast<double>(x.as<float>()[i]) * x.as<float>()[i];
    sums[static_cast<size_t>(block)] = sum;
  });
  double sum = 0;
  for (const double part : sums) sum += part;
  return sum;
}

void CpuTraining::do_convert(const ConstTensor& from, const Tensor& to) {
  context_.pool.parallel_for(from.shape.elements(), kGrain, [&](int64_t begin, int64_t end) {
    if (to.dtype == DType::bf16)
      context_.kernels.to_bf16(from.as<float>() + begin, to.as<uint16_t>() + begin, end - begin);
    else
      std::memcpy(to.as<float>() + begin, from.as<float>() + begin, static_cast<size_t>(end - begin) * sizeof(float));
  });
}

}  // namespace

std::unique_ptr<TrainingDevice> make_cpu_training(Context& context, Multiplier& multiplier) {
  return std::make_unique<CpuTraining>(context, multiplier);
}

}  // namespace inkstone
