#include "cpu/moe.h"

#include <algorithm>

namespace inkstone {

void MoeMlp::route_row(float* logits, int64_t experts, bool normalise, int32_t* chosen, float* weights,
                       int64_t k) const {
  context_.kernels.softmax(logits, experts);
  float sum = 0;
  for (int64_t j = 0; j < k; ++j) {
    int64_t best = -1;
    for (int64_t e = 0; e < experts; ++e)  // taken ones are negative; the first of equals wins
      if (logits[e] >= 0 && (best < 0 || logits[e] > logits[best])) best = e;
    if (best < 0) best = 0;  // only NaN logits lead here: keep the index sound, the weight stays NaN
    chosen[j] = static_cast<int32_t>(best);
    weights[j] = logits[best];
    sum += weights[j];
    logits[best] = -1.0f;
  }
  if (!normalise) return;
  for (int64_t j = 0; j < k; ++j) weights[j] /= sum;
}

void ExpertGroups::group(const int32_t* chosen, int64_t pairs, int64_t k, int64_t experts) {
  offsets.assign(static_cast<size_t>(experts) + 1, 0);
  for (int64_t i = 0; i < pairs; ++i) {
    CHECK(chosen[i] >= 0 && chosen[i] < experts);
    ++offsets[static_cast<size_t>(chosen[i]) + 1];
  }
  for (size_t e = 0; e < static_cast<size_t>(experts); ++e) offsets[e + 1] += offsets[e];
  rows.resize(static_cast<size_t>(pairs));
  place.resize(static_cast<size_t>(pairs));
  for (int64_t i = 0; i < pairs; ++i) {  // offsets[e] moves to the start of e + 1
    const int32_t at = offsets[static_cast<size_t>(chosen[i])]++;
    place[static_cast<size_t>(i)] = at;
    rows[static_cast<size_t>(at)] = static_cast<int32_t>(i / k);
  }
  std::copy_backward(offsets.begin(), offsets.end() - 1, offsets.end());
  offsets[0] = 0;
}

void MoeMlp::add(const float* h, const Mlp& experts, const Routing& routing, float* x) {
  const int64_t count = experts.gate_proj.weight.experts, hidden = experts.gate_proj.in();
  const int64_t k = routing.experts.shape[1], tokens = routing.experts.shape[0], pairs = tokens * k;
  groups_.group(routing.experts.as<int32_t>(), pairs, k, count);
  float* down = context_.floats(Scratch::experts_down, pairs * hidden);
  products_.clear();
  for (int64_t e = 0; e < count; ++e) {
    const int32_t first = groups_.offsets[static_cast<size_t>(e)];
    const int rows = groups_.offsets[static_cast<size_t>(e) + 1] - first;
    if (rows > 0)
      products_.push_back({&experts, e, {h, hidden, groups_.rows.data() + first, rows}, down + first * hidden, hidden});
  }
  mlp_.multiply(products_, false);
  const float* weights = routing.weights.as<float>();
  const int64_t grain = std::max<int64_t>(1, 16384 / (hidden * k));
  context_.pool.parallel_for(tokens, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * k; i < end * k; ++i)
      context_.kernels.add_scaled(down + groups_.place[static_cast<size_t>(i)] * hidden, weights[i], x + i / k * hidden,
                                  hidden);
  });
}

}  // namespace inkstone
