#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "text/jinja/failure.h"
#include "text/jinja/unicode.h"

namespace inkstone::jinja {
namespace {

constexpr size_t kMaxSource = size_t{4} << 20;

// "\r\n" and "\r" become "\n"; one newline at the very end is dropped.
std::string normalised(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool is_digit_of(char c, int base) {
  if (base == 16) return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  return c >= '0' && c < '0' + base;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)), text_(source_) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) root();
    tokens_.push_back({Token::Kind::end, "", line_});
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail_here(const std::string& message) const { throw Failure(message, line_); }

  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void push(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  // Moves to `end`, counting lines.
  void advance(size_t end) {
    line_ += static_cast<int>(
        std::count(text_.begin() + static_cast<ptrdiff_t>(at_), text_.begin() + static_cast<ptrdiff_t>(end), '\n'));
    if (end > at_) line_starting_ = text_[end - 1] == '\n';
    at_ = end;
  }

  // Data up to the next delimiter, then what the delimiter opens.
  void root() {
    size_t open = at_;
    while (true) {
      open = text_.find('{', open);
      if (open == std::string_view::npos || open + 1 >= text_.size()) {
        push(Token::Kind::data, std::string(text_.substr(at_)));
        advance(text_.size());
        return;
      }
      const char next = text_[open + 1];
      if (next == '%' || next == '{' || next == '#') break;
      ++open;
    }
    const char what = text_[open + 1];
    const char sign = open + 2 < text_.size() ? text_[open + 2] : '\0';
    push_data(text_.substr(at_, open - at_), sign, what != '{');
    const bool signed_tag = sign == '-' || sign == '+';
    advance(open + (signed_tag ? 3 : 2));
    if (what == '#')
      comment();
    else if (what == '{')
      expression(Token::Kind::variable_begin);
    else if (!raw())
      expression(Token::Kind::block_begin);
  }

  // `sign` and `strip_line`: what the delimiter after the data says about the white space before it.
  void push_data(std::string_view data, char sign, bool strip_line) {
    if (sign == '-') {
      data = data.substr(0, trim_space_end(data));
    } else if (sign != '+' && strip_line) {
      const size_t newline = data.rfind('\n');
      const size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((begin > 0 || line_starting_) && skip_space(data, begin) == data.size()) data = data.substr(0, begin);
    }
    if (!data.empty()) push(Token::Kind::data, std::string(data));
  }

  // After a tag's last delimiter: what its sign, or trim_blocks, takes away.
  void finish_tag(size_t end, char sign, bool trim_newline) {
    if (sign == '-')
      end = skip_space(text_, end);
    else if (sign != '+' && trim_newline && end < text_.size() && text_[end] == '\n')
      ++end;
    advance(end);
  }

  void comment() {
    const size_t close = text_.find("#}", at_);
    if (close == std::string_view::npos) fail_here("missing end of comment tag");
    const char sign = close > at_ ? text_[close - 1] : '\0';
    finish_tag(close + 2, sign, true);
  }

  // {% raw %} ... {% endraw %}; false if the block is another one.
  bool raw() {
    size_t at = skip_space(text_, at_);
    if (text_.substr(at, 3) != "raw") return false;
    at = skip_space(text_, at + 3);
    if (text_.substr(at, 3) == "-%}")
      advance(skip_space(text_, at + 3));
    else if (text_.substr(at, 2) == "%}")
      advance(at + 2);
    else
      return false;
    for (size_t open = at_; (open = text_.find("{%", open)) != std::string_view::npos; open += 2) {
      const char sign = open + 2 < text_.size() ? text_[open + 2] : '\0';
      at = skip_space(text_, open + (sign == '-' || sign == '+' ? 3 : 2));
      if (text_.substr(at, 6) != "endraw") continue;
      at = skip_space(text_, at + 6);
      const char close_sign = at < text_.size() ? text_[at] : '\0';
      if (close_sign == '-' || close_sign == '+') ++at;
      if (text_.substr(at, 2) != "%}") continue;
      push_data(text_.substr(at_, open - at_), sign, true);
      finish_tag(at + 2, close_sign, true);
      return true;
    }
    fail_here("missing end of raw directive");
  }

  void expression(Token::Kind begin) {
    const bool block = begin == Token::Kind::block_begin;
    push(begin, "");
    std::string open_braces;
    while (true) {
      if (at_ >= text_.size()) fail_here("unexpected end of template");
      if (open_braces.empty() && close_tag(block)) return;
      const size_t after_space = skip_space(text_, at_);
      if (after_space != at_)
        advance(after_space);
      else
        expression_token(open_braces);
    }
  }

  bool close_tag(bool block) {
    const std::string_view close = block ? "%}" : "}}";
    const char sign = peek();
    const bool has_sign = (sign == '-' || (sign == '+' && block)) && text_.substr(at_ + 1, 2) == close;
    if (!has_sign && text_.substr(at_, 2) != close) return false;
    push(block ? Token::Kind::block_end : Token::Kind::variable_end, "");
    finish_tag(at_ + (has_sign ? 3 : 2), has_sign ? sign : '\0', block);
    return true;
  }

  void expression_token(std::string& open_braces) {
    const char c = peek();
    if (c >= '0' && c <= '9') return number();
    if (c == '"' || c == '\'') return string();
    char32_t code;
    decode_utf8(text_.substr(at_), code);
    if (is_word(code)) return name();
    op(open_braces);
  }

  void name() {
    size_t end = at_;
    while (end < text_.size()) {
      char32_t code;
      const size_t length = decode_utf8(text_.substr(end), code);
      if (!is_word(code)) break;
      end += length;
    }
    push(Token::Kind::name, std::string(text_.substr(at_, end - at_)));
    advance(end);
  }

  // digits with single underscores between them, from `at`
  size_t digits(size_t at, int base) const {
    while (at < text_.size() && (is_digit_of(text_[at], base) ||
                                 (text_[at] == '_' && at + 1 < text_.size() && is_digit_of(text_[at + 1], base))))
      ++at;
    return at;
  }

  void number() {
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';
    const char marker = static_cast<char>(peek(1) | 0x20);
    const int base = peek() != '0' ? 10 : marker == 'x' ? 16 : marker == 'o' ? 8 : marker == 'b' ? 2 : 10;
    if (base != 10 && digits(at_ + 2, base) > at_ + 2) return push_number(Token::Kind::integer, digits(at_ + 2, base));
    size_t end = digits(at_, 10);
    bool real = false;
    if (!after_dot) {
      if (end + 1 < text_.size() && text_[end] == '.' && is_digit_of(text_[end + 1], 10)) {
        end = digits(end + 1, 10);
        real = true;
      }
      if (end < text_.size() && (text_[end] | 0x20) == 'e') {
        size_t exponent = end + 1;
        if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
        if (exponent < text_.size() && is_digit_of(text_[exponent], 10)) {
          end = digits(exponent, 10);
          real = true;
        }
      }
    }
    if (!real && peek() == '0' && text_.substr(at_, end - at_).find_first_not_of("0_") != std::string_view::npos)
      fail_here("an integer begins with 0");
    push_number(real ? Token::Kind::real : Token::Kind::integer, end);
  }

  void push_number(Token::Kind kind, size_t end) {
    std::string spelling(text_.substr(at_, end - at_));
    std::erase(spelling, '_');
    push(kind, std::move(spelling));
    advance(end);
  }

  void string() {
    const char quote = peek();
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) fail_here("unexpected end of string");
    push(Token::Kind::string, unescaped(text_.substr(at_ + 1, end - at_ - 1)));
    advance(end + 1);
  }

