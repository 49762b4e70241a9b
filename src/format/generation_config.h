// GenerationConfig: generation_config.json of a model folder, what its makers recommend to sample with. All optional.
#pragma once

#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

namespace inkstone {

struct GenerationConfig {
  std::vector<int> eos_token_ids;  // these win over config.json's; empty: not given
  std::optional<bool> do_sample;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<int> top_k;
  std::optional<double> min_p;
  std::optional<double> repetition_penalty;
  std::optional<double> presence_penalty;
  std::optional<double> frequency_penalty;
};

// Throws Error(bad_file) where a member has the wrong type or range. Unknown members are not ours and pass.
GenerationConfig parse_generation_config(std::string_view json, std::string_view origin);
// Of a model folder, or of a GGUF file. Empty where there is none.
GenerationConfig load_generation_config(const std::filesystem::path& model);

}  // namespace inkstone
