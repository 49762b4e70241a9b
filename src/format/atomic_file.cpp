#include "format/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "base/error.h"

namespace inkstone {
namespace {

[[noreturn]] void fail_io(const std::filesystem::path& path, const char* what, int error) {
  if (error == ENOSPC || error == EDQUOT)
    fail(Errc::io, "{}: cannot {}: disk full: {}", path.string(), what, std::strerror(error));
  fail(Errc::io, "{}: cannot {}: {}", path.string(), what, std::strerror(error));
}

// Makes the rename itself durable. Some file systems refuse to sync a folder; the data is safe without.
void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

AtomicFile::AtomicFile(const std::filesystem::path& path, uint64_t reserve) : path_(path) {
  std::error_code error;
  const auto space = std::filesystem::space(path.has_parent_path() ? path.parent_path() : ".", error);
  if (!error && space.available < reserve)
    fail(Errc::io, "{}: disk full: {} bytes needed, {} available", path.string(), reserve, space.available);
  static std::atomic<unsigned> counter{0};
  for (int attempt = 0; attempt < 100 && fd_ < 0; ++attempt) {
    temporary_ = fmt::format("{}.{}-{}.part", path.string(), ::getpid(), counter++);
    fd_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0 && errno != EEXIST) break;
  }
  if (fd_ < 0) {
    const int code = errno;
    temporary_.clear();  // not ours to remove
    fail_io(path, "create", code);
  }
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  CHECK(fd_ >= 0);
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), std::min<size_t>(bytes.size(), size_t{1} << 30));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_io(path_, "write", errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
    written_ += static_cast<uint64_t>(count);
  }
}

void AtomicFile::commit(bool flush) {
  CHECK(fd_ >= 0);
  if (flush && ::fsync(fd_) != 0) fail_io(path_, "flush", errno);
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) fail_io(path_, "close", errno);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_io(path_, "rename", errno);
  temporary_.clear();
  if (flush) sync_folder(path_.parent_path());
}

void write_file_atomically(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path, text.size());
  file.write(text);
  file.commit();
}

}  // namespace inkstone
