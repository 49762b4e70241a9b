// CheckpointWriter: the weights of a model folder as a stream, tensor after tensor in the order given, split into
// shards as mlx_lm splits them, with model.safetensors.index.json. Memory stays bounded; each file appears whole. One
// thread.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "format/safetensors_writer.h"

namespace inkstone {

inline constexpr uint64_t kShardBytes = uint64_t{5} << 30;  // as mlx_lm splits

class CheckpointWriter {
 public:
  // Throws Error(io) where there is no room for all. `flush` as in AtomicFile::commit, for each shard.
  CheckpointWriter(const std::filesystem::path& folder, std::vector<TensorSpec> tensors,
                   uint64_t shard_bytes = kShardBytes, bool flush = true);

  // The next bytes of the data.
  void write(std::span<const std::byte> bytes);
  // CHECKs that all bytes came, and writes the index. `parameters`: of the model, logical ones.
  void finish(int64_t parameters);

  uint64_t bytes() const { return total_; }  // of all tensors

 private:
  void close_shard();
  std::string shard_name(size_t index) const;

  std::filesystem::path folder_;
  std::vector<std::vector<TensorSpec>> shards_;
  bool flush_;
  uint64_t total_ = 0;
  size_t index_ = 0;  // of the shard that is written
  std::unique_ptr<SafetensorsWriter> shard_;
};

}  // namespace inkstone
