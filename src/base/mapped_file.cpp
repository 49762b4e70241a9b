#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "base/embedded.h"
#include "base/error.h"

namespace inkstone {
namespace {

// What one request to read ahead may ask for: Linux cuts a longer one, in silence, to the window of the disk, and some
// disks read small pieces slowly.
size_t read_ahead_bytes(dev_t device) {
  std::ifstream window(fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", major(device), minor(device)));
  size_t kilobytes = 0;
  return window >> kilobytes ? std::clamp<size_t>(kilobytes, 128, 2048) << 10 : 128 << 10;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  if (is_embedded(path)) {
    const EmbeddedFile* file = find_embedded_file(path);
    if (file == nullptr) fail(Errc::not_found, "{}: no such file in this program", path.string());
    data_ = file->bytes.data();
    size_ = file->bytes.size();
    return;
  }
  // Not blocking: a named pipe in a model's folder would wait for its other end for ever.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) fail(errno == ENOENT ? Errc::not_found : Errc::io, "{}: {}", path.string(), std::strerror(errno));
  struct stat status {};
  if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd_);
    fail(Errc::io, "{}: not a regular file", path.string());
  }
  size_ = static_cast<size_t>(status.st_size);
  read_ahead_ = read_ahead_bytes(status.st_dev);
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd_, 0);
  if (address == MAP_FAILED) {
    const int error = errno;
    ::close(fd_);
    fail(Errc::io, "{}: cannot map {} bytes: {}", path.string(), size_, std::strerror(error));
  }
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (fd_ < 0) return;  // moved from, or inside the program
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  ::close(fd_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      read_ahead_(other.read_ahead_) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(fd_, other.fd_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(read_ahead_, other.read_ahead_);
  return *this;
}

void MappedFile::prefetch(std::span<const std::byte> part) const {
  const auto [begin, end] = pages(part, true);
  for (size_t at = begin; at < end; at += read_ahead_)
    ::madvise(const_cast<std::byte*>(data_) + at, std::min(read_ahead_, end - at), MADV_WILLNEED);
}

// Two steps: out of this process, then out of the page cache, which keeps what anybody has mapped.
void MappedFile::drop(std::span<const std::byte> part) const {
  const auto [begin, end] = pages(part, false);
  if (begin >= end) return;
  ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
  ::posix_fadvise(fd_, static_cast<off_t>(begin), static_cast<off_t>(end - begin), POSIX_FADV_DONTNEED);
}

void MappedFile::expect_rows(std::span<const std::byte> part) const {
  const auto [begin, end] = pages(part, true);
  if (begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_RANDOM);
}

std::pair<size_t, size_t> MappedFile::pages(std::span<const std::byte> part, bool outwards) const {
  if (fd_ < 0 || part.empty()) return {0, 0};
  CHECK(part.data() >= data_ && part.data() + part.size() <= data_ + size_);
  static const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t begin = static_cast<size_t>(part.data() - data_), end = begin + part.size();
  return outwards ? std::pair{begin / page * page, end}
                  : std::pair{(begin + page - 1) / page * page, end / page * page};
}

std::string read_file(const std::filesystem::path& path, size_t limit) {
  const MappedFile file(path);
  if (file.bytes().size() > limit)
    fail(Errc::bad_file, "{}: {} bytes, expected at most {}", path.string(), file.bytes().size(), limit);
  return std::string(file.text());
}

}  // namespace inkstone
