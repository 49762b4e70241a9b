// The golden checkpoints as GGUF: the plain ones as they are, the others decoded to F32, give the reference's logits
// and greedy tokens; a tokenizer.json as GGUF metadata gives the same ids; and a tiny model in every type of block
// gives what it gives with its weights decoded.
#include "engine/language_model.h"
#include "format/convert.h"
#include "format/generation_config.h"
#include "format/gguf.h"
#include "format/gguf_weights.h"
#include "format/model_files.h"
#include "format/quantization.h"
#include "format/random_checkpoint.h"
#include "tests/format/gguf_writer.h"
#include "tests/format/temporary_folder.h"
#include "tests/golden/golden_data.h"

namespace inkstone {
namespace {

using gguf_files::GgufWriter;

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

// "blk.0.attn_q" for "model.layers.0.self_attn.q_proj": asks the mapping of the reader for its inverse.
std::string gguf_name(const std::string& module, int layers) {
  std::vector<std::string> names = {"token_embd.weight", "output_norm.weight", "output.weight"};
  for (int i = 0; i < layers; ++i)
    for (const char* part :
         {"attn_norm", "attn_q", "attn_k", "attn_v", "attn_q_norm", "attn_k_norm", "attn_output", "ffn_norm",
          "ffn_gate", "ffn_up", "ffn_down", "ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"})
      names.push_back(fmt::format("blk.{}.{}.weight", i, part));
  for (const std::string& name : names)
    if (gguf_module(name) == module) return name;
  ADD_FAILURE() << "no GGUF name for " << module;
  return module;
}

void add_config(GgufWriter& writer, const ModelConfig& config) {
  const std::string arch = config.num_experts > 0 ? "qwen3moe" : "qwen3";
  const auto put = [&](const char* key, int value) { writer.u32(arch + key, static_cast<uint32_t>(value)); };
  writer.text("general.architecture", arch);
  put(".block_count", config.num_hidden_layers);
  put(".context_length", config.max_position_embeddings);
  put(".embedding_length", config.hidden_size);
  put(".feed_forward_length", config.intermediate_size);
  put(".attention.head_count", config.num_attention_heads);
  put(".attention.head_count_kv", config.num_key_value_heads);
  put(".attention.key_length", config.head_dim);
  put(".attention.value_length", config.head_dim);
  writer.f32(arch + ".attention.layer_norm_rms_epsilon", config.rms_norm_eps);
  writer.f32(arch + ".rope.freq_base", static_cast<float>(config.rope_theta));
  if (config.rope_scaling) {
    writer.text(arch + ".rope.scaling.type", "yarn");
    writer.f32(arch + ".rope.scaling.factor", static_cast<float>(config.rope_scaling->factor));
    put(".rope.scaling.original_context_length", config.rope_scaling->original_max_position_embeddings);
  }
  if (config.num_experts == 0) return;
  put(".expert_count", config.num_experts);
  put(".expert_used_count", config.num_experts_per_tok);
  put(".expert_feed_forward_length", config.moe_intermediate_size);
  writer.boolean(arch + ".expert_weights_norm", config.norm_topk_prob);
}

// A matrix, or a stack, decoded.
std::vector<float> decoded(const WeightView& weight) {
  std::vector<float> values;
  const int64_t stacks = std::max<int64_t>(weight.experts, 1);
  values.reserve(static_cast<size_t>(stacks * weight.out * weight.in));
  std::vector<float> row(static_cast<size_t>(weight.in));
  for (int64_t e = 0; e < stacks; ++e) {
    const WeightView& matrix = weight.experts > 0 ? weight.expert(e) : weight;
    for (int64_t r = 0; r < weight.out; ++r) {
      dequantize_row(matrix, r, row);
      values.insert(values.end(), row.begin(), row.end());
    }
  }
  return values;
}

// The checkpoint at `model` as a GGUF of F32, and of BF16 where it has that.
void add_weights(GgufWriter& writer, const std::filesystem::path& model, const ModelConfig& config) {
  Checkpoint checkpoint(model);
  ModelConfig plain = config;
  plain.quantization.reset();
  plain.quantization_overrides.clear();
  for (const TensorSpec& spec : model_tensors(plain, DType::bf16)) {
    const std::string module = spec.name.substr(0, spec.name.rfind('.'));
    const Shape& shape = spec.shape;
    std::vector<int64_t> dims;
    for (int i = 0; i < shape.rank(); ++i) dims.push_back(shape[i]);
    const std::string name = gguf_name(module, config.num_hidden_layers);
    if (shape.rank() == 1) {
      std::vector<float> values(static_cast<size_t>(shape[0]));
      widen(checkpoint.take(spec.name, shape), values);
      writer.tensor(name, 0, dims, bytes_of(values));
      continue;
    }
    WeightView weight;
    if (shape.rank() == 3) {
      const size_t at = module.rfind(".switch_mlp.");
      weight =
          checkpoint.take_experts(module.substr(0, at), module.substr(at + 12), shape[0], shape[1], shape[2], config);
    } else {
      weight = checkpoint.take_weight(module, shape[0], shape[1], config);
    }
    const bool bf16 =
        weight.quantization.mode == QuantMode::none && weight.weight.dtype == DType::bf16 && weight.parts.empty();
    if (bf16)
      writer.tensor(name, 30, dims, {reinterpret_cast<const char*>(weight.weight.data), weight.weight.bytes()});
    else
      writer.tensor(name, 0, dims, bytes_of(decoded(weight)));
  }
}

void check_folder(const std::filesystem::path& folder) {
  const ModelConfig config = load_model_config(folder);
  for (int i = 0; i < config.num_hidden_layers && config.num_experts > 0; ++i)
    if (!config.is_moe_layer(i)) GTEST_SKIP() << "GGUF has no words for layers without experts";
  const TemporaryFolder temporary;
  const auto path = temporary / "model.gguf";
  GgufWriter writer;
  add_config(writer, config);
  add_weights(writer, folder, config);
  writer.write(path.string());

  const Json golden = read_json(folder / "golden.json");
  const Safetensors data(folder / "golden.safetensors");
  GoldenModel opened(path, Precision::f32, "");
  int checked = 0;
  for (const auto& [name, tokens] : golden.find("sequences")->as_object()) {
    const std::vector<float> expected = golden_values(data, "f32.logits." + name);
    if (expected.empty()) continue;
    const std::vector<int32_t> sequence = token_list(tokens);
    Generator generator(*opened.model, static_cast<int>(sequence.size()));
    const std::vector<float> logits = generator.score(sequence);
    ASSERT_LE(expected.size(), logits.size());
    EXPECT_LT(max_difference(std::span(logits).last(expected.size()), expected), kLogitTolerance) << name;
    ++checked;
  }
  EXPECT_GT(checked, 0);
  for (const auto& [name, greedy] : golden.find("greedy")->find("f32")->as_object())
    expect_greedy(*opened.model, token_list(*golden.find("sequences")->find(name)), greedy);
}

// tokenizer.json as a converter to GGUF writes it.
void check_tokenizer(const std::filesystem::path& folder) {
  const Json json = read_json(folder / "tokenizer.json");
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
  const auto put = [&](const std::string& text, int64_t id, int32_t type) {
    if (static_cast<size_t>(id) >= tokens.size())
      tokens.resize(static_cast<size_t>(id) + 1), types.resize(tokens.size(), 5);
    tokens[static_cast<size_t>(id)] = text;
    types[static_cast<size_t>(id)] = type;
  };
  for (const auto& [text, id] : json.find("model")->find("vocab")->as_object()) put(text, id.as_int(), 1);
  for (const Json& token : json.find("added_tokens")->as_array())
    put(token.find("content")->as_string(), token.find("id")->as_int(), token.find("special")->as_bool() ? 3 : 4);
  for (const Json& merge : json.find("model")->find("merges")->as_array())
    merges.push_back(merge.is_string() ? merge.as_string()
                                       : merge.as_array()[0].as_string() + " " + merge.as_array()[1].as_string());
  GgufWriter writer;
  writer.text("tokenizer.ggml.model", "gpt2");
  writer.text("tokenizer.ggml.pre", "qwen2");
  writer.texts("tokenizer.ggml.tokens", tokens);
  writer.integers("tokenizer.ggml.token_type", types);
  writer.texts("tokenizer.ggml.merges", merges);
  const TemporaryFolder temporary;
  const auto path = temporary / "model.gguf";
  writer.write(path.string());
  const Tokenizer expected = Tokenizer::load(folder), found = load_tokenizer(path);
  ASSERT_EQ(found.vocab_size(), expected.vocab_size());
  std::vector<std::string> texts = {"Hello, world! <|im_start|>user\nWas ist 12345 + 67?\n\n<think>",
                                    "  e\xCC\x81\t\xF0\x9F\x98\x80 don't WE'LL",
                                    "\xE4\xBD\xA0\xE5\xA5\xBD<|im_end|></think>\xFF"};
  for (const auto& entry : entries(folder))
    if (std::filesystem::is_regular_file(entry) && std::filesystem::file_size(entry) < (1 << 20))
      texts.push_back(read_file(entry, 1 << 20));
  for (const std::string& text : texts) {
    const std::vector<int32_t> ids = expected.encode(text);
    EXPECT_EQ(found.encode(text), ids);
    EXPECT_EQ(found.encode_plain(text), expected.encode_plain(text));
    for (const bool skip : {false, true}) EXPECT_EQ(found.decode(ids, skip), expected.decode(ids, skip));
  }
}

// Blocks against what they decode to, through the whole model.
void check_type(const std::string& type, bool experts) {
  const TemporaryFolder temporary;
  const auto path = temporary / "blocks.gguf", decoded_path = temporary / "decoded.gguf";
  gguf_files::tiny_gguf({.type = type, .experts = experts, .tied = experts}).write(path.string());
  const ModelConfig config = load_model_config(path);
  GgufWriter writer;
  add_config(writer, config);
  add_weights(writer, path, config);
  writer.write(decoded_path.string());
  std::vector<int32_t> tokens;
  for (int i = 0; i < 40; ++i) tokens.push_back((i * 37 + 11) % 260);
  const auto score = [&](const std::filesystem::path& model, Precision precision, const std::string& isa) {
    GoldenModel opened(model, precision, isa);
    return Generator(*opened.model, 64).score(tokens);
  };
  const std::vector<float> expected = score(decoded_path, Precision::f32, "");
  for (const std::string& isa : isa_names()) {
    SCOPED_TRACE(isa);
    EXPECT_LT(max_difference(score(path, Precision::f32, isa), expected), kLogitTolerance);
    double squares = 0;
    for (const float value : expected) squares += static_cast<double>(value) * value;
    EXPECT_LT(rms_difference(score(path, Precision::fast, isa), expected),
              0.05 * std::sqrt(squares / static_cast<double>(expected.size())));
  }
}

// To a folder and back nothing is lost where there is nothing to round.
void check_conversion(const std::filesystem::path& folder, const ModelConfig& config) {
  const TemporaryFolder temporary;
  const auto path = temporary / "model.gguf";
  GgufWriter writer;
  add_config(writer, config);
  add_weights(writer, folder, config);
  gguf_files::add_tokenizer(writer, config.vocab_size);
  writer.write(path.string());
  convert({.model = path, .save = temporary / "mlx"});
  Checkpoint expected(folder), found(temporary / "mlx");
  ASSERT_EQ(found.tensors().size(), expected.tensors().size());
  for (const auto& [name, tensor] : expected.tensors()) {
    ASSERT_TRUE(found.contains(name)) << name;
    const ConstTensor& other = found.tensors().find(name)->second;
    ASSERT_EQ(other.dtype, tensor.dtype) << name;
    ASSERT_EQ(other.shape, tensor.shape) << name;
    EXPECT_EQ(std::memcmp(other.data, tensor.data, tensor.bytes()), 0) << name;
  }
  EXPECT_EQ(load_tokenizer(temporary / "mlx").encode("hello world"), load_tokenizer(path).encode("hello world"));
}

// A quantised file converted to float32 computes what it computed.
void check_quantized_conversion(const std::string& type) {
  const TemporaryFolder temporary;
  const auto path = temporary / "model.gguf";
  gguf_files::tiny_gguf({.type = type, .experts = true}).write(path.string());
  convert({.model = path, .save = temporary / "mlx", .dtype = DType::f32});
  const std::vector<int32_t> tokens = {1, 70, 3, 255};
  GoldenModel gguf(path, Precision::f32, ""), mlx(temporary / "mlx", Precision::f32, "");
  const std::vector<float> expected = Generator(*gguf.model, 8).score(tokens);
  EXPECT_LT(max_difference(Generator(*mlx.model, 8).score(tokens), expected), kLogitTolerance);
  EXPECT_TRUE(LanguageModel(temporary / "mlx", {}).has_chat_template());
}

const bool registered = [] {
  for (const auto& folder : entries(fixture_root() / "models")) {
    if (!std::filesystem::exists(folder / "config.json")) continue;
    const ModelConfig config = load_model_config(folder);
    if (!config.quantization && config.num_experts == 0)
      register_golden("GgufConversion", folder.filename().string(), [=] { check_conversion(folder, config); });
  }
  for (const char* type : {"Q4_K", "Q6_K", "Q8_0"})
    register_golden("GgufConversion", type, [=] { check_quantized_conversion(type); });
  for (const auto& folder : entries(fixture_root() / "models"))
    if (std::filesystem::exists(folder / "golden.json"))
      register_golden("GgufModel", folder.filename().string(), [=] { check_folder(folder); });
  skip_if_none("GgufModel", "models");
  for (const auto& folder : entries(fixture_root() / "tokenizer"))
    if (std::filesystem::exists(folder / "tokenizer.json"))
      register_golden("GgufTokenizer", folder.filename().string(), [=] { check_tokenizer(folder); });
  register_golden("GgufTokenizer", "nano",
                  [] { check_tokenizer(std::filesystem::path(INKSTONE_SOURCE_DIR) / "models/nano"); });
  for (const gguf_files::GgufType& type : gguf_files::gguf_types())
    for (const bool experts : {false, true})
      register_golden("GgufBlocks", std::string(type.name) + (experts ? "_experts" : "_dense"),
                      [=, name = std::string(type.name)] { check_type(name, experts); });
  return true;
}();

}  // namespace
}  // namespace inkstone
