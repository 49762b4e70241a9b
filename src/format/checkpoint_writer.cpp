#include "format/checkpoint_writer.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace inkstone {
namespace {

// A shard is closed before the tensor that would exceed its size.
std::vector<std::vector<TensorSpec>> split(std::vector<TensorSpec> tensors, uint64_t shard_bytes) {
  std::vector<std::vector<TensorSpec>> shards(1);
  uint64_t size = 0;
  for (TensorSpec& tensor : tensors) {
    if (!shards.back().empty() && size + tensor.bytes() > shard_bytes) {
      shards.emplace_back();
      size = 0;
    }
    size += tensor.bytes();
    shards.back().push_back(std::move(tensor));
  }
  return shards;
}

}  // namespace

CheckpointWriter::CheckpointWriter(const std::filesystem::path& folder, std::vector<TensorSpec> tensors,
                                   uint64_t shard_bytes, bool flush)
    : folder_(folder), shards_(split(std::move(tensors), shard_bytes)), flush_(flush) {
  for (const std::vector<TensorSpec>& shard : shards_)
    for (const TensorSpec& tensor : shard) total_ += tensor.bytes();
  std::error_code error;
  const auto space = std::filesystem::space(folder, error);
  if (!error && space.available < total_)
    fail(Errc::io, "{}: disk full: {} bytes needed, {} available", folder.string(), total_, space.available);
}

std::string CheckpointWriter::shard_name(size_t index) const {
  return shards_.size() == 1 ? "model.safetensors"
                             : fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, shards_.size());
}

void CheckpointWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    CHECK(index_ < shards_.size());
    if (!shard_) shard_ = std::make_unique<SafetensorsWriter>(folder_ / shard_name(index_), shards_[index_]);
    const size_t part = std::min<uint64_t>(bytes.size(), shard_->left());
    shard_->write(bytes.first(part));
    bytes = bytes.subspan(part);
    if (shard_->left() == 0) close_shard();
  }
}

void CheckpointWriter::close_shard() {
  shard_->finish(flush_);
  shard_.reset();
  ++index_;
}

void CheckpointWriter::finish(int64_t parameters) {
  CHECK(index_ == shards_.size());
  std::map<std::string, std::string> weight_map;
  for (size_t i = 0; i < shards_.size(); ++i)
    for (const TensorSpec& tensor : shards_[i]) weight_map.emplace(tensor.name, shard_name(i));
  Json index;
  index["metadata"]["total_size"] = static_cast<int64_t>(total_);
  index["metadata"]["total_parameters"] = parameters;
  Json::Object members;
  for (const auto& [name, file] : weight_map) members.emplace_back(name, Json(file));
  index["weight_map"] = std::move(members);
  write_file_atomically(folder_ / "model.safetensors.index.json", index.dump(4));
}

}  // namespace inkstone
