#include "format/generation_config.h"

#include <cstdint>

#include "base/embedded.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "format/json_fields.h"

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

GenerationConfig load_generation_config(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "generation_config.json";
  if (!file_exists(path)) return {};
  return parse_generation_config(read_file(path, 1 << 20), path.string());
}

}  // namespace inkstone
