// The JSON files of a model folder: config.json, generation_config.json, the shard index, adapter_config.json.
// Whatever the bytes, they parse or throw Error; a config that parses writes one that reads back the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "format/adapter.h"
#include "format/generation_config.h"
#include "format/model_config.h"
#include "format/shapes.h"
#include "format/shards.h"

namespace {

template <class F>
void must_not_break(F&& parse) {
  try {
    parse();
  } catch (const inkstone::Error& error) {
    if (error.code() == inkstone::Errc::internal) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace inkstone;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  must_not_break([&] {
    const ModelConfig config = parse_model_config(text, "fuzz");
    const std::string written = model_config_json(config, DType::bf16);
    if (model_config_json(parse_model_config(written, "written"), DType::bf16) != written) std::abort();
    if (parameter_count(config) < 1) std::abort();
    for (int i = 0; i < config.num_hidden_layers; ++i) config.is_moe_layer(i);
  });
  must_not_break([&] { parse_generation_config(text, "fuzz"); });
  must_not_break([&] { parse_adapter_config(text, "fuzz"); });
  must_not_break([&] {
    for (const auto& [name, file] : parse_shard_index(text, "fuzz"))
      if (file.find('/') != std::string::npos || file == "..") std::abort();
  });
  return 0;
}
