#include "model/workspace.h"

namespace inkstone {
namespace {

constexpr size_t kAlignment = 64;  // a cache line and a vector

// Lays the tensors out from `base`; returns the bytes used. With base == nullptr it only counts.
size_t lay_out(Workspace& w, std::byte* base, DType dtype, const ModelConfig& config, int rows, int logit_rows) {
  size_t used = 0;
  const auto place = [&](Tensor& tensor, DType type, int64_t height, int64_t width) {
    tensor = {base == nullptr ? nullptr : base + used, type, {height, width}};
    used += (tensor.bytes() + kAlignment - 1) / kAlignment * kAlignment;
  };
  const int64_t query = int64_t{config.num_attention_heads} * config.head_dim;
  const int64_t key = int64_t{config.num_key_value_heads} * config.head_dim;
  place(w.x, dtype, rows, config.hidden_size);
  place(w.h, dtype, rows, config.hidden_size);
  place(w.q, dtype, rows, query);
  place(w.k, dtype, rows, key);
  place(w.v, dtype, rows, key);
  place(w.att, dtype, rows, query);
  place(w.router, dtype, rows, config.num_experts);
  place(w.routing.experts, DType::i32, rows, config.num_experts_per_tok);
  place(w.routing.weights, DType::f32, rows, config.num_experts_per_tok);
  place(w.rope, DType::f32, rows, config.head_dim);
  place(w.last, dtype, logit_rows, config.hidden_size);
  place(w.logits, DType::f32, logit_rows, config.vocab_size);
  return used;
}

}  // namespace

void Workspace::resize(Device& device, const ModelConfig& config, int rows, int logit_rows) {
  const DType dtype = device.activation_dtype();
  const size_t bytes = lay_out(*this, nullptr, dtype, config, rows, logit_rows);
  if (bytes > buffer_.size()) {
    buffer_ = Buffer();  // free before allocating: never both at once
    buffer_ = device.allocate(bytes);
  }
  lay_out(*this, buffer_.data(), dtype, config, rows, logit_rows);
}

size_t workspace_bytes(const Device& device, const ModelConfig& config, int rows, int logit_rows) {
  Workspace unplaced;
  return lay_out(unplaced, nullptr, device.activation_dtype(), config, rows, logit_rows);
}

}  // namespace inkstone
