// MappedFile: a whole file, read-only, as memory; a path "embedded:/.." names one inside the binary (base/embedded.h).
// Nothing is read until it is touched; pages are shared between processes. A file that another process truncates while
// mapped raises SIGBUS, as everywhere.
//
// prefetch(), drop() and expect_rows() tell the system how a part of bytes() will be used. They change what is in
// memory and when, never what is read; a system may ignore them, and files inside the binary do.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

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

  // Starts reading `part` and does not wait for it.
  void prefetch(std::span<const std::byte> part) const;
  // Gives back the memory of the pages that lie wholly in `part`, unless another process uses them.
  void drop(std::span<const std::byte> part) const;
  // Single rows of `part` will be read here and there: nothing beside them is worth reading.
  void expect_rows(std::span<const std::byte> part) const;

 private:
  // The offsets of the pages that `part` touches, or of those that lie wholly in it.
  std::pair<size_t, size_t> pages(std::span<const std::byte> part, bool outwards) const;

  std::filesystem::path path_;
  int fd_ = -1;  // none: inside the program
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t read_ahead_ = 1;  // bytes that one request to read ahead may ask for
};

// The whole file as a string, for small files. Throws as MappedFile, and Error(bad_file) beyond `limit` bytes.
std::string read_file(const std::filesystem::path& path, size_t limit);

}  // namespace inkstone
