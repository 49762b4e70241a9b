#include "cpu/mlp.h"

namespace inkstone {

void MlpMultiplier::multiply(std::span<const MlpProduct> products, bool add) {
  fused_.clear();
  apart_.clear();
  for (const MlpProduct& p : products) {
    const Mlp& mlp = *p.mlp;
    // Adapters add to gate and up before these are multiplied, so those must be seen in float32.
    const bool adapted = mlp.gate_proj.lora != nullptr || mlp.up_proj.lora != nullptr || mlp.down_proj.lora != nullptr;
    const GatedProduct whole{matrix_of(mlp.gate_proj.weight, p.expert),
                             matrix_of(mlp.up_proj.weight, p.expert),
                             matrix_of(mlp.down_proj.weight, p.expert),
                             p.x,
                             p.y,
                             p.y_stride,
                             add};
    if (!adapted && multiplier_.tiles().takes(whole)) {
      fused_.push_back(whole);
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
