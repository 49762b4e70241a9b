// ModelConfig: config.json of a Qwen3 checkpoint with every field typed and in range. A plain value.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/quantized.h"

namespace inkstone {

// RoPE scaling "yarn" (or "default": absent).
struct YarnScaling {
  double factor = 1;
  int original_max_position_embeddings = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  std::optional<double> attention_factor;  // given in the file; else from mscale and mscale_all_dim
  double mscale = 1;
  double mscale_all_dim = 0;
};

struct ModelConfig {
  std::string model_type;  // "qwen3", "qwen3_moe"
  int vocab_size = 0;
  int hidden_size = 0;
  int intermediate_size = 0;
  int num_hidden_layers = 0;
  int num_attention_heads = 0;
  int num_key_value_heads = 0;
  int head_dim = 0;
  float rms_norm_eps = 0;
  double rope_theta = 0;
  std::optional<YarnScaling> rope_scaling;
  int max_position_embeddings = 0;
  bool tie_word_embeddings = false;
  std::vector<int> eos_token_ids;  // from config.json; generation_config.json's win

  // qwen3_moe
  int num_experts = 0;  // 0: dense
  int num_experts_per_tok = 0;
  int moe_intermediate_size = 0;
  int decoder_sparse_step = 1;
  std::vector<int> mlp_only_layers;
  bool norm_topk_prob = false;

  // "quantization": the default and what differs by module path; mode none where an override says false.
  std::optional<Quantization> quantization;
  std::map<std::string, Quantization, std::less<>> quantization_overrides;

  // Whether layer i has experts: (i + 1) % decoder_sparse_step == 0 and i is not in mlp_only_layers.
  bool is_moe_layer(int layer) const;
  // The parameters of a module that has scales.
  Quantization quantization_of(std::string_view module) const;
};

// Checks every field: present, typed, in range, consistent. `origin` names the file in errors.
// Throws Error(bad_file), or Error(unsupported) for a model_type or feature that this program does not run.
ModelConfig parse_model_config(std::string_view json, std::string_view origin);
// Of a model folder, or of a GGUF file.
ModelConfig load_model_config(const std::filesystem::path& model);

}  // namespace inkstone
