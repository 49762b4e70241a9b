#include "text/jinja/unicode.h"

#include <utf8proc.h>

namespace inkstone::jinja {

size_t decode_utf8(std::string_view text, char32_t& code) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) {
    code = first;
    return 1;
  }
  utf8proc_int32_t decoded = -1;
  const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                       static_cast<utf8proc_ssize_t>(text.size()), &decoded);
  if (length <= 0) {
    code = 0xfffd;
    return 1;
  }
  code = static_cast<char32_t>(decoded);
  return static_cast<size_t>(length);
}

void append_utf8(std::string& out, char32_t code) {
  utf8proc_uint8_t bytes[4];
  const auto length = utf8proc_encode_char(static_cast<utf8proc_int32_t>(code), bytes);
  out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(length));
}

bool is_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    char32_t code;
    const size_t length = decode_utf8(text.substr(at), code);
    if (length == 1 && static_cast<unsigned char>(text[at]) >= 0x80) return false;
    at += length;
  }
  return true;
}

bool is_space(char32_t code) {
  if (code < 0x80) return (code >= 9 && code <= 13) || (code >= 0x1c && code <= 0x20);
  return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
         code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}

bool is_line_break(char32_t code) {
  return (code >= 10 && code <= 13) || (code >= 0x1c && code <= 0x1e) || code == 0x85 || code == 0x2028 ||
         code == 0x2029;
}

static utf8proc_category_t category(char32_t code) { return utf8proc_category(static_cast<utf8proc_int32_t>(code)); }

bool is_printable(char32_t code) {
  if (code < 0x7f) return code >= 0x20;
  switch (category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}

bool is_alpha(char32_t code) {
  const auto c = category(code);
  return c == UTF8PROC_CATEGORY_LU || c == UTF8PROC_CATEGORY_LL || c == UTF8PROC_CATEGORY_LT ||
         c == UTF8PROC_CATEGORY_LM || c == UTF8PROC_CATEGORY_LO;
}
bool is_digit(char32_t code) { return category(code) == UTF8PROC_CATEGORY_ND; }
bool is_numeric(char32_t code) {
  const auto c = category(code);
  return c == UTF8PROC_CATEGORY_ND || c == UTF8PROC_CATEGORY_NL || c == UTF8PROC_CATEGORY_NO;
}
bool is_upper(char32_t code) { return category(code) == UTF8PROC_CATEGORY_LU; }
bool is_lower(char32_t code) { return category(code) == UTF8PROC_CATEGORY_LL; }
bool is_word(char32_t code) { return code == '_' || is_alpha(code) || is_numeric(code); }

static std::string one(utf8proc_int32_t code) {
  std::string out;
  append_utf8(out, static_cast<char32_t>(code));
  return out;
}

std::string to_upper(char32_t code) {
  if (code == 0xdf) return "SS";
  if (code == 0x149) return "\xCA\xBCN";
  return one(utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
}
std::string to_lower(char32_t code) {
  if (code == 0x130) return "i\xCC\x87";
  return one(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}
std::string to_title(char32_t code) {
  if (code == 0xdf) return "Ss";
  return one(utf8proc_totitle(static_cast<utf8proc_int32_t>(code)));
}

size_t skip_space(std::string_view text, size_t begin) {
  while (begin < text.size()) {
    char32_t code;
    const size_t length = decode_utf8(text.substr(begin), code);
    if (!is_space(code)) break;
    begin += length;
  }
  return begin;
}

size_t trim_space_end(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80) --begin;
    char32_t code;
    if (decode_utf8(text.substr(begin, end - begin), code) != end - begin || !is_space(code)) break;
    end = begin;
  }
  return end;
}

}  // namespace inkstone::jinja
