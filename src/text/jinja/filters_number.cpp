// Filters that make numbers.
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "text/jinja/filters.h"
#include "text/jinja/text_ops.h"
#include "text/jinja/unicode.h"

namespace inkstone::jinja {
namespace {

using Args = const Arguments&;

// Takes white space around and single underscores between digits away, as int() and float() allow.
std::optional<std::string> digits_of(const Value& value) {
  const TextPtr stripped = strip(value.as_text(), Side::both, nullptr);
  std::string out;
  const std::string_view text = stripped->view();
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const auto alphanumeric = [&](size_t at) {
      return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at]));
    };
    if (i == 0 || !alphanumeric(i - 1) || !alphanumeric(i + 1)) return std::nullopt;
  }
  return out;
}

std::optional<double> parse_real(const Value& value) {
  const auto digits = digits_of(value);
  if (!digits || digits->empty() || digits->size() > 400) return std::nullopt;
  for (const char c : *digits)
    if (c == 'x' || c == 'X' || c == '(') return std::nullopt;
  char* end = nullptr;
  const double number = std::strtod(digits->c_str(), &end);
  if (end != digits->c_str() + digits->size()) return std::nullopt;
  return number;
}

enum class Parsed { yes, no, too_large };

Parsed parse_integer(const Value& value, int64_t base, int64_t& number) {
  auto digits = digits_of(value);
  if (!digits) return Parsed::no;
  std::string_view text = *digits;
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (text.size() > 2 && text[0] == '0') {
    const char marker = static_cast<char>(text[1] | 0x20);
    const int64_t marked = marker == 'x' ? 16 : marker == 'o' ? 8 : marker == 'b' ? 2 : 0;
    if (marked != 0 && (base == marked || base == 0)) {
      text.remove_prefix(2);
      base = marked;
    }
  }
  if (base == 0) base = 10;
  if (base < 2 || base > 36) raise("int() base must be >= 2 and <= 36, or 0");
  const std::string spelled = (negative ? "-" : "") + std::string(text);
  if (text.empty() || text[0] == '-') return Parsed::no;
  const auto [end, error] =
      std::from_chars(spelled.data(), spelled.data() + spelled.size(), number, static_cast<int>(base));
  if (end != spelled.data() + spelled.size()) return Parsed::no;
  return error == std::errc() ? Parsed::yes : Parsed::too_large;
}

int64_t truncated(double value) {
  if (value >= 0x1p63 || value < -0x1p63) raise("integer overflow: integers have 64 bits here");
  return static_cast<int64_t>(value);
}

Value filter_int(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("int", arguments, {"default", "base"});
  const Value otherwise = bound.has(0) ? bound[0] : Value(int64_t{0});
  if (value.is_int()) return value.as_int();
  if (value.is_double()) {
    if (!std::isfinite(value.as_double())) return otherwise;
    return truncated(value.as_double());
  }
  if (!value.is_text()) {
    value.check_defined();
    return otherwise;
  }
  int64_t number = 0;
  switch (parse_integer(value, bound.integer(1, 10), number)) {
    case Parsed::yes: return number;
    case Parsed::too_large: raise("integer overflow: integers have 64 bits here");
    case Parsed::no: break;
  }
  const auto real = parse_real(value);
  return real && std::isfinite(*real) ? Value(truncated(*real)) : otherwise;
}

Value filter_float(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("float", arguments, {"default"});
  const Value otherwise = bound.has(0) ? bound[0] : Value(0.0);
  if (value.is_number()) return value.as_double();
  if (!value.is_text()) {
    value.check_defined();
    return otherwise;
  }
  const auto real = parse_real(value);
  return real ? Value(*real) : otherwise;
}

Value filter_abs(Interpreter&, const Value& value, Args) {
  value.check_defined();
  if (value.is_double()) return std::fabs(value.as_double());
  if (!value.is_int()) raise("bad operand type for abs(): '{}'", value.type_name());
  return value.as_int() < 0 ? negate(value) : Value(value.as_int());
}

// Python's round(): correctly rounded to `precision` decimals, ties to even.
double rounded(double value, int64_t precision) {
  constexpr int64_t kEnough = 320;
  if (!std::isfinite(value) || precision > kEnough) return value;
  if (precision < -kEnough) return std::copysign(0.0, value);
  if (precision < 0) {
    const double scale = std::pow(10.0, static_cast<double>(-precision));
    return std::isinf(scale) ? std::copysign(0.0, value) : std::nearbyint(value / scale) * scale;
  }
  return std::strtod(fmt::format("{:.{}f}", value, precision).c_str(), nullptr);
}

Value filter_round(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("round", arguments, {"precision", "method"});
  const int64_t precision = bound.integer(0, 0);
  const std::string method = bound.has(1) ? plain(bound[1]) : "common";
  value.check_defined();
  if (!value.is_number()) raise("type '{}' has no round", value.type_name());
  if (method == "common") {
    if (!value.is_int()) return rounded(value.as_double(), precision);
    if (precision >= 0) return value.as_int();
    return truncated(rounded(value.as_double(), precision));
  }
  if (method != "ceil" && method != "floor") raise("method must be common, ceil or floor");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.as_double() * scale;
  return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
}

constexpr Native kFilters[] = {
    {"abs", filter_abs}, {"float", filter_float}, {"int", filter_int}, {"round", filter_round}};

}  // namespace

std::span<const Native> number_filters() { return kFilters; }

}  // namespace inkstone::jinja
