#include "format/atomic_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/error.h"

namespace inkstone {
namespace {

// Without links and a slash at the end, so that it has a name and renaming replaces the folder itself.
std::filesystem::path plain_path(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path plain = std::filesystem::weakly_canonical(std::filesystem::absolute(path), error);
  if (error) plain = std::filesystem::absolute(path).lexically_normal();
  return plain.has_filename() ? plain : plain.parent_path();
}

void sync(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (fd < 0) return;
  ::fsync(fd);  // some file systems refuse it for folders; the files are safe without
  ::close(fd);
}

}  // namespace

void expect_new_or_empty(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return;
  if (!std::filesystem::is_directory(status))
    fail(Errc::usage, "{}: found a file, expected a folder that is new or empty", path.string());
  if (!std::filesystem::is_empty(path, error) || error)
    fail(Errc::usage, "{}: found a folder that is not empty, expected a new or empty one", path.string());
}

AtomicFolder::AtomicFolder(const std::filesystem::path& path) : path_(plain_path(path)), part_(path_) {
  expect_new_or_empty(path_);
  struct stat target {
  }, parent{};
  if (::stat(path_.c_str(), &target) == 0 && ::stat(path_.parent_path().c_str(), &parent) == 0 &&
      target.st_dev != parent.st_dev)  // it cannot be renamed over
    fail(Errc::usage, "{}: found where a file system is mounted, expected a folder in it", path_.string());
  part_ += ".inkstone-part";
  std::error_code error;
  std::filesystem::create_directories(path_.parent_path(), error);
  while (!error && fd_ < 0) {
    if (::mkdir(part_.c_str(), 0777) == 0) {
      if (lock_part()) return;
    } else if (errno != EEXIST) {
      error.assign(errno, std::generic_category());
    } else if (lock_part()) {
      clear_part();
      cleared_ = true;
    }
  }
  if (error) fail(Errc::io, "{}: cannot make the folder: {}", path_.string(), error.message());
}

// False where the part is gone meanwhile, as when its owner renamed it.
bool AtomicFolder::lock_part() {
  const int fd = ::open(part_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0 && errno == ENOENT) return false;
  if (fd < 0) fail(Errc::io, "{}: cannot open: {}", part_.string(), std::strerror(errno));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    ::close(fd);
    fail(Errc::usage, "{}: another process is writing this folder", path_.string());
  }
  struct stat opened {
  }, named{};
  if (::fstat(fd, &opened) != 0 || ::stat(part_.c_str(), &named) != 0 || opened.st_ino != named.st_ino ||
      opened.st_dev != named.st_dev) {
    ::close(fd);
    return false;
  }
  fd_ = fd;
  return true;
}

// We write files and no folders; anything else is not ours to remove.
void AtomicFolder::clear_part() const {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(part_, error)) {
    if (!std::filesystem::is_regular_file(entry.symlink_status(error))) {
      ::close(fd_);
      fail(Errc::usage, "{}: found {}, expected only files of an earlier run that was killed", part_.string(),
           entry.path().filename().string());
    }
    std::filesystem::remove(entry.path(), error);
  }
}

AtomicFolder::~AtomicFolder() {
  std::error_code error;
  if (!part_.empty()) std::filesystem::remove_all(part_, error);
  if (fd_ >= 0) ::close(fd_);
}

void AtomicFolder::commit() {
  sync(part_);
  if (::rename(part_.c_str(), path_.c_str()) != 0) {
    const int code = errno;
    expect_new_or_empty(path_);  // somebody filled it meanwhile
    fail(Errc::io, "{}: cannot rename {}: {}", path_.string(), part_.string(), std::strerror(code));
  }
  part_.clear();
  sync(path_.parent_path());
}

}  // namespace inkstone
