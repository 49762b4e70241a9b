// Parameters: what of a model learns, with its gradients: the matrices of adapters, or the model's own weights as
// float32. Owns values that are not the model's buffers and all gradients; the model must outlive it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "format/adapter.h"
#include "format/safetensors.h"
#include "model/qwen3.h"

namespace inkstone {

struct Parameter {
  std::string name;         // in files: "model.layers.0.self_attn.q_proj.lora_a"
  Tensor value;             // f32, in the device's layout
  Tensor gradient;          // f32, as value
  Tensor rounded;           // the copy that the forward pass uses; empty where that is `value` itself
  bool transposed = false;  // a single matrix' lora_a and lora_b: files have [in, r] and [r, out]

  // As the file has it.
  Shape file_shape() const;
};

class Parameters {
 public:
  // New adapters on the linears of the last `config.num_layers` layers whose names within the layer are among
  // config.keys (none: all of them), as mlx_lm begins: a uniform within 1 / sqrt(in), b zero, m the norms of W's rows.
  // Throws Error(usage) for a key that no layer has, Error(unsupported) for DoRA on experts or a device that cannot
  // train.
  static Parameters adapters(Qwen3& model, const AdapterConfig& config, uint64_t seed);
  // The weights of the last `num_layers` layers, widened to float32; -1: of all layers, the embedding, the head and the
  // last norm. Throws Error(unsupported) as above.
  static Parameters weights(Qwen3& model, int num_layers);

  std::vector<Parameter>& all() { return all_; }
  const std::vector<Parameter>& all() const { return all_; }
  int64_t count() const;  // of numbers that learn
  Device& device() const { return model_->device(); }
  TrainingDevice& training() const { return *training_; }
  // The first layer that learns; the number of layers where none does.
  int lowest_layer() const { return lowest_layer_; }
  bool embedding_learns() const { return embedding_learns_; }

  // Empty tensors where nothing of it learns.
  const LinearGradient& of(const Linear& linear) const;
  Tensor of(const Norm& norm) const;

  void clear_gradients();
  // After values have changed: what the model computes with follows them.
  void publish();

  // Values from a file's tensors (f32, bf16, f16), all of them. Throws Error(bad_file) for one that is missing,
  // misshapen or that is not known.
  void load(const Safetensors& file);
  // In the file's layout.
  std::vector<float> values_for_file(const Parameter& parameter) const;

 private:
  explicit Parameters(Qwen3& model);
  Tensor allocate(const Shape& shape);
  Tensor add(const std::string& name, Tensor value, bool transposed = false);
  void add_adapter(Linear& linear, const AdapterConfig& config, uint64_t seed);
  void add_weight(Linear& linear);
  void add_norm(Norm& norm);

  Qwen3* model_;
  TrainingDevice* training_;
  std::vector<Buffer> buffers_;
  std::vector<Parameter> all_;
  std::map<const Linear*, LinearGradient> linears_;
  std::map<const Norm*, Tensor> norms_;
  std::vector<std::pair<Linear*, Tensor>> magnitudes_;  // DoRA: m of each
  int lowest_layer_ = 0;
  bool embedding_learns_ = false;
};

}  // namespace inkstone
