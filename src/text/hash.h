// Hashes for the tables of this room: short strings and pairs of ids. Seeded once a process, so that no file can be
// written to make everything collide.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace inkstone {

uint64_t hash_seed();

// Folds the 128-bit product: every bit of the result depends on every bit of both factors (as in wyhash).
inline uint64_t mix(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t hash_bytes(std::string_view text, uint64_t seed) {
  uint64_t h = seed ^ (text.size() * 0x9E3779B97F4A7C15u);
  const char* p = text.data();
  size_t left = text.size();
  for (; left >= 8; left -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = mix(h ^ word, 0xA0761D6478BD642Fu);
  }
  uint64_t tail = 0;
  if (left >= 4) {
    uint32_t low, high;
    std::memcpy(&low, p, 4);
    std::memcpy(&high, p + left - 4, 4);
    tail = static_cast<uint64_t>(high) << 32 | low;
  } else if (left > 0) {
    tail = static_cast<uint64_t>(static_cast<uint8_t>(p[0])) << 16 |
           static_cast<uint64_t>(static_cast<uint8_t>(p[left / 2])) << 8 | static_cast<uint8_t>(p[left - 1]);
  }
  return mix(h ^ tail, 0xE7037ED1A0B428DBu);
}

}  // namespace inkstone
