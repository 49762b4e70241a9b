// AtomicFile: writes a file that appears under its name whole, or not at all. The bytes go to a temporary name beside
// it; commit() flushes them to disk and renames. One thread. Without commit() nothing is left behind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace inkstone {

class AtomicFile {
 public:
  // Throws Error(io) if the temporary cannot be made, or has no room for `reserve` bytes.
  explicit AtomicFile(const std::filesystem::path& path, uint64_t reserve = 0);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Appends. Throws Error(io): "disk full" among others.
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  uint64_t written() const { return written_; }
  const std::filesystem::path& path() const { return path_; }
  // Renames; the last call. Without `flush` a loss of power soon after may still take the bytes: only for files that
  // can be made again. Throws Error(io).
  void commit(bool flush = true);

 private:
  std::filesystem::path path_;
  std::string temporary_;
  int fd_ = -1;
  uint64_t written_ = 0;
};

// A whole small file at once.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

}  // namespace inkstone
