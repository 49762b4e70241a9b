// Qwen3, dense: pre-norm RMSNorm, grouped-query attention with per-head norms of q and k before RoPE, SwiGLU.
// Source: Qwen3 Technical Report (arXiv:2505.09388), section 2; names as in the checkpoints.
#pragma once

#include <string>
#include <vector>

#include "model/model.h"
#include "model/workspace.h"

namespace inkstone {

class Qwen3 : public Model {
 public:
  Qwen3(Checkpoint& checkpoint, const ModelConfig& config, Device& device);

  Tensor forward(const Batch& batch, KvCache& kv) override;
  std::vector<Linear*> linears() override;

  struct Layer {
    Norm input_layernorm, q_norm, k_norm, post_attention_layernorm;
    Linear q_proj, k_proj, v_proj, o_proj;
    Mlp mlp;  // absent (empty names) in a layer with experts
  };
  struct MoeBlock {
    Linear gate;  // the router [E, D]
    Mlp switch_mlp;
  };

  // The parts, for whoever teaches them.
  Linear& embed_tokens() { return embed_tokens_; }
  Linear& head() { return config_.tie_word_embeddings ? embed_tokens_ : lm_head_; }
  Norm& norm() { return norm_; }
  Layer& layer(int i) { return layers_[static_cast<size_t>(i)]; }
  virtual MoeBlock* experts(int) { return nullptr; }  // of a layer that has them
  const Rope& rope() const { return rope_; }
  float attention_scale() const { return scale_; }

 protected:
  // Adds layer i's feed-forward of w.h to w.x.
  virtual void feed_forward(int i, Workspace& w);
  Residency::Weights weights() const override;

  Norm take_norm(Checkpoint& checkpoint, const std::string& module, int size);
  Linear take_linear(Checkpoint& checkpoint, const std::string& module, int64_t out, int64_t in);

  std::vector<Layer> layers_;

 private:
  Linear embed_tokens_;
  Linear lm_head_;  // unused when tied: embed_tokens_ serves
  Norm norm_;
  Rope rope_;
  float scale_;  // of q k^T: 1 / sqrt(d)
  Workspace workspace_;
};

}  // namespace inkstone
