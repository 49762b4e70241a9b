// The text files of a model, wherever they come from: of a folder as they lie in it, of a GGUF file as it says the
// same (gguf_config.h). "config.json" of a GGUF is that of the plain model; load_model_config() adds how its weights
// are quantised. Free functions, any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace inkstone {

// A file of the model, or nullopt where it has none of that name. `model`: a folder, one inside the binary, or a GGUF
// file. Throws Error(not_found) where there is no such model, Error(bad_file) beyond `limit` bytes, or what a GGUF
// that says something else throws.
std::optional<std::string> read_model_file(const std::filesystem::path& model, std::string_view name,
                                           size_t limit = size_t{1} << 30);

// What names the file in errors: "folder/config.json", "model.gguf: config.json".
std::string model_file_origin(const std::filesystem::path& model, std::string_view name);

}  // namespace inkstone
