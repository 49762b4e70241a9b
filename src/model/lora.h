// Adapters on a model: LoRA and DoRA as mlx_lm writes them, applied unfused.
#pragma once

#include <filesystem>

#include "model/model.h"

namespace inkstone {

// Attaches the adapter of `folder` to the model's linears. Throws Error(bad_file) where a module or a shape does not
// fit the model, Error(unsupported) for a fully fine-tuned folder.
void attach_adapter(Model& model, const std::filesystem::path& folder);

}  // namespace inkstone
