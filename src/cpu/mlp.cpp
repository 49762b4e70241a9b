#include "cpu/mlp.h"

namespace inkstone {

// Adapters add to gate and up before they are multiplied, so theirs must be seen in float32.
bool MlpMultiplier::in_tiles(const MlpProduct& p) const {
  const Mlp& mlp = *p.mlp;
  if (!multiplier_.tiles().takes_mlp(p.x.rows)) return false;
  for (const Linear* linear : {&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj})
    if (linear->lora != nullptr) return false;
  const auto order = [&](const Linear& linear) {
    return context_.tiles()->codes_per_lane(matrix_of(linear.weight, p.expert));
  };
  return order(mlp.gate_proj) == order(mlp.up_proj);
}

void MlpMultiplier::multiply(std::span<const MlpProduct> products, bool add) {
  fused_.clear();
  apart_.clear();
  for (const MlpProduct& p : products) {
    if (in_tiles(p)) {
      fused_.push_back({matrix_of(p.mlp->gate_proj.weight, p.expert), matrix_of(p.mlp->up_proj.weight, p.expert),
                        matrix_of(p.mlp->down_proj.weight, p.expert), p.x, p.y, p.y_stride, add});
    } else {
      apart_.push_back(p);
    }
  }
  multiplier_.tiles().mlp(fused_);
  if (!apart_.empty()) multiply_apart(add);
}

void MlpMultiplier::multiply_apart(bool add) {
  const int64_t width = apart_.front().mlp->gate_proj.out();  // F
  int64_t rows = 0;
  for (const MlpProduct& p : apart_) rows += p.x.rows;
  float* const gate = context_.floats(Scratch::gate, rows * width);
  float* const up = context_.floats(Scratch::up, rows * width);
  products_.clear();
  int64_t at = 0;
  for (const MlpProduct& p : apart_) {
    products_.push_back({&p.mlp->gate_proj, p.expert, p.x, gate + at, width});
    products_.push_back({&p.mlp->up_proj, p.expert, p.x, up + at, width});
    at += p.x.rows * width;
  }
  multiplier_.multiply(products_, false);
  context_.pool.parallel_for(rows * width, 16384, [&](int64_t begin, int64_t end) {
    context_.kernels.swiglu(gate + begin, up + begin, gate + begin, end - begin);
  });
  products_.clear();
  at = 0;
  for (const MlpProduct& p : apart_) {
    products_.push_back({&p.mlp->down_proj, p.expert, {gate + at, width, nullptr, p.x.rows}, p.y, p.y_stride});
    at += p.x.rows * width;
  }
  multiplier_.multiply(products_, add);
}

}  // namespace inkstone
