// Adapters and prompt caches that mlx_lm wrote: each opens, and its parts fit the base model that they name.
#include <gtest/gtest.h>

#include <cmath>

#include "base/json.h"
#include "base/mapped_file.h"
#include "format/adapter.h"
#include "format/model_config.h"
#include "format/prompt_cache.h"
#include "tests/golden/fixture_folder.h"

namespace inkstone {
namespace {

TEST(AdapterGolden, EveryFolderOpens) {
  int opened = 0;
  for (const char* kind : {"lora", "train"})
    for (const auto& folder : entries(fixture_root() / kind)) {
      if (!std::filesystem::exists(folder / "adapters" / "adapter_config.json")) continue;
      SCOPED_TRACE(folder.string());
      const Adapter adapter(folder / "adapters");
      ++opened;
      if (adapter.config().fine_tune_type == FineTuneType::full) {
        EXPECT_FALSE(adapter.parameters().empty());
        continue;
      }
      EXPECT_FALSE(adapter.modules().empty());
      for (const auto& [name, module] : adapter.modules()) {
        EXPECT_TRUE(name.starts_with("model.layers.")) << name;
        EXPECT_EQ(module.rank(), adapter.config().rank) << name;
        EXPECT_EQ(module.is_experts(), name.find("switch_mlp") != std::string::npos) << name;
        EXPECT_EQ(!module.m.empty(), adapter.config().fine_tune_type == FineTuneType::dora) << name;
      }
    }
  if (opened == 0) GTEST_SKIP() << "no adapters in " << fixture_root();
}

TEST(PromptCacheGolden, EveryFileDecodes) {
  const auto folder = fixture_root() / "prompt_cache";
  if (!std::filesystem::exists(folder / "golden.json")) GTEST_SKIP() << "no prompt caches in " << fixture_root();
  const Json golden = Json::parse(read_file(folder / "golden.json", 1 << 24), "golden.json");
  const ModelConfig config = load_model_config(fixture_root() / "models" / golden.find("base_model")->as_string());
  ASSERT_FALSE(golden.find("cases")->as_array().empty());
  for (const Json& item : golden.find("cases")->as_array()) {
    const std::string& file = item.find("file")->as_string();
    SCOPED_TRACE(file);
    const PromptCache cache = load_prompt_cache(folder / file);
    EXPECT_EQ(cache.tokens, static_cast<int64_t>(item.find("prompt")->as_array().size()));
    EXPECT_EQ(cache.metadata.at("model"), golden.find("base_model")->as_string());
    ASSERT_EQ(static_cast<int>(cache.layers.size()), config.num_hidden_layers);
    for (const PromptCacheLayer& layer : cache.layers) {
      EXPECT_EQ(layer.heads, config.num_key_value_heads);
      EXPECT_EQ(layer.head_dim, config.head_dim);
      ASSERT_EQ(static_cast<int64_t>(layer.keys.size()), layer.heads * cache.tokens * layer.head_dim);
      ASSERT_EQ(layer.values.size(), layer.keys.size());
      double sum = 0;
      for (const float value : layer.keys) sum += std::abs(value);
      EXPECT_TRUE(std::isfinite(sum));
      EXPECT_GT(sum, 0);
    }
  }
}

}  // namespace
}  // namespace inkstone
