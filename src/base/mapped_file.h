// MappedFile: a whole file, read-only, as memory; a path "embedded:/.." names one inside the binary (base/embedded.h).
// Nothing is read until it is touched; pages are shared between processes. A file that another process truncates while
// mapped raises SIGBUS, as everywhere.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace inkstone {

class MappedFile {
 public:
  // Throws Error(not_found) or Error(io). An empty file maps to an empty span.
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// The whole file as a string, for small files. Throws as MappedFile, and Error(bad_file) beyond `limit` bytes.
std::string read_file(const std::filesystem::path& path, size_t limit);

}  // namespace inkstone
