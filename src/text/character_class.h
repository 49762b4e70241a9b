// What the published Split expressions ask of a character: \p{L}, \p{N}, \s, [\r\n], or none of them. Non-ASCII
// characters are as PCRE2 classifies them, so that a splitter by hand and an expression always agree. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace inkstone {

enum class CharacterClass : uint8_t { other, letter, number, blank, line_break };  // blank: white space but \r and \n

inline constexpr std::array<CharacterClass, 128> kAsciiClasses = [] {
  using enum CharacterClass;
  std::array<CharacterClass, 128> classes{};
  for (size_t c = 'a'; c <= 'z'; ++c) classes[c] = classes[c - 32] = letter;
  for (size_t c = '0'; c <= '9'; ++c) classes[c] = number;
  for (const size_t c : {' ', '\t', '\v', '\f'}) classes[c] = blank;
  classes['\n'] = classes['\r'] = line_break;
  return classes;
}();

CharacterClass character_class(char32_t code_point);

struct ClassifiedCharacter {
  CharacterClass kind = CharacterClass::other;
  size_t length = 0;  // bytes
};

ClassifiedCharacter classify_wide(const char* character);  // not ASCII

// The character that begins at text[i]. `text` must be valid UTF-8.
inline ClassifiedCharacter classify(std::string_view text, size_t i) {
  const unsigned char first = static_cast<unsigned char>(text[i]);
  return first < 0x80 ? ClassifiedCharacter{kAsciiClasses[first], 1} : classify_wide(text.data() + i);
}

}  // namespace inkstone
