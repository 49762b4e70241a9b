// Files inside the binary: a folder "embedded:/NAME" opens like any other through MappedFile and file_exists().
// The program registers its table once, before any thread starts; the library has none of its own.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace inkstone {

struct EmbeddedFile {
  std::string_view path;  // "embedded:/nano/config.json"
  std::span<const std::byte> bytes;
};

void register_embedded_files(std::span<const EmbeddedFile> files);

// nullptr if there is none of that path.
const EmbeddedFile* find_embedded_file(const std::filesystem::path& path);

// Whether a path names an embedded file or folder.
bool is_embedded(const std::filesystem::path& path);

// Of a file or folder, on disk or embedded.
bool file_exists(const std::filesystem::path& path);

}  // namespace inkstone
