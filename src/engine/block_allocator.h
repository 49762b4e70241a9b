// BlockAllocator: which KV blocks are free. Whoever allocates a block releases it once. Not thread-safe.
#pragma once

#include <cstdint>
#include <vector>

#include "base/error.h"

namespace inkstone {

class BlockAllocator {
 public:
  explicit BlockAllocator(int blocks) : used_(static_cast<size_t>(blocks), false) {
    for (int32_t block = blocks; block-- > 0;) free_.push_back(block);  // the lowest is taken first
  }

  // REQUIRES: a free block
  int32_t allocate() {
    CHECK(!free_.empty());
    const int32_t block = free_.back();
    free_.pop_back();
    used_[static_cast<size_t>(block)] = true;
    return block;
  }
  void release(int32_t block) {
    CHECK(used_.at(static_cast<size_t>(block)));
    used_[static_cast<size_t>(block)] = false;
    free_.push_back(block);
  }

 private:
  std::vector<int32_t> free_;
  std::vector<bool> used_;
};

}  // namespace inkstone
