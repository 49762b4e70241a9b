// The "quantization" object of config.json, as mlx_lm writes and reads it. Private to the format room.
#pragma once

#include <string_view>

#include "base/json.h"
#include "format/model_config.h"

namespace inkstone {

// Fills config.quantization and config.quantization_overrides from the whole config.json.
// Throws Error(bad_file), or Error(unsupported) for what other tools than MLX quantised.
void parse_quantization(const Json& config_json, std::string_view origin, ModelConfig& config);

}  // namespace inkstone
