#include "text/vocabulary.h"

#include <algorithm>
#include <array>
#include <bit>
#include <random>

#include "base/error.h"
#include "text/hash.h"
#include "text/unicode.h"

namespace inkstone {
namespace {

// GPT-2's table: bytes that print stand for themselves, the other 68 are numbered from U+0100.
struct ByteSpelling {
  std::array<char32_t, 256> of_byte{};
  std::array<int16_t, 0x200> to_byte{};

  constexpr ByteSpelling() {
    for (int16_t& byte : to_byte) byte = -1;
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool prints = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      of_byte[b] = prints ? static_cast<char32_t>(b) : next++;
      to_byte[of_byte[b]] = static_cast<int16_t>(b);
    }
  }
};
constexpr ByteSpelling kByteSpelling;

// Appends the bytes that `spelling` (valid UTF-8) stands for.
void append_spelled(std::string_view spelling, std::string& out) {
  const size_t begin = out.size();
  for (size_t i = 0; i < spelling.size();) {
    const uint8_t first = static_cast<uint8_t>(spelling[i]);
    char32_t c = first;
    size_t length = 1;
    if (first >= 0x80) {
      const Utf8Head head = utf8_head(spelling.substr(i));
      c = head.code_point;
      length = head.length;
    }
    const int byte = byte_of_spelling(c);
    if (byte < 0) {
      out.resize(begin);
      out += spelling;
      return;
    }
    out += static_cast<char>(byte);
    i += length;
  }
}

}  // namespace

uint64_t hash_seed() {
  static const uint64_t seed = [] {
    std::random_device device;
    return static_cast<uint64_t>(device()) << 32 | device();
  }();
  return seed;
}

char32_t spelling_of_byte(uint8_t byte) { return kByteSpelling.of_byte[byte]; }

int byte_of_spelling(char32_t c) { return c < kByteSpelling.to_byte.size() ? kByteSpelling.to_byte[c] : -1; }

std::string bytes_of_spelling(std::string_view spelling) {
  std::string bytes;
  append_spelled(spelling, bytes);
  return bytes;
}

Vocabulary::Vocabulary(std::span<const Entry> entries, std::string_view origin) : seed_(hash_seed()) {
  int32_t highest = -1;
  size_t total = 0;
  for (const Entry& entry : entries) {
    CHECK(entry.id >= 0 && entry.id <= kMaxTokenId);
    highest = std::max(highest, entry.id);
    total += entry.spelling.size();
  }
  if (total >= kAbsent) fail(Errc::bad_file, "{}: vocab: {} bytes of tokens, expected fewer than 4 GB", origin, total);
  places_.resize(static_cast<size_t>(highest) + 1);
  bytes_places_.resize(places_.size());
  slots_.resize(std::bit_ceil(entries.size() * 3 / 2 + 2));
  spellings_.reserve(total);
  bytes_.reserve(total);
  constexpr size_t kAhead = 16;
  uint64_t hashes[kAhead];
  for (size_t i = 0; i < entries.size() + kAhead; ++i) {
    if (i >= kAhead) insert(entries[i - kAhead], hashes[i % kAhead], origin);
    if (i >= entries.size()) continue;
    hashes[i % kAhead] = hash(entries[i].spelling);
    prefetch(hashes[i % kAhead]);
  }
}

void Vocabulary::insert(const Entry& entry, uint64_t h, std::string_view origin) {
  Place& place = places_[entry.id];
  if (place.offset != kAbsent) fail(Errc::bad_file, "{}: vocab: id {} stands for two tokens", origin, entry.id);
  const uint32_t tag = static_cast<uint32_t>(h >> 32);
  size_t at = h & (slots_.size() - 1);
  for (; slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1))
    if (slots_[at].tag == tag && spelling(slots_[at].id) == entry.spelling)
      fail(Errc::bad_file, "{}: vocab: token \"{}\" stands twice", origin, entry.spelling.substr(0, 80));
  slots_[at] = {tag, entry.id};
  place = {static_cast<uint32_t>(spellings_.size()), static_cast<uint32_t>(entry.spelling.size())};
  spellings_ += entry.spelling;
  const size_t begin = bytes_.size();
  append_spelled(entry.spelling, bytes_);
  bytes_places_[entry.id] = {static_cast<uint32_t>(begin), static_cast<uint32_t>(bytes_.size() - begin)};
}

uint64_t Vocabulary::hash(std::string_view spelling) const { return hash_bytes(spelling, seed_); }

int32_t Vocabulary::find(std::string_view wanted) const { return find(wanted, hash(wanted)); }

int32_t Vocabulary::find(std::string_view wanted, uint64_t h) const {
  const uint32_t tag = static_cast<uint32_t>(h >> 32);
  for (size_t at = h & (slots_.size() - 1); slots_[at].id >= 0; at = (at + 1) & (slots_.size() - 1))
    if (slots_[at].tag == tag && spelling(slots_[at].id) == wanted) return slots_[at].id;
  return -1;
}

bool Vocabulary::contains(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < places_.size() && places_[id].offset != kAbsent;
}

std::string_view Vocabulary::spelling(int32_t id) const {
  if (!contains(id)) return {};
  return std::string_view(spellings_).substr(places_[id].offset, places_[id].length);
}

std::string_view Vocabulary::bytes(int32_t id) const {
  if (!contains(id)) return {};
  return std::string_view(bytes_).substr(bytes_places_[id].offset, bytes_places_[id].length);
}

}  // namespace inkstone
