// What a device holds of the weights: Linear (a matrix), Norm (a vector), and the low-rank adapters on top.
// Made once at load by Device::pack() and Device::upload(); immutable while a forward pass runs.
#pragma once

#include <memory>
#include <string>

#include "tensor/buffer.h"
#include "tensor/quantized.h"

namespace inkstone {

// A low-rank adapter as mlx_lm trains it, transposed so that each row is one dot product:
// y += scale * b (a x); DoRA then multiplies row o of y by magnitude[o].
struct Lora {
  int rank = 0;
  float scale = 0;
  Buffer a;              // f32 [max(experts, 1), rank, in]
  Buffer b;              // f32 [max(experts, 1), out, rank]
  Buffer magnitude;      // DoRA: f32 [out], m / ||W + scale * (a b)^T|| by rows; empty for LoRA
  Buffer inverse_norms;  // while DoRA learns: f32 [out], 1 / ||W + scale * (a b)^T|| by rows
};

struct Linear {
  WeightView weight;  // in the device's layout: the file's own where a device computes from it in place
  Buffer owned;       // the memory behind `weight` where the device made a copy; empty where it is mapped
  std::unique_ptr<Lora> lora;

  const std::string& name() const { return weight.name; }
  int64_t out() const { return weight.out; }
  int64_t in() const { return weight.in; }
};

// The weight of an RMSNorm, widened to float32: y = x / sqrt(mean(x^2) + eps) * weight.
struct Norm {
  std::string name;
  int64_t size = 0;
  float eps = 0;
  Buffer weight;  // f32 [size]
};

// A gated MLP, [F, D], [F, D], [D, F]; or the stacks of a layer's experts, [E, F, D], [E, F, D], [E, D, F].
struct Mlp {
  Linear gate_proj;
  Linear up_proj;
  Linear down_proj;
};

// Which experts each row goes to, and with what weight.
struct Routing {
  Tensor experts;  // i32 [T, k]
  Tensor weights;  // f32 [T, k]
};

}  // namespace inkstone
