// Model: the weights of a checkpoint on a device, and one forward pass over a ragged batch. There is no second path:
// a prompt's chunk, a decoding step and many conversations at once are all a Batch.
#pragma once

#include <memory>
#include <vector>

#include "device/device.h"
#include "format/checkpoint.h"
#include "format/model_config.h"
#include "model/kv_cache.h"
#include "model/residency.h"

namespace inkstone {

class Model {
 public:
  virtual ~Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Runs the batch, writes its K and V to `kv`, returns the logits of batch.logit_rows: f32 [R, V], in the device's
  // memory, valid until the next call. One call at a time.
  virtual Tensor forward(const Batch& batch, KvCache& kv) = 0;

  // Every matrix that an adapter may sit on, by its name in the checkpoint.
  virtual std::vector<Linear*> linears() = 0;

  // Keeps to `memory` bytes of weights from now on, and reads the others from the checkpoint's files as they are
  // needed. False: a forward pass needs more at a time; nothing changes. The results are the same.
  bool limit_weights(const Checkpoint& checkpoint, uint64_t memory) {
    auto residency = Residency::plan(checkpoint, weights(), memory);
    if (residency) residency_ = std::move(*residency);
    return residency.has_value();
  }
  const Residency& residency() const { return residency_; }

  const ModelConfig& config() const { return config_; }
  Device& device() const { return device_; }

 protected:
  Model(ModelConfig config, Device& device) : config_(std::move(config)), device_(device) {}

  // The weights in the order in which forward() uses them.
  virtual Residency::Weights weights() const = 0;

  ModelConfig config_;
  Device& device_;
  Residency residency_;
};

// Takes the weights that config.model_type needs from the checkpoint, which must outlive the model, as must the
// device. Throws Error(bad_file) for a tensor that is missing, misshapen or that nobody takes.
std::unique_ptr<Model> load_model(Checkpoint& checkpoint, const ModelConfig& config, Device& device);

}  // namespace inkstone
