#include "text/jinja/value.h"

#include <algorithm>

#include "base/error.h"
#include "text/jinja/function.h"

namespace inkstone::jinja {
namespace {

int depth_above(int deepest) {
  if (deepest >= kMaxNesting) raise("values are nested more than {} levels deep", kMaxNesting);
  return deepest + 1;
}

int deepest(const std::vector<Value>& items) {
  int depth = 0;
  for (const Value& item : items) depth = std::max(depth, item.depth());
  return depth;
}

}  // namespace

Value Value::undefined(std::string why) {
  Value value;
  value.value_ = Undefined{std::make_shared<const std::string>(std::move(why))};
  return value;
}

void Value::fail_undefined() const {
  const auto& why = std::get<Undefined>(value_).why;
  raise("{}", why ? *why : "value is undefined");
}

bool Value::truthy() const {
  if (is_bool()) return std::get<bool>(value_);
  if (is_undefined() || is_none()) return false;
  if (is_int()) return as_int() != 0;
  if (is_double()) return as_double() != 0;
  if (is_text()) return as_text()->size() > 0;
  if (is_list()) return as_list()->kind == List::Kind::generator || !as_list()->items.empty();
  if (is_dict()) return !as_dict()->items.empty();
  return true;
}

std::string Value::type_name() const {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (is_bool()) return "bool";
  if (is_int()) return "int";
  if (is_double()) return "float";
  if (is_text()) return "str";
  if (is_dict()) return "dict";
  if (is_namespace()) return "Namespace";
  if (is_function()) return "function";
  if (is_loop()) return "LoopContext";
  switch (as_list()->kind) {
    case List::Kind::tuple:
    case List::Kind::group: return "tuple";
    case List::Kind::range: return "range";
    case List::Kind::view: return "dict view";
    case List::Kind::generator: return "generator";
    default: return "list";
  }
}

int Value::depth() const {
  if (is_list()) return as_list()->depth;
  if (is_dict()) return as_dict()->depth;
  if (is_function()) return as_function()->depth;
  if (is_loop()) return as_loop()->depth;
  return 0;
}

List::List(std::vector<Value> list, Kind list_kind)
    : items(std::move(list)),
      kind(list_kind),
      depth(depth_above(deepest(items))),
      held(sizeof(List) + items.capacity() * sizeof(Value)) {
  const Budget* budget = Budget::current();
  const size_t limit = budget ? budget->limits().items : Limits().items;
  if (items.size() > limit) raise("a list would have more than {} items", limit);
  charge(items.size() * sizeof(Value));
}

Dict::Dict(std::vector<Item> list) : depth(0), held(sizeof(Dict) + list.capacity() * sizeof(Item) * 2) {
  constexpr size_t kFewItems = 8;
  const bool indexed = list.size() > kFewItems;
  charge(list.size() * 32);
  for (Item& item : list) {
    check_hashable(item.first);
    depth = std::max({depth, item.first.depth(), item.second.depth()});
    if (const Value* old = find(item.first)) {
      const_cast<Value&>(*old) = std::move(item.second);
      continue;
    }
    if (indexed && item.first.is_text()) index.emplace(item.first.view(), items.size());
    items.push_back(std::move(item));
  }
  depth = depth_above(depth);
}

const Value* Dict::find(std::string_view key) const {
  if (!index.empty()) {
    const auto found = index.find(key);
    return found == index.end() ? nullptr : &items[found->second].second;
  }
  for (const auto& [name, value] : items)
    if (name.is_text() && name.view() == key) return &value;
  return nullptr;
}

const Value* Dict::find(const Value& key) const {
  if (key.is_text()) return find(key.view());
  charge(items.size() * 8);
  for (const auto& [name, value] : items)
    if (!name.is_text() && equals(name, key)) return &value;
  return nullptr;
}

Value* Namespace::find(std::string_view name) {
  for (auto& [key, value] : values)
    if (key == name) return &value;
  return nullptr;
}

Value make_list(std::vector<Value> items, List::Kind kind) {
  return Value::ListPtr(std::make_shared<const List>(std::move(items), kind));
}

Value make_dict(std::vector<Dict::Item> items) {
  return Value::DictPtr(std::make_shared<const Dict>(std::move(items)));
}

Value text_value(std::string_view text, bool from_template) { return make_text(text, from_template); }

Value from_json(const Json& json, bool from_template) {
  if (json.is_null()) return None{};
  if (json.is_bool()) return json.as_bool();
  if (json.is_int()) return json.as_int();
  if (json.is_double()) return json.as_double();
  if (json.is_string()) return text_value(json.as_string(), from_template);
  if (json.is_array()) {
    std::vector<Value> items;
    items.reserve(json.as_array().size());
    for (const Json& item : json.as_array()) items.push_back(from_json(item, from_template));
    return make_list(std::move(items));
  }
  std::vector<Dict::Item> items;
  items.reserve(json.as_object().size());
  for (const auto& [key, item] : json.as_object())
    items.emplace_back(text_value(key, from_template), from_json(item, from_template));
  return make_dict(std::move(items));
}

bool is_iterable(const Value& value) {
  return value.is_text() || value.is_list() || value.is_dict() || value.is_undefined() || value.is_loop();
}

static std::vector<Value> characters(const Text& text) {
  std::vector<Value> items;
  items.reserve(text.chars());
  for (CharReader reader(text.marked()); reader.next();)
    items.push_back(make_text(reader.bytes(), reader.from_template()));
  return items;
}

std::vector<Value> walk(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_list()) {
    const List& list = *value.as_list();
    charge(list.items.size() * sizeof(Value));
    if (list.kind != List::Kind::generator) return list.items;
    const size_t begin = std::min(list.walked, list.items.size());
    list.walked = list.items.size();
    return {list.items.begin() + static_cast<ptrdiff_t>(begin), list.items.end()};
  }
  if (value.is_dict()) {
    std::vector<Value> keys;
    charge(value.as_dict()->items.size() * 8);
    for (const auto& item : value.as_dict()->items) keys.push_back(item.first);
    return keys;
  }
  if (value.is_text()) return characters(*value.as_text());
  raise("'{}' object is not iterable", value.type_name());
}

size_t length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_text()) return value.as_text()->chars();
  if (value.is_dict()) return value.as_dict()->items.size();
  if (value.is_list() && value.as_list()->kind != List::Kind::generator) return value.as_list()->items.size();
  if (value.is_loop()) return value.as_loop()->items.size();
  raise("object of type '{}' has no len()", value.type_name());
}

}  // namespace inkstone::jinja
