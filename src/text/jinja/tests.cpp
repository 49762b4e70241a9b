// The tests after `is`.
#include <cmath>

#include "text/jinja/interpreter.h"
#include "text/jinja/unicode.h"

namespace inkstone::jinja {
namespace {

using Result = Value;
using Args = const Arguments&;

const Value& other(const char* name, Args arguments) {
  if (arguments.positional.size() != 1 || !arguments.named.empty()) raise("test '{}' takes one argument", name);
  return arguments.positional[0];
}

Result is_defined(Interpreter&, const Value& value, Args) { return !value.is_undefined(); }
Result is_undefined(Interpreter&, const Value& value, Args) { return value.is_undefined(); }
Result is_none(Interpreter&, const Value& value, Args) { return value.is_none(); }
Result is_boolean(Interpreter&, const Value& value, Args) { return value.is_bool(); }
Result is_true(Interpreter&, const Value& value, Args) { return value.is_bool() && value.truthy(); }
Result is_false(Interpreter&, const Value& value, Args) { return value.is_bool() && !value.truthy(); }
Result is_integer(Interpreter&, const Value& value, Args) { return value.is_int() && !value.is_bool(); }
Result is_float(Interpreter&, const Value& value, Args) { return value.is_double(); }
Result is_number(Interpreter&, const Value& value, Args) { return value.is_number(); }
Result is_string(Interpreter&, const Value& value, Args) { return value.is_text(); }
Result is_mapping(Interpreter&, const Value& value, Args) { return value.is_dict(); }
Result is_iterable_test(Interpreter&, const Value& value, Args) { return is_iterable(value); }
// What has a length and subscripts: also strings, dicts and undefined.
Result is_sequence(Interpreter&, const Value& value, Args) {
  return value.is_text() || value.is_dict() || value.is_undefined() ||
         (value.is_list() && value.as_list()->has_subscript());
}
Result is_callable(Interpreter&, const Value& value, Args) {
  return value.is_function() || value.is_loop() || value.is_undefined();
}
Result is_sameas(Interpreter&, const Value& value, Args arguments) {
  const Value& with = other("sameas", arguments);
  if (value.type_name() != with.type_name()) return false;
  if (value.is_list()) return value.as_list() == with.as_list();
  if (value.is_dict()) return value.as_dict() == with.as_dict();
  return equals(value, with);
}
Result is_eq(Interpreter&, const Value& value, Args arguments) { return equals(value, other("eq", arguments)); }
Result is_ne(Interpreter&, const Value& value, Args arguments) { return !equals(value, other("ne", arguments)); }
Result is_lt(Interpreter&, const Value& value, Args arguments) { return less(value, other("lt", arguments)); }
Result is_gt(Interpreter&, const Value& value, Args arguments) { return less(other("gt", arguments), value); }
Result is_le(Interpreter&, const Value& value, Args arguments) {
  return less(value, other("le", arguments)) || equals(value, arguments.positional[0]);
}
Result is_ge(Interpreter&, const Value& value, Args arguments) {
  return less(other("ge", arguments), value) || equals(value, arguments.positional[0]);
}
Result is_in(Interpreter&, const Value& value, Args arguments) { return contains(other("in", arguments), value); }

bool divisible(const Value& value, const Value& by) {
  return equals(arithmetic(Op::mod, value, by), Value(int64_t{0}));
}
Result is_even(Interpreter&, const Value& value, Args) { return divisible(value, int64_t{2}); }
Result is_odd(Interpreter&, const Value& value, Args) {
  return equals(arithmetic(Op::mod, value, int64_t{2}), Value(int64_t{1}));
}
Result is_divisibleby(Interpreter&, const Value& value, Args arguments) {
  return divisible(value, other("divisibleby", arguments));
}

Value cased(const Value& value, bool upper) {
  const TextPtr text = to_text(value);
  bool some = false;
  for (CharReader reader(text->marked()); reader.next();) {
    if (upper ? is_lower(reader.code()) : is_upper(reader.code())) return false;
    some |= upper ? is_upper(reader.code()) : is_lower(reader.code());
  }
  return some;
}
Result is_lower_test(Interpreter&, const Value& value, Args) { return cased(value, false); }
Result is_upper_test(Interpreter&, const Value& value, Args) { return cased(value, true); }
Result is_escaped(Interpreter&, const Value& value, Args) { return value.is_text() && value.as_text()->markup(); }

std::string name_of(const Value& value) { return value.is_text() ? std::string(value.view()) : std::string(); }
Result is_filter(Interpreter&, const Value& value, Args) { return find_filter(name_of(value)) != nullptr; }
Result is_test(Interpreter&, const Value& value, Args) { return find_test(name_of(value)) != nullptr; }

constexpr Native kTests[] = {
    {"!=", is_ne},
    {"<", is_lt},
    {"<=", is_le},
    {"==", is_eq},
    {">", is_gt},
    {">=", is_ge},
    {"boolean", is_boolean},
    {"callable", is_callable},
    {"defined", is_defined},
    {"divisibleby", is_divisibleby},
    {"eq", is_eq},
    {"equalto", is_eq},
    {"escaped", is_escaped},
    {"even", is_even},
    {"false", is_false},
    {"filter", is_filter},
    {"float", is_float},
    {"ge", is_ge},
    {"greaterthan", is_gt},
    {"gt", is_gt},
    {"in", is_in},
    {"integer", is_integer},
    {"iterable", is_iterable_test},
    {"le", is_le},
    {"lessthan", is_lt},
    {"lower", is_lower_test},
    {"lt", is_lt},
    {"mapping", is_mapping},
    {"ne", is_ne},
    {"none", is_none},
    {"number", is_number},
    {"odd", is_odd},
    {"sameas", is_sameas},
    {"sequence", is_sequence},
    {"string", is_string},
    {"test", is_test},
    {"true", is_true},
    {"undefined", is_undefined},
    {"upper", is_upper_test},
};

}  // namespace

NativeFunction find_test(std::string_view name) {
  for (const Native& entry : kTests)
    if (entry.name == name) return entry.function;
  return nullptr;
}

}  // namespace inkstone::jinja
