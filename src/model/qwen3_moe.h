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

 protected:
  void feed_forward(int i, Workspace& w) override;

 private:
  struct MoeBlock {
    Linear gate;  // the router [E, D]
    Mlp switch_mlp;
  };
  std::vector<std::optional<MoeBlock>> moe_;  // one a layer; empty where the layer is dense
};

}  // namespace inkstone
