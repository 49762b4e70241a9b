#include "text/jinja/function.h"

#include <algorithm>
#include <ctime>

#include "text/jinja/interpreter.h"

namespace inkstone::jinja {

Bound::Bound(std::string_view function, const Arguments& arguments, std::initializer_list<const char*> names,
             size_t required)
    : function_(function), names_(names), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names_.size())
    raise("{}() takes at most {} arguments, {} were given", function, names_.size(), arguments.positional.size());
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto at = std::find(names_.begin(), names_.end(), name);
    if (at == names_.end()) raise("{}() got an unexpected keyword argument '{}'", function, name);
    const Value*& slot = values_[static_cast<size_t>(at - names_.begin())];
    if (slot) raise("{}() got multiple values for argument '{}'", function, name);
    slot = &value;
  }
  for (size_t i = 0; i < required; ++i)
    if (!values_[i]) raise("{}() missing argument '{}'", function, names_[i]);
}

int64_t Bound::integer(size_t index, int64_t otherwise) const {
  if (!has(index)) return otherwise;
  const Value& value = *values_[index];
  value.check_defined();
  if (!value.is_int()) raise("{}(): '{}' must be int, not {}", function_, names_[index], value.type_name());
  return value.as_int();
}

bool Bound::boolean(size_t index, bool otherwise) const { return has(index) ? values_[index]->truthy() : otherwise; }

const Text& Bound::text(size_t index) const {
  const Value& value = *values_[index];
  value.check_defined();
  if (!value.is_text()) raise("{}(): '{}' must be str, not {}", function_, names_[index], value.type_name());
  return *value.as_text();
}

namespace {

Value global_range(Interpreter&, const Value&, const Arguments& arguments) {
  const Bound bound("range", arguments, {"start", "stop", "step"}, 1);
  const int64_t step = bound.integer(2, 1);
  const int64_t start = bound.has(1) ? bound.integer(0, 0) : 0;
  const int64_t stop = bound.has(1) ? bound.integer(1, 0) : bound.integer(0, 0);
  if (step == 0) raise("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(items.size()) >= kMaxRange) raise("range too big, at most {} items", kMaxRange);
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return make_list(std::move(items), List::Kind::range);
}

std::vector<Dict::Item> dict_items(const char* name, const Arguments& arguments) {
  if (arguments.positional.size() > 1) raise("{} expected at most 1 argument", name);
  std::vector<Dict::Item> items;
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    from.check_defined();
    if (from.is_dict()) {
      items = from.as_dict()->items;
    } else {
      for (const Value& entry : walk(from)) {
        std::vector<Value> pair = walk(entry);
        if (pair.size() != 2) raise("{}: a sequence of pairs is wanted", name);
        items.emplace_back(std::move(pair[0]), std::move(pair[1]));
      }
    }
  }
  for (const auto& [key, value] : arguments.named) items.emplace_back(text_value(key), value);
  charge(items.size() * 256);  // each is copied and looked up
  return items;
}

Value global_dict(Interpreter&, const Value&, const Arguments& arguments) {
  return make_dict(dict_items("dict", arguments));
}

Value global_namespace(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  std::vector<std::pair<std::string, Value>> values;
  const Value dict = make_dict(dict_items("namespace", arguments));
  for (const auto& [key, value] : dict.as_dict()->items)
    if (key.is_text()) values.emplace_back(std::string(key.view()), value);
  return interpreter.make_namespace(std::move(values));
}

Value global_raise(Interpreter&, const Value&, const Arguments& arguments) {
  const Bound bound("raise_exception", arguments, {"message"}, 1);
  raise("{}", plain(bound[0]));
}

Value global_strftime_now(Interpreter& interpreter, const Value&, const Arguments& arguments) {
  const Bound bound("strftime_now", arguments, {"format"}, 1);
  const std::string format(bound.text(0).view());
  constexpr size_t kMaxFormat = 1000;
  if (format.size() > kMaxFormat) raise("strftime_now: the format has more than {} bytes", kMaxFormat);
  if (format.empty()) return text_value("");
  const std::tm now = interpreter.now();
  std::string text(format.size() * 64 + 64, '\0');
  text.resize(std::strftime(text.data(), text.size(), format.c_str(), &now));
  return text_value(text);
}

constexpr Native kGlobals[] = {
    {"range", global_range},
    {"dict", global_dict},
    {"namespace", global_namespace},
    {"raise_exception", global_raise},
    {"strftime_now", global_strftime_now},
};

}  // namespace

NativeFunction find_global(std::string_view name) {
  for (const Native& entry : kGlobals)
    if (entry.name == name) return entry.function;
  return nullptr;
}

}  // namespace inkstone::jinja
