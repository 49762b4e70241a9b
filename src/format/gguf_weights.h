// GgufWeights: the tensors of a GGUF model under the names and in the form in which an MLX checkpoint has them
// ("blk.3.attn_q.weight" is "model.layers.3.self_attn.q_proj.weight", and .scales and .biases if it is quantised).
// Plain tensors stay in the mapped file. Quantised ones are repacked into memory of ours when they are first asked for:
// opening a file costs its header, and asking for a tensor its bytes. Used from one thread; repacking has threads of
// its own. Views live as long as this does.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "format/gguf.h"
#include "format/model_config.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace inkstone {

// "model.layers.3.self_attn.q_proj" for "blk.3.attn_q.weight"; "" for a tensor that no Qwen3 model has.
std::string gguf_module(std::string_view tensor);

// What the quantised tensors become: config.quantization is what most of the bytes have, the overrides are the others.
void set_gguf_quantization(const std::vector<Gguf>& files, ModelConfig& config);

class GgufWeights {
 public:
  // A file and, if it is the first of several, its siblings. Throws as Gguf does.
  explicit GgufWeights(const std::filesystem::path& path);

  // All tensors, by the names of an MLX checkpoint. Those that are not repacked yet have no data.
  const std::map<std::string, ConstTensor, std::less<>>& tensors() const { return tensors_; }
  // A tensor with its data. Throws Error(out_of_memory) where it does not fit, Error(bad_file) where the scales of its
  // blocks are no finite numbers. CHECKs that there is one of that name.
  ConstTensor load(std::string_view name);
  // The mapped file that holds `part`, or nullptr: it is memory of ours.
  const MappedFile* file_of(std::span<const std::byte> part) const;
  // The file that holds the tensor of that MLX name, for errors.
  std::string origin_of(std::string_view name) const;
  // Bytes that were repacked.
  uint64_t owned_bytes() const;

 private:
  // Of a GGUF tensor.
  struct Source {
    const GgufTensor* tensor = nullptr;
    const Gguf* file = nullptr;
    std::string name;  // in the file
  };

  void repack(const std::string& module, const Source& source);

  std::vector<Gguf> files_;
  std::map<std::string, Source, std::less<>> sources_;  // by module, or by name for what no model has
  std::map<std::string, ConstTensor, std::less<>> tensors_;
  std::map<std::string, Buffer> owned_;  // by module
  std::unique_ptr<ThreadPool> pool_;     // made when it is needed
};

}  // namespace inkstone
