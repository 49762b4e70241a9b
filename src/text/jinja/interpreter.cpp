#include "text/jinja/interpreter.h"

#include <algorithm>

#include "text/jinja/interpreter_depth.h"

namespace inkstone::jinja {
namespace {
constexpr int kMaxScopes = 500;
}

Scope::Scope(std::shared_ptr<Scope> outer) : parent(std::move(outer)), depth(parent ? parent->depth + 1 : 0) {
  if (depth > kMaxScopes) raise("scopes are nested more than {} levels deep", kMaxScopes);
}

const Value* Scope::find(Symbol symbol) const {
  for (const Scope* scope = this; scope; scope = scope->parent.get())
    for (const auto& [name, value] : scope->variables)
      if (name == symbol) return &value;
  return nullptr;
}

void Scope::set(Symbol symbol, Value value) {
  for (auto& [name, old] : variables)
    if (name == symbol) {
      old = std::move(value);
      return;
    }
  variables.emplace_back(symbol, std::move(value));
}

Interpreter::Interpreter(const Tree& tree, const Limits& limits, std::optional<std::tm> now)
    : budget_(limits),
      tree_(tree),
      now_(now),
      loop_symbol_(tree.symbols.find("loop")),
      scope_(std::make_shared<Scope>(nullptr)) {}

Interpreter::~Interpreter() {
  for (const auto& space : namespaces_) space->values.clear();
  for (const auto& scope : macro_scopes_) scope->variables.clear();
}

void Interpreter::define(const std::string& name, const Json& value, bool from_template) {
  const Symbol symbol = tree_.symbols.find(name);
  if (symbol >= 0) scope_->set(symbol, from_json(value, from_template));
}

MarkedText Interpreter::run() {
  MarkedText out;
  out_ = &out;
  scope_ = std::make_shared<Scope>(scope_);
  execute(tree_.body);
  return out;
}

std::tm Interpreter::now() const {
  if (now_) return *now_;
  const std::time_t time = std::time(nullptr);
  std::tm local{};
  localtime_r(&time, &local);
  return local;
}

Value Interpreter::make_namespace(std::vector<std::pair<std::string, Value>> values) {
  constexpr int64_t kBytes = 256;
  budget_.hold(kBytes);  // kept to the end
  auto space = std::make_shared<Namespace>();
  space->values = std::move(values);
  namespaces_.push_back(space);
  return space;
}

Interpreter::Flow Interpreter::execute(const Body& body) {
  const Depth depth(*this);
  for (const StatementNode& node : body) {
    budget_.step(1);
    const Flow flow = execute(node);
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::execute(const StatementNode& node) {
  line_ = node.line;
  switch (node.kind) {
    case StatementNode::Kind::data:
      charge(node.text.text.size());
      append(*out_, node.text);
      return Flow::normal;
    case StatementNode::Kind::output:
      for (const Expr& expr : node.exprs) append_str(*out_, evaluate(*expr));
      return Flow::normal;
    case StatementNode::Kind::if_: return execute_if(node);
    case StatementNode::Kind::for_: return execute_for(node, evaluate(*node.exprs[0]), 0);
    case StatementNode::Kind::set: assign(node.targets[0], evaluate(*node.exprs[0])); return Flow::normal;
    case StatementNode::Kind::set_block: execute_set_block(node); return Flow::normal;
    case StatementNode::Kind::macro: scope_->set(node.targets[0].symbol, make_macro(*node.macro)); return Flow::normal;
    case StatementNode::Kind::call_block: execute_call_block(node); return Flow::normal;
    case StatementNode::Kind::filter_block: execute_filter_block(node); return Flow::normal;
    case StatementNode::Kind::with: return execute_with(node);
    case StatementNode::Kind::scope: return in_scope(node.bodies[0]);
    case StatementNode::Kind::break_: return Flow::break_;
    case StatementNode::Kind::continue_: return Flow::continue_;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::execute_if(const StatementNode& node) {
  for (size_t i = 0; i < node.exprs.size(); ++i)
    if (evaluate(*node.exprs[i]).truthy()) return execute(node.bodies[i]);
  return node.bodies.size() > node.exprs.size() ? execute(node.bodies.back()) : Flow::normal;
}

std::vector<Value> Interpreter::filtered(const StatementNode& node, std::vector<Value> items) {
  if (!node.exprs[1]) return items;
  const auto outer = scope_;
  std::vector<Value> kept;
  for (Value& item : items) {
    budget_.step(1);
    scope_ = std::make_shared<Scope>(outer);
    assign(node.targets[0], item);
    if (evaluate(*node.exprs[1]).truthy()) kept.push_back(std::move(item));
  }
  scope_ = outer;
  return kept;
}

Interpreter::Flow Interpreter::execute_for(const StatementNode& node, const Value& in, int level) {
  const auto outer = scope_;
  const auto loop = std::make_shared<Loop>();
  loop->items = filtered(node, walk(in));
  loop->level = level;
  for (const Value& item : loop->items) loop->depth = std::max(loop->depth, item.depth() + 1);
  if (loop->depth > kMaxNesting) raise("values are nested more than {} levels deep", kMaxNesting);
  if (node.recursive) {
    loop->recursive = &node;
    loop->scope = outer;
  }
  if (loop->items.empty()) return node.bodies.size() > 1 ? in_scope(node.bodies[1]) : Flow::normal;
  Flow flow = Flow::normal;
  for (; loop->index < loop->items.size(); ++loop->index) {
    budget_.step(1);
    scope_ = std::make_shared<Scope>(outer);
    if (loop_symbol_ >= 0) scope_->set(loop_symbol_, loop);
    assign(node.targets[0], loop->items[loop->index]);
    flow = execute(node.bodies[0]);
    if (flow == Flow::break_) break;
  }
  scope_ = outer;
  return Flow::normal;
}

Interpreter::Flow Interpreter::in_scope(const Body& body) {
  const auto outer = scope_;
  scope_ = std::make_shared<Scope>(outer);
  const Flow flow = execute(body);
  scope_ = outer;
  return flow;
}

// What `body` writes, in a scope of its own.
MarkedText Interpreter::captured(const Body& body) {
  MarkedText text;
  MarkedText* const outer = std::exchange(out_, &text);
  in_scope(body);
  out_ = outer;
  return text;
}

void Interpreter::execute_set_block(const StatementNode& node) {
  const TextPtr text = make_text(captured(node.bodies[0]));
  if (node.exprs.empty()) return assign(node.targets[0], text);
  const TextPtr* const outer = std::exchange(block_text_, &text);
  const Value value = evaluate(*node.exprs[0]);
  block_text_ = outer;
  assign(node.targets[0], value);
}

void Interpreter::execute_filter_block(const StatementNode& node) {
  const TextPtr text = make_text(captured(node.bodies[0]));
  const TextPtr* const outer = std::exchange(block_text_, &text);
  append_str(*out_, evaluate(*node.exprs[0]));
  block_text_ = outer;
}

Interpreter::Flow Interpreter::execute_with(const StatementNode& node) {
  const std::vector<Value> values = evaluate_all(node.exprs);
  const auto outer = scope_;
  scope_ = std::make_shared<Scope>(outer);
  for (size_t i = 0; i < values.size(); ++i) assign(node.targets[i], values[i]);
  const Flow flow = execute(node.bodies[0]);
  scope_ = outer;
  return flow;
}

void Interpreter::execute_call_block(const StatementNode& node) {
  const ExprNode& expr = *node.exprs[0];
  Arguments arguments = evaluate_arguments(expr);
  arguments.named.emplace_back("caller", make_macro(*node.macro));
  append_str(*out_, call(evaluate(*expr.operands[0]), arguments));
}

void Interpreter::assign(const Target& target, const Value& value) {
  if (target.kind == Target::Kind::name) return scope_->set(target.symbol, value);
  if (target.kind == Target::Kind::attribute) {
    const Value* space = scope_->find(target.symbol);
    if (!space || !space->is_namespace()) raise("cannot assign attribute on non-namespace object");
    if (Value* old = space->as_namespace()->find(target.attribute))
      *old = value;
    else
      space->as_namespace()->values.emplace_back(target.attribute, value);
    return;
  }
  value.check_defined();
  const std::vector<Value> items = walk(value);
  if (items.size() != target.items.size())
    raise("cannot unpack {} values into {} names", items.size(), target.items.size());
  for (size_t i = 0; i < items.size(); ++i) assign(target.items[i], items[i]);
}

Value Interpreter::make_macro(const MacroNode& macro) {
  constexpr int64_t kBytes = 512;
  budget_.hold(kBytes);  // its scope is kept to the end
  auto function = std::make_shared<Function>();
  function->name = macro.name;
  function->macro = &macro;
  function->scope = scope_;
  if (macro_scopes_.empty() || macro_scopes_.back() != scope_) macro_scopes_.push_back(scope_);
  return Value::FunctionPtr(std::move(function));
}

void Interpreter::bind(const MacroNode& macro, const Arguments& arguments) {
  std::vector<bool> used(arguments.named.size(), false);
  const auto by_name = [&](const std::string& name) -> const Value* {
    for (size_t i = 0; i < used.size(); ++i)
      if (!used[i] && arguments.named[i].first == name) {
        used[i] = true;
        return &arguments.named[i].second;
      }
    return nullptr;
  };
  for (size_t i = 0; i < macro.parameters.size(); ++i) {
    const MacroNode::Parameter& parameter = macro.parameters[i];
    const Value* named = by_name(parameter.name);
    if (i < arguments.positional.size()) {
      if (named) raise("macro '{}' got two values for argument '{}'", macro.name, parameter.name);
      scope_->set(parameter.symbol, arguments.positional[i]);
    } else if (named) {
      scope_->set(parameter.symbol, *named);
    } else if (parameter.fallback) {
      scope_->set(parameter.symbol, evaluate(*parameter.fallback));
    } else {
      scope_->set(parameter.symbol, Value::undefined(fmt::format("parameter '{}' was not provided", parameter.name)));
    }
  }
  if (macro.uses_caller) {
    const Value* caller = by_name("caller");
    scope_->set(tree_.symbols.find("caller"), caller ? *caller : Value::undefined("No caller defined"));
  }
  std::vector<Dict::Item> rest;
  for (size_t i = 0; i < used.size(); ++i)
    if (!used[i]) rest.emplace_back(text_value(arguments.named[i].first), arguments.named[i].second);
  if (macro.uses_kwargs)
    scope_->set(tree_.symbols.find("kwargs"), make_dict(std::move(rest)));
  else if (!rest.empty())
    raise("macro '{}' takes no keyword argument '{}'", macro.name, rest[0].first.view());
  const size_t count = macro.parameters.size();
  std::vector<Value> more;
  if (arguments.positional.size() > count)
    more.assign(arguments.positional.begin() + static_cast<ptrdiff_t>(count), arguments.positional.end());
  if (macro.uses_varargs)
    scope_->set(tree_.symbols.find("varargs"), make_list(std::move(more), List::Kind::tuple));
  else if (!more.empty())
    raise("macro '{}' takes not more than {} argument(s)", macro.name, count);
}

Value Interpreter::call_macro(const Function& function, const Arguments& arguments) {
  const int max_calls = budget_.limits().calls;
  if (++calls_ > max_calls) raise("more than {} nested macro calls", max_calls);
  const auto outer = scope_;
  scope_ = std::make_shared<Scope>(function.scope);
  bind(*function.macro, arguments);
  MarkedText text;
  MarkedText* const outer_out = std::exchange(out_, &text);
  execute(function.macro->body);
  out_ = outer_out;
  scope_ = outer;
  --calls_;
  return make_text(std::move(text));
}

Value Interpreter::call_loop(const Loop& loop, const Arguments& arguments) {
  if (!loop.recursive) raise("the loop is not recursive: write 'for ... recursive' to call it");
  const Bound bound("loop", arguments, {"iterable"}, 1);
  const int max_calls = budget_.limits().calls;
  if (++calls_ > max_calls) raise("more than {} nested macro calls", max_calls);
  const auto outer = std::exchange(scope_, loop.scope);
  MarkedText text;
  MarkedText* const outer_out = std::exchange(out_, &text);
  execute_for(*loop.recursive, bound[0], loop.level + 1);
  out_ = outer_out;
  scope_ = outer;
  --calls_;
  return make_text(std::move(text));
}

Value Interpreter::call(const Value& callee, const Arguments& arguments) {
  const Depth depth(*this);
  callee.check_defined();
  if (callee.is_loop()) {
    const Value::LoopPtr loop = callee.as_loop();
    return call_loop(*loop, arguments);
  }
  if (!callee.is_function()) raise("'{}' object is not callable", callee.type_name());
  const Value::FunctionPtr function = callee.as_function();
  return function->macro ? call_macro(*function, arguments) : function->native(*this, function->self, arguments);
}

}  // namespace inkstone::jinja
