#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/error.h"
#include "text/hash.h"

namespace inkstone {

Bpe::Bpe(const std::array<int32_t, 256>& byte_ids, std::span<const Merge> merges)
    : byte_ids_(byte_ids), seed_(hash_seed()) {
  CHECK(merges.size() < size_t{1} << 24);
  slots_.resize(std::bit_ceil(merges.size() * 3 / 2 + 1));
  constexpr size_t kAhead = 16;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    if (rank + kAhead < merges.size()) {
      const Merge& later = merges[rank + kAhead];
      __builtin_prefetch(&slots_[home_of(pair_of(later.left, later.right))]);
    }
    const uint64_t pair = pair_of(merges[rank].left, merges[rank].right);
    size_t at = home_of(pair);
    while (slots_[at].pair != kNever && slots_[at].pair != pair) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {pair, static_cast<uint64_t>(rank) << 32 | static_cast<uint32_t>(merges[rank].result)};
  }
  byte_pairs_.resize(256 * 256, kNever);
  for (size_t a = 0; a < 256; ++a)
    for (size_t b = 0; b < 256; ++b)
      if (byte_ids_[a] >= 0 && byte_ids_[b] >= 0) byte_pairs_[a * 256 + b] = merged(byte_ids_[a], byte_ids_[b]);
}

size_t Bpe::home_of(uint64_t pair) const { return mix(pair ^ seed_, 0x9E3779B97F4A7C15u) & (slots_.size() - 1); }

uint64_t Bpe::merged(int32_t left, int32_t right) const {
  const uint64_t pair = pair_of(left, right);
  size_t at = home_of(pair);
  while (slots_[at].pair != pair && slots_[at].pair != kNever) at = (at + 1) & (slots_.size() - 1);
  return slots_[at].merged;
}

void Bpe::encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (word.size() <= kShort)
    encode_short(word, ids);
  else
    encode_long(word, scratch, ids);
}

// Pairs in an array, the smallest found by a scan: for a few dozen bytes faster than any heap.
void Bpe::encode_short(std::string_view word, std::vector<int32_t>& ids) const {
  int32_t id[kShort];
  uint64_t pair[kShort];
  uint8_t byte[kShort];
  size_t n = 0;
  for (const char c : word) {
    const uint8_t b = static_cast<uint8_t>(c);
    if (byte_ids_[b] < 0) continue;
    byte[n] = b;
    id[n++] = byte_ids_[b];
  }
  if (n == 0) return;
  for (size_t i = 0; i + 1 < n; ++i) pair[i] = byte_pairs_[byte[i] * size_t{256} + byte[i + 1]];
  while (n > 1) {
    size_t best = 0;
    uint64_t lowest = pair[0];
    for (size_t i = 1; i + 1 < n; ++i) {
      const bool lower = pair[i] < lowest;
      best = lower ? i : best;
      lowest = lower ? pair[i] : lowest;
    }
    if (lowest == kNever) break;
    id[best] = static_cast<int32_t>(static_cast<uint32_t>(lowest));
    for (size_t i = best + 1; i + 1 < n; ++i) id[i] = id[i + 1];
    for (size_t i = best; i + 2 < n; ++i) pair[i] = pair[i + 1];
    --n;
    if (best + 1 < n) pair[best] = merged(id[best], id[best + 1]);
    if (best > 0) pair[best - 1] = merged(id[best - 1], id[best]);
  }
  ids.insert(ids.end(), id, id + n);
}

// The same by a heap of (rank, position) and a linked list. An entry is stale when its node's pair has another rank.
void Bpe::encode_long(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  constexpr uint32_t kNone = 0xFFFFFFFF;
  if (word.size() >= kNone) fail(Errc::usage, "text: one word of {} bytes, expected fewer than 4 GB", word.size());
  auto& nodes = scratch.nodes;
  auto& heap = scratch.heap;
  nodes.clear();
  heap.clear();
  for (const char c : word) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(c)];
    const uint32_t at = static_cast<uint32_t>(nodes.size());
    if (id >= 0) nodes.push_back({id, at - 1, at + 1, kNever});  // at - 1 of the first is kNone
  }
  if (nodes.empty()) return;
  nodes.back().next = kNone;
  const auto look_up = [&](uint32_t at) {
    auto& node = nodes[at];
    node.pair = node.next == kNone ? kNever : merged(node.id, nodes[node.next].id);
    return node.pair;
  };
  const auto entry = [&](uint32_t at) { return (nodes[at].pair >> 32 << 32) | at; };
  for (uint32_t at = 0; at + 1 < nodes.size(); ++at)
    if (look_up(at) != kNever) heap.push_back(entry(at));
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint64_t lowest = heap.back();
    const uint32_t at = static_cast<uint32_t>(lowest);
    heap.pop_back();
    if (nodes[at].pair >> 32 != lowest >> 32) continue;
    const uint32_t gone = nodes[at].next;
    nodes[at].id = static_cast<int32_t>(static_cast<uint32_t>(nodes[at].pair));
    nodes[at].next = nodes[gone].next;
    nodes[gone].pair = kNever;
    if (nodes[at].next != kNone) nodes[nodes[at].next].previous = at;
    for (const uint32_t changed : {at, nodes[at].previous}) {
      if (changed == kNone || look_up(changed) == kNever) continue;
      heap.push_back(entry(changed));
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  }
  for (uint32_t at = 0; at != kNone; at = nodes[at].next) ids.push_back(nodes[at].id);
}

}  // namespace inkstone
