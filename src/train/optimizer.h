// Optimizer: Adam, AdamW or SGD over the parameters, as mlx.optimizers computes them, with its state.
#pragma once

#include <vector>

#include "train/parameters.h"

namespace inkstone {

enum class OptimizerKind : uint8_t { adam, adamw, sgd };

// With the defaults of mlx.optimizers.
struct OptimizerConfig {
  float beta1 = 0.9f, beta2 = 0.999f;  // adam, adamw: "betas"
  float eps = 1e-8f;                   // adam, adamw
  bool bias_correction = false;        // adam, adamw
  float weight_decay = 0;              // adamw: 0.01 by default; sgd: added to the gradient
  float momentum = 0, dampening = 0;   // sgd
  bool nesterov = false;               // sgd
};

class Optimizer {
 public:
  // The parameters must outlive it.
  Optimizer(Parameters& parameters, OptimizerKind kind, const OptimizerConfig& config);

  // One update with the gradients times `gradient_scale`; then the model follows (Parameters::publish).
  void step(float learning_rate, float gradient_scale = 1.0f);
  int64_t steps() const { return steps_; }

  // The length of all gradients together.
  double gradient_norm() const;

  // What resuming needs, by name: "<parameter>.mean" and so on, in the device's layout.
  std::vector<std::pair<std::string, Tensor>> state() const;
  // After the state's tensors were written.
  void resume_at(int64_t steps) { steps_ = steps; }

 private:
  void descend(size_t i, float learning_rate, float gradient_scale);

  Parameters& parameters_;
  TrainingDevice& training_;
  const OptimizerKind kind_;
  const OptimizerConfig config_;
  std::vector<Buffer> buffers_;
  std::vector<Tensor> first_, second_;  // Adam's moments; SGD's velocity is the first
  int64_t steps_ = 0;
};

}  // namespace inkstone
