// Parser: tokens -> tree, by recursive descent over Jinja2's grammar. The nesting of expressions and statements is
// bounded, so that neither parsing nor walking the tree can exhaust the stack.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/lexer.h"

namespace inkstone::jinja {

class Parser {
 public:
  explicit Parser(std::string_view source) : tokens_(tokenize(source)) {}
  Tree parse();

 private:
  // parser.cpp: statements
  Body parse_body(const std::vector<std::string_view>& ends);  // up to the tag of an end, whose name is current then
  void parse_statement(Body& body);
  void parse_if(StatementNode& node);
  void parse_for(StatementNode& node);
  void parse_set(StatementNode& node);
  void parse_with(StatementNode& node);
  void parse_call_block(StatementNode& node);
  void parse_macro(StatementNode& node);
  void parse_parameters(MacroNode& macro);
  void parse_macro_body(MacroNode& macro, std::string_view end);
  void parse_loop_control(StatementNode& node, StatementNode::Kind kind);
  Body parse_block(std::string_view end);  // the rest of this tag, the body, and the name of its end
  Target parse_target(bool attributes, std::string_view end);
  Target parse_single_target(bool attributes);
  Symbol parse_assigned_name();
  void expect_block_end();

  // parse_expression.cpp
  Expr parse_expression(bool conditional = true);
  Expr parse_conditional();
  Expr parse_or();
  Expr parse_and();
  Expr parse_not();
  Expr parse_compare();
  Expr parse_sum();
  Expr parse_concat();
  Expr parse_product();
  Expr parse_power();
  Expr parse_unary(bool with_filters);
  Expr parse_primary();
  Expr parse_name();
  Expr parse_number();
  Expr parse_postfix(Expr expr);
  Expr parse_filters(Expr expr);
  Expr parse_filter(Expr expr);
  Expr parse_filter_chain(Expr expr, bool first_without_pipe);
  Expr parse_test(Expr expr);
  Expr parse_subscript(Expr expr);
  Expr parse_subscripted();
  Expr parse_list();
  Expr parse_dict();
  // One expression, or a tuple of them without parentheses around.
  Expr parse_tuple(bool conditional, bool may_be_empty, std::string_view end = {});
  void parse_arguments(ExprNode& call);
  Expr node(Op op, int line) const;
  Expr binary(Op op, Expr left, Expr right) const;
  Expr finished(Expr expr) const;  // sets and checks the depth

  const Token& current() const { return tokens_[at_]; }
  const Token& ahead() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token take() { return at_ + 1 < tokens_.size() ? tokens_[at_++] : tokens_[at_]; }
  bool skip_op(std::string_view spelling);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view spelling);
  std::string expect_name();
  [[noreturn]] void fail_here(const std::string& message) const { throw Failure(message, current().line); }
  std::string found() const;

  class Nesting;

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  int loops_ = 0;  // for statements around, within the same macro
  std::vector<MacroNode*> macros_;
  Symbols symbols_;
};

// One level of nested expressions or statements.
class Parser::Nesting {
 public:
  explicit Nesting(Parser& parser);
  ~Nesting() { --parser_.nesting_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  Parser& parser_;
};

}  // namespace inkstone::jinja
