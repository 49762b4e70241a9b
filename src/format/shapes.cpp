#include "format/shapes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/json.h"
#include "format/quantization.h"

namespace inkstone {
namespace {

struct Row {
  std::string_view name;
  int layers, hidden, heads, kv_heads, head_dim, intermediate, vocab;
  bool tied;
  int experts, used, moe_intermediate;
};

// Sources: the config.json of Qwen/Qwen3-* (docs/formats.md).
constexpr Row kRows[] = {
    {"qwen3-0.6b", 28, 1024, 16, 8, 128, 3072, 151936, true, 0, 0, 0},
    {"qwen3-1.7b", 28, 2048, 16, 8, 128, 6144, 151936, true, 0, 0, 0},
    {"qwen3-4b", 36, 2560, 32, 8, 128, 9728, 151936, true, 0, 0, 0},
    {"qwen3-8b", 36, 4096, 32, 8, 128, 12288, 151936, false, 0, 0, 0},
    {"qwen3-14b", 40, 5120, 40, 8, 128, 17408, 151936, false, 0, 0, 0},
    {"qwen3-32b", 64, 5120, 64, 8, 128, 25600, 151936, false, 0, 0, 0},
    {"qwen3-30b-a3b", 48, 2048, 32, 4, 128, 6144, 151936, false, 128, 8, 768},
    {"qwen3-235b-a22b", 94, 4096, 64, 4, 128, 12288, 151936, false, 128, 8, 1536},
    {"tiny", 2, 64, 4, 1, 16, 64, 288, false, 0, 0, 0},
    {"tiny-moe", 2, 64, 4, 1, 16, 64, 288, true, 4, 2, 64},
};

constexpr auto kNames = [] {
  std::array<std::string_view, std::size(kRows)> names;
  for (size_t i = 0; i < names.size(); ++i) names[i] = kRows[i].name;
  return names;
}();

constexpr int kQwenVocab = 151936;
constexpr int kEndOfText = 151643;  // <|endoftext|>; <|im_start|> and <|im_end|> follow

Json quantization_json(const ModelConfig& config) {
  const auto parameters = [](const Quantization& q) {
    Json json;
    json["group_size"] = q.group_size;
    json["bits"] = q.bits;
    json["mode"] = quant_mode_name(q.mode);
    return json;
  };
  Json json = parameters(*config.quantization);
  for (const auto& [module, q] : config.quantization_overrides)
    json[module] = q.mode == QuantMode::none ? Json(false) : parameters(q);
  return json;
}

Json rope_scaling_json(const ModelConfig& config) {
  if (!config.rope_scaling) return {};
  const YarnScaling& yarn = *config.rope_scaling;
  Json json;
  json["rope_type"] = "yarn";
  json["factor"] = yarn.factor;
  json["original_max_position_embeddings"] = yarn.original_max_position_embeddings;
  const YarnScaling usual;
  if (yarn.beta_fast != usual.beta_fast) json["beta_fast"] = yarn.beta_fast;
  if (yarn.beta_slow != usual.beta_slow) json["beta_slow"] = yarn.beta_slow;
  if (yarn.attention_factor) json["attention_factor"] = *yarn.attention_factor;
  if (yarn.mscale != usual.mscale) json["mscale"] = yarn.mscale;
  if (yarn.mscale_all_dim != usual.mscale_all_dim) json["mscale_all_dim"] = yarn.mscale_all_dim;
  return json;
}

Json eos_json(const ModelConfig& config) {
  if (config.eos_token_ids.empty()) return {};
  if (config.eos_token_ids.size() == 1) return config.eos_token_ids[0];
  Json::Array list;
  for (const int id : config.eos_token_ids) list.emplace_back(id);
  return list;
}

const char* torch_name(DType dtype) {
  return dtype == DType::bf16 ? "bfloat16" : dtype == DType::f16 ? "float16" : "float32";
}

// The shortest double that reads back as this float: 1e-06, not 9.999999974752427e-07.
double short_double(float value) { return std::stod(fmt::format("{}", value)); }

}  // namespace

std::span<const std::string_view> shape_names() { return kNames; }

ModelConfig shape_config(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.name != name) continue;
    ModelConfig config;
    config.model_type = row.experts > 0 ? "qwen3_moe" : "qwen3";
    config.vocab_size = row.vocab;
    config.hidden_size = row.hidden;
    config.intermediate_size = row.intermediate;
    config.num_hidden_layers = row.layers;
    config.num_attention_heads = row.heads;
    config.num_key_value_heads = row.kv_heads;
    config.head_dim = row.head_dim;
    config.rms_norm_eps = 1e-6f;
    config.rope_theta = 1e6;
    config.max_position_embeddings = 40960;
    config.tie_word_embeddings = row.tied;
    config.eos_token_ids = {row.vocab >= kQwenVocab ? kEndOfText + 2 : 258};
    config.num_experts = row.experts;
    config.num_experts_per_tok = row.used;
    config.moe_intermediate_size = row.moe_intermediate;
    config.norm_topk_prob = row.experts > 0;
    return config;
  }
  fail(Errc::usage, "shape \"{}\": expected one of {}", name, fmt::format("{}", fmt::join(kNames, ", ")));
}

