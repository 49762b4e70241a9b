#include "format/model_config.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "format/gguf_config.h"
#include "format/gguf_weights.h"
#include "format/json_fields.h"
#include "format/model_files.h"
#include "format/quantization_config.h"

namespace inkstone {
namespace {

// Bounds: several times what any published model has, and small enough that every product a model forms fits 63 bits.
constexpr int64_t kMaxVocab = int64_t{1} << 24;
constexpr int64_t kMaxHidden = int64_t{1} << 17;
constexpr int64_t kMaxIntermediate = int64_t{1} << 20;
constexpr int64_t kMaxLayers = 1024;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxHeadDim = 512;
constexpr int64_t kMaxPositions = int64_t{1} << 27;
constexpr int64_t kMaxExperts = 4096;
constexpr int64_t kMaxTokenId = INT32_MAX;
constexpr double kTiny = 1e-30;
constexpr size_t kMaxConfigBytes = 16 << 20;

void parse_heads(const JsonFields& fields, ModelConfig& config) {
  config.num_attention_heads = fields.integer("num_attention_heads", 1, kMaxHeads);
  config.num_key_value_heads = fields.integer("num_key_value_heads", 1, kMaxHeads);
  if (config.num_attention_heads % config.num_key_value_heads != 0)
    fail(Errc::bad_file, "{}: num_attention_heads: found {}, expected a multiple of num_key_value_heads ({})",
         fields.where(), config.num_attention_heads, config.num_key_value_heads);
  if (const auto head_dim = fields.maybe_integer("head_dim", 2, kMaxHeadDim)) {
    config.head_dim = *head_dim;
  } else {
    if (config.hidden_size % config.num_attention_heads != 0)
      fail(Errc::bad_file, "{}: head_dim: missing, and hidden_size {} is not a multiple of num_attention_heads {}",
           fields.where(), config.hidden_size, config.num_attention_heads);
    config.head_dim = config.hidden_size / config.num_attention_heads;
  }
  if (config.head_dim < 2 || config.head_dim > kMaxHeadDim || config.head_dim % 2 != 0)
    fail(Errc::bad_file, "{}: head_dim: found {}, expected an even number up to {}", fields.where(), config.head_dim,
         kMaxHeadDim);
}

void parse_experts(const JsonFields& fields, ModelConfig& config) {
  config.num_experts = fields.integer("num_experts", 1, kMaxExperts);
  config.num_experts_per_tok = fields.integer("num_experts_per_tok", 1, config.num_experts);
  config.moe_intermediate_size = fields.integer("moe_intermediate_size", 1, kMaxIntermediate);
  config.decoder_sparse_step = fields.maybe_integer("decoder_sparse_step", 1, kMaxLayers).value_or(1);
  config.norm_topk_prob = fields.boolean("norm_topk_prob", false);
  const Json* layers = fields.find("mlp_only_layers");
  if (layers != nullptr && !layers->is_array()) fields.reject("mlp_only_layers", *layers, "a list");
  config.mlp_only_layers = fields.integers("mlp_only_layers", 0, config.num_hidden_layers - 1);
}

YarnScaling parse_yarn(const JsonFields& fields) {
  YarnScaling yarn;
  yarn.factor = fields.number("factor", 1, 65536);
  // Required: what the reference implementations assume where it is missing differs.
  yarn.original_max_position_embeddings = fields.integral("original_max_position_embeddings", 1, kMaxPositions);
  yarn.beta_fast = fields.maybe_number("beta_fast", kTiny, 1e6).value_or(yarn.beta_fast);
  yarn.beta_slow = fields.maybe_number("beta_slow", kTiny, 1e6).value_or(yarn.beta_slow);
  if (yarn.beta_slow > yarn.beta_fast)
    fail(Errc::bad_file, "{}: beta_slow: found {}, expected at most beta_fast ({})", fields.where(), yarn.beta_slow,
         yarn.beta_fast);
  yarn.attention_factor = fields.maybe_number("attention_factor", kTiny, 1e6);
  yarn.mscale = fields.maybe_number("mscale", 0, 1e6).value_or(yarn.mscale);
  yarn.mscale_all_dim = fields.maybe_number("mscale_all_dim", 0, 1e6).value_or(yarn.mscale_all_dim);
  if (!fields.boolean("truncate", true))
    fail(Errc::unsupported, "{}: truncate: found false, expected true", fields.where());
  return yarn;
}

// The type under either of its names, "default" if there is none.
std::string rope_type(const JsonFields& fields) {
  for (const char* key : {"rope_type", "type"})
    if (fields.has(key)) return fields.text(key);
  return "default";
}

void parse_rope_object(const Json& value, const std::string& where, ModelConfig& config) {
  const JsonFields fields(value, where);
  const std::string type = rope_type(fields);
  if (type == "yarn")
    config.rope_scaling = parse_yarn(fields);
  else if (type != "default")
    fail(Errc::unsupported, "{}: rope_type: found \"{}\", expected default or yarn", where, type);
  else if (fields.has("factor") && fields.number("factor", kTiny, 1e9) != 1)
    fail(Errc::bad_file, "{}: factor without a rope_type", where);
  if (fields.maybe_number("partial_rotary_factor", 0, 1).value_or(1) != 1)
    fail(Errc::unsupported, "{}: partial_rotary_factor: expected 1", where);
}

// rope_theta and rope_scaling; newer files have both in one object, rope_parameters.
void parse_rope(const JsonFields& fields, ModelConfig& config) {
  std::optional<double> theta = fields.maybe_number("rope_theta", kTiny, 1e15);
  if (const Json* scaling = fields.find("rope_scaling")) {
    parse_rope_object(*scaling, fields.where() + ": rope_scaling", config);
  }
  if (const Json* parameters = fields.find("rope_parameters")) {
    const std::string where = fields.where() + ": rope_parameters";
    if (!fields.has("rope_scaling")) parse_rope_object(*parameters, where, config);
    const auto inner = JsonFields(*parameters, where).maybe_number("rope_theta", kTiny, 1e15);
    if (theta && inner && *theta != *inner)
      fail(Errc::bad_file, "{}: rope_theta: found {}, expected {} as outside", where, *inner, *theta);
    if (inner) theta = inner;
  }
  if (!theta) fail(Errc::bad_file, "{}: rope_theta: missing", fields.where());
  config.rope_theta = *theta;
}

// Features of the wider Qwen family that no supported model type has.
void refuse_unsupported(const JsonFields& fields) {
  if (fields.has("hidden_act") && fields.text("hidden_act") != "silu")
    fail(Errc::unsupported, "{}: hidden_act: found {}, expected \"silu\"", fields.where(),
         describe(fields.require("hidden_act")));
  for (const char* flag : {"attention_bias", "use_sliding_window", "mlp_bias"})
    if (fields.boolean(flag, false))
      fail(Errc::unsupported, "{}: {}: found true, expected false", fields.where(), flag);
  if (fields.maybe_number("partial_rotary_factor", 0, 1).value_or(1) != 1)
    fail(Errc::unsupported, "{}: partial_rotary_factor: expected 1", fields.where());
}

}  // namespace

bool ModelConfig::is_moe_layer(int layer) const {
  return num_experts > 0 && (layer + 1) % decoder_sparse_step == 0 &&
         std::find(mlp_only_layers.begin(), mlp_only_layers.end(), layer) == mlp_only_layers.end();
}

Quantization ModelConfig::quantization_of(std::string_view module) const {
  const auto found = quantization_overrides.find(module);
  if (found != quantization_overrides.end()) return found->second;
  return quantization.value_or(Quantization{});
}

ModelConfig parse_model_config(std::string_view json, std::string_view origin) {
  const Json root = Json::parse(json, origin);
  const JsonFields fields(root, std::string(origin));
  ModelConfig config;
  config.model_type = fields.text("model_type");
  if (config.model_type != "qwen3" && config.model_type != "qwen3_moe")
    fail(Errc::unsupported, "{}: model_type: found {}, expected \"qwen3\" or \"qwen3_moe\"", origin,
         describe(fields.require("model_type")));
  refuse_unsupported(fields);
  config.vocab_size = fields.integer("vocab_size", 1, kMaxVocab);
  config.hidden_size = fields.integer("hidden_size", 1, kMaxHidden);
  config.intermediate_size = fields.integer("intermediate_size", 1, kMaxIntermediate);
  config.num_hidden_layers = fields.integer("num_hidden_layers", 1, kMaxLayers);
  parse_heads(fields, config);
  config.rms_norm_eps = static_cast<float>(fields.number("rms_norm_eps", kTiny, 1));
  parse_rope(fields, config);
  config.max_position_embeddings = fields.integral("max_position_embeddings", 1, kMaxPositions);
  config.tie_word_embeddings = fields.boolean("tie_word_embeddings", false);
  config.eos_token_ids = fields.integers("eos_token_id", 0, kMaxTokenId);
  if (config.model_type == "qwen3_moe") parse_experts(fields, config);
  parse_quantization(root, origin, config);
  return config;
}

ModelConfig load_model_config(const std::filesystem::path& model) {
  const std::string origin = model_file_origin(model, "config.json");
  if (!is_gguf(model)) return parse_model_config(read_file(model / "config.json", kMaxConfigBytes), origin);
  const std::vector<Gguf> files = open_gguf(model);
  ModelConfig config = parse_model_config(gguf_config_json(files), origin);
  set_gguf_quantization(files, config);
  return config;
}

}  // namespace inkstone
