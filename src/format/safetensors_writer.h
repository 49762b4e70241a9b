// SafetensorsWriter: writes one safetensors file as a stream. The header is known first (names, dtypes, shapes); then
// the bytes of the tensors follow in that order, in pieces of any size, so memory stays bounded. The file appears
// whole at finish() or not at all. One thread. Format: docs/formats.md.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/atomic_file.h"
#include "tensor/tensor.h"

namespace inkstone {

struct TensorSpec {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;

  uint64_t bytes() const { return static_cast<uint64_t>(shape.elements()) * static_cast<uint64_t>(dtype_size(dtype)); }
};

using SafetensorsMetadata = std::map<std::string, std::string, std::less<>>;

class SafetensorsWriter {
 public:
  // Writes the header. Throws Error(io). Names must differ (CHECKed).
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                    const SafetensorsMetadata& metadata = {{"format", "mlx"}});

  // The next bytes of the data, tensor after tensor in the order given.
  void write(std::span<const std::byte> bytes);
  // CHECKs that all bytes came and gives the file its name; `flush` as in AtomicFile::commit.
  void finish(bool flush = true);

  // The tensor that the next byte belongs to; nullptr when all are written.
  const TensorSpec* next() const { return index_ < tensors_.size() ? &tensors_[index_] : nullptr; }
  uint64_t bytes() const { return header_bytes_ + data_bytes_; }  // of the whole file
  uint64_t left() const { return bytes() - file_.written(); }     // to write

 private:
  void skip_complete();

  std::vector<TensorSpec> tensors_;
  uint64_t header_bytes_ = 0;
  uint64_t data_bytes_ = 0;
  size_t index_ = 0;     // of next()
  uint64_t offset_ = 0;  // bytes of it that are written
  std::string header_;   // length and JSON
  AtomicFile file_;
};

// Tensors that are in memory, all at once.
void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, ConstTensor, std::less<>>& tensors,
                       const SafetensorsMetadata& metadata = {{"format", "mlx"}});

}  // namespace inkstone
