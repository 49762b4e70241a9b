// Prompt caches as mlx_lm's save_prompt_cache writes them: the keys and values of a prompt, layer by layer.
// Plain caches and quantised ones (decoded here). A plain value, host memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "format/safetensors.h"

namespace inkstone {

struct PromptCacheLayer {
  int heads = 0;
  int head_dim = 0;
  std::vector<float> keys;    // [K, T, d], after RoPE
  std::vector<float> values;  // [K, T, d]
  // Of a quantised cache, else 0 and empty: [K, T, d / group_size, 2], scale and bias.
  int bits = 0;
  int group_size = 0;
  std::vector<float> key_scales;
  std::vector<float> value_scales;
};

struct PromptCache {
  int64_t tokens = 0;  // T, the same in all layers
  std::vector<PromptCacheLayer> layers;
  std::map<std::string, std::string, std::less<>> metadata;  // what the user stored: "model", "tokenizer_config"
};

// Throws Error(bad_file), or Error(unsupported) for kinds of cache that Qwen3 does not use.
PromptCache read_prompt_cache(const Safetensors& file);
PromptCache load_prompt_cache(const std::filesystem::path& path);

}  // namespace inkstone
