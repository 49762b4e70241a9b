// "..." % values and "...".format(values): printf-style and brace formats, as far as templates use them.
#include <charconv>
#include <cmath>

#include "text/jinja/interpreter.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode.h"

namespace inkstone::jinja {
namespace {

constexpr int64_t kMaxWidth = 10'000;

struct Spec {
  bool left = false, centre = false, plus = false, space = false, alternate = false, zero = false, aligned = false;
  bool grouped = false;
  bool sign_first = false;  // {:=6}: the filling stands between sign and digits
  char32_t fill = ' ';
  int64_t width = 0;
  int64_t precision = -1;
  char type = 's';
};

bool number_at(std::string_view text, size_t& at, int64_t& number) {
  const auto [end, error] = std::from_chars(text.data() + at, text.data() + text.size(), number);
  if (end == text.data() + at || error != std::errc() || number < 0) return false;
  if (number > kMaxWidth) raise("a format's width is more than {}", kMaxWidth);
  at = static_cast<size_t>(end - text.data());
  return true;
}

std::string grouped(std::string digits) {
  const size_t dot = std::min(digits.find_first_not_of("0123456789"), digits.size());
  for (size_t at = dot; at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

// The digits of a number without its sign.
std::string number_digits(const Value& value, const Spec& spec) {
  const double real = std::fabs(value.as_double());
  const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
  std::string digits;
  switch (spec.type) {
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
    case 'b': {
      if (value.is_double() && (!std::isfinite(real) || real >= 0x1p63))
        raise("a float is too large for an integer format");
      const int64_t number = value.is_double() ? static_cast<int64_t>(value.as_double()) : value.as_int();
      const uint64_t size = number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
      if (spec.type == 'x')
        digits = fmt::format("{}{:x}", spec.alternate ? "0x" : "", size);
      else if (spec.type == 'X')
        digits = fmt::format("{}{:X}", spec.alternate ? "0X" : "", size);
      else if (spec.type == 'o')
        digits = fmt::format("{}{:o}", spec.alternate ? "0o" : "", size);
      else if (spec.type == 'b')
        digits = fmt::format("{}{:b}", spec.alternate ? "0b" : "", size);
      else
        digits = std::to_string(size);
      break;
    }
    case '%': digits = fmt::format("{:.{}f}%", real * 100, precision); break;
    case 'f': digits = fmt::format("{:.{}f}", real, precision); break;
    case 'F': digits = fmt::format("{:.{}F}", real, precision); break;
    case 'e': digits = fmt::format("{:.{}e}", real, precision); break;
    case 'E': digits = fmt::format("{:.{}E}", real, precision); break;
    case 'g': digits = fmt::format("{:.{}g}", real, precision == 0 ? 1 : precision); break;
    case 'G': digits = fmt::format("{:.{}G}", real, precision == 0 ? 1 : precision); break;
    default: raise("unsupported format character '{}'", spec.type);
  }
  return spec.grouped ? grouped(std::move(digits)) : digits;
}

TextPtr padded(const Text& text, const Spec& spec, Side side) {
  if (spec.centre) {
    const auto missing = spec.width - static_cast<int64_t>(text.chars());
    if (missing <= 0) return slice(text, 0, text.size());
    const TextPtr left = filled(text, static_cast<int64_t>(text.chars()) + missing / 2, spec.fill, Side::right);
    return filled(*left, spec.width, spec.fill, Side::left);
  }
  return filled(text, spec.width, spec.fill, side);
}

TextPtr formatted_number(const Value& value, const Spec& spec) {
  value.check_defined();
  if (!value.is_number()) raise("format '{}': a number is required, not {}", spec.type, value.type_name());
  const std::string digits = number_digits(value, spec);
  const bool negative = value.is_double() ? std::signbit(value.as_double()) : value.as_int() < 0;
  const std::string sign = negative ? "-" : spec.plus ? "+" : spec.space ? " " : "";
  if (spec.zero && !spec.left && !spec.aligned) {
    const TextPtr body = filled(*make_text(digits, true), spec.width - static_cast<int64_t>(sign.size()),
                                spec.fill == ' ' && !spec.sign_first ? U'0' : spec.fill, Side::right);
    return make_text(sign + std::string(body->view()), true);
  }
  return padded(*make_text(sign + digits, true), spec, spec.left ? Side::left : Side::right);
}

TextPtr formatted_text(const TextPtr& text, const Spec& spec, Side side) {
  TextPtr cut = text;
  if (spec.precision >= 0) cut = slice(*text, 0, text->offset_of(static_cast<size_t>(spec.precision)));
  return padded(*cut, spec, side);
}

class Percent {
 public:
  Percent(const Text& format, const Value& arguments) : format_(format), text_(format.view()), arguments_(arguments) {
    tuple_ = arguments.is_list() && arguments.as_list()->is_tuple();
  }

  Value run() {
    size_t done = 0;
    for (size_t at; (at = text_.find('%', done)) != std::string_view::npos; done = at_) {
      append_slice(out_, format_.marked(), done, at);
      at_ = at + 1;
      conversion(at);
    }
    append_slice(out_, format_.marked(), done, text_.size());
    const bool all_used = arguments_.is_dict() || arguments_.is_list() ? !tuple_ || next_ >= size() : next_ > 0;
    if (!all_used) raise("not all arguments converted during string formatting");
    return make_text(std::move(out_), format_.markup());
  }

 private:
  size_t size() const { return tuple_ ? arguments_.as_list()->items.size() : 1; }

  Value next_argument() {
    if (next_ >= size()) raise("not enough arguments for format string");
    const size_t index = next_++;
    return tuple_ ? arguments_.as_list()->items[index] : arguments_;
  }

  void conversion(size_t begin) {
    if (at_ >= text_.size()) raise("incomplete format");
    std::optional<Value> named;
    if (text_[at_] == '(') {
      const size_t end = text_.find(')', at_);
      if (end == std::string_view::npos) raise("incomplete format key");
      if (!arguments_.is_dict()) raise("format requires a mapping");
      const Value* value = arguments_.as_dict()->find(text_.substr(at_ + 1, end - at_ - 1));
      if (!value) raise("format: key '{}' is missing", text_.substr(at_ + 1, end - at_ - 1));
      named = *value;
      at_ = end + 1;
    }
    const Spec spec = flags();
    charge(static_cast<size_t>(spec.width) + 64);
    if (spec.type == '%') return append_slice(out_, format_.marked(), begin, begin + 1);
    const Value value = named ? *named : next_argument();
    append(out_, (spec.type == 's' || spec.type == 'r' || spec.type == 'c' ? text_of(value, spec)
                                                                           : formatted_number(value, spec))
                     ->marked());
  }

  TextPtr text_of(const Value& value, const Spec& spec) {
    if (spec.type == 'c') raise("unsupported format character 'c'");
    TextPtr text;
    if (spec.type == 'r') {
      MarkedText repr;
      append_repr(repr, value);
      text = make_text(std::move(repr));
    } else {
      text = to_text(value);
    }
    if (format_.markup()) text = escape(text);
    return formatted_text(text, spec, spec.left ? Side::left : Side::right);
  }

  Spec flags() {
    Spec spec;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == '-')
        spec.left = true;
      else if (c == '+')
        spec.plus = true;
      else if (c == ' ')
        spec.space = true;
      else if (c == '#')
        spec.alternate = true;
      else if (c == '0')
        spec.zero = true;
      else
        break;
    }
    number_at(text_, at_, spec.width);
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      if (!number_at(text_, at_, spec.precision)) spec.precision = 0;
    }
    if (at_ >= text_.size()) raise("incomplete format");
    spec.type = text_[at_++];
    return spec;
  }

