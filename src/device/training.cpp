#include "device/training.h"

#include "device/device.h"

namespace inkstone {
namespace {

bool is_matrix(const ConstTensor& x, int64_t rows, int64_t columns) { return x.shape == Shape{rows, columns}; }
bool is_empty_or(const Tensor& x, const Shape& shape) {
  return x.data == nullptr || (x.dtype == DType::f32 && x.shape == shape);
}

void check_gradient(const Linear& linear, const LinearGradient& gradient) {
  const int64_t experts = linear.weight.experts, out = linear.out(), in = linear.in();
  CHECK(is_empty_or(gradient.weight, experts > 0 ? Shape{experts, out, in} : Shape{out, in}));
  const Lora* lora = linear.lora.get();
  if (lora == nullptr) {
    CHECK(gradient.a.data == nullptr && gradient.b.data == nullptr && gradient.magnitude.data == nullptr);
    return;
  }
  const int64_t rank = lora->rank, stack = std::max<int64_t>(experts, 1);
  CHECK(is_empty_or(gradient.a, {stack, rank, in}) && is_empty_or(gradient.b, {stack, out, rank}));
  CHECK(is_empty_or(gradient.magnitude, {out}));
}

}  // namespace

void TrainingDevice::linear_backward(const ConstTensor& x, std::span<const Linear* const> weights,
                                     std::span<const ConstTensor> dys, std::span<const LinearGradient* const> gradients,
                                     const Tensor& dx) {
  CHECK(x.shape.rank() == 2 && weights.size() == dys.size() && weights.size() == gradients.size());
  CHECK(dx.data == nullptr || dx.shape == x.shape);
  for (size_t i = 0; i < weights.size(); ++i) {
    CHECK(weights[i]->weight.experts == 0 && weights[i]->in() == x.shape[1]);
    CHECK(is_matrix(dys[i], x.shape[0], weights[i]->out()));
    check_gradient(*weights[i], *gradients[i]);
  }
  do_linear_backward(x, weights, dys, gradients, dx);
}

void TrainingDevice::renew_magnitude(Linear& linear, const ConstTensor& m) {
  CHECK(linear.lora != nullptr && linear.weight.experts == 0 && m.shape == Shape{linear.out()});
  do_renew_magnitude(linear, m);
}

void TrainingDevice::rms_norm_backward(const ConstTensor& x, const Norm& norm, const ConstTensor& dy, const Tensor& dx,
                                       const Tensor& dweight) {
  CHECK(x.shape.rank() == 2 && x.shape[1] == norm.size && dy.shape == x.shape && dx.shape == x.shape);
  CHECK(is_empty_or(dweight, {norm.size}));
  do_rms_norm_backward(x, norm, dy, dx, dweight);
}

void TrainingDevice::norm_rope_backward(const ConstTensor& x, const Norm& norm, const ConstTensor& table,
                                        const Tensor& dy, const Tensor& dx, const Tensor& dweight) {
  CHECK(x.shape.rank() == 2 && x.shape[1] % norm.size == 0 && is_matrix(table, x.shape[0], norm.size));
  CHECK(dy.shape == x.shape && dx.shape == x.shape && dx.data != dy.data && is_empty_or(dweight, {norm.size}));
  do_norm_rope_backward(x, norm, table, dy, dx, dweight);
}

void TrainingDevice::attend_backward(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v,
                                     const ConstTensor& out, const ConstTensor& dout, std::span<const Span> spans,
                                     int kv_heads, float scale, const Tensor& dq, const Tensor& dk, const Tensor& dv) {
  CHECK(q.shape.rank() == 2 && out.shape == q.shape && dout.shape == q.shape && dq.shape == q.shape);
  CHECK(k.shape.rank() == 2 && k.shape[0] == q.shape[0] && v.shape == k.shape && dk.shape == k.shape);
  CHECK(dv.shape == k.shape && k.shape[1] % kv_heads == 0 && q.shape[1] % k.shape[1] == 0);
  int row = 0;
  for (const Span& span : spans) {
    CHECK(span.first_row == row && span.kv_length == span.rows);
    row += span.rows;
  }
  CHECK(row == q.shape[0]);
  do_attend_backward(q, k, v, out, dout, spans, kv_heads, scale, dq, dk, dv);
}

void TrainingDevice::swiglu(const ConstTensor& gate, const ConstTensor& up, const Tensor& y) {
  CHECK(gate.shape == up.shape && y.shape == up.shape);
  do_swiglu(gate, up, y);
}

void TrainingDevice::swiglu_backward(const ConstTensor& gate, const ConstTensor& up, const ConstTensor& dy,
                                     const Tensor& dgate, const Tensor& dup) {
  CHECK(gate.shape == up.shape && dy.shape == up.shape && dgate.shape == up.shape && dup.shape == up.shape);
  do_swiglu_backward(gate, up, dy, dgate, dup);
}

void TrainingDevice::embed_backward(std::span<const int32_t> tokens, const ConstTensor& dx, const Tensor& dtable) {
  CHECK(dtable.shape.rank() == 2 && is_matrix(dx, static_cast<int64_t>(tokens.size()), dtable.shape[1]));
  for (const int32_t token : tokens) CHECK(token >= 0 && token < dtable.shape[0]);
  do_embed_backward(tokens, dx, dtable);
}

void TrainingDevice::cross_entropy(const Tensor& logits, std::span<const int32_t> targets, float scale,
                                   std::span<float> losses) {
  CHECK(logits.shape.rank() == 2 && logits.shape[0] == static_cast<int64_t>(targets.size()));
  CHECK(losses.size() == targets.size());
  for (const int32_t target : targets) CHECK(target >= 0 && target < logits.shape[1]);
  do_cross_entropy(logits, targets, scale, losses);
}

void TrainingDevice::scatter_add(const ConstTensor& dx, std::span<const int32_t> rows, const Tensor& x) {
  CHECK(x.shape.rank() == 2 && is_matrix(dx, static_cast<int64_t>(rows.size()), x.shape[1]));
  for (const int32_t row : rows) CHECK(row >= 0 && row < x.shape[0]);
  do_scatter_add(dx, rows, x);
}

void TrainingDevice::experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing,
                                 const ExpertsTape& tape, const Tensor& x) {
  CHECK(experts.gate_proj.weight.experts > 0 && h.shape.rank() == 2 && x.shape == h.shape);
  CHECK(experts.gate_proj.in() == h.shape[1] && experts.down_proj.out() == h.shape[1]);
  CHECK(routing.experts.shape[0] == h.shape[0]);
  const int64_t pairs = routing.experts.shape.elements();
  CHECK(is_matrix(tape.gate, pairs, experts.gate_proj.out()) && tape.up.shape == tape.gate.shape);
  CHECK(is_matrix(tape.down, pairs, h.shape[1]));
  do_experts_add(h, experts, routing, tape, x);
}

