#include "text/unicode.h"

#include <simdjson.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/error.h"

namespace inkstone {
namespace {

uint8_t byte_at(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

// Code points below this are classified by a table; those above are rare and go through utf8proc.
constexpr char32_t kTableSize = 0x30000;

// What a character may do to its neighbours under NFC.
enum : uint8_t {
  kInert = 0,   // never changes and never joins what stands before: text may be cut in front of it
  kMark = 1,    // changes only its place among other marks, by combining class
  kActive = 2,  // may change or join what stands before
};

struct NfcTable {
  std::vector<uint8_t> action = std::vector<uint8_t>(kTableSize, kInert);

  NfcTable() {
    std::vector<bool> joins(kTableSize, false);
    std::array<utf8proc_int32_t, 32> parts;
    for (char32_t c = 0x80; c < kTableSize; ++c) {
      const utf8proc_property_t* property = utf8proc_get_property(static_cast<utf8proc_int32_t>(c));
      if (property->combining_class != 0) action[c] = kMark;
      const bool hangul = c >= 0xAC00 && c < 0xD7A4;
      if (property->decomp_seqindex == UINT16_MAX || property->decomp_type != 0 || hangul) continue;
      int boundary = 0;
      const auto count = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(), parts.size(),
                                                 UTF8PROC_DECOMPOSE, &boundary);
      if (count < 1 || count > static_cast<utf8proc_ssize_t>(parts.size())) continue;
      for (utf8proc_ssize_t i = 1; i < count; ++i)
        if (static_cast<char32_t>(parts[i]) < kTableSize) joins[parts[i]] = true;
      const auto composed = utf8proc_normalize_utf32(
          parts.data(), count, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
      if (composed != 1 || static_cast<char32_t>(parts[0]) != c) action[c] = kActive;
    }
    for (char32_t c = 0x1161; c < 0x1176; ++c) joins[c] = true;  // Hangul vowels and finals join by rule, not by table
    for (char32_t c = 0x11A8; c < 0x11C3; ++c) joins[c] = true;
    for (char32_t c = 0; c < kTableSize; ++c)
      if (joins[c]) action[c] = kActive;
  }
};

const NfcTable& nfc_table() {
  static const NfcTable table;
  return table;
}

int combining_class(char32_t c) { return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class; }

// Appends the canonical decomposition of c, marks in the order that they come.
void append_decomposed(char32_t c, std::vector<utf8proc_int32_t>& points) {
  std::array<utf8proc_int32_t, 32> parts;  // the longest canonical decomposition has 4
  int boundary = 0;
  const auto count =
      utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), parts.data(), parts.size(),
                              static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE), &boundary);
  CHECK(count >= 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()));
  points.insert(points.end(), parts.begin(), parts.begin() + count);
}

// The normal form of a whole piece. utf8proc_map would do it, but orders marks by exchange: a hostile run of a hundred
// thousand marks would take minutes.
void append_nfc(std::string_view piece, std::string& out) {
  std::vector<utf8proc_int32_t> points;
  for (size_t i = 0; i < piece.size();) {
    const Utf8Head head = utf8_head(piece.substr(i));
    append_decomposed(head.code_point, points);
    i += head.length;
  }
  const auto class_of = [](utf8proc_int32_t c) { return combining_class(static_cast<char32_t>(c)); };
  for (auto begin = points.begin(); begin != points.end();) {
    begin = std::find_if(begin, points.end(), [&](auto c) { return class_of(c) != 0; });
    const auto end = std::find_if(begin, points.end(), [&](auto c) { return class_of(c) == 0; });
    std::stable_sort(begin, end, [&](auto a, auto b) { return class_of(a) < class_of(b); });
    begin = end;
  }
  const auto count = utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()),
                                              static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  CHECK(count >= 0);
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    std::array<utf8proc_uint8_t, 4> bytes;
    const auto size = utf8proc_encode_char(points[static_cast<size_t>(i)], bytes.data());
    out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(size));
  }
}

// Bytes at the front that lie below U+0300: nothing there changes, or joins what stands before it.
size_t plain_prefix(std::string_view text) {
  size_t i = 0;
  while (i < text.size() && byte_at(text, i) < 0xCC) ++i;
  return i;
}

}  // namespace

bool is_valid_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

