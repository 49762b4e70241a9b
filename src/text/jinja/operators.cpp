// Arithmetic as Python has it, in 64 bits: what overflows fails.
#include <cmath>
#include <limits>

#include "text/jinja/interpreter.h"

namespace inkstone::jinja {
namespace {

[[noreturn]] void overflow() { raise("integer overflow: integers have 64 bits here"); }

const char* symbol_of(Op op) {
  switch (op) {
    case Op::add: return "+";
    case Op::sub: return "-";
    case Op::mul: return "*";
    case Op::div: return "/";
    case Op::floordiv: return "//";
    case Op::mod: return "%";
    default: return "**";
  }
}

int64_t power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) overflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) overflow();
  }
  return result;
}

double real_power(double x, double y) {
  if (x == 0 && y < 0) raise("0.0 cannot be raised to a negative power");
  if (x < 0 && std::isfinite(y) && y != std::floor(y)) raise("a negative number to a fractional power is complex");
  const double result = std::pow(x, y);
  if (std::isinf(result) && std::isfinite(x) && std::isfinite(y)) raise("result of ** too large");
  return result;
}

// Rounds towards minus infinity, and the remainder has the divisor's sign.
int64_t floor_divide(int64_t x, int64_t y) {
  if (x == std::numeric_limits<int64_t>::min() && y == -1) overflow();
  return x / y - ((x % y != 0) && ((x % y < 0) != (y < 0)));
}

Value integers(Op op, int64_t x, int64_t y) {
  int64_t result = 0;
  switch (op) {
    case Op::add:
      if (__builtin_add_overflow(x, y, &result)) overflow();
      return result;
    case Op::sub:
      if (__builtin_sub_overflow(x, y, &result)) overflow();
      return result;
    case Op::mul:
      if (__builtin_mul_overflow(x, y, &result)) overflow();
      return result;
    case Op::pow:
      if (y < 0) return real_power(static_cast<double>(x), static_cast<double>(y));
      return power(x, y);
    default: break;
  }
  if (y == 0) raise("division by zero");
  if (op == Op::div) return static_cast<double>(x) / static_cast<double>(y);
  if (op == Op::floordiv) return floor_divide(x, y);
  if (y == -1) return int64_t{0};
  const int64_t rest = x % y;
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}

Value reals(Op op, double x, double y) {
  switch (op) {
    case Op::add: return x + y;
    case Op::sub: return x - y;
    case Op::mul: return x * y;
    case Op::pow: return real_power(x, y);
    default: break;
  }
  if (y == 0) raise("float division by zero");
  if (op == Op::div) return x / y;
  double rest = std::fmod(x, y);
  if (rest != 0 && (rest < 0) != (y < 0)) rest += y;
  if (op == Op::mod) return rest == 0 ? std::copysign(0.0, y) : rest;
  const double quotient = (x - rest) / y;
  if (quotient == 0) return std::copysign(0.0, x / y);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1 : floored;
}

Value repeated_text(const Text& text, int64_t count) {
  MarkedText out;
  if (count > 0 && text.size() > 0) {
    if (static_cast<uint64_t>(count) > std::numeric_limits<size_t>::max() / text.size())
      check_text_size(std::numeric_limits<size_t>::max());
    check_text_size(static_cast<size_t>(count) * text.size());
    charge(static_cast<size_t>(count) * (text.size() + 8));
    for (int64_t i = 0; i < count; ++i) append(out, text.marked());
  }
  return make_text(std::move(out), text.markup());
}

Value repeated_list(const List& list, int64_t count) {
  std::vector<Value> items;
  if (count > 0 && !list.items.empty()) {
    const size_t limit = Budget::current()->limits().items;
    if (static_cast<uint64_t>(count) > limit / list.items.size()) raise("a list would have more than {} items", limit);
    for (int64_t i = 0; i < count; ++i) items.insert(items.end(), list.items.begin(), list.items.end());
  }
  return make_list(std::move(items), list.kind);
}

bool repeats(const Value& value) {
  return value.is_text() ||
         (value.is_list() && (value.as_list()->kind == List::Kind::list || value.as_list()->is_tuple()));
}

Value repeated(const Value& value, int64_t count) {
  return value.is_text() ? repeated_text(*value.as_text(), count) : repeated_list(*value.as_list(), count);
}

Value added_texts(const TextPtr& left, const TextPtr& right) {
  MarkedText out;
  const bool markup = left->markup() || right->markup();
  check_text_size(left->size() + right->size());
  out.text.reserve(left->size() + right->size());
  for (const TextPtr& side : {left, right}) append(out, (markup ? escape(side) : side)->marked());
  return make_text(std::move(out), markup);
}

}  // namespace

Value negate(const Value& value) {
  value.check_defined();
  if (value.is_double()) return -value.as_double();
  if (!value.is_int()) raise("bad operand type for unary -: '{}'", value.type_name());
  return integers(Op::sub, 0, value.as_int());
}

Value positive(const Value& value) {
  value.check_defined();
  if (value.is_double()) return value;
  if (!value.is_int()) raise("bad operand type for unary +: '{}'", value.type_name());
  return value.as_int();
}

Value arithmetic(Op op, const Value& left, const Value& right) {
  left.check_defined();
  if (op == Op::mod && left.is_text()) return format_percent(*left.as_text(), right);
  right.check_defined();
  if (left.is_int() && right.is_int()) return integers(op, left.as_int(), right.as_int());
  if (left.is_number() && right.is_number()) return reals(op, left.as_double(), right.as_double());
  if (op == Op::add && left.is_text() && right.is_text()) return added_texts(left.as_text(), right.as_text());
  if (op == Op::add && repeats(left) && repeats(right) && left.is_list() && right.is_list() &&
      left.as_list()->is_tuple() == right.as_list()->is_tuple()) {
    std::vector<Value> items = left.as_list()->items;
    const auto& more = right.as_list()->items;
    items.insert(items.end(), more.begin(), more.end());
    return make_list(std::move(items), left.as_list()->is_tuple() ? List::Kind::tuple : List::Kind::list);
  }
  if (op == Op::mul && repeats(left) && right.is_int()) return repeated(left, right.as_int());
  if (op == Op::mul && left.is_int() && repeats(right)) return repeated(right, left.as_int());
  raise("unsupported operand type(s) for {}: '{}' and '{}'", symbol_of(op), left.type_name(), right.type_name());
}

}  // namespace inkstone::jinja
