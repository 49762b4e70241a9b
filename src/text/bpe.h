// Bpe: the merges of a byte-level BPE over one word. The pair with the lowest rank merges first, the leftmost of
// equals; short words by scanning, long ones by a heap, so that a megabyte without a blank is no trap. Immutable after
// build; used from any thread, each with a Scratch of its own.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace inkstone {

class Bpe {
 public:
  struct Merge {
    int32_t left = 0;
    int32_t right = 0;
    int32_t result = 0;
  };

  struct Scratch {
    struct Node {
      int32_t id;
      uint32_t previous, next;
      uint32_t rank;  // of the pair that begins here
    };
    std::vector<Node> nodes;
    std::vector<uint64_t> heap;
  };

  Bpe() = default;
  // byte_ids: the token of each byte, or -1: such bytes vanish, as in the reference. The rank of a merge is its index;
  // of two merges of one pair the later counts. At most 2^24 - 1 merges; ids below 2^24.
  Bpe(const std::array<int32_t, 256>& byte_ids, std::vector<Merge> merges);

  // Appends the tokens of `word`. Throws Error(usage) for 4 GB and more.
  void encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  static constexpr uint32_t kNoRank = 0xFFFFFFFF;
  static constexpr size_t kShort = 48;

  uint32_t rank_of(int32_t left, int32_t right) const;
  void insert(uint32_t rank);
  void encode_short(std::string_view word, std::vector<int32_t>& ids) const;
  void encode_long(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

  std::array<int32_t, 256> byte_ids_{};
  std::vector<Merge> merges_;
  std::vector<uint32_t> byte_pair_ranks_;  // [256 * 256]
  std::vector<uint64_t> slots_;            // 40 bits of the pair's hash, 24 bits of rank + 1; 0 is free
  uint64_t seed_ = 0;
};

}  // namespace inkstone
