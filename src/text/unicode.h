// Unicode as the reference tokenizer sees it: UTF-8 checks, the lossy decoding of Rust's String::from_utf8_lossy (one
// U+FFFD for each maximal invalid part), NFC. Plain functions over bytes, callable from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace inkstone {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

bool is_valid_utf8(std::string_view text);

// What stands at the front of some bytes: a whole character, or the longest part of one that is wrong or cut off.
struct Utf8Head {
  enum class Kind { character, invalid, incomplete };  // incomplete: more bytes could still make it a character
  Kind kind = Kind::invalid;
  size_t length = 0;        // bytes, at least 1
  char32_t code_point = 0;  // of a whole character
};
// `text` must not be empty.
Utf8Head utf8_head(std::string_view text);

// Appends `text` with U+FFFD for every maximal invalid part, one cut off by the end included.
void append_lossy(std::string_view text, std::string& out);
std::string to_valid_utf8(std::string_view text);

// Bytes at the end of `text` that begin a character which more bytes could complete: 0 to 3.
size_t incomplete_suffix(std::string_view text);

void append_utf8(char32_t code_point, std::string& out);

// `text` (valid UTF-8) in Normalization Form C: `text` itself where it is already, else a view of `scratch`.
std::string_view nfc(std::string_view text, std::string& scratch);

// Rust's char::is_whitespace, which is Unicode's White_Space, and the \w of its regex crate.
bool is_white_space(char32_t code_point);
bool is_word_character(char32_t code_point);

}  // namespace inkstone
