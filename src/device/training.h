// TrainingDevice: the verbs of a backward pass and of an optimiser's step, a second interface which a device may not
// have. Dimensions as in device.h; gradients are f32, of the shape of what they belong to. Every verb gives the same
// result for any number of threads.
//
// The forward pass of training uses Device's verbs; what a gradient needs of it is handed in again.
#pragma once

#include <cstdint>
#include <span>

#include "device/batch.h"
#include "device/linear.h"

namespace inkstone {

// Where the gradients of a Linear's parameters are added: empty tensors for those that do not learn.
struct LinearGradient {
  Tensor weight;  // as the Linear's: [out, in], [E, out, in]
  Tensor a;       // as Lora's
  Tensor b;
  Tensor magnitude;  // DoRA's m [out], not divided by the norms
};

// The gated MLP's, in its order.
struct MlpGradient {
  LinearGradient gate_proj, up_proj, down_proj;
};

// What experts' gradients need of their forward pass. A pair is a row at one of its experts; pair t * k + j is row t at
// its j-th expert.
struct ExpertsTape {
  Tensor gate;  // [T * k, F]
  Tensor up;    // [T * k, F]
  Tensor down;  // [T * k, D] outputs, before their weights
};

struct AdamStep {
  float rate = 0;  // of learning
  float beta1 = 0.9f, beta2 = 0.999f;
  float eps = 1e-8f;
  float weight_decay = 0;    // decoupled: value *= 1 - rate * weight_decay
  int64_t correction = 0;    // the step's number from 1 for corrected moments; 0: uncorrected
  float gradient_scale = 1;  // every gradient is multiplied by it first
};

class TrainingDevice {
 public:
  virtual ~TrainingDevice() = default;

  // What matrices that learn are best kept in for the forward pass, beside the f32 that is learned: f32 or bf16.
  virtual DType weight_dtype() const = 0;

  // y_i = x W_i^T with adapters, for many weights: dx = sum_i dy_i W_i, and the gradients. x [T, in], dy_i [T, out_i],
  // dx [T, in], or empty where nobody asks. gradients: one a weight.
  void linear_backward(const ConstTensor& x, std::span<const Linear* const> weights, std::span<const ConstTensor> dys,
                       std::span<const LinearGradient* const> gradients, const Tensor& dx);
  // DoRA's norms ||W + scale (a b)^T|| by rows have changed with a and b: Lora::magnitude = m / norms. m f32 [out]. The
  // norms count as constants (arXiv:2402.09353, section 4.3), as in the reference.
  void renew_magnitude(Linear& linear, const ConstTensor& m);
  // y = rms_norm(x): dx += , dweight += (or empty). x, dy, dx [T, D], dweight [D].
  void rms_norm_backward(const ConstTensor& x, const Norm& norm, const ConstTensor& dy, const Tensor& dx,
                         const Tensor& dweight);
  // Of norm_rope, from x before it: dx = , dweight += (or empty). dy is overwritten. All [T, heads * d].
  void norm_rope_backward(const ConstTensor& x, const Norm& norm, const ConstTensor& table, const Tensor& dy,
                          const Tensor& dx, const Tensor& dweight);
  // Causal attention within each span (whole sequences: kv_length == rows). q, out, dout, dq [T, H * d]; k, v, dk, dv
  // [T, K * d].
  void attend_backward(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v, const ConstTensor& out,
                       const ConstTensor& dout, std::span<const Span> spans, int kv_heads, float scale,
                       const Tensor& dq, const Tensor& dk, const Tensor& dv);
  // y = silu(gate) * up, elementwise, all [T, F].
  void swiglu(const ConstTensor& gate, const ConstTensor& up, const Tensor& y);
  // dgate, dup = ; they may be gate and up.
  void swiglu_backward(const ConstTensor& gate, const ConstTensor& up, const ConstTensor& dy, const Tensor& dgate,
                       const Tensor& dup);
  // dtable[tokens[t]] += dx[t]. dx [T, D], dtable [V, D].
  void embed_backward(std::span<const int32_t> tokens, const ConstTensor& dx, const Tensor& dtable);
  // losses[r] = -log softmax(logits[r])[targets[r]]; logits becomes scale * (softmax - one_hot): the gradient of
  // scale * sum(losses). logits [R, V].
  void cross_entropy(const Tensor& logits, std::span<const int32_t> targets, float scale, std::span<float> losses);
  // x[rows[r]] += dx[r]. dx [R, D], x [T, D].
  void scatter_add(const ConstTensor& dx, std::span<const int32_t> rows, const Tensor& x);

