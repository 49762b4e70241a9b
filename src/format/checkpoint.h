// Checkpoint: the tensors of a model folder (model.safetensors, or shards by model.safetensors.index.json), mapped; or
// those of a GGUF file, under the same names and in the same forms (gguf_weights.h).
// A model takes what it needs by name and shape; what nobody took is an error at finish(), unless declared.
// Owns the mapped files and what was repacked: views taken from it live as long as it does.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "format/model_config.h"
#include "format/safetensors.h"

namespace inkstone {

class GgufWeights;

class Checkpoint {
 public:
  // Opens the shards of a folder, or a GGUF file. Throws Error(not_found) for a missing folder or shard,
  // Error(bad_file) for a bad one.
  explicit Checkpoint(const std::filesystem::path& model);
  ~Checkpoint();
  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;

  // The model as it was opened: a folder or a GGUF file.
  const std::filesystem::path& folder() const { return folder_; }
  // All tensors by name, of all shards. Those of a GGUF that are repacked have no data before they are taken.
  const std::map<std::string, ConstTensor, std::less<>>& tensors() const { return tensors_; }
  bool contains(std::string_view name) const;
  // Bytes of all tensors.
  uint64_t bytes() const;
  // Of them, bytes that are not read from a file but lie in memory of this checkpoint, as far as they were taken.
  uint64_t owned_bytes() const;

  // The tensor `name`, floating point, of exactly this shape.
  ConstTensor take(std::string_view name, const Shape& shape);
  // The weight of a module: `module`.weight, and .scales and .biases if it is quantised, as config's quantization says.
  // Checks that dtypes and shapes agree with bits, group size, out and in.
  WeightView take_weight(const std::string& module, int64_t out, int64_t in, const ModelConfig& config);
  // A stack of experts: `mlp`.switch_mlp.`projection` (MLX), or `mlp`.experts.<e>.`projection` (Hugging Face).
  WeightView take_experts(const std::string& mlp, const std::string& projection, int64_t experts, int64_t out,
                          int64_t in, const ModelConfig& config);
  // The file that holds `part` of a tensor, to tell the system how it will be used. CHECKs that it is in one: what was
  // repacked is not.
  const MappedFile& file_of(std::span<const std::byte> part) const;
  // As MappedFile has them, for `part` of a tensor; nothing happens to what was repacked.
  void prefetch(std::span<const std::byte> part) const;
  void drop(std::span<const std::byte> part) const;
  // Declares that a tensor may be there and is not needed (a redundant lm_head of a tied model).
  void ignore(std::string_view name);
  // Throws Error(bad_file) naming a tensor that nobody took.
  void finish() const;

 private:
  // The file that holds `name`, for errors.
  std::string origin_of(std::string_view name) const;
  ConstTensor take_any(std::string_view name);
  // One matrix, or a stack of them where experts > 0.
  WeightView take_matrix(const std::string& module, int64_t experts, int64_t out, int64_t in,
                         const ModelConfig& config);
  WeightView take_quantized(const std::string& module, int64_t experts, int64_t out, int64_t in,
                            const Quantization& quantization);

  void open_folder();

  std::filesystem::path folder_;
  std::vector<Safetensors> shards_;
  std::unique_ptr<GgufWeights> gguf_;  // instead of shards
  std::map<std::string, ConstTensor, std::less<>> tensors_;
  std::set<std::string, std::less<>> taken_;
};

}  // namespace inkstone
