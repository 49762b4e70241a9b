// Value: what a template's expressions work on: Python's values, as far as templates see them. Cheap to copy.
// Lists, dicts and strings never change once made (the reference's sandbox forbids it too); namespaces do.
// Integers have 64 bits: what overflows is an error, where Python's would grow.
// Values belong to one rendering in one thread, except the constants of a template, which are only read.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "base/json.h"
#include "text/jinja/failure.h"
#include "text/jinja/text.h"

namespace inkstone::jinja {

struct List;
struct Dict;
struct Namespace;
struct Function;
struct Loop;

struct Undefined {
  std::shared_ptr<const std::string> why;  // what using it raises
};
struct None {};

class Value {
 public:
  using ListPtr = std::shared_ptr<const List>;
  using DictPtr = std::shared_ptr<const Dict>;
  using NamespacePtr = std::shared_ptr<Namespace>;
  using FunctionPtr = std::shared_ptr<const Function>;
  using LoopPtr = std::shared_ptr<Loop>;

  Value() = default;
  Value(None) : value_(None{}) {}
  Value(bool value) : value_(value) {}
  Value(int64_t value) : value_(value) {}
  Value(double value) : value_(value) {}
  Value(TextPtr value) : value_(std::move(value)) {}
  Value(ListPtr value) : value_(std::move(value)) {}
  Value(DictPtr value) : value_(std::move(value)) {}
  Value(NamespacePtr value) : value_(std::move(value)) {}
  Value(FunctionPtr value) : value_(std::move(value)) {}
  Value(LoopPtr value) : value_(std::move(value)) {}
  Value(const void*) = delete;  // no pointer becomes true
  static Value undefined(std::string why);

  bool is_undefined() const { return std::holds_alternative<Undefined>(value_); }
  bool is_none() const { return std::holds_alternative<None>(value_); }
  bool is_bool() const { return std::holds_alternative<bool>(value_); }
  bool is_int() const { return std::holds_alternative<int64_t>(value_) || is_bool(); }  // as in Python
  bool is_double() const { return std::holds_alternative<double>(value_); }
  bool is_number() const { return is_int() || is_double(); }
  bool is_text() const { return std::holds_alternative<TextPtr>(value_); }
  bool is_list() const { return std::holds_alternative<ListPtr>(value_); }  // of any kind: see List::Kind
  bool is_dict() const { return std::holds_alternative<DictPtr>(value_); }
  bool is_namespace() const { return std::holds_alternative<NamespacePtr>(value_); }
  bool is_function() const { return std::holds_alternative<FunctionPtr>(value_); }
  bool is_loop() const { return std::holds_alternative<LoopPtr>(value_); }

  int64_t as_int() const { return is_bool() ? std::get<bool>(value_) : std::get<int64_t>(value_); }
  double as_double() const { return is_double() ? std::get<double>(value_) : static_cast<double>(as_int()); }
  const TextPtr& as_text() const { return std::get<TextPtr>(value_); }
  std::string_view view() const { return as_text()->view(); }
  const ListPtr& as_list() const { return std::get<ListPtr>(value_); }
  const DictPtr& as_dict() const { return std::get<DictPtr>(value_); }
  const NamespacePtr& as_namespace() const { return std::get<NamespacePtr>(value_); }
  const FunctionPtr& as_function() const { return std::get<FunctionPtr>(value_); }
  const LoopPtr& as_loop() const { return std::get<LoopPtr>(value_); }

  bool truthy() const;
  std::string type_name() const;  // as Python says it
  int depth() const;              // of nesting; 0: holds no values
  [[noreturn]] void fail_undefined() const;
  void check_defined() const {
    if (is_undefined()) fail_undefined();
  }

 private:
  std::variant<Undefined, None, bool, int64_t, double, TextPtr, ListPtr, DictPtr, NamespacePtr, FunctionPtr, LoopPtr>
      value_;
};

// Everything of Python's that is walked in order.
struct List {
  enum class Kind {
    list,
    tuple,
    group,  // what groupby makes: a tuple with the names grouper and list
    range,
    view,       // dict.items() and the like: a length, but no subscript
    generator,  // what map, select and others make: no length, always true, walked once
  };
  List(std::vector<Value> list, Kind list_kind);

  std::vector<Value> items;
  Kind kind;
  int depth;
  mutable size_t walked = 0;  // of a generator
  Held held;

  bool is_tuple() const { return kind == Kind::tuple || kind == Kind::group; }
  bool has_subscript() const { return kind != Kind::view && kind != Kind::generator; }
};

struct Dict {
  using Item = std::pair<Value, Value>;
  explicit Dict(std::vector<Item> list);  // a later item replaces an earlier one of the same key

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;

  std::vector<Item> items;
  std::unordered_map<std::string_view, size_t> index;  // of string keys, where there are many
  int depth;
  Held held;
};

struct Namespace {
  std::vector<std::pair<std::string, Value>> values;
  Value* find(std::string_view name);
};

Value make_list(std::vector<Value> items, List::Kind kind = List::Kind::list);
Value make_dict(std::vector<Dict::Item> items);
Value text_value(std::string_view text, bool from_template = true);
Value from_json(const Json& json, bool from_template);

// The items that a loop over `value` sees: of a list, the characters of a string, the keys of a dict. A generator is
// used up by it. Fails if `value` cannot be walked.
std::vector<Value> walk(const Value& value);
bool is_iterable(const Value& value);
size_t length(const Value& value);  // len(); fails as Python does

bool equals(const Value& a, const Value& b);
bool less(const Value& a, const Value& b);  // a < b; fails for types without an order
bool contains(const Value& container, const Value& item);
void check_hashable(const Value& key);

// str() and repr(): the characters of strings keep their marks; what stands between the items of a container counts
// as a message's, numbers and constants alone as the template's.
void append_str(MarkedText& out, const Value& value);
void append_repr(MarkedText& out, const Value& value);
TextPtr to_text(const Value& value);
std::string plain(const Value& value);  // str() without marks

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;
  MarkedText indent, item_separator, key_separator;
};
// json.dumps: everything but characters of the template's own strings counts as a message's.
void append_json(MarkedText& out, const Value& value, const JsonStyle& style);

}  // namespace inkstone::jinja
