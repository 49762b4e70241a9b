// The syntax tree of a template. Immutable after parsing; read by any number of renderings at once.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/jinja/function.h"
#include "text/jinja/value.h"

namespace inkstone::jinja {

using Symbol = int;  // a variable's name, as a number

class Symbols {
 public:
  Symbol intern(const std::string& name) {
    const auto [at, added] = ids_.emplace(name, static_cast<Symbol>(names_.size()));
    if (added) names_.push_back(name);
    return at->second;
  }
  // -1 if the template never says it
  Symbol find(const std::string& name) const {
    const auto at = ids_.find(name);
    return at == ids_.end() ? -1 : at->second;
  }
  const std::string& name(Symbol symbol) const { return names_[static_cast<size_t>(symbol)]; }

 private:
  std::unordered_map<std::string, Symbol> ids_;
  std::vector<std::string> names_;
};

struct ExprNode;
struct StatementNode;
using Expr = std::unique_ptr<ExprNode>;
using Body = std::vector<StatementNode>;

enum class Op : uint8_t {
  constant,
  name,
  list,
  tuple,
  dict,  // dict: key, value, key, value, ...
  attribute,
  item,
  slice,  // item: object, key; slice: start, stop, step, each may be null
  call,
  filter,
  test,  // first operand: what is called, filtered, tested
  negate,
  positive,
  not_,
  and_,
  or_,
  conditional,  // test, value, other value or null
  concat,
  compare,
  add,
  sub,
  mul,
  div,
  floordiv,
  mod,
  pow,
};

enum class Compare : uint8_t { eq, ne, lt, le, gt, ge, in, not_in };

struct ExprNode {
  Op op = Op::constant;
  int line = 0;
  int depth = 1;
  Symbol symbol = -1;               // name
  Value constant;                   // constant; attribute: its name
  std::string name;                 // attribute, filter, test
  NativeFunction native = nullptr;  // filter, test; null if there is none of that name
  std::vector<Expr> operands;       // calls: then the positional arguments
  std::vector<Compare> compares;    // compare: between the operands
  std::vector<std::pair<std::string, Expr>> named;
  Expr star_args, star_named;  // *args, **kwargs
};

struct Target {
  enum class Kind { name, attribute, tuple };
  Kind kind = Kind::name;
  Symbol symbol = -1;
  std::string attribute;  // of the namespace `symbol`
  std::vector<Target> items;
};

struct MacroNode {
  struct Parameter {
    std::string name;
    Symbol symbol;
    Expr fallback;  // null: undefined
  };
  std::string name;
  std::vector<Parameter> parameters;
  Body body;
  bool uses_varargs = false, uses_kwargs = false, uses_caller = false;
};

struct StatementNode {
  enum class Kind {
    data,       // text
    output,     // exprs
    if_,        // exprs[i] guards bodies[i]; one more body: else
    for_,       // target, exprs[0] in what, exprs[1] (or null) the filter; bodies[0], bodies[1] else
    set,        // target = exprs[0]
    set_block,  // target = bodies[0], filtered by exprs[0] if there is one
    macro,
    call_block,    // exprs[0] a call, macro its caller
    filter_block,  // exprs[0] filters bodies[0]
    with,          // targets = exprs, bodies[0]
    scope,         // bodies[0]
    break_,
    continue_,
  };
  Kind kind = Kind::data;
  int line = 0;
  MarkedText text;
  std::vector<Expr> exprs;
  std::vector<Body> bodies;
  std::vector<Target> targets;
  std::unique_ptr<MacroNode> macro;
  bool recursive = false;
};

// The operand of filters that stand for a block: its text.
constexpr Symbol kBlockText = -2;

struct Tree {
  Body body;
  Symbols symbols;
};

// Throws Failure with the line.
Tree parse(std::string_view source);

}  // namespace inkstone::jinja
