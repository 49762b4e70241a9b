#include "format/model_files.h"

#include "base/embedded.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "format/gguf_config.h"

namespace inkstone {

std::optional<std::string> read_model_file(const std::filesystem::path& model, std::string_view name, size_t limit) {
  if (!is_gguf(model)) {
    if (!file_exists(model)) fail(Errc::not_found, "{}: no such folder", model.string());
    const std::filesystem::path path = model / name;
    return file_exists(path) ? std::optional(read_file(path, limit)) : std::nullopt;
  }
  if (name == "config.json") return gguf_config_json(open_gguf(model));
  if (name == "generation_config.json") return gguf_generation_config_json(open_gguf(model));
  if (name == "tokenizer.json") return gguf_tokenizer_json(open_gguf(model));
  if (name == "tokenizer_config.json") return gguf_tokenizer_config_json(open_gguf(model));
  return std::nullopt;
}

std::string model_file_origin(const std::filesystem::path& model, std::string_view name) {
  return is_gguf(model) ? fmt::format("{}: {}", model.string(), name) : (model / name).string();
}

}  // namespace inkstone
