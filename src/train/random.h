// SplitMix64: the generator of everything random in a training (Steele, Lea, Flood 2014). A word adds
// 0x9e3779b97f4a7c15 to the state and mixes it by z ^= z >> 30, z *= 0xbf58476d1ce4e5b9, z ^= z >> 27,
// z *= 0x94d049bb133111eb, z ^= z >> 31.
#pragma once

#include <cstdint>

namespace inkstone {

class SplitMix64 {
 public:
  explicit SplitMix64(uint64_t state) : state_(state) {}

  uint64_t word() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Each number below `count` with the same probability: words of the incomplete last interval are drawn again.
  uint64_t below(uint64_t count) {
    const uint64_t incomplete = (UINT64_MAX % count + 1) % count;  // 2^64 mod count
    for (;;) {
      const uint64_t drawn = word();
      if (drawn <= UINT64_MAX - incomplete) return drawn % count;
    }
  }
  // In [-1, 1), 2^24 values.
  float uniform() { return static_cast<float>(word() >> 40) * 0x1p-23f - 1.0f; }

 private:
  uint64_t state_;
};

}  // namespace inkstone
