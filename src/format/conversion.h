// Conversion: a model folder becomes another one, module by module, as mlx_lm saves it. Tensors are read from the
// mapped checkpoint and written in pieces: memory holds some megabytes at a time, whatever the model's size. A GGUF
// file counts as a plain model, and what of it is quantised is in memory, repacked, while it is converted. The bytes do
// not depend on the number of threads. convert says what format each module gets; fuse also changes the rows of some.
// One thread calls it; it uses a pool's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "format/checkpoint.h"
#include "format/checkpoint_writer.h"
#include "format/row_encoder.h"

namespace inkstone {

// What stands between the reading of a module's rows and their writing where more than the format changes.
class RowEditor {
 public:
  virtual ~RowEditor() = default;
  // Rows [begin, end) of expert e, as RowEncoder::encode. Called by several threads at once, once for each row.
  virtual void encode(int64_t e, int64_t begin, int64_t end, const RowTarget& target) = 0;
  // All rows are through.
  virtual void finish() = 0;
};

// One module of the model: where it comes from, what it becomes.
struct ConvertedModule {
  std::string path;  // "model.layers.0.self_attn.q_proj"
  WeightView weight;
  StoredFormat format;                               // afterwards; at first as it is
  const ConstTensor* replacement = nullptr;          // takes the place of `weight`, which is plain and stays plain
  std::function<std::unique_ptr<RowEditor>()> edit;  // empty: only the format changes; called when its turn comes

  bool is_norm() const { return weight.out == 0; }
  // As the file has it.
  StoredFormat stored() const;
  // Bytes that are read.
  uint64_t bytes() const { return replacement != nullptr ? replacement->bytes() : weight.bytes(); }
  // The tensors that are written, in mlx_lm's order.
  std::vector<TensorSpec> specs() const;
};

class Conversion {
 public:
  // Called after each piece of work with the bytes that are read and those that there are; may throw to end it.
  using Progress = std::function<void(uint64_t done, uint64_t total)>;

  // Opens the folder or GGUF file and checks that it holds a whole model and nothing else. `threads` 0: all that this
  // process may use. Throws Error(not_found), Error(bad_file), Error(unsupported).
  Conversion(const std::filesystem::path& model, int threads, Progress on_progress);

  const std::filesystem::path& folder() const { return checkpoint_.folder(); }
  const ModelConfig& config() const { return config_; }
  std::vector<ConvertedModule>& modules() { return modules_; }
  // config.json as mlx_lm loads and saves it, for the caller to change its quantization.
  Json& config_json() { return config_json_; }
  // Nothing is quantised afterwards.
  void make_plain();

  // Puts a module through its editor without writing it: to measure. Counts as work, so all of that is announced first.
  void announce(const ConvertedModule& module) { total_ += module.bytes(); }
  void rehearse(const ConvertedModule& module);

  // Writes `save`, which must be new or empty, whole or not at all; what stands beside weights and config.json is
  // copied. Throws Error(usage), Error(io).
  struct Written {
    uint64_t bytes = 0;          // of the weights
    double bits_per_weight = 0;  // scales and biases included
    bool cleared = false;        // what a killed process had left of the same folder is removed
  };
  Written write(const std::filesystem::path& save);

 private:
  using Sink = std::function<void(std::span<const std::byte>)>;

  void take_modules();
  WeightView take_experts(const std::string& path, const Shape& shape);
  void write_module(const ConvertedModule& module, const ConvertedModule* next, const Sink& sink);
  void encode(const ConvertedModule& module, const Sink& sink, bool keep);
  void encode_piece(const ConvertedModule& module, RowEditor* editor, int64_t e, int64_t begin, int64_t end,
                    const RowTarget& target);
  void cast(const ConstTensor& tensor, DType dtype, const Sink& sink, bool keep);
  void prefetch(std::span<const std::byte> bytes) const;
  void read(std::span<const std::byte> bytes, bool keep);  // keep: they will be read again, or are not the model's

  Checkpoint checkpoint_;
  ModelConfig config_;
  Json config_json_;
  ThreadPool pool_;
  Progress on_progress_;
  std::vector<ConvertedModule> modules_;
  uint64_t done_ = 0, total_ = 0;  // bytes read, and to read
};

}  // namespace inkstone