void TrainingDevice::experts_backward(const ConstTensor& h, const Mlp& experts, const Routing& routing,
                                      const ExpertsTape& tape, const ConstTensor& dx, const MlpGradient& gradients,
                                      const Tensor& dh, const Tensor& dweights) {
  CHECK(dx.shape == h.shape && dh.shape == h.shape && dweights.shape == routing.weights.shape);
  check_gradient(experts.gate_proj, gradients.gate_proj);
  check_gradient(experts.up_proj, gradients.up_proj);
  check_gradient(experts.down_proj, gradients.down_proj);
  do_experts_backward(h, experts, routing, tape, dx, gradients, dh, dweights);
}

void TrainingDevice::route_backward(const ConstTensor& logits, bool normalise, const Routing& routing,
                                    const ConstTensor& dweights, const Tensor& dlogits) {
  CHECK(logits.shape.rank() == 2 && dlogits.shape == logits.shape && dweights.shape == routing.weights.shape);
  CHECK(routing.experts.shape == routing.weights.shape && routing.experts.shape[0] == logits.shape[0]);
  do_route_backward(logits, normalise, routing, dweights, dlogits);
}

void TrainingDevice::adam(const Tensor& value, const ConstTensor& gradient, const Tensor& mean, const Tensor& square,
                          const AdamStep& step) {
  CHECK(gradient.shape == value.shape && mean.shape == value.shape && square.shape == value.shape);
  do_adam(value, gradient, mean, square, step);
}

void TrainingDevice::scale_and_add(const Tensor& value, float keep, const ConstTensor& gradient, float scale) {
  CHECK(gradient.shape == value.shape);
  do_scale_and_add(value, keep, gradient, scale);
}

void TrainingDevice::convert(const ConstTensor& from, const Tensor& to) {
  CHECK(from.dtype == DType::f32 && from.shape == to.shape && (to.dtype == DType::f32 || to.dtype == DType::bf16));
  do_convert(from, to);
}

}  // namespace inkstone
