#include "format/random_checkpoint.h"

#include <cmath>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "format/quantization.h"
#include "format/random_tensor.h"
#include "format/random_tokenizer.h"
#include "format/shapes.h"

namespace inkstone {
namespace {

// One module as the folder will hold it: a norm, or a matrix (a stack of them where experts > 0).
struct Module {
  std::string path;
  int64_t experts = 0;
  int64_t out = 0;
  int64_t in = 0;  // 0: a norm of `out` ones
  double deviation = 1;

  bool is_norm() const { return in == 0; }
};

void list_mlp(const ModelConfig& c, int layer, const std::string& mlp, double residual, std::vector<Module>& list) {
  const int64_t hidden = c.hidden_size;
  const auto deviation = [](int64_t in) { return 1 / std::sqrt(static_cast<double>(in)); };
  if (!c.is_moe_layer(layer)) {
    list.push_back({mlp + ".gate_proj", 0, c.intermediate_size, hidden, deviation(hidden)});
    list.push_back({mlp + ".down_proj", 0, hidden, c.intermediate_size, deviation(c.intermediate_size) * residual});
    list.push_back({mlp + ".up_proj", 0, c.intermediate_size, hidden, deviation(hidden)});
    return;
  }
  const int64_t width = c.moe_intermediate_size;
  list.push_back({mlp + ".gate", 0, c.num_experts, hidden, deviation(hidden)});
  list.push_back({mlp + ".switch_mlp.gate_proj", c.num_experts, width, hidden, deviation(hidden)});
  list.push_back({mlp + ".switch_mlp.up_proj", c.num_experts, width, hidden, deviation(hidden)});
  list.push_back({mlp + ".switch_mlp.down_proj", c.num_experts, hidden, width, deviation(width) * residual});
}

// All modules. A matrix of deviation 1 / sqrt(in) keeps its input's size; what adds to the residual stream is smaller
// by sqrt(2 layers), so that the sum of all layers is of order 1. Logits get a deviation of about 2.
// The order is that of mlx_lm's parameters, which decides where shards and the list of a mixed quantisation break.
std::vector<Module> list_modules(const ModelConfig& c) {
  const int64_t hidden = c.hidden_size, q = int64_t{c.num_attention_heads} * c.head_dim,
                kv = int64_t{c.num_key_value_heads} * c.head_dim;
  const double residual = 1 / std::sqrt(2.0 * c.num_hidden_layers);
  const double in_hidden = 1 / std::sqrt(static_cast<double>(hidden));
  const bool moe = c.num_experts > 0;
  std::vector<Module> list;
  list.push_back({"model.embed_tokens", 0, c.vocab_size, hidden, c.tie_word_embeddings ? 2 * in_hidden : 1});
  for (int i = 0; i < c.num_hidden_layers; ++i) {
    const std::string layer = fmt::format("model.layers.{}", i);
    list.push_back({layer + ".self_attn.q_proj", 0, q, hidden, in_hidden});
    list.push_back({layer + ".self_attn.k_proj", 0, kv, hidden, in_hidden});
    list.push_back({layer + ".self_attn.v_proj", 0, kv, hidden, in_hidden});
    list.push_back({layer + ".self_attn.o_proj", 0, hidden, q, residual / std::sqrt(static_cast<double>(q))});
    list.push_back({layer + ".self_attn.q_norm", 0, c.head_dim, 0, 1});
    list.push_back({layer + ".self_attn.k_norm", 0, c.head_dim, 0, 1});
    if (!moe) list_mlp(c, i, layer + ".mlp", residual, list);
    list.push_back({layer + ".input_layernorm", 0, hidden, 0, 1});
    list.push_back({layer + ".post_attention_layernorm", 0, hidden, 0, 1});
    if (moe) list_mlp(c, i, layer + ".mlp", residual, list);
  }
  list.push_back({"model.norm", 0, hidden, 0, 1});
  if (!c.tie_word_embeddings) list.push_back({"lm_head", 0, c.vocab_size, hidden, 2 * in_hidden});
  return list;
}

TensorSpec part_spec(const Module& module, const char* part, DType dtype, int64_t columns) {
  const Shape shape = module.experts > 0 ? Shape{module.experts, module.out, columns} : Shape{module.out, columns};
  return {module.path + part, dtype, shape};
}

void list_tensors(const Module& module, const Quantization& q, DType dtype, std::vector<TensorSpec>& list) {
  if (module.is_norm()) {
    list.push_back({module.path + ".weight", dtype, Shape{module.out}});
    return;
  }
  if (q.mode == QuantMode::none) {
    list.push_back(part_spec(module, ".weight", dtype, module.in));
    return;
  }
  list.push_back(part_spec(module, ".weight", DType::u32, module.in * q.bits / 32));
  list.push_back(
      part_spec(module, ".scales", q.mode == QuantMode::affine ? dtype : DType::u8, module.in / q.group_size));
  if (q.mode == QuantMode::affine) list.push_back(part_spec(module, ".biases", dtype, module.in / q.group_size));
}

// FNV-1a: each matrix draws from a stream of its own.
uint64_t seed_of(uint64_t seed, std::string_view path) {
  uint64_t hash = 0xcbf29ce484222325u ^ (seed * 0x9e3779b97f4a7c15u);
  for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

// Its tensors, in the order of list_tensors().
void write_module(const Module& module, const ModelConfig& config, const RandomCheckpointOptions& options,
                  CheckpointWriter& writer) {
  const ByteSink sink = [&](std::span<const std::byte> bytes) {
    writer.write(bytes);
    if (options.on_piece) options.on_piece();
  };
  if (module.is_norm()) return constant_ones(module.out, options.dtype, sink);
  const RandomMatrix matrix{std::max<int64_t>(module.experts, 1) * module.out,
                            module.in,
                            module.deviation,
                            config.quantization_of(module.path),
                            options.dtype,
                            seed_of(options.seed, module.path)};
  random_weight(matrix, sink);
  if (matrix.quantization.mode == QuantMode::none) return;
  random_scales(matrix, sink);
  if (matrix.quantization.mode == QuantMode::affine) random_biases(matrix, sink);
}

std::string generation_json(const TokenizerIds& ids) {
  Json json;
  json["bos_token_id"] = ids.end_of_text;
  json["do_sample"] = true;
  json["eos_token_id"] = Json::Array{Json(ids.im_end), Json(ids.end_of_text)};
  json["pad_token_id"] = ids.end_of_text;
  json["temperature"] = 0.6;
  json["top_k"] = 20;
  json["top_p"] = 0.95;
  json["transformers_version"] = "4.51.0";
  return json.dump(4);
}

}  // namespace

ModelConfig random_checkpoint_config(const RandomCheckpointOptions& options) {
  if (options.dtype != DType::bf16 && options.dtype != DType::f16 && options.dtype != DType::f32)
    fail(Errc::usage, "dtype {}: expected BF16, F16 or F32", dtype_name(options.dtype));
  ModelConfig config = options.config;
  config.quantization.reset();
  config.quantization_overrides.clear();
  config.eos_token_ids = {tokenizer_ids(config.vocab_size).im_end};
  const Quantization& q = options.quantization;
  if (q.mode == QuantMode::none) return config;
  if (const std::string problem = quantization_problem(q); !problem.empty()) fail(Errc::usage, "{}", problem);
  config.quantization = q;
  for (const Module& module : list_modules(config)) {
    if (module.path.ends_with(".mlp.gate"))
      config.quantization_overrides.emplace(module.path, Quantization{QuantMode::affine, 8, 64});
    const int group = config.quantization_of(module.path).group_size;
    if (!module.is_norm() && module.in % group != 0)
      fail(Errc::usage, "{}: {} columns are not a multiple of the group size {}", module.path, module.in, group);
  }
  return config;
}

std::vector<TensorSpec> model_tensors(const ModelConfig& quantized_config, DType dtype) {
  std::vector<TensorSpec> list;
  for (const Module& module : list_modules(quantized_config))
    list_tensors(module, quantized_config.quantization_of(module.path), dtype, list);
  return list;
}

void write_random_checkpoint(const std::filesystem::path& folder, const RandomCheckpointOptions& options) {
  const ModelConfig config = random_checkpoint_config(options);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail(Errc::io, "{}: cannot make the folder: {}", folder.string(), error.message());
  // Not flushed: the same seed makes it again.
  CheckpointWriter writer(folder, model_tensors(config, options.dtype), options.shard_bytes, false);
  for (const Module& module : list_modules(config)) write_module(module, config, options, writer);
  writer.finish(parameter_count(config));
  write_file_atomically(folder / "generation_config.json", generation_json(tokenizer_ids(config.vocab_size)));
  write_file_atomically(folder / "tokenizer.json", random_tokenizer_json(config.vocab_size));
  write_file_atomically(folder / "tokenizer_config.json", random_tokenizer_config_json(config.vocab_size));
  write_file_atomically(folder / "config.json", model_config_json(config, options.dtype));
}

}  // namespace inkstone
