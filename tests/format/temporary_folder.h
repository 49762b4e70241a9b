// A folder that lives as long as a test.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/mapped_file.h"
#include "format/atomic_file.h"

namespace inkstone {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "inkstone-test-XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  void write(std::string_view name, std::string_view text) const { write_file_atomically(path_ / name, text); }
  std::string read(std::string_view name) const { return read_file(path_ / name, size_t{1} << 30); }

 private:
  std::filesystem::path path_;
};

// The code and message of the Error that `call` throws; code internal and "no error" if it throws none.
template <class F>
std::pair<Errc, std::string> error_of(F&& call) {
  try {
    call();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  return {Errc::internal, "no error"};
}

// Whether an error says that the file is at fault, as hostile input must end where it does not open.
inline bool is_refusal(Errc code) {
  return code == Errc::bad_file || code == Errc::unsupported || code == Errc::not_found;
}

}  // namespace inkstone
