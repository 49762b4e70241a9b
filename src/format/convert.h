// convert: a model folder in another format, as mlx_lm.convert writes it, bit for bit: Hugging Face's plain folders
// quantised or in another dtype (experts that stand apart are stacked), quantised ones made plain.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "format/conversion.h"

namespace inkstone {

struct ConvertOptions {
  std::filesystem::path model;             // a folder
  std::filesystem::path save;              // a folder that is not there yet, or empty
  std::optional<Quantization> quantize{};  // every matrix whose rows are whole groups; the router with 8 bits
  std::string recipe{};                    // with `quantize`, affine: one of recipe_names(), which chooses the bits
  bool dequantize = false;                 // a plain model; not with `quantize`
  std::optional<DType> dtype{};            // of what is not quantised; none: as torch_dtype says, else as it is
  int threads = 0;                         // 0: all that this process may use
  Conversion::Progress on_progress{};
};

// mlx_lm's mixed quantisations: "mixed_2_6" .. "mixed_4_6".
std::span<const std::string_view> recipe_names();

// "bfloat16", "float16", "float32" as configurations name them.
std::optional<DType> dtype_of(std::string_view name);

// Throws Error(usage) where options and model do not fit, and as Conversion does.
Conversion::Written convert(const ConvertOptions& options);

}  // namespace inkstone
