// Qwen3 with a Mixture of Experts in some or all layers: softmax over all experts in float32, the top k, their weights
// renormalised when the configuration says so; no shared expert. Source: arXiv:2505.09388, section 2.
#pragma once

#include <optional>

#include "model/qwen3.h"

namespace inkstone {

class Qwen3Moe final : public Qwen3 {
 public:
  Qwen3Moe(Checkpoint& checkpoint, const ModelConfig& config, Device& device);

  std::vector<Linear*> linears() override;
  MoeBlock* experts(int i) override {
    auto& block = moe_[static_cast<size_t>(i)];
    return block ? &*block : nullptr;
  }

 protected:
  void feed_forward(int i, Workspace& w) override;
  Residency::Weights weights() const override;

 private:
  std::vector<std::optional<MoeBlock>> moe_;  // one a layer; empty where the layer is dense
};

}  // namespace inkstone
