#include "model/kv_cache.h"

namespace inkstone {

KvCache::KvCache(Device& device, const ModelConfig& config, int blocks) : blocks_(blocks) {
  CHECK(blocks >= 1);
  const DType dtype = device.kv_dtype();
  const Shape shape{blocks, config.num_key_value_heads, kKvBlockTokens, config.head_dim};
  const size_t bytes = ConstTensor{nullptr, dtype, shape}.bytes();
  for (int i = 0; i < config.num_hidden_layers; ++i) {
    const Buffer& buffer = buffers_.emplace_back(device.allocate(2 * bytes));
    layers_.push_back({{buffer.data(), dtype, shape}, {buffer.data() + bytes, dtype, shape}});
  }
}

int64_t KvCache::bytes_per_token(const ModelConfig& config, DType dtype) {
  return int64_t{2} * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * dtype_size(dtype);
}

}  // namespace inkstone
