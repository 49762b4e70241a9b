// mlx_lm's configuration files (YAML). Whatever the bytes, they parse or throw Error; a configuration that parses
// writes options that read back the same (JSON is YAML).
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "train/train_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace inkstone;
  Json options;
  try {
    options = train_config_json(parse_train_config({reinterpret_cast<const char*>(data), size}, "fuzz"));
  } catch (const Error& error) {
    if (error.code() == Errc::internal) std::abort();
    return 0;
  }
  if (train_config_json(parse_train_config(options.dump(2), "written")) != options) std::abort();
  return 0;
}
