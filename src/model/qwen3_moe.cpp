#include "model/qwen3_moe.h"

namespace inkstone {

Qwen3Moe::Qwen3Moe(Checkpoint& checkpoint, const ModelConfig& config, Device& device)
    : Qwen3(checkpoint, config, device), moe_(static_cast<size_t>(config.num_hidden_layers)) {
  const int64_t hidden = config.hidden_size;
  const int64_t width = config.moe_intermediate_size;
  for (int i = 0; i < config.num_hidden_layers; ++i) {
    if (!config.is_moe_layer(i)) continue;
    const std::string mlp = fmt::format("model.layers.{}.mlp", i);
    const auto take = [&](const char* projection, int64_t out, int64_t in) {
      return device.pack(checkpoint.take_experts(mlp, projection, config.num_experts, out, in, config));
    };
    MoeBlock& block = moe_[static_cast<size_t>(i)].emplace();
    block.gate = take_linear(checkpoint, mlp + ".gate", config.num_experts, hidden);
    block.switch_mlp.gate_proj = take("gate_proj", width, hidden);
    block.switch_mlp.up_proj = take("up_proj", width, hidden);
    block.switch_mlp.down_proj = take("down_proj", hidden, width);
  }
}

void Qwen3Moe::feed_forward(int i, Workspace& w) {
  const auto& moe = moe_[static_cast<size_t>(i)];
  if (!moe) return Qwen3::feed_forward(i, w);
  device_.linear(w.h, {{&moe->gate}}, {{w.router}});  // [T, E]
  device_.route(w.router, config_.norm_topk_prob, w.routing);
  residency_.use_experts(i, w.routing);
  device_.experts_add(w.h, moe->switch_mlp, w.routing, w.x);
}

Residency::Weights Qwen3Moe::weights() const {
  Residency::Weights weights = Qwen3::weights();
  for (size_t i = 0; i < moe_.size(); ++i) {
    std::vector<Residency::Piece>& experts = weights.experts.emplace_back();
    if (!moe_[i]) continue;
    weights.steps[i].add(moe_[i]->gate);
    const Mlp& mlp = moe_[i]->switch_mlp;
    experts.resize(static_cast<size_t>(config_.num_experts));
    for (size_t e = 0; e < experts.size(); ++e)
      for (const Linear* linear : {&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj})
        if (linear->owned.size() == 0) experts[e].add(linear->weight.expert(static_cast<int64_t>(e)));
  }
  return weights;
}

std::vector<Linear*> Qwen3Moe::linears() {
  std::vector<Linear*> all = Qwen3::linears();
  for (auto& moe : moe_)
    if (moe)
      all.insert(all.end(),
                 {&moe->gate, &moe->switch_mlp.gate_proj, &moe->switch_mlp.up_proj, &moe->switch_mlp.down_proj});
  return all;
}

}  // namespace inkstone
