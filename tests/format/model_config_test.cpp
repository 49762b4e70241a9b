#include "format/model_config.h"

#include <gtest/gtest.h>

#include <random>

#include "base/json.h"
#include "format/adapter.h"
#include "format/generation_config.h"
#include "format/shapes.h"
#include "tests/format/temporary_folder.h"

namespace inkstone {
namespace {

std::string sound(const char* shape = "qwen3-4b") { return model_config_json(shape_config(shape), DType::bf16); }

// The sound config with one member set to a JSON text ("" removes it).
std::string with(const std::string& key, const std::string& value, const char* shape = "qwen3-4b") {
  Json json = Json::parse(sound(shape), "t");
  if (value.empty())
    std::erase_if(json.as_object(), [&](const Json::Member& member) { return member.first == key; });
  else
    json[key] = Json::parse(value, "t");
  return json.dump();
}

ModelConfig parse(const std::string& json) { return parse_model_config(json, "config.json"); }

TEST(ModelConfig, ReadsAPublishedShape) {
  const ModelConfig config = parse(sound());
  EXPECT_EQ(config.model_type, "qwen3");
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_EQ(config.hidden_size, 2560);
  EXPECT_EQ(config.rope_theta, 1e6);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_FALSE(config.rope_scaling);
  EXPECT_FALSE(config.quantization);
  EXPECT_EQ(config.eos_token_ids, std::vector<int>{151645});
  EXPECT_EQ(parse(with("head_dim", "")).head_dim, 80);
  EXPECT_EQ(parse(with("max_position_embeddings", "32768.0")).max_position_embeddings, 32768);
  EXPECT_EQ(parse(with("eos_token_id", "[1, 2]")).eos_token_ids, (std::vector<int>{1, 2}));
  EXPECT_TRUE(parse(with("eos_token_id", "null")).eos_token_ids.empty());
}

TEST(ModelConfig, KnowsWhichLayersHaveExperts) {
  Json json = Json::parse(sound("qwen3-30b-a3b"), "t");
  json["decoder_sparse_step"] = 2;
  json["mlp_only_layers"] = Json::Array{Json(3)};
  const ModelConfig config = parse(json.dump());
  EXPECT_FALSE(config.is_moe_layer(0));
  EXPECT_TRUE(config.is_moe_layer(1));
  EXPECT_FALSE(config.is_moe_layer(3));
  EXPECT_TRUE(config.is_moe_layer(5));
  EXPECT_FALSE(parse(sound()).is_moe_layer(1));
}

struct Wrong {
  const char* key;
  const char* value;  // "" removes
  Errc code;
  const char* shape = "qwen3-4b";
};

TEST(ModelConfig, RefusesWhatIsWrong) {
  const Wrong cases[] = {
      {"model_type", "", Errc::bad_file},
      {"model_type", "7", Errc::bad_file},
      {"model_type", "\"llama\"", Errc::unsupported},
      {"vocab_size", "0", Errc::bad_file},
      {"vocab_size", "\"512\"", Errc::bad_file},
      {"vocab_size", "16777217", Errc::bad_file},
      {"hidden_size", "true", Errc::bad_file},
      {"hidden_size", "2560.0", Errc::bad_file},
      {"hidden_size", "1000000", Errc::bad_file},
      {"intermediate_size", "-1", Errc::bad_file},
      {"num_hidden_layers", "1099511627776", Errc::bad_file},
      {"num_hidden_layers", "1e40", Errc::bad_file},
      {"num_hidden_layers", "null", Errc::bad_file},
      {"num_attention_heads", "12", Errc::bad_file},
      {"num_key_value_heads", "5", Errc::bad_file},
      {"num_key_value_heads", "0", Errc::bad_file},
      {"head_dim", "127", Errc::bad_file},
      {"head_dim", "1024", Errc::bad_file},
      {"rms_norm_eps", "0", Errc::bad_file},
      {"rms_norm_eps", "\"1e-6\"", Errc::bad_file},
      {"rope_theta", "", Errc::bad_file},
      {"rope_theta", "-1", Errc::bad_file},
      {"max_position_embeddings", "0", Errc::bad_file},
      {"max_position_embeddings", "4096.5", Errc::bad_file},
      {"tie_word_embeddings", "1", Errc::bad_file},
      {"eos_token_id", "-1", Errc::bad_file},
      {"eos_token_id", "[1, \"2\"]", Errc::bad_file},
      {"hidden_act", "\"gelu\"", Errc::unsupported},
      {"attention_bias", "true", Errc::unsupported},
      {"use_sliding_window", "true", Errc::unsupported},
      {"partial_rotary_factor", "0.25", Errc::unsupported},
      {"num_experts_per_tok", "129", Errc::bad_file, "qwen3-30b-a3b"},
      {"num_experts", "0", Errc::bad_file, "qwen3-30b-a3b"},
      {"moe_intermediate_size", "", Errc::bad_file, "qwen3-30b-a3b"},
      {"decoder_sparse_step", "0", Errc::bad_file, "qwen3-30b-a3b"},
      {"mlp_only_layers", "[48]", Errc::bad_file, "qwen3-30b-a3b"},
      {"mlp_only_layers", "0", Errc::bad_file, "qwen3-30b-a3b"},
      {"rope_scaling", "[]", Errc::bad_file},
      {"rope_scaling", R"({"type": "linear", "factor": 2})", Errc::unsupported},
      {"rope_scaling", R"({"type": "yarn"})", Errc::bad_file},
      {"rope_scaling", R"({"type": "yarn", "factor": 4})", Errc::bad_file},
      {"rope_scaling", R"({"type": "yarn", "factor": 0.5, "original_max_position_embeddings": 32768})", Errc::bad_file},
      {"rope_parameters", R"({"rope_theta": 5, "rope_type": "default"})", Errc::bad_file},
      {"quantization", "4", Errc::bad_file},
      {"quantization", "{}", Errc::bad_file},
      {"quantization", R"({"group_size": 64})", Errc::bad_file},
      {"quantization", R"({"group_size": 64, "bits": 7})", Errc::bad_file},
      {"quantization", R"({"group_size": 48, "bits": 4})", Errc::bad_file},
      {"quantization", R"({"group_size": 64, "bits": 4, "mode": "nf4"})", Errc::unsupported},
      {"quantization", R"({"group_size": 64, "bits": 4, "mode": "mxfp4"})", Errc::bad_file},
      {"quantization", R"({"group_size": 64, "bits": 4, "lm_head": {"bits": 1}})", Errc::bad_file},
      {"quantization", R"({"group_size": 64, "bits": 4, "lm_head": {"zero_point": 1}})", Errc::unsupported},
      {"quantization_config", R"({"quant_method": "awq", "bits": 4, "group_size": 128})", Errc::unsupported},
      {"quantization_config", R"({"quant_method": "fp8"})", Errc::unsupported},
  };
  for (const Wrong& wrong : cases) {
    const auto [code, message] = error_of([&] { parse(with(wrong.key, wrong.value, wrong.shape)); });
    EXPECT_EQ(static_cast<int>(code), static_cast<int>(wrong.code))
        << wrong.key << " " << wrong.value << ": " << message;
    if (std::string_view(wrong.key) != "num_key_value_heads") {
      EXPECT_NE(message.find(std::string_view(wrong.key).substr(0, 4)), std::string::npos) << message;
    }
    EXPECT_EQ(message.rfind("config.json: ", 0), 0u) << message;
  }
  EXPECT_EQ(error_of([] { parse("[1]"); }).first, Errc::bad_file);
}

TEST(ModelConfig, ReadsYarnUnderEveryName) {
  const char* yarn =
      R"({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768.0, "beta_fast": 16})";
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const ModelConfig config = parse(with(key, yarn));
    ASSERT_TRUE(config.rope_scaling) << key;
    EXPECT_EQ(config.rope_scaling->factor, 4);
    EXPECT_EQ(config.rope_scaling->original_max_position_embeddings, 32768);
    EXPECT_EQ(config.rope_scaling->beta_fast, 16);
    EXPECT_FALSE(config.rope_scaling->attention_factor);
  }
  Json json = Json::parse(with("rope_theta", ""), "t");
  json["rope_parameters"] = Json::parse(R"({"rope_theta": 5000000, "rope_type": "default"})", "t");
  EXPECT_EQ(parse(json.dump()).rope_theta, 5e6);
  EXPECT_FALSE(parse(json.dump()).rope_scaling);
  EXPECT_FALSE(parse(with("rope_scaling", R"({"type": "default"})")).rope_scaling);
}

TEST(ModelConfig, ReadsQuantizationAndItsOverrides) {
  const ModelConfig config = parse(with("quantization", R"({"group_size": 32, "bits": 4, "mode": "mxfp4",
      "a": {"group_size": 64, "bits": 8}, "b": false, "c": true, "d": {"mode": "nvfp4"}, "note": "x"})"));
  EXPECT_EQ(config.quantization_of("model.x"), (Quantization{QuantMode::mxfp4, 4, 32}));
  EXPECT_EQ(config.quantization_of("a"), (Quantization{QuantMode::affine, 8, 64}));
  EXPECT_EQ(config.quantization_of("b"), Quantization{});
  EXPECT_EQ(config.quantization_of("c"), (Quantization{QuantMode::mxfp4, 4, 32}));
  EXPECT_EQ(config.quantization_of("d"), (Quantization{QuantMode::nvfp4, 4, 16}));
  EXPECT_EQ(parse(with("quantization_config", R"({"group_size": 64, "bits": 6})")).quantization_of("x"),
            (Quantization{QuantMode::affine, 6, 64}));
  EXPECT_EQ(parse(sound()).quantization_of("x"), Quantization{});
}

TEST(ModelConfig, DamagedTextIsReadOrRefused) {
  const std::string text = sound("qwen3-30b-a3b");
  for (size_t length = 0; length < text.size(); ++length)
    EXPECT_EQ(error_of([&] { parse(text.substr(0, length)); }).first, Errc::bad_file) << length;
  std::mt19937 random(2);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = text;
    for (int flip = 0; flip <= round % 4; ++flip)
      damaged[random() % text.size()] ^= static_cast<char>(1 << random() % 8);
    const auto [code, message] = error_of([&] { parse(damaged); });
    if (message == "no error") continue;
    EXPECT_TRUE(is_refusal(code)) << message;
    ++refused;
  }
  EXPECT_GT(refused, 1000);
}

