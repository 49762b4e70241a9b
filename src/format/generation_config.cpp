#include "format/generation_config.h"

#include <cstdint>

#include "base/error.h"
#include "base/json.h"
#include "format/json_fields.h"
#include "format/model_files.h"

namespace inkstone {

GenerationConfig parse_generation_config(std::string_view json, std::string_view origin) {
  const Json root = Json::parse(json, origin);
  const JsonFields fields(root, std::string(origin));
  GenerationConfig config;
  config.eos_token_ids = fields.integers("eos_token_id", 0, INT32_MAX);
  config.do_sample = fields.maybe_boolean("do_sample");
  config.temperature = fields.maybe_number("temperature", 0, 100);
  config.top_p = fields.maybe_number("top_p", 0, 1);
  config.top_k = fields.maybe_integer("top_k", -1, INT32_MAX);  // 0 and -1: off
  config.min_p = fields.maybe_number("min_p", 0, 1);
  config.repetition_penalty = fields.maybe_number("repetition_penalty", 1e-6, 100);
  config.presence_penalty = fields.maybe_number("presence_penalty", -100, 100);
  config.frequency_penalty = fields.maybe_number("frequency_penalty", -100, 100);
  return config;
}

GenerationConfig load_generation_config(const std::filesystem::path& model) {
  const auto text = read_model_file(model, "generation_config.json", 1 << 20);
  return text ? parse_generation_config(*text, model_file_origin(model, "generation_config.json")) : GenerationConfig{};
}

}  // namespace inkstone