  // Python's escapes in a string literal; an unknown one stays as it is.
  std::string unescaped(std::string_view in) const {
    static constexpr std::string_view kLetters = "\\'\"abfnrtv", kValues = "\\'\"\a\b\f\n\r\t\v";
    std::string out;
    for (size_t i = 0; i < in.size(); ++i) {
      if (in[i] != '\\') {
        out += in[i];
        continue;
      }
      const char c = in[++i];
      const size_t letter = kLetters.find(c);
      if (c == '\n') continue;
      if (letter != std::string_view::npos) {
        out += kValues[letter];
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t length = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        append_code(out, in.substr(i + 1), length, 16);
        i += length;
      } else if (c >= '0' && c <= '7') {
        size_t length = 1;
        while (length < 3 && i + length < in.size() && is_digit_of(in[i + length], 8)) ++length;
        append_code(out, in.substr(i), length, 8);
        i += length - 1;
      } else {
        out += '\\';
        out += c;
      }
    }
    return out;
  }

  void append_code(std::string& out, std::string_view digits, size_t length, int base) const {
    if (digits.size() < length) fail_here("truncated escape in a string");
    uint32_t code = 0;
    for (const char c : digits.substr(0, length)) {
      if (!is_digit_of(c, base)) fail_here("malformed escape in a string");
      code = code * static_cast<uint32_t>(base) + static_cast<uint32_t>(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) fail_here("escape of no character in a string");
    append_utf8(out, code);
  }

  void op(std::string& open_braces) {
    static constexpr std::array<std::string_view, 6> kDouble = {"//", "**", "==", "!=", ">=", "<="};
    static constexpr std::string_view kSingle = "+-/*%~[](){}><=.:|,;";
    const std::string_view two = text_.substr(at_, 2);
    const bool is_double = std::find(kDouble.begin(), kDouble.end(), two) != kDouble.end();
    const char c = peek();
    if (!is_double && kSingle.find(c) == std::string_view::npos)
      fail_here(fmt::format("unexpected character '{}'", static_cast<unsigned char>(c) < 0x20 ? '?' : c));
    if (c == '(' || c == '[' || c == '{') {
      open_braces += c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (open_braces.empty()) fail_here(fmt::format("unexpected '{}'", c));
      if (open_braces.back() != c) fail_here(fmt::format("unexpected '{}', expected '{}'", c, open_braces.back()));
      open_braces.pop_back();
    }
    push(Token::Kind::op, std::string(is_double ? two : text_.substr(at_, 1)));
    advance(at_ + (is_double ? 2 : 1));
  }

  std::string source_;
  std::string_view text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  if (source.size() > kMaxSource) raise("the template has {} bytes, at most {} are read", source.size(), kMaxSource);
  if (!is_utf8(source)) raise("the template is not UTF-8");
  return Lexer(normalised(source)).run();
}

}  // namespace inkstone::jinja
