// WordCache: the tokens of words seen lately, keyed by their bytes. Direct-mapped: one cache line an entry, a newer
// word simply replaces an older one. Belongs to one thread at a time.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "text/hash.h"

namespace inkstone {

class WordCache {
 public:
  static constexpr size_t kMaxWord = 31;  // bytes; longer words are rare, and dear to compare
  static constexpr size_t kMaxIds = 7;

  struct Key {
    uint64_t words[4];  // the bytes, zeros, and the length in the last byte
    friend bool operator==(const Key&, const Key&) = default;
  };
  // `readable`: bytes that may be read from word.data(), at least word.size().
  static Key key_of(std::string_view word, size_t readable) {
    Key key{};
    if (readable >= sizeof(Key)) {
      std::memcpy(&key, word.data(), sizeof(Key));
      for (size_t i = 0; i < 4; ++i) {
        const size_t bytes = word.size() > i * 8 ? word.size() - i * 8 : 0;
        if (bytes < 8) key.words[i] &= (uint64_t{1} << (bytes * 8)) - 1;
      }
    } else {
      std::memcpy(&key, word.data(), word.size());
    }
    key.words[3] |= static_cast<uint64_t>(word.size()) << 56;
    return key;
  }

  struct alignas(64) Entry {
    Key key{};  // a word has at least one byte, so a zero key is a free entry
    int32_t ids[kMaxIds] = {};
    int32_t count = 0;
  };
  Entry& entry_of(const Key& key) {
    if (entries_.empty()) entries_.resize(kEntries);
    const uint64_t h = mix(mix(key.words[0] ^ seed_, key.words[1] ^ 0x9E3779B97F4A7C15u),
                           mix(key.words[2] ^ 0xA0761D6478BD642Fu, key.words[3] ^ seed_));
    return entries_[h & (kEntries - 1)];
  }

 private:
  static constexpr size_t kEntries = 16384;  // 1 MB: as much as a core's own cache holds

  std::vector<Entry> entries_;
  uint64_t seed_ = hash_seed();
};

}  // namespace inkstone
