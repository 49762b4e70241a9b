#include "text/split_expression.h"

#include "base/error.h"

namespace inkstone {
namespace {

// Unicode's White_Space. PCRE2's own \s also takes U+180E, which left that set long ago.
constexpr std::string_view kWhiteSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

constexpr size_t kMaxExpression = 16 << 10;
constexpr size_t kMaxRepeat = 1000;  // {n,m}: PCRE2 unrolls it when it compiles

bool is_punctuation(char c) {
  return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) || (c >= 0x7B && c <= 0x7E);
}

class Rewriter {
 public:
  Rewriter(std::string_view in, std::string_view origin) : in_(in), origin_(origin) {}

  std::string run() {
    if (in_.size() > kMaxExpression) refuse("more than 16 KB");
    while (i_ < in_.size()) {
      const char c = in_[i_];
      if (c == '\\')
        escape(false);
      else if (c == '[')
        bracket();
      else if (c == '(')
        group();
      else if (c == '{')
        repeat();
      else if (c == '^' || c == '$')
        refuse("an anchor");  // Oniguruma's match at every line
      else
        out_ += in_[i_++];
    }
    return out_;
  }

 private:
  [[noreturn]] void refuse(std::string_view what) const {
    fail(Errc::unsupported, "{}: Split expression: {} at byte {}, expected plain classes and groups", origin_, what,
         i_);
  }

  bool starts(std::string_view text) const { return in_.substr(i_).starts_with(text); }

  // i_ stands on a backslash.
  void escape(bool in_class) {
    if (i_ + 1 >= in_.size()) refuse("a backslash at the end");
    const char c = in_[i_ + 1];
    if (c == 's') {
      out_ += in_class ? std::string(kWhiteSpace) : fmt::format("[{}]", kWhiteSpace);
    } else if (c == 'S') {
      if (in_class) refuse("\\S in a class");
      out_ += fmt::format("[^{}]", kWhiteSpace);
    } else if (c == 'p' || c == 'P') {
      return property();
    } else if (c == 'r' || c == 'n' || c == 't' || c == 'd' || c == 'D' || is_punctuation(c)) {
      out_ += in_.substr(i_, 2);
    } else {
      refuse(fmt::format("the escape of byte {:#04x}", static_cast<unsigned char>(c)));
    }
    i_ += 2;
  }

  // \p{L}, \p{Lu}, \p{Han}, \P{...}, \p{^...}: the names are PCRE2's to check.
  void property() {
    const size_t end = in_.find('}', i_);
    if (i_ + 2 >= in_.size() || in_[i_ + 2] != '{' || end == std::string_view::npos) refuse("\\p without {name}");
    for (const char c : in_.substr(i_ + 3, end - i_ - 3))
      if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && c != '_' && c != '^') refuse("a property's name");
    out_ += in_.substr(i_, end + 1 - i_);
    i_ = end + 1;
  }

  void bracket() {
    out_ += in_[i_++];
    if (i_ < in_.size() && in_[i_] == '^') out_ += in_[i_++];
    if (i_ < in_.size() && in_[i_] == ']') refuse("an empty class");
    while (i_ < in_.size() && in_[i_] != ']') {
      if (in_[i_] == '[' || starts("&&")) refuse("a class within a class");
      if (in_[i_] == '\\')
        escape(true);
      else
        out_ += in_[i_++];
    }
    if (i_ >= in_.size()) refuse("a class without end");
    out_ += in_[i_++];
  }

  void group() {
    for (const std::string_view opening : {"(?:", "(?i:", "(?=", "(?!", "(?<=", "(?<!", "(?>"}) {
      if (!starts(opening)) continue;
      out_ += opening;
      i_ += opening.size();
      return;
    }
    if (starts("(?") || starts("(*")) refuse("a group of a kind that is not supported");
    out_ += "(?:";  // nobody reads what it captures
    ++i_;
  }

  size_t digits() {
    size_t value = 0;
    const size_t begin = i_;
    for (; i_ < in_.size() && in_[i_] >= '0' && in_[i_] <= '9'; ++i_) {
      value = value * 10 + static_cast<size_t>(in_[i_] - '0');
      if (value > kMaxRepeat) refuse("a repetition beyond 1000");
    }
    if (i_ == begin) refuse("a repetition without a number");
    return value;
  }

  // {n}, {n,}, {n,m}. A '+' behind means "possessive" to PCRE2 and "repeat" to Oniguruma.
  void repeat() {
    const size_t begin = i_++;
    digits();
    if (i_ < in_.size() && in_[i_] == ',') {
      ++i_;
      if (i_ < in_.size() && in_[i_] != '}') digits();
    }
    if (i_ >= in_.size() || in_[i_] != '}') refuse("a repetition without end");
    ++i_;
    if (i_ < in_.size() && in_[i_] == '+') refuse("'+' after a repetition");
    out_ += in_.substr(begin, i_ - begin);
  }

  std::string_view in_;
  std::string_view origin_;
  size_t i_ = 0;
  std::string out_;
};

}  // namespace

std::string pcre_of_split_expression(std::string_view expression, std::string_view origin) {
  return Rewriter(expression, origin).run();
}

}  // namespace inkstone
