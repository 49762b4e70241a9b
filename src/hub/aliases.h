// Short names of published models: "qwen3:0.6b" is Qwen/Qwen3-0.6B-MLX-4bit. The one table of them is in aliases.cpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/names.h"

namespace inkstone {

struct Alias {
  std::string name;   // "qwen3:0.6b-8bit"
  std::string model;  // "Qwen/Qwen3-0.6B-MLX-8bit"
};

// All, in the order of the table.
const std::vector<Alias>& aliases();

// The model that a user names: an alias (in any case of letters) or ORG/NAME. Nothing where the text is neither.
std::optional<ModelName> find_model_name(std::string_view text);

}  // namespace inkstone
