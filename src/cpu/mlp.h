// The gated MLP, down(silu(gate x) * up x): of a dense layer, or of many experts at once.
#pragma once

#include <vector>

#include "cpu/matmul.h"

namespace inkstone {

struct MlpProduct {
  const Mlp* mlp;
  int64_t expert;  // of stacks; -1 for single matrices
  Activations x;   // [rows, D]
  float* y;        // [rows, D]
  int64_t y_stride;
};

class MlpMultiplier {
 public:
  MlpMultiplier(Context& context, Multiplier& multiplier) : context_(context), multiplier_(multiplier) {}

  // All of them, at once; y += when `add`.
  void multiply(std::span<const MlpProduct> products, bool add);

 private:
  void multiply_apart(bool add);

  Context& context_;
  Multiplier& multiplier_;
  std::vector<GatedProduct> fused_;
  std::vector<MlpProduct> apart_;  // products that go through float32 between their two steps
  std::vector<LinearProduct> products_;
};

}  // namespace inkstone
