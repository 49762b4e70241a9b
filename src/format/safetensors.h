// A safetensors file over mapped memory. Opening reads the header only. Every length, offset, dtype and shape is
// checked before use; data ranges must lie in the file, fit their shapes and not overlap.
// Format: 8-byte little-endian header length, JSON header, data. Nothing is aligned.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/mapped_file.h"
#include "tensor/tensor.h"

namespace inkstone {

class Safetensors {
 public:
  // Throws Error(bad_file) with file, tensor, found and expected.
  explicit Safetensors(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const std::map<std::string, ConstTensor, std::less<>>& tensors() const { return tensors_; }
  // nullptr if there is none.
  const ConstTensor* find(std::string_view name) const;
  const MappedFile& file() const { return file_; }
  // "__metadata__"; empty if it is absent or null.
  const std::map<std::string, std::string, std::less<>>& metadata() const { return metadata_; }

 private:
  MappedFile file_;
  std::map<std::string, ConstTensor, std::less<>> tensors_;
  std::map<std::string, std::string, std::less<>> metadata_;
};

// The checks alone, on bytes that somebody else holds: for fuzzing and tests.
struct SafetensorsHeader {
  std::map<std::string, ConstTensor, std::less<>> tensors;
  std::map<std::string, std::string, std::less<>> metadata;
};
SafetensorsHeader parse_safetensors(std::span<const std::byte> file, std::string_view origin);

}  // namespace inkstone
