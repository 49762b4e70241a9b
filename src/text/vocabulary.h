// Vocabulary: token spellings <-> ids <-> bytes of a byte-level BPE. The file spells each byte of a token as one
// printable character (GPT-2's table: a blank is "Ġ"); both forms are kept, each in one block of memory.
// Immutable after build; used from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inkstone {

// Ids lie below this: a file cannot make us reserve more.
inline constexpr int64_t kMaxTokenId = (1 << 24) - 2;

// The character that spells a byte, and back: -1 for a character that spells none.
char32_t spelling_of_byte(uint8_t byte);
int byte_of_spelling(char32_t code_point);
// What `spelling` (valid UTF-8) stands for: the bytes it spells, or itself if some character spells no byte.
std::string bytes_of_spelling(std::string_view spelling);

class Vocabulary {
 public:
  struct Entry {
    std::string_view spelling;
    int32_t id = 0;
  };

  Vocabulary() = default;
  // Ids must lie in [0, kMaxTokenId]. Throws Error(bad_file) if a spelling or an id stands twice.
  Vocabulary(std::span<const Entry> entries, std::string_view origin);

  int32_t find(std::string_view spelling) const;  // -1 if absent
  // find() in two steps, for many look-ups: the table is larger than a cache, and what is asked for a little earlier
  // has come by the time it is needed.
  uint64_t hash(std::string_view spelling) const;
  void prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[hash & (slots_.size() - 1)]); }
  int32_t find(std::string_view spelling, uint64_t hash) const;
  bool contains(int32_t id) const;
  std::string_view spelling(int32_t id) const;  // empty for an id without a token
  // What the token stands for: the bytes it spells, or the spelling itself if some character spells no byte.
  std::string_view bytes(int32_t id) const;
  int size() const { return static_cast<int>(places_.size()); }  // highest id + 1

 private:
  struct Place {
    uint32_t offset = kAbsent;
    uint32_t length = 0;
  };
  struct Slot {
    uint32_t tag = 0;
    int32_t id = -1;
  };
  static constexpr uint32_t kAbsent = 0xFFFFFFFF;

  void insert(const Entry& entry, uint64_t hash, std::string_view origin);

  uint64_t seed_ = 0;
  std::vector<Place> places_;        // of spellings, by id
  std::vector<Place> bytes_places_;  // of bytes, by id
  std::string spellings_;
  std::string bytes_;
  std::vector<Slot> slots_ = std::vector<Slot>(1);  // open addressing, a power of two, at most two thirds full
};

}  // namespace inkstone
