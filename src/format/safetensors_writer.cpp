#include "format/safetensors_writer.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace inkstone {
namespace {

Json header_entry(const TensorSpec& tensor, uint64_t begin) {
  Json::Array shape;
  for (int i = 0; i < tensor.shape.rank(); ++i) shape.emplace_back(tensor.shape[i]);
  Json::Array offsets;
  offsets.emplace_back(static_cast<int64_t>(begin));
  offsets.emplace_back(static_cast<int64_t>(begin + tensor.bytes()));
  Json entry;
  entry["dtype"] = dtype_name(tensor.dtype);
  entry["shape"] = std::move(shape);
  entry["data_offsets"] = std::move(offsets);
  return entry;
}

// Length and JSON, padded with spaces so that the data begins at a multiple of 8: readers that map it like that.
std::string header_of(const std::vector<TensorSpec>& tensors, const SafetensorsMetadata& metadata) {
  Json::Object root;
  if (!metadata.empty()) {
    Json::Object object;
    for (const auto& [key, value] : metadata) object.emplace_back(key, Json(value));
    root.emplace_back("__metadata__", std::move(object));
  }
  std::set<std::string_view> names;
  uint64_t at = 0;
  for (const TensorSpec& tensor : tensors) {
    CHECK(tensor.name != "__metadata__" && names.insert(tensor.name).second);
    root.emplace_back(tensor.name, header_entry(tensor, at));
    at += tensor.bytes();
  }
  std::string json = Json(std::move(root)).dump();
  json.append((8 - json.size() % 8) % 8, ' ');
  std::string text;
  for (int i = 0; i < 8; ++i) text += static_cast<char>(json.size() >> (8 * i) & 0xff);
  return text + json;
}

uint64_t total_bytes(const std::vector<TensorSpec>& tensors) {
  uint64_t total = 0;
  for (const TensorSpec& tensor : tensors) total += tensor.bytes();
  return total;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> tensors,
                                     const SafetensorsMetadata& metadata)
    : tensors_(std::move(tensors)),
      data_bytes_(total_bytes(tensors_)),
      header_(header_of(tensors_, metadata)),
      file_(path, header_.size() + data_bytes_) {
  header_bytes_ = header_.size();
  file_.write(header_);
  header_ = {};
  skip_complete();
}

void SafetensorsWriter::skip_complete() {
  while (index_ < tensors_.size() && offset_ == tensors_[index_].bytes()) {
    offset_ = 0;
    ++index_;
  }
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  CHECK(file_.written() + bytes.size() <= header_bytes_ + data_bytes_);
  file_.write(bytes);
  uint64_t left = bytes.size();
  while (left > 0) {
    const uint64_t part = std::min(left, tensors_[index_].bytes() - offset_);
    offset_ += part;
    left -= part;
    skip_complete();
  }
}

void SafetensorsWriter::finish(bool flush) {
  CHECK(index_ == tensors_.size());
  file_.commit(flush);
}

void write_safetensors(const std::filesystem::path& path,
                       const std::map<std::string, ConstTensor, std::less<>>& tensors,
                       const SafetensorsMetadata& metadata) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : tensors) specs.push_back({name, tensor.dtype, tensor.shape});
  SafetensorsWriter writer(path, std::move(specs), metadata);
  for (const auto& [name, tensor] : tensors) writer.write({tensor.data, tensor.bytes()});
  writer.finish();
}

}  // namespace inkstone
