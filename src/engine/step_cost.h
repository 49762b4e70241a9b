// What a forward pass cannot avoid: bytes that it must read and operations that it must do. Nothing that an
// implementation adds (activations, weights read twice, padding) counts. Plain values.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "device/batch.h"
#include "format/model_config.h"

namespace inkstone {

struct Cost {
  double bytes = 0;
  double operations = 0;  // a multiplication and an addition are two

  Cost& operator+=(const Cost& other) {
    bytes += other.bytes;
    operations += other.operations;
    return *this;
  }
};

// Bytes of the weights as the file holds them, by when they are read.
struct WeightBytes {
  double layers = 0;   // attention, dense MLPs, routers, norms: every step
  double experts = 0;  // of all layers: those that a step's tokens are routed to
  double head = 0;     // lm_head or the tied embedding: every step that wants logits
  double row = 0;      // one token's row of the embedding
};

// From every tensor's name in the checkpoint and its bytes.
WeightBytes weight_bytes(const ModelConfig& config, const std::vector<std::pair<std::string_view, double>>& tensors);

// How many of `experts` get at least one of `tokens` tokens that take `used` different ones each, all equally likely:
// experts (1 - (1 - used / experts)^tokens).
double expected_experts(int experts, int used, int tokens);

// One forward pass over `batch`. Weights are read once; K and V of each span once, `kv_bytes` a token of all layers;
// operations are 2 for each weight that a token meets, and 4 d for each pair of a query and a position that it sees.
Cost step_cost(const ModelConfig& config, const WeightBytes& weights, double kv_bytes, const Batch& batch);

}  // namespace inkstone