  const Text& format_;
  std::string_view text_;
  const Value& arguments_;
  bool tuple_ = false;
  size_t next_ = 0;
  size_t at_ = 0;
  MarkedText out_;
};

class Braces {
 public:
  Braces(Interpreter& interpreter, const Text& format, const Arguments& arguments)
      : interpreter_(interpreter), format_(format), text_(format.view()), arguments_(arguments) {}

  Value run() {
    size_t done = 0, at = 0;
    while ((at = text_.find_first_of("{}", at)) != std::string_view::npos) {
      append_slice(out_, format_.marked(), done, at);
      if (at + 1 < text_.size() && text_[at + 1] == text_[at]) {
        append_slice(out_, format_.marked(), at, at + 1);
        at += 2;
      } else if (text_[at] == '}') {
        raise("single '}}' encountered in format string");
      } else {
        const size_t end = text_.find('}', at);
        if (end == std::string_view::npos) raise("expected '}}' before end of string");
        field(text_.substr(at + 1, end - at - 1));
        at = end + 1;
      }
      done = at;
    }
    append_slice(out_, format_.marked(), done, text_.size());
    return make_text(std::move(out_));
  }

 private:
  void field(std::string_view field) {
    charge(64 + field.size());
    if (field.find('{') != std::string_view::npos) raise("nested fields in a format are not supported");
    const size_t colon = field.find(':');
    std::string_view name = field.substr(0, colon);
    const std::string_view spec_text = colon == std::string_view::npos ? std::string_view() : field.substr(colon + 1);
    char conversion = '\0';
    if (const size_t bang = name.find('!'); bang != std::string_view::npos) {
      if (name.size() != bang + 2) raise("a format's conversion is one character");
      conversion = name[bang + 1];
      name = name.substr(0, bang);
    }
    Value value = argument(name);
    if (conversion == 'r') {
      MarkedText repr;
      append_repr(repr, value);
      value = make_text(std::move(repr));
    } else if (conversion == 's') {
      value = to_text(value);
    } else if (conversion != '\0') {
      raise("unknown conversion '{}' in a format", conversion);
    }
    append(out_, formatted(value, spec_text)->marked());
  }