  // Device::experts_add that keeps what experts_backward wants.
  void experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing, const ExpertsTape& tape,
                   const Tensor& x);
  // dh = , dweights (f32 [T, k]) = , gradients += . tape.gate and tape.up are overwritten.
  void experts_backward(const ConstTensor& h, const Mlp& experts, const Routing& routing, const ExpertsTape& tape,
                        const ConstTensor& dx, const MlpGradient& gradients, const Tensor& dh, const Tensor& dweights);
  // Of Device::route: dlogits = from dweights. The choice of experts counts as constant. logits, dlogits [T, E].
  void route_backward(const ConstTensor& logits, bool normalise, const Routing& routing, const ConstTensor& dweights,
                      const Tensor& dlogits);

  // One step of Adam or AdamW; mean and square are its state, zero at first. All f32 of one shape.
  void adam(const Tensor& value, const ConstTensor& gradient, const Tensor& mean, const Tensor& square,
            const AdamStep& step);
  // value *= keep, then += scale * gradient. Gradient descent.
  void scale_and_add(const Tensor& value, float keep, const ConstTensor& gradient, float scale);
  // In float64, in a fixed order.
  virtual double sum_of_squares(const ConstTensor& x) = 0;
  virtual void fill_zero(const Tensor& x) = 0;
  // to = from, f32 to f32 or bf16 (to nearest even).
  void convert(const ConstTensor& from, const Tensor& to);

 protected:
  virtual void do_linear_backward(const ConstTensor& x, std::span<const Linear* const> weights,
                                  std::span<const ConstTensor> dys, std::span<const LinearGradient* const> gradients,
                                  const Tensor& dx) = 0;
  virtual void do_renew_magnitude(Linear& linear, const ConstTensor& m) = 0;
  virtual void do_rms_norm_backward(const ConstTensor& x, const Norm& norm, const ConstTensor& dy, const Tensor& dx,
                                    const Tensor& dweight) = 0;
  virtual void do_norm_rope_backward(const ConstTensor& x, const Norm& norm, const ConstTensor& table, const Tensor& dy,
                                     const Tensor& dx, const Tensor& dweight) = 0;
  virtual void do_attend_backward(const ConstTensor& q, const ConstTensor& k, const ConstTensor& v,
                                  const ConstTensor& out, const ConstTensor& dout, std::span<const Span> spans,
                                  int kv_heads, float scale, const Tensor& dq, const Tensor& dk, const Tensor& dv) = 0;
  virtual void do_swiglu(const ConstTensor& gate, const ConstTensor& up, const Tensor& y) = 0;
  virtual void do_swiglu_backward(const ConstTensor& gate, const ConstTensor& up, const ConstTensor& dy,
                                  const Tensor& dgate, const Tensor& dup) = 0;
  virtual void do_embed_backward(std::span<const int32_t> tokens, const ConstTensor& dx, const Tensor& dtable) = 0;
  virtual void do_cross_entropy(const Tensor& logits, std::span<const int32_t> targets, float scale,
                                std::span<float> losses) = 0;
  virtual void do_scatter_add(const ConstTensor& dx, std::span<const int32_t> rows, const Tensor& x) = 0;
  virtual void do_experts_add(const ConstTensor& h, const Mlp& experts, const Routing& routing, const ExpertsTape& tape,
                              const Tensor& x) = 0;
  virtual void do_experts_backward(const ConstTensor& h, const Mlp& experts, const Routing& routing,
                                   const ExpertsTape& tape, const ConstTensor& dx, const MlpGradient& gradients,
                                   const Tensor& dh, const Tensor& dweights) = 0;
  virtual void do_route_backward(const ConstTensor& logits, bool normalise, const Routing& routing,
                                 const ConstTensor& dweights, const Tensor& dlogits) = 0;
  virtual void do_adam(const Tensor& value, const ConstTensor& gradient, const Tensor& mean, const Tensor& square,
                       const AdamStep& step) = 0;
  virtual void do_scale_and_add(const Tensor& value, float keep, const ConstTensor& gradient, float scale) = 0;
  virtual void do_convert(const ConstTensor& from, const Tensor& to) = 0;
};

}  // namespace inkstone