int64_t parameter_count(const ModelConfig& c) {
  const int64_t hidden = c.hidden_size, heads = c.num_attention_heads, kv_heads = c.num_key_value_heads;
  int64_t total = (c.tie_word_embeddings ? 1 : 2) * int64_t{c.vocab_size} * hidden + hidden;
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    total += 2 * hidden + 2 * c.head_dim + 2 * hidden * c.head_dim * (heads + kv_heads);
    if (c.is_moe_layer(i))
      total += hidden * c.num_experts * (1 + 3 * int64_t{c.moe_intermediate_size});
    else
      total += 3 * hidden * c.intermediate_size;
  }
  return total;
}

std::string model_config_json(const ModelConfig& config, DType dtype) {
  const bool moe = config.num_experts > 0;
  Json json;
  json["architectures"] = Json::Array{Json(moe ? "Qwen3MoeForCausalLM" : "Qwen3ForCausalLM")};
  json["attention_bias"] = false;
  json["attention_dropout"] = 0.0;
  if (!config.eos_token_ids.empty())
    json["bos_token_id"] = config.vocab_size >= kQwenVocab ? kEndOfText : std::max(0, config.eos_token_ids[0] - 2);
  if (moe) json["decoder_sparse_step"] = config.decoder_sparse_step;
  json["eos_token_id"] = eos_json(config);
  json["head_dim"] = config.head_dim;
  json["hidden_act"] = "silu";
  json["hidden_size"] = config.hidden_size;
  json["initializer_range"] = 0.02;
  json["intermediate_size"] = config.intermediate_size;
  json["max_position_embeddings"] = config.max_position_embeddings;
  json["max_window_layers"] = config.num_hidden_layers;
  if (moe) {
    Json::Array layers;
    for (const int layer : config.mlp_only_layers) layers.emplace_back(layer);
    json["mlp_only_layers"] = std::move(layers);
  }
  json["model_type"] = config.model_type;
  if (moe) {
    json["moe_intermediate_size"] = config.moe_intermediate_size;
    json["norm_topk_prob"] = config.norm_topk_prob;
  }
  json["num_attention_heads"] = config.num_attention_heads;
  if (moe) {
    json["num_experts"] = config.num_experts;
    json["num_experts_per_tok"] = config.num_experts_per_tok;
  }
  json["num_hidden_layers"] = config.num_hidden_layers;
  json["num_key_value_heads"] = config.num_key_value_heads;
  if (config.quantization) {
    json["quantization"] = quantization_json(config);
    json["quantization_config"] = quantization_json(config);
  }
  json["rms_norm_eps"] = short_double(config.rms_norm_eps);
  json["rope_scaling"] = rope_scaling_json(config);
  const bool whole =
      config.rope_theta < 0x1p53 && config.rope_theta == static_cast<double>(static_cast<int64_t>(config.rope_theta));
  json["rope_theta"] = whole ? Json(static_cast<int64_t>(config.rope_theta)) : Json(config.rope_theta);
  json["sliding_window"] = nullptr;
  json["tie_word_embeddings"] = config.tie_word_embeddings;
  json["torch_dtype"] = torch_name(dtype);
  json["transformers_version"] = "4.51.0";
  json["use_cache"] = true;
  json["use_sliding_window"] = false;
  json["vocab_size"] = config.vocab_size;
  return json.dump(4);
}

}  // namespace inkstone
