#include "model/kv_cache.h"

namespace inkstone {

KvCache::KvCache(Device& device, const ModelConfig& config, int blocks) : blocks_(blocks) {
  CHECK(blocks >= 1);
  const KvFormat format = device.kv_format();
  const int64_t both = bytes_per_token(config, format) / config.num_hidden_layers * blocks * kKvBlockTokens;
  for (int i = 0; i < config.num_hidden_layers; ++i) {
    const Buffer& buffer = buffers_.emplace_back(device.allocate(static_cast<size_t>(both)));
    layers_.push_back(
        {buffer.data(), buffer.data() + both / 2, format, blocks, config.num_key_value_heads, config.head_dim});
  }
}

int64_t KvCache::bytes_per_token(const ModelConfig& config, const KvFormat& format) {
  if (format.bits != 0 && config.head_dim % format.group_size != 0)
    fail(Errc::usage, "KV cache in groups of {}: found a model of head_dim {}, expected a multiple: --kv-group-size",
         format.group_size, config.head_dim);
  return int64_t{2} * config.num_hidden_layers * config.num_key_value_heads * format.row_bytes(config.head_dim);
}

}  // namespace inkstone
