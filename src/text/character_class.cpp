#include "text/character_class.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <memory>
#include <new>
#include <string>
#include <vector>

#include "base/error.h"
#include "text/unicode.h"

namespace inkstone {
namespace {

using enum CharacterClass;

// Unicode has no letters, numbers or white space beyond: tags, variation selectors, private use.
constexpr char32_t kTableSize = 0x40000;

// All characters below kTableSize, one after the other, walked by an expression: about two milliseconds, once.
std::vector<CharacterClass> build_table() {
  std::vector<CharacterClass> table(kTableSize, other);
  std::string all;
  for (char32_t c = 0; c < kTableSize; ++c)
    if (c < 0xD800 || c >= 0xE000) append_utf8(c, all);
  int error = 0;
  PCRE2_SIZE offset = 0;
  const std::unique_ptr<pcre2_code, decltype(&pcre2_code_free)> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(R"((\p{L}+)|\p{N}+)"), PCRE2_ZERO_TERMINATED, PCRE2_UTF, &error,
                    &offset, nullptr),
      &pcre2_code_free);
  CHECK(code != nullptr);
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(code.get(), nullptr), &pcre2_match_data_free);
  if (!data) throw std::bad_alloc();
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // where it fails, pcre2_match interprets
  const auto match = [&](size_t from) {
    return pcre2_match(code.get(), reinterpret_cast<PCRE2_SPTR>(all.data()), all.size(), from, PCRE2_NO_UTF_CHECK,
                       data.get(), nullptr);
  };
  const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data.get());
  for (int groups = match(0); groups > 0; groups = match(span[1])) {
    for (size_t i = span[0]; i < span[1];) {
      const Utf8Head head = utf8_head(std::string_view(all).substr(i));
      table[head.code_point] = groups > 1 ? letter : number;
      i += head.length;
    }
  }
  for (char32_t c = 0; c < kTableSize; ++c)
    if (is_white_space(c)) table[c] = blank;
  table['\n'] = table['\r'] = line_break;
  return table;
}

}  // namespace

CharacterClass character_class(char32_t c) {
  static const std::vector<CharacterClass> table = build_table();
  return c < kTableSize ? table[c] : other;
}

ClassifiedCharacter classify_wide(const char* character) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(character[i]); };
  const auto rest = [&](size_t i) { return static_cast<char32_t>(byte(i) & 0x3F); };
  const char32_t first = byte(0);
  if (first < 0xE0) return {character_class((first & 0x1F) << 6 | rest(1)), 2};
  if (first < 0xF0) return {character_class((first & 0x0F) << 12 | rest(1) << 6 | rest(2)), 3};
  return {character_class((first & 0x07) << 18 | rest(1) << 12 | rest(2) << 6 | rest(3)), 4};
}

}  // namespace inkstone