  Value argument(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    const std::string_view first = name.substr(0, end);
    Value value;
    size_t index = 0;
    const auto [stop, error] = std::from_chars(first.data(), first.data() + first.size(), index);
    if (first.empty() || (error == std::errc() && stop == first.data() + first.size())) {
      if (first.empty()) index = next_++;
      if (index >= arguments_.positional.size()) raise("replacement index {} out of range for positional args", index);
      value = arguments_.positional[index];
    } else {
      bool found = false;
      for (const auto& [key, named] : arguments_.named)
        if (key == first) {
          value = named;
          found = true;
        }
      if (!found) raise("format: argument '{}' is missing", first);
    }
    for (size_t at = end; at < name.size();) {
      const bool dot = name[at] == '.';
      const size_t stop_at = dot ? std::min(name.find_first_of(".[", at + 1), name.size()) : name.find(']', at);
      if (stop_at == std::string_view::npos) raise("missing ']' in format string");
      const std::string_view part = name.substr(at + 1, stop_at - at - 1);
      int64_t number = 0;
      const auto [last, bad] = std::from_chars(part.data(), part.data() + part.size(), number);
      const bool digits = !dot && bad == std::errc() && last == part.data() + part.size();
      value = dot ? interpreter_.attribute(value, part)
                  : interpreter_.item(value, digits ? Value(number) : text_value(part));
      at = dot ? stop_at : stop_at + 1;
    }
    return value;
  }

  TextPtr formatted(const Value& value, std::string_view text) {
    if (text.empty()) return to_text(value);
    Spec spec;
    size_t at = 0;
    const auto align_at = [&](size_t index) {
      return index < text.size() && std::string_view("<>^=").find(text[index]) != std::string_view::npos;
    };
    char align = '\0';
    char32_t fill;
    const size_t fill_size = decode_utf8(text, fill);
    if (align_at(fill_size)) {
      spec.fill = fill;
      align = text[fill_size];
      at = fill_size + 1;
    } else if (align_at(0)) {
      align = text[at++];
    }
    if (at < text.size() && (text[at] == '+' || text[at] == '-' || text[at] == ' ')) {
      spec.plus = text[at] == '+';
      spec.space = text[at] == ' ';
      ++at;
    }
    if (at < text.size() && text[at] == '#') spec.alternate = true, ++at;
    if (at < text.size() && text[at] == '0') spec.zero = true, ++at;
    number_at(text, at, spec.width);
    charge(static_cast<size_t>(spec.width));
    if (at < text.size() && text[at] == ',') spec.grouped = true, ++at;
    if (at < text.size() && text[at] == '.' && !number_at(text, ++at, spec.precision))
      raise("format specifier missing precision");
    const bool number = value.is_number() && !(value.is_bool() && at >= text.size());
    spec.type = at < text.size() ? text[at++] : number ? (value.is_int() ? 'd' : spec.precision < 0 ? 'r' : 'g') : 's';
    if (at != text.size()) raise("invalid format specifier '{}'", text);
    spec.left = align == '<';
    spec.centre = align == '^';
    spec.aligned = align != '\0' && align != '=';
    spec.sign_first = align == '=' && !spec.zero;
    spec.zero |= align == '=';
    if (spec.type == 's' || spec.type == 'r') {
      if (spec.type == 's' && value.is_number() && !value.is_bool()) raise("unknown format code 's' for a number");
      return formatted_text(to_text(value), spec, align == '>' || (number && align == '\0') ? Side::right : Side::left);
    }
    return formatted_number(value, spec);
  }

  Interpreter& interpreter_;
  const Text& format_;
  std::string_view text_;
  const Arguments& arguments_;
  size_t next_ = 0;
  MarkedText out_;
};

}  // namespace

Value format_percent(const Text& format, const Value& arguments) { return Percent(format, arguments).run(); }

Value format_braces(Interpreter& interpreter, const Text& format, const Arguments& arguments) {
  return Braces(interpreter, format, arguments).run();
}

}  // namespace inkstone::jinja
