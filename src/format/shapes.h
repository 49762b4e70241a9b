// The published shapes of the Qwen3 family, and two small ones of ours for tests and trials.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "format/model_config.h"

namespace inkstone {

// "qwen3-0.6b" .. "qwen3-32b", "qwen3-30b-a3b", "qwen3-235b-a22b", "tiny", "tiny-moe".
std::span<const std::string_view> shape_names();

// The configuration of a shape, unquantised. Throws Error(usage) naming what there is.
ModelConfig shape_config(std::string_view name);

// Weights of a model of this shape, logical ones: what "8B" counts.
int64_t parameter_count(const ModelConfig& config);

// config.json in the field style of the published files. `dtype` becomes torch_dtype.
std::string model_config_json(const ModelConfig& config, DType dtype);

}  // namespace inkstone
