#include "format/convert.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "format/quantization.h"

namespace inkstone {
namespace {

constexpr std::string_view kRecipes[] = {"mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6"};

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// mlx_lm's rule: more bits for the output matrix, and for what the residual stream depends on most (values and the way
// down) in the first and last eighth of the layers and in every third one between.
int recipe_bits(std::string_view recipe, std::string_view path, int layers) {
  const int low = recipe[6] - '0', high = recipe[8] - '0';
  static constexpr std::string_view kLayers = "model.layers.";
  int layer = 0;
  if (path.starts_with(kLayers))
    for (const char c : path.substr(kLayers.size(), path.find('.', kLayers.size()) - kLayers.size()))
      layer = 10 * layer + (c - '0');
  const int eighth = layers / 8;
  const bool more = layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
  const bool matters = contains(path, "v_proj") || contains(path, "down_proj");
  return contains(path, "lm_head") || (more && matters) ? high : low;
}

Json description_of(const Quantization& quantization, bool with_mode) {
  Json json;
  json["group_size"] = quantization.group_size;
  json["bits"] = quantization.bits;
  if (with_mode) json["mode"] = quant_mode_name(quantization.mode);
  return json;
}

void set_dtype(Conversion& conversion, const ConvertOptions& options) {
  std::optional<DType> dtype = options.dtype;
  const Json* named = conversion.config_json().find("torch_dtype");
  if (!dtype && named != nullptr && named->is_string()) dtype = dtype_of(named->as_string());
  if (!dtype) return;
  for (ConvertedModule& module : conversion.modules()) {
    const QuantMode mode = module.format.quantization.mode;
    if (mode == QuantMode::none || mode == QuantMode::affine) module.format.dtype = *dtype;
  }
}

void set_quantization(Conversion& conversion, const ConvertOptions& options) {
  const Quantization& common = *options.quantize;
  const std::string where = conversion.folder().string();
  if (conversion.config().quantization)
    fail(Errc::usage, "{}: found a model that is quantised, expected a plain one", where);
  Json json = description_of(common, true);
  for (ConvertedModule& module : conversion.modules()) {
    // The reference looks at the common group size alone, whatever this module's is.
    if (module.is_norm() || module.weight.in % common.group_size != 0) continue;
    Quantization chosen = common;
    // A recipe decides for the router, too, as in the reference.
    const bool is_router = options.recipe.empty() && module.path.ends_with("mlp.gate");
    if (is_router) chosen = {.mode = QuantMode::affine, .bits = 8, .group_size = 64};
    if (!options.recipe.empty())
      chosen.bits = recipe_bits(options.recipe, module.path, conversion.config().num_hidden_layers);
    if (module.weight.in % chosen.group_size != 0)
      fail(Errc::usage, "{}: {}: found {} columns, expected a multiple of {}", where, module.path, module.weight.in,
           chosen.group_size);
    module.format.quantization = chosen;
    if (is_router || !options.recipe.empty()) json[module.path] = description_of(chosen, !is_router);
  }
  conversion.config_json()["quantization"] = json;
  conversion.config_json()["quantization_config"] = std::move(json);
}

}  // namespace

std::span<const std::string_view> recipe_names() { return kRecipes; }

std::optional<DType> dtype_of(std::string_view name) {
  if (name == "bfloat16") return DType::bf16;
  if (name == "float16") return DType::f16;
  if (name == "float32") return DType::f32;
  return std::nullopt;
}

Conversion::Written convert(const ConvertOptions& options) {
  CHECK(!(options.quantize && options.dequantize));
  CHECK(options.recipe.empty() || (options.quantize && options.quantize->mode == QuantMode::affine &&
                                   std::ranges::find(kRecipes, options.recipe) != std::end(kRecipes)));
  Conversion conversion(options.model, options.threads, options.on_progress);
  set_dtype(conversion, options);
  if (options.quantize) set_quantization(conversion, options);
  if (options.dequantize) conversion.make_plain();
  return conversion.write(options.save);
}

}  // namespace inkstone
