#include "format/quantization_config.h"

#include <string>

#include "base/error.h"
#include "format/json_fields.h"
#include "format/quantization.h"

namespace inkstone {
namespace {

QuantMode parse_mode(const JsonFields& fields) {
  if (!fields.has("mode")) return QuantMode::affine;
  const std::string& name = fields.text("mode");
  if (const auto mode = quant_mode_of(name)) return *mode;
  fail(Errc::unsupported, "{}: mode: found \"{}\", expected affine, mxfp4, mxfp8 or nvfp4", fields.where(), name);
}

void check(const Quantization& quantization, const JsonFields& fields) {
  const std::string problem = quantization_problem(quantization);
  if (!problem.empty()) fail(Errc::bad_file, "{}: {}", fields.where(), problem);
}

Quantization parse_override(const Json& value, const std::string& where) {
  const JsonFields fields(value, where);
  for (const auto& [key, item] : value.as_object())
    if (key != "group_size" && key != "bits" && key != "mode")
      fail(Errc::unsupported, "{}: {}: unknown, expected group_size, bits and mode", where, key);
  Quantization quantization = default_quantization(parse_mode(fields));
  quantization.bits = fields.maybe_integer("bits", 1, 32).value_or(quantization.bits);
  quantization.group_size = fields.maybe_integer("group_size", 1, 65536).value_or(quantization.group_size);
  check(quantization, fields);
  return quantization;
}

}  // namespace

void parse_quantization(const Json& config_json, std::string_view origin, ModelConfig& config) {
  const JsonFields root(config_json, std::string(origin));
  const char* key = root.has("quantization") ? "quantization" : "quantization_config";
  const Json* object = root.find(key);
  if (object == nullptr) return;
  const JsonFields fields(*object, fmt::format("{}: {}", origin, key));
  if (fields.has("quant_method"))
    fail(Errc::unsupported, "{}: quant_method: found {}, expected MLX's group_size and bits", fields.where(),
         describe(fields.require("quant_method")));
  Quantization common;
  common.mode = parse_mode(fields);
  common.group_size = fields.integer("group_size", 1, 65536);
  common.bits = fields.integer("bits", 1, 32);
  check(common, fields);
  config.quantization = common;
  for (const auto& [module, value] : object->as_object()) {
    // Objects and false are overrides; true repeats the default; other members say nothing about a module.
    if (value.is_object())
      config.quantization_overrides.emplace(module, parse_override(value, fields.where() + ": " + module));
    else if (value.is_bool() && !value.as_bool())
      config.quantization_overrides.emplace(module, Quantization{});
  }
}

}  // namespace inkstone
