#include "format/gguf_config.h"

#include <algorithm>

#include "base/error.h"
#include "base/json.h"

namespace inkstone {
namespace {

constexpr int64_t kMaxInteger = INT32_MAX;  // what a configuration may hold; it has narrower bounds of its own

// Keys of the architecture that are read below, or that say nothing about what is computed.
constexpr std::string_view kKnownKeys[] = {
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "pooling_type",  // of an embedding model's output
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "attention.layer_norm_rms_epsilon",
    "attention.causal",
    "rope.freq_base",
    "rope.dimension_count",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.finetuned",  // a remark
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "expert_count",
    "expert_used_count",
    "expert_feed_forward_length",
    "expert_shared_count",
    "expert_weights_norm",
};

std::string architecture_of(const GgufFields& fields) {
  const std::string_view name = fields.text("general.architecture");
  if (name == "qwen3" || name == "qwen3moe") return std::string(name);
  fail(Errc::unsupported, "{}: general.architecture: found {}, expected \"qwen3\" or \"qwen3moe\"", fields.origin(),
       json_quote(name.substr(0, 80)));
}

void refuse_unknown_keys(const GgufFields& fields, const std::string& prefix) {
  for (auto entry = fields.header().metadata.lower_bound(prefix);
       entry != fields.header().metadata.end() && entry->first.starts_with(prefix); ++entry)
    if (std::find(std::begin(kKnownKeys), std::end(kKnownKeys), entry->first.substr(prefix.size())) ==
        std::end(kKnownKeys))
      fail(Errc::unsupported, "{}: {}: unknown; it could change what the model computes", fields.origin(),
           entry->first);
}

const GgufTensor* find_tensor(const std::vector<Gguf>& files, std::string_view name) {
  for (const Gguf& file : files)
    if (const auto entry = file.header().tensors.find(name); entry != file.header().tensors.end())
      return &entry->second;
  return nullptr;
}

class ConfigWriter {
 public:
  explicit ConfigWriter(const std::vector<Gguf>& files)
      : files_(files),
        fields_(files.front().header(), files.front().path().string()),
        prefix_(architecture_of(fields_) + ".") {
    refuse_unknown_keys(fields_, prefix_);
  }

  Json config() {
    const bool experts = prefix_ == "qwen3moe.";
    json_["architectures"] = Json::Array{Json(experts ? "Qwen3MoeForCausalLM" : "Qwen3ForCausalLM")};
    json_["model_type"] = experts ? "qwen3_moe" : "qwen3";
    copy("num_hidden_layers", "block_count");
    copy("hidden_size", "embedding_length");
    copy("max_position_embeddings", "context_length");
    copy("num_attention_heads", "attention.head_count");
    json_["num_key_value_heads"] = maybe("attention.head_count_kv").value_or(integer("attention.head_count"));
    json_["rms_norm_eps"] = short_double(fields_.number(prefix_ + "attention.layer_norm_rms_epsilon"));
    if (experts) add_experts();
    // Where all layers have experts nothing is that wide.
    copy("intermediate_size",
         experts && !maybe("feed_forward_length") ? "expert_feed_forward_length" : "feed_forward_length");
    add_heads();
    add_rope();
    add_vocabulary();
    json_["hidden_act"] = "silu";
    json_["attention_bias"] = false;
    json_["torch_dtype"] = dtype();
    return std::move(json_);
  }

 private:
  std::optional<int64_t> maybe(const char* key) const { return fields_.maybe_integer(prefix_ + key, kMaxInteger); }
  int64_t integer(const char* key) const { return fields_.integer(prefix_ + key, kMaxInteger); }
  void copy(const char* name, const char* key) { json_[name] = integer(key); }

  // Numbers lie in the file as float32: the shortest decimal that means the same one (1e-06,
  // not 9.999999974752427e-07).
  static double short_double(double value) {
    const float narrow = static_cast<float>(value);
    if (static_cast<double>(narrow) != value) return value;
    return std::stod(fmt::format("{}", narrow));
  }

  // What a plain folder of this model is written in: the file's own type, or, of a quantised file, what Qwen publishes.
  const char* dtype() const {
    const GgufTensor* embedding = find_tensor(files_, "token_embd.weight");
    if (embedding != nullptr && embedding->type->id == GgmlId::f16) return "float16";
    return embedding != nullptr && embedding->type->id == GgmlId::f32 ? "float32" : "bfloat16";
  }

  void expect(const char* key, int64_t found, int64_t expected) const {
    if (found != expected)
      fail(Errc::unsupported, "{}: {}{}: found {}, expected {}", fields_.origin(), prefix_, key, found, expected);
  }

