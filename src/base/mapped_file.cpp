#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/embedded.h"
#include "base/error.h"

namespace inkstone {

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  if (is_embedded(path)) {
    const EmbeddedFile* file = find_embedded_file(path);
    if (file == nullptr) fail(Errc::not_found, "{}: no such file in this program", path.string());
    data_ = file->bytes.data();
    size_ = file->bytes.size();
    return;
  }
  // Not blocking: a named pipe in a model's folder would wait for its other end for ever.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fail(errno == ENOENT ? Errc::not_found : Errc::io, "{}: {}", path.string(), std::strerror(errno));
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
    ::close(fd);
    fail(Errc::io, "{}: not a regular file", path.string());
  }
  size_ = static_cast<size_t>(status.st_size);
  if (size_ > 0) {
    void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0);
    const int error = errno;
    ::close(fd);
    if (address == MAP_FAILED)
      fail(Errc::io, "{}: cannot map {} bytes: {}", path.string(), size_, std::strerror(error));
    data_ = static_cast<const std::byte*>(address);
  } else {
    ::close(fd);
  }
}

MappedFile::~MappedFile() {
  if (data_ != nullptr && !is_embedded(path_)) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

std::string read_file(const std::filesystem::path& path, size_t limit) {
  const MappedFile file(path);
  if (file.bytes().size() > limit)
    fail(Errc::bad_file, "{}: {} bytes, expected at most {}", path.string(), file.bytes().size(), limit);
  return std::string(file.text());
}

}  // namespace inkstone
