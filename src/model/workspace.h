// Workspace: every activation of one forward pass, one allocation that grows to the largest batch seen.
#pragma once

#include "device/device.h"
#include "format/model_config.h"

namespace inkstone {

struct Workspace {
  Tensor x;       // [T, D] the residual stream
  Tensor h;       // [T, D] its norm
  Tensor q;       // [T, H * d]
  Tensor k;       // [T, K * d]
  Tensor v;       // [T, K * d]
  Tensor att;     // [T, H * d]
  Tensor router;  // [T, E] layers with experts
  Routing routing;
  Tensor rope;    // f32 [T, d]
  Tensor last;    // [R, D]
  Tensor logits;  // [R, V]

  // Points the tensors at memory for `rows` rows and `logit_rows` rows of logits.
  void resize(Device& device, const ModelConfig& config, int rows, int logit_rows);

 private:
  Buffer buffer_;
};

// Bytes that a batch of this size takes.
size_t workspace_bytes(const Device& device, const ModelConfig& config, int rows, int logit_rows);

}  // namespace inkstone
