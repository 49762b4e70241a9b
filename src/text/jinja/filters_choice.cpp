// Filters that choose and map, the table of all filters, and `default`.
#include <charconv>

#include "text/jinja/filters.h"
#include "text/jinja/text_ops.h"

namespace inkstone::jinja {

Value attribute_path(Interpreter& interpreter, const Value& item, const Value& path) {
  if (path.is_int()) return interpreter.item(item, path);
  const std::string names = plain(path);
  Value value = item;
  for (size_t at = 0; at <= names.size();) {
    const size_t end = std::min(names.find('.', at), names.size());
    const std::string_view name = std::string_view(names).substr(at, end - at);
    int64_t number = 0;
    const auto [stop, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    const bool digits = !name.empty() && name[0] != '-' && error == std::errc() && stop == name.data() + name.size();
    value = interpreter.item(value, digits ? Value(number) : text_value(name));
    at = end + 1;
  }
  return value;
}

namespace {

using Args = const Arguments&;

Value filter_default(Interpreter&, const Value& value, Args arguments) {
  const Bound bound("default", arguments, {"default_value", "boolean"});
  if (value.is_undefined() || (bound.boolean(1, false) && !value.truthy()))
    return bound.has(0) ? bound[0] : text_value("");
  return value;
}

Arguments without_first(Args arguments, size_t count) {
  Arguments rest;
  rest.positional.assign(arguments.positional.begin() + static_cast<ptrdiff_t>(count), arguments.positional.end());
  rest.named = arguments.named;
  return rest;
}

std::string name_at(const char* filter, Args arguments, size_t index) {
  if (arguments.positional.size() <= index || !arguments.positional[index].is_text())
    raise("{} needs the name of a filter, test or attribute", filter);
  return std::string(arguments.positional[index].view());
}

// What is false, None too, has no items for these filters.
std::vector<Value> walk_or_nothing(const Value& value) { return value.truthy() ? walk(value) : std::vector<Value>(); }

Value filter_map(Interpreter& interpreter, const Value& value, Args arguments) {
  std::vector<Value> items = walk_or_nothing(value);
  if (arguments.positional.empty()) {
    const Bound bound("map", arguments, {"attribute", "default"}, 1);
    for (Value& item : items) {
      item = attribute_path(interpreter, item, bound[0]);
      if (item.is_undefined() && bound.has(1) && !bound[1].is_none()) item = bound[1];
    }
  } else {
    const std::string name = name_at("map", arguments, 0);
    const Arguments rest = without_first(arguments, 1);
    for (Value& item : items) item = interpreter.filter(name, item, rest);
  }
  return make_list(std::move(items), List::Kind::generator);
}

// select, reject and, with an attribute first, selectattr, rejectattr.
Value chosen(const char* filter, Interpreter& interpreter, const Value& value, Args arguments, bool by_attribute,
             bool wanted) {
  std::vector<Value> kept;
  const size_t first = by_attribute;
  if (by_attribute && arguments.positional.empty()) raise("{}: missing parameter for attribute name", filter);
  const bool tested = arguments.positional.size() > first;
  const std::string test = tested ? name_at(filter, arguments, first) : std::string();
  const Arguments rest = tested ? without_first(arguments, first + 1) : Arguments();
  for (Value& item : walk_or_nothing(value)) {
    const Value seen = by_attribute ? attribute_path(interpreter, item, arguments.positional[0]) : item;
    const bool holds = tested ? interpreter.test(test, seen, rest) : seen.truthy();
    if (holds == wanted) kept.push_back(std::move(item));
  }
  return make_list(std::move(kept), List::Kind::generator);
}
Value filter_select(Interpreter& i, const Value& value, Args a) { return chosen("select", i, value, a, false, true); }
Value filter_reject(Interpreter& i, const Value& value, Args a) { return chosen("reject", i, value, a, false, false); }
Value filter_selectattr(Interpreter& i, const Value& value, Args a) {
  return chosen("selectattr", i, value, a, true, true);
}
Value filter_rejectattr(Interpreter& i, const Value& value, Args a) {
  return chosen("rejectattr", i, value, a, true, false);
}

Value filter_attr(Interpreter& interpreter, const Value& value, Args arguments) {
  const Bound bound("attr", arguments, {"name"}, 1);
  const std::string name = plain(bound[0]);
  // Unlike a dot, this does not look into the items of a dict.
  if (value.is_dict() && !find_dict_method(name))
    return Value::undefined("'dict object' has no attribute '" + name + "'");
  return interpreter.attribute(value, name);
}

constexpr Native kFilters[] = {
    {"attr", filter_attr},       {"d", filter_default},
    {"default", filter_default}, {"map", filter_map},
    {"reject", filter_reject},   {"rejectattr", filter_rejectattr},
    {"select", filter_select},   {"selectattr", filter_selectattr},
};

}  // namespace

std::span<const Native> choice_filters() { return kFilters; }

NativeFunction find_filter(std::string_view name) {
  for (const auto table : {text_filters(), list_filters(), choice_filters(), number_filters()})
    for (const Native& entry : table)
      if (entry.name == name) return entry.function;
  return nullptr;
}

}  // namespace inkstone::jinja
