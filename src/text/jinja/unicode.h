// What Python's str knows about characters: white space, case, printability. Tables from utf8proc.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace inkstone::jinja {

// Reads one code point of non-empty `text` into `code` (U+FFFD for a byte that begins none); returns its bytes.
size_t decode_utf8(std::string_view text, char32_t& code);
void append_utf8(std::string& out, char32_t code);
bool is_utf8(std::string_view text);

bool is_space(char32_t code);       // str.isspace, and what strip and split take away
bool is_line_break(char32_t code);  // where splitlines splits ("\r\n" is one)
bool is_printable(char32_t code);   // what repr leaves as it is
bool is_alpha(char32_t code);
bool is_digit(char32_t code);    // a decimal digit
bool is_numeric(char32_t code);  // any number character
bool is_upper(char32_t code);
bool is_lower(char32_t code);
bool is_word(char32_t code);  // \w

// Full mappings: one character may become several.
std::string to_upper(char32_t code);
std::string to_lower(char32_t code);
std::string to_title(char32_t code);

// Where white space ends from the left, and begins from the right.
size_t skip_space(std::string_view text, size_t begin);
size_t trim_space_end(std::string_view text);

}  // namespace inkstone::jinja
