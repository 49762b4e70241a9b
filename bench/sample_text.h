// Text for benchmarks, made of nothing but a seed: many scripts, words of morphemes, each word as often as Zipf's law
// has it, so that a cache of words helps as much as it does on real text and no more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace inkstone {

enum class TextKind {
  english,
  code,
  json,
  chinese,
  japanese,
  korean,
  arabic,
  hindi,
  thai,
  russian,
  numbers,
  urls,
  emoji
};
inline constexpr int kTextKinds = 13;
const char* name_of(TextKind kind);

// About `bytes` bytes of valid UTF-8, the same for the same arguments.
std::string sample_text(TextKind kind, size_t bytes, uint64_t seed);
// All kinds in paragraphs: a third English, a fifth code, a tenth JSON, the rest spread over the others.
std::string mixed_text(size_t bytes, uint64_t seed);

}  // namespace inkstone