TEST(GenerationConfig, ReadsWhatIsThere) {
  const GenerationConfig config = parse_generation_config(
      R"({"eos_token_id": [151645, 151643], "do_sample": true, "temperature": 0.6, "top_p": 1, "top_k": 20,
          "transformers_version": "4.51.0"})",
      "t");
  EXPECT_EQ(config.eos_token_ids, (std::vector<int>{151645, 151643}));
  EXPECT_EQ(config.temperature, 0.6);
  EXPECT_EQ(config.top_p, 1.0);
  EXPECT_EQ(config.top_k, 20);
  EXPECT_FALSE(config.min_p);
  for (const char* wrong : {R"({"top_p": 1.5})", R"({"temperature": "hot"})", R"({"temperature": -1})",
                            R"({"top_k": 2.5})", R"({"eos_token_id": "x"})", R"({"do_sample": 1})", "[]", "{"})
    EXPECT_EQ(error_of([&] { parse_generation_config(wrong, "t"); }).first, Errc::bad_file) << wrong;
  const TemporaryFolder folder;
  EXPECT_TRUE(load_generation_config(folder.path()).eos_token_ids.empty());
}

TEST(AdapterConfig, ReadsWhatMlxLmWrites) {
  const AdapterConfig config = parse_adapter_config(
      R"({"fine_tune_type": "dora", "num_layers": 16, "model": "m",
          "lora_parameters": {"rank": 8, "dropout": 0.0, "scale": 20, "keys": ["self_attn.q_proj"]}})",
      "t");
  EXPECT_EQ(config.fine_tune_type, FineTuneType::dora);
  EXPECT_EQ(config.rank, 8);
  EXPECT_EQ(config.scale, 20.0f);
  EXPECT_EQ(config.keys, std::vector<std::string>{"self_attn.q_proj"});
  for (const char* wrong :
       {"{}", R"({"lora_parameters": {"rank": 0, "scale": 1}})", R"({"lora_parameters": {"rank": 8}})",
        R"({"lora_parameters": {"rank": 8, "scale": 1, "keys": "all"}})", R"({"num_layers": "all"})"})
    EXPECT_EQ(error_of([&] { parse_adapter_config(wrong, "t"); }).first, Errc::bad_file) << wrong;
  EXPECT_EQ(error_of([] { parse_adapter_config(R"({"fine_tune_type": "ia3"})", "t"); }).first, Errc::unsupported);
}

}  // namespace
}  // namespace inkstone