  void add_heads() {
    const int64_t heads = integer("attention.head_count"), hidden = integer("embedding_length");
    int64_t head_dim = heads > 0 ? hidden / heads : 0;
    if (const auto length = maybe("attention.key_length")) head_dim = *length;
    if (const auto length = maybe("attention.value_length")) expect("attention.value_length", *length, head_dim);
    if (const auto count = maybe("rope.dimension_count")) expect("rope.dimension_count", *count, head_dim);
    json_["head_dim"] = head_dim;
    if (!fields_.maybe_boolean(prefix_ + "attention.causal").value_or(true)) expect("attention.causal", 0, 1);
  }

  void add_rope() {
    json_["rope_theta"] = short_double(fields_.number(prefix_ + "rope.freq_base"));
    const std::string scaling = prefix_ + "rope.scaling.";
    const std::string_view type = fields_.maybe_text(scaling + "type").value_or("none");
    if (type == "none") {
      if (fields_.maybe_number(scaling + "factor").value_or(1) != 1)
        fail(Errc::bad_file, "{}: {}factor without a type", fields_.origin(), scaling);
      return;
    }
    if (type != "yarn")
      fail(Errc::unsupported, "{}: {}type: found {}, expected \"yarn\" or \"none\"", fields_.origin(), scaling,
           json_quote(type.substr(0, 80)));
    Json yarn;
    yarn["rope_type"] = "yarn";
    yarn["factor"] = short_double(fields_.number(scaling + "factor"));
    yarn["original_max_position_embeddings"] = integer("rope.scaling.original_context_length");
    for (const char* beta : {"beta_fast", "beta_slow"})
      if (const auto value = fields_.maybe_number(scaling + "yarn_" + beta)) yarn[beta] = short_double(*value);
    json_["rope_scaling"] = std::move(yarn);
  }

  // Of this architecture ggml always divides the weights of the chosen experts by their sum.
  void add_experts() {
    copy("num_experts", "expert_count");
    copy("num_experts_per_tok", "expert_used_count");
    copy("moe_intermediate_size", "expert_feed_forward_length");
    expect("expert_shared_count", maybe("expert_shared_count").value_or(0), 0);
    json_["norm_topk_prob"] = fields_.maybe_boolean(prefix_ + "expert_weights_norm").value_or(true);
    json_["decoder_sparse_step"] = 1;
    json_["mlp_only_layers"] = Json::Array();
  }

  void add_vocabulary() {
    const GgufTensor* embedding = find_tensor(files_, "token_embd.weight");
    if (embedding == nullptr) fail(Errc::bad_file, "{}: token_embd.weight: missing", fields_.origin());
    const int64_t rows = embedding->shape[0];
    if (const auto size = maybe("vocab_size"); size && *size != rows)
      fail(Errc::bad_file, "{}: {}vocab_size: found {}, expected {} as token_embd.weight has", fields_.origin(),
           prefix_, *size, rows);
    json_["vocab_size"] = rows;
    json_["tie_word_embeddings"] = find_tensor(files_, "output.weight") == nullptr;
    if (const auto id = fields_.maybe_integer("tokenizer.ggml.eos_token_id", kMaxInteger)) json_["eos_token_id"] = *id;
  }

  const std::vector<Gguf>& files_;
  GgufFields fields_;
  std::string prefix_;
  Json json_;
};

// Ids that end an answer: those that the file names, and what Qwen's chat format ends with under its own name.
Json::Array stop_tokens(const GgufFields& fields) {
  Json::Array ids;
  const auto add = [&](int64_t id) {
    if (std::find(ids.begin(), ids.end(), Json(id)) == ids.end()) ids.emplace_back(id);
  };
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"})
    if (const auto id = fields.maybe_integer(key, kMaxInteger)) add(*id);
  if (fields.has("tokenizer.ggml.tokens")) {
    const auto tokens = fields.texts("tokenizer.ggml.tokens");
    for (const std::string_view name : {"<|im_end|>", "<|endoftext|>"})
      if (const auto found = std::find(tokens.begin(), tokens.end(), name); found != tokens.end())
        add(found - tokens.begin());
  }
  return ids;
}

}  // namespace

std::string gguf_config_json(const std::vector<Gguf>& files) { return ConfigWriter(files).config().dump(4); }

std::string gguf_generation_config_json(const std::vector<Gguf>& files) {
  const GgufFields fields(files.front().header(), files.front().path().string());
  Json json = Json::Object();
  if (Json::Array ids = stop_tokens(fields); !ids.empty()) json["eos_token_id"] = std::move(ids);
  struct Key {
    const char *gguf, *name;
  };
  for (const Key& key : {Key{"temp", "temperature"}, Key{"top_p", "top_p"}, Key{"min_p", "min_p"},
                         Key{"penalty_repeat", "repetition_penalty"}})
    if (const auto value = fields.maybe_number(fmt::format("general.sampling.{}", key.gguf))) json[key.name] = *value;
  if (const auto top_k = fields.maybe_integer("general.sampling.top_k", kMaxInteger)) json["top_k"] = *top_k;
  return json.dump(4);
}

}  // namespace inkstone
