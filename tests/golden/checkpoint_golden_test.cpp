// Every checkpoint folder of the fixtures: its config is read, and everything that a Qwen3 takes is there and nothing
// else; or it is refused as unsupported for its model_type.
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "format/checkpoint.h"
#include "format/model_config.h"
#include "tests/golden/fixture_folder.h"

namespace inkstone {
namespace {

void take_layer(Checkpoint& checkpoint, const ModelConfig& c, int i) {
  const std::string layer = "model.layers." + std::to_string(i);
  const int64_t hidden = c.hidden_size, d = c.head_dim;
  const std::string attention = layer + ".self_attn.";
  checkpoint.take(layer + ".input_layernorm.weight", {hidden});
  checkpoint.take(layer + ".post_attention_layernorm.weight", {hidden});
  checkpoint.take(attention + "q_norm.weight", {d});
  checkpoint.take(attention + "k_norm.weight", {d});
  checkpoint.take_weight(attention + "q_proj", c.num_attention_heads * d, hidden, c);
  checkpoint.take_weight(attention + "k_proj", c.num_key_value_heads * d, hidden, c);
  checkpoint.take_weight(attention + "v_proj", c.num_key_value_heads * d, hidden, c);
  checkpoint.take_weight(attention + "o_proj", hidden, c.num_attention_heads * d, c);
  const std::string mlp = layer + ".mlp";
  if (!c.is_moe_layer(i)) {
    checkpoint.take_weight(mlp + ".gate_proj", c.intermediate_size, hidden, c);
    checkpoint.take_weight(mlp + ".up_proj", c.intermediate_size, hidden, c);
    checkpoint.take_weight(mlp + ".down_proj", hidden, c.intermediate_size, c);
    return;
  }
  checkpoint.take_weight(mlp + ".gate", c.num_experts, hidden, c);
  for (const char* projection : {"gate_proj", "up_proj"}) {
    const WeightView view = checkpoint.take_experts(mlp, projection, c.num_experts, c.moe_intermediate_size, hidden, c);
    EXPECT_EQ(view.expert(c.num_experts - 1).in, hidden);
  }
  checkpoint.take_experts(mlp, "down_proj", c.num_experts, hidden, c.moe_intermediate_size, c);
}

void take_everything(const std::filesystem::path& folder) {
  const ModelConfig config = load_model_config(folder);
  Checkpoint checkpoint(folder);
  EXPECT_GT(checkpoint.bytes(), 0u);
  checkpoint.take_weight("model.embed_tokens", config.vocab_size, config.hidden_size, config);
  EXPECT_THROW(checkpoint.finish(), Error);
  for (int i = 0; i < config.num_hidden_layers; ++i) take_layer(checkpoint, config, i);
  checkpoint.take("model.norm.weight", {config.hidden_size});
  if (config.tie_word_embeddings)
    for (const char* part : {"weight", "scales", "biases"}) checkpoint.ignore(std::string("lm_head.") + part);
  else
    checkpoint.take_weight("lm_head", config.vocab_size, config.hidden_size, config);
  checkpoint.finish();
}

bool is_supported(const std::filesystem::path& folder) {
  const Json config = Json::parse(read_file(folder / "config.json", 1 << 24), "config.json");
  const Json* type = config.find("model_type");
  return type != nullptr && type->is_string() && (type->as_string() == "qwen3" || type->as_string() == "qwen3_moe");
}

TEST(CheckpointGolden, EveryFolderIsTakenWholeOrRefusedByType) {
  int taken = 0, refused = 0;
  for (const auto& folder : checkpoint_folders(fixture_root())) {
    SCOPED_TRACE(folder.string());
    if (is_supported(folder)) {
      EXPECT_NO_THROW(take_everything(folder));
      ++taken;
      continue;
    }
    try {
      load_model_config(folder);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Errc::unsupported) << error.what();
      EXPECT_NE(std::string(error.what()).find("model_type"), std::string::npos) << error.what();
      ++refused;
    }
  }
  if (taken + refused == 0) GTEST_SKIP() << "no checkpoints in " << fixture_root();
  RecordProperty("taken", taken);
  RecordProperty("refused", refused);
}

}  // namespace
}  // namespace inkstone
