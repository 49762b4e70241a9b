// What can be called, and what it is called with: global functions, methods, macros; the `loop` of a for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace inkstone::jinja {

class Interpreter;
struct MacroNode;
struct StatementNode;
struct Scope;

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Takes arguments by position or name, in the order of `names`, and fails for unknown, doubled or missing ones.
class Bound {
 public:
  Bound(std::string_view function, const Arguments& arguments, std::initializer_list<const char*> names,
        size_t required = 0);
  Bound(std::string_view, Arguments&&, std::initializer_list<const char*>, size_t = 0) = delete;  // keeps pointers
  bool has(size_t index) const { return values_[index] != nullptr; }
  const Value& operator[](size_t index) const { return *values_[index]; }
  int64_t integer(size_t index, int64_t otherwise) const;
  bool boolean(size_t index, bool otherwise) const;
  const Text& text(size_t index) const;

 private:
  std::string_view function_;
  std::vector<const char*> names_;
  std::vector<const Value*> values_;
};

using NativeFunction = Value (*)(Interpreter&, const Value& self, const Arguments&);

struct Function {
  std::string name;
  NativeFunction native = nullptr;  // a global function, or a method of `self`
  Value self;
  const MacroNode* macro = nullptr;  // a macro, which sees the scope that it was written in
  std::shared_ptr<Scope> scope;
  int depth = 0;
};

// The `loop` of a for statement.
struct Loop {
  std::vector<Value> items;
  size_t index = 0;
  int level = 0;  // of a recursive loop
  int depth = 1;
  std::string changed;  // what loop.changed saw last, as repr writes it
  bool has_changed = false;
  const StatementNode* recursive = nullptr;  // the statement that loop(...) repeats
  std::shared_ptr<Scope> scope;
};

Value native(std::string name, NativeFunction function, Value self = {});

// A filter gets the filtered value as `self`.
struct Native {
  std::string_view name;
  NativeFunction function;
};
NativeFunction find_filter(std::string_view name);
NativeFunction find_test(std::string_view name);
NativeFunction find_text_method(std::string_view name);
NativeFunction find_dict_method(std::string_view name);
NativeFunction find_list_method(std::string_view name);
NativeFunction find_global(std::string_view name);

// HTML-escaped markup of `text`; what is markup already stays.
TextPtr escape(const TextPtr& text);

// "text" % value and "text".format(...).
Value format_percent(const Text& format, const Value& arguments);
Value format_braces(Interpreter& interpreter, const Text& format, const Arguments& arguments);

}  // namespace inkstone::jinja
