#include "text/qwen_split.h"

#include "text/character_class.h"

namespace inkstone {
namespace {

using enum CharacterClass;

// End of the characters of one class from `i` on.
size_t skip(std::string_view text, size_t i, CharacterClass wanted) {
  while (i < text.size()) {
    const ClassifiedCharacter c = classify(text, i);
    if (c.kind != wanted) break;
    i += c.length;
  }
  return i;
}

// Bytes of (?i:s|t|re|ve|m|ll|d) at the front, 0 for none. U+017F is an s, too.
size_t contraction(std::string_view text) {
  const auto lower = [&](size_t i) { return i < text.size() ? static_cast<char>(text[i] | 0x20) : '\0'; };
  switch (lower(0)) {
    case 's':
    case 't':
    case 'm':
    case 'd': return 1;
    case 'r':
    case 'v': return lower(1) == 'e' ? 2 : 0;
    case 'l': return lower(1) == 'l' ? 2 : 0;
    default: return text.starts_with("\xC5\xBF") ? 2 : 0;
  }
}

// \s*[\r\n]+|\s+(?!\S)|\s+ : white space to its last line break; else all of it if the text ends there; else all but
// the character that what follows may want in front.
size_t white_space_end(std::string_view text, size_t begin) {
  size_t end = begin, last = begin, line_end = begin;
  while (end < text.size()) {
    const ClassifiedCharacter c = classify(text, end);
    if (c.kind != blank && c.kind != line_break) break;
    last = end;
    end += c.length;
    if (c.kind == line_break) line_end = end;
  }
  if (line_end > begin) return line_end;
  return end == text.size() || last == begin ? end : last;
}

}  // namespace

size_t qwen_piece_end(std::string_view text, size_t begin) {
  const ClassifiedCharacter first = classify(text, begin);
  const size_t next = begin + first.length;
  if (first.kind == letter) return skip(text, next, letter);
  if (first.kind == number) return next;
  if (text[begin] == '\'')
    if (const size_t length = contraction(text.substr(next)); length > 0) return next + length;
  if (first.kind != line_break && next < text.size()) {
    const ClassifiedCharacter second = classify(text, next);
    if (second.kind == letter) return skip(text, next + second.length, letter);
    if (second.kind == other && text[begin] == ' ')
      return skip(text, skip(text, next + second.length, other), line_break);
  }
  if (first.kind == other) return skip(text, skip(text, next, other), line_break);
  return white_space_end(text, begin);
}

}  // namespace inkstone
