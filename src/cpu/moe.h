// The Mixture-of-Experts MLP: rows are grouped by expert, so that each expert's weights are read once.
#pragma once

#include <vector>

#include "cpu/mlp.h"
#include "device/device.h"

namespace inkstone {

class MoeMlp {
 public:
  MoeMlp(Context& context, MlpMultiplier& mlp) : context_(context), mlp_(mlp) {}

  // Softmax and stable top k of one row of `logits` [experts]; logits is overwritten.
  void route_row(float* logits, int64_t experts, bool normalise, int32_t* chosen, float* weights, int64_t k) const;
  // x[t] += sum_j weights[t, j] * expert(experts[t, j])(h[t]); all [rows, D], routing [rows, k].
  void add(const float* h, const Mlp& experts, const Routing& routing, float* x);

 private:
  void group_by_expert(const int32_t* chosen, int64_t pairs, int64_t k, int64_t experts);

  Context& context_;
  MlpMultiplier& mlp_;
  std::vector<int32_t> rows_;     // [pairs] the row of each pair, pairs sorted by expert
  std::vector<int32_t> place_;    // [pairs] where pair t * k + j is in that order
  std::vector<int32_t> offsets_;  // [E + 1] first pair of each expert
  std::vector<MlpProduct> products_;
};

}  // namespace inkstone
