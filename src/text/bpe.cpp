#include "text/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/error.h"
#include "text/hash.h"

namespace inkstone {
namespace {

constexpr uint64_t kRankMask = (1 << 24) - 1;

uint64_t hash_pair(int32_t left, int32_t right, uint64_t seed) {
  const uint64_t key = static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  return mix(key ^ seed, 0x9E3779B97F4A7C15u);
}

}  // namespace

Bpe::Bpe(const std::array<int32_t, 256>& byte_ids, std::vector<Merge> merges)
    : byte_ids_(byte_ids), merges_(std::move(merges)), seed_(hash_seed()) {
  CHECK(merges_.size() < kRankMask);
  slots_.resize(std::bit_ceil(merges_.size() * 3 / 2 + 1));
  for (size_t rank = 0; rank < merges_.size(); ++rank) insert(static_cast<uint32_t>(rank));
  byte_pair_ranks_.resize(256 * 256, kNoRank);
  for (size_t a = 0; a < 256; ++a)
    for (size_t b = 0; b < 256; ++b)
      if (byte_ids_[a] >= 0 && byte_ids_[b] >= 0) byte_pair_ranks_[a * 256 + b] = rank_of(byte_ids_[a], byte_ids_[b]);
}

void Bpe::insert(uint32_t rank) {
  const Merge& merge = merges_[rank];
  const uint64_t h = hash_pair(merge.left, merge.right, seed_);
  const uint64_t tag = h & ~kRankMask;
  size_t at = h & (slots_.size() - 1);
  for (; slots_[at] != 0; at = (at + 1) & (slots_.size() - 1)) {
    if ((slots_[at] & ~kRankMask) != tag) continue;
    const Merge& other = merges_[(slots_[at] & kRankMask) - 1];
    if (other.left == merge.left && other.right == merge.right) break;
  }
  slots_[at] = tag | (static_cast<uint64_t>(rank) + 1);
}

uint32_t Bpe::rank_of(int32_t left, int32_t right) const {
  const uint64_t h = hash_pair(left, right, seed_);
  for (size_t at = h & (slots_.size() - 1); slots_[at] != 0; at = (at + 1) & (slots_.size() - 1)) {
    if (((slots_[at] ^ h) & ~kRankMask) != 0) continue;
    const uint32_t rank = static_cast<uint32_t>(slots_[at] & kRankMask) - 1;
    if (merges_[rank].left == left && merges_[rank].right == right) return rank;
  }
  return kNoRank;
}

void Bpe::encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  if (word.size() <= kShort)
    encode_short(word, ids);
  else
    encode_long(word, scratch, ids);
}

// Ranks of neighbours in an array, the smallest found by a scan: for a few dozen bytes faster than any heap.
void Bpe::encode_short(std::string_view word, std::vector<int32_t>& ids) const {
  int32_t id[kShort];
  uint32_t rank[kShort];
  uint8_t byte[kShort];
  size_t n = 0;
  for (const char c : word) {
    const uint8_t b = static_cast<uint8_t>(c);
    if (byte_ids_[b] < 0) continue;
    byte[n] = b;
    id[n++] = byte_ids_[b];
  }
  if (n == 0) return;
  for (size_t i = 0; i + 1 < n; ++i) rank[i] = byte_pair_ranks_[byte[i] * size_t{256} + byte[i + 1]];
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i)
      if (rank[i] < rank[best]) best = i;
    if (rank[best] == kNoRank) break;
    id[best] = merges_[rank[best]].result;
    for (size_t i = best + 1; i + 1 < n; ++i) id[i] = id[i + 1];
    for (size_t i = best; i + 2 < n; ++i) rank[i] = rank[i + 1];
    --n;
    if (best + 1 < n) rank[best] = rank_of(id[best], id[best + 1]);
    if (best > 0) rank[best - 1] = rank_of(id[best - 1], id[best]);
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
    if (id >= 0) nodes.push_back({id, at - 1, at + 1, kNoRank});  // at - 1 of the first is kNone
  }
  if (nodes.empty()) return;
  nodes.back().next = kNone;
  const auto rank_pair = [&](uint32_t at) {
    auto& node = nodes[at];
    node.rank = node.next == kNone ? kNoRank : rank_of(node.id, nodes[node.next].id);
    return node.rank;
  };
  const auto entry = [&](uint32_t at) { return static_cast<uint64_t>(nodes[at].rank) << 32 | at; };
  for (uint32_t at = 0; at + 1 < nodes.size(); ++at)
    if (rank_pair(at) != kNoRank) heap.push_back(entry(at));
  std::make_heap(heap.begin(), heap.end(), std::greater<>());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    const uint32_t at = static_cast<uint32_t>(heap.back());
    const uint32_t rank = static_cast<uint32_t>(heap.back() >> 32);
    heap.pop_back();
    if (nodes[at].rank != rank) continue;
    const uint32_t gone = nodes[at].next;
    nodes[at].id = merges_[rank].result;
    nodes[at].next = nodes[gone].next;
    nodes[gone].rank = kNoRank;
    if (nodes[at].next != kNone) nodes[nodes[at].next].previous = at;
    for (const uint32_t changed : {at, nodes[at].previous}) {
      if (changed == kNone || rank_pair(changed) == kNoRank) continue;
      heap.push_back(entry(changed));
      std::push_heap(heap.begin(), heap.end(), std::greater<>());
    }
  }
  for (uint32_t at = 0; at != kNone; at = nodes[at].next) ids.push_back(nodes[at].id);
}

}  // namespace inkstone
