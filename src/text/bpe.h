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
      uint64_t pair;  // what the pair that begins here becomes
    };
    std::vector<Node> nodes;
    std::vector<uint64_t> heap;
  };

  Bpe() = default;
  // byte_ids: the token of each byte, or -1: such bytes vanish, as in the reference. The rank of a merge is its index;
  // of two merges of one pair the later counts. At most 2^24 - 1 merges; ids below 2^24.
  Bpe(const std::array<int32_t, 256>& byte_ids, std::span<const Merge> merges);

  // Appends the tokens of `word`. Throws Error(usage) for 4 GB and more.
  void encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  // What a pair becomes, as rank << 32 | id: the smallest merges first.
  static constexpr uint64_t kNever = ~uint64_t{0};
  static constexpr size_t kShort = 48;

  struct Slot {
    uint64_t pair = kNever;  // left << 32 | right
    uint64_t merged = kNever;
  };
  static uint64_t pair_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }

  uint64_t merged(int32_t left, int32_t right) const;
  size_t home_of(uint64_t pair) const;
  void encode_short(std::string_view word, std::vector<int32_t>& ids) const;
  void encode_long(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

  std::array<int32_t, 256> byte_ids_{};
  std::vector<uint64_t> byte_pairs_;  // [256 * 256], as merged() says
  std::vector<Slot> slots_;           // open addressing, a power of two, at most two thirds full
  uint64_t seed_ = 0;
};

}  // namespace inkstone
