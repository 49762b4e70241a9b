// AtomicFolder: a folder that appears under its name whole, or not at all. Its files are written into
// NAME.inkstone-part beside it; commit() renames that. Without commit() nothing is left behind, but by a process that
// is killed: the next one that writes the same folder clears away what that left. A lock on the part tells the dead
// from the living, so two processes never write one. One thread.
#pragma once

#include <filesystem>

namespace inkstone {

// Throws Error(usage) where `path` is a file, or a folder that holds something.
void expect_new_or_empty(const std::filesystem::path& path);

class AtomicFolder {
 public:
  // `path` must be new or an empty folder. Throws Error(usage) where it is not, or another process is writing it;
  // Error(io) where the part cannot be made.
  explicit AtomicFolder(const std::filesystem::path& path);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  // The folder to write into until commit().
  const std::filesystem::path& part() const { return part_; }
  // Whether a killed process had left a part, which is cleared now.
  bool cleared() const { return cleared_; }
  void commit();

 private:
  bool lock_part();
  void clear_part() const;

  std::filesystem::path path_, part_;
  int fd_ = -1;  // of the part, locked
  bool cleared_ = false;
};

}  // namespace inkstone
