// FileLock: flock() on a file, as huggingface_hub's and modelscope's own tools take it. Processes exclude each other; a
// killed one leaves none behind. The empty file stays. One thread.
#pragma once

#include <filesystem>
#include <optional>

namespace inkstone {

class FileLock {
 public:
  // Nothing where another holds it. Makes the file and its folders. Throws Error(io).
  static std::optional<FileLock> try_take(const std::filesystem::path& path);
  ~FileLock();
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&& other) noexcept;

 private:
  explicit FileLock(int fd) : fd_(fd) {}

  int fd_ = -1;
};

}  // namespace inkstone
