// Sequence: the tokens of one conversation whose K and V are in the cache, and the blocks that hold them.
// Invariant: blocks_.size() == ceil(tokens_.size() / kKvBlockTokens). The allocator must outlive it. One thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/batch.h"
#include "engine/block_allocator.h"

namespace inkstone {

class Sequence {
 public:
  explicit Sequence(BlockAllocator& allocator) : allocator_(allocator) {}
  ~Sequence() { truncate(0); }
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  const std::vector<int32_t>& tokens() const { return tokens_; }
  int size() const { return static_cast<int>(tokens_.size()); }

  // Tokens that this sequence and `prompt` begin with alike.
  int common_prefix(std::span<const int32_t> prompt) const;

  // Keeps the first `size` tokens.
  void truncate(int size);

  // Appends `tokens` and adds them to `batch` as this sequence's next rows; their K and V are there after the forward
  // pass. REQUIRES: enough free blocks.
  void append(std::span<const int32_t> tokens, Batch& batch);

 private:
  BlockAllocator& allocator_;
  std::vector<int32_t> tokens_;
  std::vector<int32_t> blocks_;
};

}  // namespace inkstone
