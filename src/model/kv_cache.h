// KvCache: the memory of K and V for all layers, in blocks of kKvBlockTokens tokens. It does not know who holds which
// block (engine/block_allocator.h does). Memory is committed as blocks are first written.
#pragma once

#include <vector>

#include "device/device.h"
#include "format/model_config.h"

namespace inkstone {

class KvCache {
 public:
  // Room for `blocks` blocks in every layer, in the device's kv_format(). Throws Error(out_of_memory), and as
  // bytes_per_token.
  KvCache(Device& device, const ModelConfig& config, int blocks);

  int blocks() const { return blocks_; }
  const KvLayer& layer(int i) const { return layers_[static_cast<size_t>(i)]; }

  // Bytes of K and V of one token, all layers. Throws Error(usage) if the groups of the format do not divide head_dim.
  static int64_t bytes_per_token(const ModelConfig& config, const KvFormat& format);

 private:
  int blocks_;
  std::vector<Buffer> buffers_;  // one a layer: K, then V
  std::vector<KvLayer> layers_;
};

}  // namespace inkstone
