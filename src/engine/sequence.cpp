#include "engine/sequence.h"

#include <algorithm>

namespace inkstone {

int Sequence::common_prefix(std::span<const int32_t> prompt) const {
  const auto [mine, theirs] = std::mismatch(tokens_.begin(), tokens_.end(), prompt.begin(), prompt.end());
  return static_cast<int>(mine - tokens_.begin());
}

void Sequence::truncate(int size) {
  CHECK(size >= 0 && size <= this->size());
  tokens_.resize(static_cast<size_t>(size));
  const size_t needed = static_cast<size_t>((size + kKvBlockTokens - 1) / kKvBlockTokens);
  while (blocks_.size() > needed) {
    allocator_.release(blocks_.back());
    blocks_.pop_back();
  }
}

void Sequence::append(std::span<const int32_t> tokens, Batch& batch) {
  Span span{batch.size(), static_cast<int>(tokens.size()), size() + static_cast<int>(tokens.size()),
            static_cast<int>(batch.blocks.size())};
  for (const int32_t token : tokens) {
    const int position = size();
    if (position % kKvBlockTokens == 0) blocks_.push_back(allocator_.allocate());
    tokens_.push_back(token);
    batch.tokens.push_back(token);
    batch.positions.push_back(position);
    batch.slots.push_back(blocks_.back() * kKvBlockTokens + position % kKvBlockTokens);
  }
  batch.spans.push_back(span);
  batch.blocks.insert(batch.blocks.end(), blocks_.begin(), blocks_.end());
}

}  // namespace inkstone
