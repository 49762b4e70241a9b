// Interpreter: renders one tree once. One object, one rendering, one thread.
// The language is Jinja2 3.1 as transformers sets it up (ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks,
// loop controls, generation blocks, its tojson). On purpose different:
// - integers have 64 bits, and what overflows fails; there are no complex numbers;
// - tojson writes what map, select and others make as a list, where Python refuses a generator;
// - an unknown filter or test fails when it is reached, not before; some methods take arguments they do not need;
// - methods, views and ranges print otherwise; case mapping is one to one but for a few characters;
// - no include, import, extends, block, autoescape; no cycler, joiner, lipsum; no pprint, random, striptags, urlize,
//   wordwrap, xmlattr, filesizeformat; no nested fields in str.format.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/budget.h"
#include "text/jinja/function.h"
#include "text/jinja/value.h"

namespace inkstone::jinja {

struct Scope {
  explicit Scope(std::shared_ptr<Scope> outer);
  const Value* find(Symbol symbol) const;  // here or further out
  void set(Symbol symbol, Value value);    // here

  std::shared_ptr<Scope> parent;
  int depth;
  std::vector<std::pair<Symbol, Value>> variables;
};

class Interpreter {
 public:
  Interpreter(const Tree& tree, const Limits& limits, std::optional<std::tm> now);
  ~Interpreter();
  Interpreter(const Interpreter&) = delete;
  Interpreter& operator=(const Interpreter&) = delete;

  void define(const std::string& name, const Json& value, bool from_template);
  MarkedText run();
  int line() const { return line_; }  // of the node evaluated last

  // For filters, tests and functions.
  Value call(const Value& callee, const Arguments& arguments);
  Value filter(std::string_view name, const Value& value, const Arguments& arguments);
  bool test(std::string_view name, const Value& value, const Arguments& arguments);
  Value attribute(const Value& object, std::string_view name);  // object.name
  Value item(const Value& object, const Value& key);            // object[key]
  Value make_namespace(std::vector<std::pair<std::string, Value>> values);
  std::tm now() const;

 private:
  enum class Flow { normal, break_, continue_ };
  class Depth;

  // interpreter.cpp: statements
  Flow execute(const Body& body);
  Flow execute(const StatementNode& node);
  Flow execute_if(const StatementNode& node);
  Flow execute_for(const StatementNode& node, const Value& in, int level);
  std::vector<Value> filtered(const StatementNode& node, std::vector<Value> items);
  void execute_set_block(const StatementNode& node);
  void execute_filter_block(const StatementNode& node);
  Flow execute_with(const StatementNode& node);
  void execute_call_block(const StatementNode& node);
  void assign(const Target& target, const Value& value);
  Flow in_scope(const Body& body);
  MarkedText captured(const Body& body);
  Value make_macro(const MacroNode& macro);
  Value call_macro(const Function& function, const Arguments& arguments);
  void bind(const MacroNode& macro, const Arguments& arguments);
  Value call_loop(const Loop& loop, const Arguments& arguments);

  // evaluate.cpp: expressions
  Value evaluate(const ExprNode& expr);
  Value evaluate_name(const ExprNode& expr);
  Value evaluate_dict(const ExprNode& expr);
  Value evaluate_concat(const ExprNode& expr);
  Value evaluate_compare(const ExprNode& expr);
  Value evaluate_conditional(const ExprNode& expr);
  Value evaluate_item(const ExprNode& expr);
  Value evaluate_slice(const Value& object, const ExprNode& slice);
  Value evaluate_call(const ExprNode& expr);
  Value evaluate_filter(const ExprNode& expr);
  Value evaluate_test(const ExprNode& expr);
  std::vector<Value> evaluate_all(const std::vector<Expr>& exprs);
  Arguments evaluate_arguments(const ExprNode& expr);

  Budget budget_;  // first: outlives every value
  const Tree& tree_;
  std::optional<std::tm> now_;
  Symbol loop_symbol_;
  std::shared_ptr<Scope> scope_;
  MarkedText* out_ = nullptr;
  const TextPtr* block_text_ = nullptr;  // what a filter or set block filters
  int depth_ = 0, calls_ = 0;
  int line_ = 0;
  // Namespaces and the scopes of macros may form cycles: they are emptied at the end.
  std::vector<Value::NamespacePtr> namespaces_;
  std::vector<std::shared_ptr<Scope>> macro_scopes_;
};

// operators.cpp
Value negate(const Value& value);
Value positive(const Value& value);
Value arithmetic(Op op, const Value& left, const Value& right);

}  // namespace inkstone::jinja
