#include "base/embedded.h"

namespace inkstone {
namespace {

constexpr std::string_view kPrefix = "embedded:";
std::span<const EmbeddedFile> registered_files;

}  // namespace

void register_embedded_files(std::span<const EmbeddedFile> files) { registered_files = files; }

const EmbeddedFile* find_embedded_file(const std::filesystem::path& path) {
  for (const EmbeddedFile& file : registered_files)
    if (file.path == path.native()) return &file;
  return nullptr;
}

bool is_embedded(const std::filesystem::path& path) { return path.native().starts_with(kPrefix); }

bool file_exists(const std::filesystem::path& path) {
  if (!is_embedded(path)) {
    std::error_code error;
    return std::filesystem::exists(path, error);
  }
  const std::string folder = path.native() + "/";
  for (const EmbeddedFile& file : registered_files)
    if (file.path == path.native() || file.path.starts_with(folder)) return true;
  return false;
}

}  // namespace inkstone