Utf8Head utf8_head(std::string_view text) {
  using Kind = Utf8Head::Kind;
  const uint8_t first = byte_at(text, 0);
  if (first < 0x80) return {Kind::character, 1, first};
  size_t length = 0;
  uint8_t low = 0x80, high = 0xBF;  // the second byte: Unicode 15, table 3-7
  char32_t code_point = 0;
  if (first >= 0xC2 && first <= 0xDF) {
    length = 2, code_point = first & 0x1F;
  } else if (first >= 0xE0 && first <= 0xEF) {
    length = 3, code_point = first & 0x0F;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    length = 4, code_point = first & 0x07;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  } else {
    return {Kind::invalid, 1, 0};
  }
  for (size_t i = 1; i < length; ++i) {
    if (i >= text.size()) return {Kind::incomplete, i, 0};
    const uint8_t byte = byte_at(text, i);
    if (byte < low || byte > high) return {Kind::invalid, i, 0};
    low = 0x80, high = 0xBF;
    code_point = code_point << 6 | (byte & 0x3F);
  }
  return {Kind::character, length, code_point};
}

void append_lossy(std::string_view text, std::string& out) {
  if (is_valid_utf8(text)) {
    out += text;
    return;
  }
  size_t good = 0;  // start of the valid bytes not yet written
  for (size_t i = 0; i < text.size();) {
    const Utf8Head head = utf8_head(text.substr(i));
    if (head.kind != Utf8Head::Kind::character) {
      out += text.substr(good, i - good);
      out += kReplacementCharacter;
      good = i + head.length;
    }
    i += head.length;
  }
  out += text.substr(good);
}

std::string to_valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  append_lossy(text, out);
  return out;
}

size_t incomplete_suffix(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const uint8_t byte = byte_at(text, text.size() - back);
    if ((byte & 0xC0) == 0x80) continue;
    const Utf8Head head = utf8_head(text.substr(text.size() - back));
    return head.kind == Utf8Head::Kind::incomplete && head.length == back ? back : 0;
  }
  return 0;
}

void append_utf8(char32_t c, std::string& out) {
  const auto push = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    push(c);
  } else if (c < 0x800) {
    push(0xC0 | c >> 6), push(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    push(0xE0 | c >> 12), push(0x80 | (c >> 6 & 0x3F)), push(0x80 | (c & 0x3F));
  } else {
    push(0xF0 | c >> 18), push(0x80 | (c >> 12 & 0x3F)), push(0x80 | (c >> 6 & 0x3F)), push(0x80 | (c & 0x3F));
  }
}

// Only the stretch around a character that may change goes through utf8proc: from the inert character before it to the
// next one. Everything else is copied in long runs, or not at all when nothing changes.
std::string_view nfc(std::string_view text, std::string& scratch) {
  size_t i = plain_prefix(text);
  if (i == text.size()) return text;
  const NfcTable& table = nfc_table();
  scratch.clear();
  size_t done = 0;   // source bytes that are in scratch
  size_t inert = 0;  // start of the last character in front of which the text may be cut
  int last_class = 0;
  if (i > 0) {  // plain bytes before: the last of them may take a mark
    inert = i - 1;
    while (inert > 0 && (byte_at(text, inert) & 0xC0) == 0x80) --inert;
  }
  while (i < text.size()) {
    const uint8_t first = byte_at(text, i);
    if (first < 0x80) {
      inert = i++;
      last_class = 0;
      continue;
    }
    const Utf8Head head = utf8_head(text.substr(i));
    const uint8_t action = head.code_point < kTableSize ? table.action[head.code_point] : uint8_t{kActive};
    if (action == kInert) {
      inert = i;
      i += head.length;
      last_class = 0;
      continue;
    }
    if (action == kMark) {
      const int this_class = combining_class(head.code_point);
      if (last_class <= this_class) {
        last_class = this_class;
        i += head.length;
        continue;
      }
    }
    size_t end = i + head.length;
    while (end < text.size()) {
      const Utf8Head next = utf8_head(text.substr(end));
      if (next.code_point < kTableSize && table.action[next.code_point] == kInert) break;
      end += next.length;
    }
    scratch += text.substr(done, inert - done);
    append_nfc(text.substr(inert, end - inert), scratch);
    done = inert = i = end;
    last_class = 0;
  }
  if (done == 0) return text;
  scratch += text.substr(done);
  return scratch;
}

bool is_white_space(char32_t c) {
  return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_word_character(char32_t c) {
  if (c == 0x200C || c == 0x200D) return true;    // Join_Control
  if (c >= 0x24B6 && c <= 0x24E9) return true;    // circled letters are Alphabetic though symbols
  if (c >= 0x1F130 && c <= 0x1F149) return true;  // squared letters
  if (c >= 0x1F150 && c <= 0x1F169) return true;  // negative circled letters
  if (c >= 0x1F170 && c <= 0x1F189) return true;  // negative squared letters
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return false;
  }
}

}  // namespace inkstone
