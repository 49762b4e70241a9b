#include "model/qwen3.h"

#include <cmath>

#include "model/rope.h"
#include "tensor/widen.h"

namespace inkstone {

Qwen3::Qwen3(Checkpoint& checkpoint, const ModelConfig& config, Device& device)
    : Model(config, device), rope_(make_rope(config)), scale_(1.0f / std::sqrt(static_cast<float>(config.head_dim))) {
  const int hidden = config.hidden_size;
  const int64_t query = int64_t{config.num_attention_heads} * config.head_dim;
  const int64_t key = int64_t{config.num_key_value_heads} * config.head_dim;

  embed_tokens_ = take_linear(checkpoint, "model.embed_tokens", config.vocab_size, hidden);
  for (int i = 0; i < config.num_hidden_layers; ++i) {
    const std::string prefix = fmt::format("model.layers.{}.", i);
    const std::string attention = prefix + "self_attn.";
    Layer& layer = layers_.emplace_back();
    layer.input_layernorm = take_norm(checkpoint, prefix + "input_layernorm", hidden);
    layer.q_proj = take_linear(checkpoint, attention + "q_proj", query, hidden);
    layer.k_proj = take_linear(checkpoint, attention + "k_proj", key, hidden);
    layer.v_proj = take_linear(checkpoint, attention + "v_proj", key, hidden);
    layer.o_proj = take_linear(checkpoint, attention + "o_proj", hidden, query);
    layer.q_norm = take_norm(checkpoint, attention + "q_norm", config.head_dim);
    layer.k_norm = take_norm(checkpoint, attention + "k_norm", config.head_dim);
    layer.post_attention_layernorm = take_norm(checkpoint, prefix + "post_attention_layernorm", hidden);
    if (config.is_moe_layer(i)) continue;
    layer.mlp.gate_proj = take_linear(checkpoint, prefix + "mlp.gate_proj", config.intermediate_size, hidden);
    layer.mlp.up_proj = take_linear(checkpoint, prefix + "mlp.up_proj", config.intermediate_size, hidden);
    layer.mlp.down_proj = take_linear(checkpoint, prefix + "mlp.down_proj", hidden, config.intermediate_size);
  }
  norm_ = take_norm(checkpoint, "model.norm", hidden);
  if (config.tie_word_embeddings)
    for (const char* copy : {"lm_head.weight", "lm_head.scales", "lm_head.biases"})
      checkpoint.ignore(copy);  // some converters write one
  else
    lm_head_ = take_linear(checkpoint, "lm_head", config.vocab_size, hidden);
}

Tensor Qwen3::forward(const Batch& batch, KvCache& kv) {
  Workspace& w = workspace_;
  w.resize(device_, config_, batch.size(), static_cast<int>(batch.logit_rows.size()));
  device_.embed(embed_tokens_, batch.tokens, w.x);     // [T, D]
  device_.rope_table(batch.positions, rope_, w.rope);  // [T, d]
  for (int i = 0; i < config_.num_hidden_layers; ++i) {
    const Layer& l = layers_[static_cast<size_t>(i)];
    device_.rms_norm(w.x, l.input_layernorm, w.h);                                // [T, D]
    device_.linear(w.h, {{&l.q_proj, &l.k_proj, &l.v_proj}}, {{w.q, w.k, w.v}});  // [T, H*d] [T, K*d] [T, K*d]
    device_.norm_rope(w.q, l.q_norm, w.rope);
    device_.norm_rope(w.k, l.k_norm, w.rope);
    device_.write_kv(w.k, w.v, batch.slots, kv.layer(i));
    device_.attend(w.q, kv.layer(i), batch, scale_, w.att);  // [T, H*d]
    device_.linear_add(w.att, l.o_proj, w.x);                // the residual
    device_.rms_norm(w.x, l.post_attention_layernorm, w.h);
    feed_forward(i, w);  // the residual
  }
  if (batch.logit_rows.empty()) return w.logits;
  device_.gather_rows(w.x, batch.logit_rows, w.last);  // [R, D]
  device_.rms_norm(w.last, norm_, w.last);
  device_.linear(w.last, {{config_.tie_word_embeddings ? &embed_tokens_ : &lm_head_}}, {{w.logits}});  // [R, V]
  return w.logits;
}

void Qwen3::feed_forward(int i, Workspace& w) { device_.mlp_add(w.h, layers_[static_cast<size_t>(i)].mlp, w.x); }

std::vector<Linear*> Qwen3::linears() {
  std::vector<Linear*> all;
  for (int i = 0; i < config_.num_hidden_layers; ++i) {
    Layer& l = layers_[static_cast<size_t>(i)];
    all.insert(all.end(), {&l.q_proj, &l.k_proj, &l.v_proj, &l.o_proj});
    if (!config_.is_moe_layer(i)) all.insert(all.end(), {&l.mlp.gate_proj, &l.mlp.up_proj, &l.mlp.down_proj});
  }
  if (!config_.tie_word_embeddings) all.push_back(&lm_head_);
  return all;
}

Norm Qwen3::take_norm(Checkpoint& checkpoint, const std::string& module, int size) {
  const ConstTensor tensor = checkpoint.take(module + ".weight", {size});
  std::vector<float> values(static_cast<size_t>(size));
  widen(tensor, values);
  return {module, size, config_.rms_norm_eps, device_.upload(values)};
}

Linear Qwen3::take_linear(Checkpoint& checkpoint, const std::string& module, int64_t out, int64_t in) {
  return device_.pack(checkpoint.take_weight(module, out, in, config_));
}

}  // namespace inkstone
