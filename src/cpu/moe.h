// The Mixture-of-Experts MLP: rows are grouped by expert, so that each expert's weights are read once.
#pragma once

#include <vector>

#include "cpu/mlp.h"
#include "device/device.h"

namespace inkstone {

// The pairs of a row and one of its experts, sorted by expert; pair t * k + j is row t at its j-th.
struct ExpertGroups {
  std::vector<int32_t> rows;     // [pairs] the row of each, in that order
  std::vector<int32_t> place;    // [pairs] where each pair is in it
  std::vector<int32_t> offsets;  // [E + 1] the first of each expert

  void group(const int32_t* chosen, int64_t pairs, int64_t k, int64_t experts);
};

class MoeMlp {
 public:
  MoeMlp(Context& context, MlpMultiplier& mlp) : context_(context), mlp_(mlp) {}

  // Softmax and stable top k of one row of `logits` [experts]; logits is overwritten.
  void route_row(float* logits, int64_t experts, bool normalise, int32_t* chosen, float* weights, int64_t k) const;
  // x[t] += sum_j weights[t, j] * expert(experts[t, j])(h[t]); all [rows, D], routing [rows, k].
  void add(const float* h, const Mlp& experts, const Routing& routing, float* x);

 private:
  Context& context_;
  MlpMultiplier& mlp_;
  ExpertGroups groups_;
  std::vector<MlpProduct> products_;
};

}  // namespace inkstone
