// The expressions of the parser. Names of the levels follow Jinja2's precedence, loosest first.
#include <charconv>
#include <cstdlib>

#include "text/jinja/parser.h"

namespace inkstone::jinja {
namespace {
constexpr int kMaxExprDepth = 150;  // of the tree: also of chains, which the parser walks without recursion
}

Expr Parser::node(Op op, int line) const {
  auto expr = std::make_unique<ExprNode>();
  expr->op = op;
  expr->line = line;
  return expr;
}

Expr Parser::finished(Expr expr) const {
  int depth = 0;
  const auto below = [&](const Expr& child) {
    if (child) depth = std::max(depth, child->depth);
  };
  for (const Expr& operand : expr->operands) below(operand);
  for (const auto& [name, value] : expr->named) below(value);
  below(expr->star_args);
  below(expr->star_named);
  expr->depth = depth + 1;
  if (expr->depth > kMaxExprDepth) fail_here(fmt::format("an expression is more than {} levels deep", kMaxExprDepth));
  return expr;
}

Expr Parser::binary(Op op, Expr left, Expr right) const {
  Expr expr = node(op, left->line);
  expr->operands.push_back(std::move(left));
  expr->operands.push_back(std::move(right));
  return finished(std::move(expr));
}

Expr Parser::parse_expression(bool conditional) {
  const Nesting nesting(*this);
  return conditional ? parse_conditional() : parse_or();
}

Expr Parser::parse_conditional() {
  Expr value = parse_or();
  while (skip_name("if")) {
    Expr expr = node(Op::conditional, value->line);
    expr->operands.push_back(parse_or());
    expr->operands.push_back(std::move(value));
    expr->operands.push_back(skip_name("else") ? parse_expression() : nullptr);
    value = finished(std::move(expr));
  }
  return value;
}

Expr Parser::parse_or() {
  Expr left = parse_and();
  while (skip_name("or")) left = binary(Op::or_, std::move(left), parse_and());
  return left;
}

Expr Parser::parse_and() {
  Expr left = parse_not();
  while (skip_name("and")) left = binary(Op::and_, std::move(left), parse_not());
  return left;
}

Expr Parser::parse_not() {
  if (!current().is_name("not")) return parse_compare();
  const Nesting nesting(*this);
  Expr expr = node(Op::not_, take().line);
  expr->operands.push_back(parse_not());
  return finished(std::move(expr));
}

Expr Parser::parse_compare() {
  static constexpr std::pair<std::string_view, Compare> kOperators[] = {{"==", Compare::eq}, {"!=", Compare::ne},
                                                                        {"<", Compare::lt},  {"<=", Compare::le},
                                                                        {">", Compare::gt},  {">=", Compare::ge}};
  Expr first = parse_sum();
  Expr expr = node(Op::compare, first->line);
  expr->operands.push_back(std::move(first));
  while (true) {
    const size_t before = expr->compares.size();
    for (const auto& [spelling, compare] : kOperators)
      if (skip_op(spelling)) {
        expr->compares.push_back(compare);
        break;
      }
    if (expr->compares.size() == before) {
      if (skip_name("in")) {
        expr->compares.push_back(Compare::in);
      } else if (current().is_name("not") && ahead().is_name("in")) {
        take();
        take();
        expr->compares.push_back(Compare::not_in);
      } else {
        break;
      }
    }
    expr->operands.push_back(parse_sum());
  }
  return expr->compares.empty() ? std::move(expr->operands[0]) : finished(std::move(expr));
}

Expr Parser::parse_sum() {
  Expr left = parse_concat();
  while (current().is_op("+") || current().is_op("-")) {
    const Op op = take().text == "+" ? Op::add : Op::sub;
    left = binary(op, std::move(left), parse_concat());
  }
  return left;
}

Expr Parser::parse_concat() {
  Expr first = parse_product();
  if (!current().is_op("~")) return first;
  Expr expr = node(Op::concat, first->line);
  expr->operands.push_back(std::move(first));
  while (skip_op("~")) expr->operands.push_back(parse_product());
  return finished(std::move(expr));
}

Expr Parser::parse_product() {
  Expr left = parse_power();
  while (true) {
    Op op;
    if (current().is_op("*"))
      op = Op::mul;
    else if (current().is_op("/"))
      op = Op::div;
    else if (current().is_op("//"))
      op = Op::floordiv;
    else if (current().is_op("%"))
      op = Op::mod;
    else
      return left;
    take();
    left = binary(op, std::move(left), parse_power());
  }
}

Expr Parser::parse_power() {
  Expr left = parse_unary(true);
  while (skip_op("**")) left = binary(Op::pow, std::move(left), parse_unary(true));
  return left;
}

Expr Parser::parse_unary(bool with_filters) {
  Expr expr;
  if (current().is_op("-") || current().is_op("+")) {
    const Nesting nesting(*this);
    const Token sign = take();
    expr = node(sign.text == "-" ? Op::negate : Op::positive, sign.line);
    expr->operands.push_back(parse_unary(false));
    expr = finished(std::move(expr));
  } else {
    expr = parse_primary();
  }
  expr = parse_postfix(std::move(expr));
  return with_filters ? parse_filters(std::move(expr)) : std::move(expr);
}

Expr Parser::parse_primary() {
  const Token& token = current();
  if (token.kind == Token::Kind::name) return parse_name();
  if (token.kind == Token::Kind::integer || token.kind == Token::Kind::real) return parse_number();
  if (token.kind == Token::Kind::string) {
    Expr expr = node(Op::constant, token.line);
    std::string text;
    while (current().kind == Token::Kind::string) text += take().text;
    expr->constant = text_value(text);
    return expr;
  }
  if (skip_op("(")) {
    Expr expr = parse_tuple(true, true, ")");
    expect_op(")");
    return expr;
  }
  if (token.is_op("[")) return parse_list();
  if (token.is_op("{")) return parse_dict();
  fail_here("unexpected " + found());
}

Expr Parser::parse_name() {
  const Token token = take();
  const std::string& name = token.text;
  Expr expr = node(Op::constant, token.line);
  if (name == "true" || name == "True") {
    expr->constant = true;
  } else if (name == "false" || name == "False") {
    expr->constant = false;
  } else if (name == "none" || name == "None") {
    expr->constant = None{};
  } else {
    expr->op = Op::name;
    expr->symbol = symbols_.intern(name);
    for (MacroNode* macro : macros_) {
      macro->uses_varargs |= name == "varargs";
      macro->uses_kwargs |= name == "kwargs";
      macro->uses_caller |= name == "caller";
    }
  }
  return expr;
}

Expr Parser::parse_number() {
  const Token token = take();
  Expr expr = node(Op::constant, token.line);
  if (token.kind == Token::Kind::real) {
    expr->constant = std::strtod(token.text.c_str(), nullptr);
    return expr;
  }
  const char second = token.text.size() > 1 ? static_cast<char>(token.text[1] | 0x20) : '0';
  const int base = second == 'x' ? 16 : second == 'o' ? 8 : second == 'b' ? 2 : 10;
  const char* begin = token.text.data() + (base == 10 ? 0 : 2);
  const char* end = token.text.data() + token.text.size();
  int64_t number = 0;
  const auto [stop, error] = std::from_chars(begin, end, number, base);
  if (error != std::errc() || stop != end) throw Failure("the integer " + token.text + " is too large", token.line);
  expr->constant = number;
  return expr;
}

Expr Parser::parse_tuple(bool conditional, bool may_be_empty, std::string_view end) {
  const Nesting nesting(*this);
  const int line = current().line;
  const auto at_end = [&] {
    return current().kind == Token::Kind::variable_end || current().kind == Token::Kind::block_end ||
           current().is_op(")") || (!end.empty() && current().is_name(end));
  };
  std::vector<Expr> items;
  bool is_tuple = false;
  while (true) {
    if (!items.empty()) expect_op(",");
    if (at_end()) break;
    items.push_back(parse_expression(conditional));
    if (!current().is_op(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (items.empty() && !may_be_empty) fail_here("expected an expression, found " + found());
  Expr expr = node(Op::tuple, line);
  expr->operands = std::move(items);
  return finished(std::move(expr));
}

Expr Parser::parse_list() {
  Expr expr = node(Op::list, take().line);
  while (!current().is_op("]")) {
    if (!expr->operands.empty()) expect_op(",");
    if (current().is_op("]")) break;
    expr->operands.push_back(parse_expression());
  }
  take();
  return finished(std::move(expr));
}

Expr Parser::parse_dict() {
  Expr expr = node(Op::dict, take().line);
  while (!current().is_op("}")) {
    if (!expr->operands.empty()) expect_op(",");
    if (current().is_op("}")) break;
    expr->operands.push_back(parse_expression());
    expect_op(":");
    expr->operands.push_back(parse_expression());
  }
  take();
  return finished(std::move(expr));
}

Expr Parser::parse_postfix(Expr expr) {
  while (true) {
    if (current().is_op(".") || current().is_op("[")) {
      expr = parse_subscript(std::move(expr));
    } else if (current().is_op("(")) {
      Expr call = node(Op::call, current().line);
      call->operands.push_back(std::move(expr));
      parse_arguments(*call);
      expr = finished(std::move(call));
    } else {
      return expr;
    }
  }
}

Expr Parser::parse_filters(Expr expr) {
  while (true) {
    if (skip_op("|")) {
      expr = parse_filter(std::move(expr));
    } else if (current().is_name("is")) {
      expr = parse_test(std::move(expr));
    } else if (current().is_op("(")) {
      Expr call = node(Op::call, current().line);
      call->operands.push_back(std::move(expr));
      parse_arguments(*call);
      expr = finished(std::move(call));
    } else {
      return expr;
    }
  }
}

Expr Parser::parse_filter(Expr expr) {
  Expr filter = node(Op::filter, current().line);
  filter->name = expect_name();
  while (skip_op(".")) filter->name += "." + expect_name();
  filter->native = find_filter(filter->name);
  filter->operands.push_back(std::move(expr));
  if (current().is_op("(")) parse_arguments(*filter);
  return finished(std::move(filter));
}

Expr Parser::parse_filter_chain(Expr expr, bool first_without_pipe) {
  if (first_without_pipe) expr = parse_filter(std::move(expr));
  while (skip_op("|")) expr = parse_filter(std::move(expr));
  return expr;
}

Expr Parser::parse_test(Expr expr) {
  const int line = take().line;
  const bool negated = skip_name("not");
  Expr test = node(Op::test, line);
  test->name = expect_name();
  while (skip_op(".")) test->name += "." + expect_name();
  test->native = find_test(test->name);
  test->operands.push_back(std::move(expr));
  const Token& token = current();
  const bool value = token.kind == Token::Kind::name || token.kind == Token::Kind::string ||
                     token.kind == Token::Kind::integer || token.kind == Token::Kind::real || token.is_op("[") ||
                     token.is_op("{");
  if (token.is_op("(")) {
    parse_arguments(*test);
  } else if (value && !token.is_name("else") && !token.is_name("or") && !token.is_name("and")) {
    if (token.is_name("is")) fail_here("tests cannot be chained with is");
    test->operands.push_back(parse_postfix(parse_primary()));
  }
  test = finished(std::move(test));
  if (!negated) return test;
  Expr not_expr = node(Op::not_, line);
  not_expr->operands.push_back(std::move(test));
  return finished(std::move(not_expr));
}

Expr Parser::parse_subscript(Expr expr) {
  const Token token = take();
  if (token.text == ".") {
    if (current().kind == Token::Kind::integer) return binary(Op::item, std::move(expr), parse_number());
    Expr attribute = node(Op::attribute, token.line);
    attribute->name = expect_name();
    attribute->constant = text_value(attribute->name);
    attribute->operands.push_back(std::move(expr));
    return finished(std::move(attribute));
  }
  std::vector<Expr> keys;
  while (!current().is_op("]")) {
    if (!keys.empty()) expect_op(",");
    keys.push_back(parse_subscripted());
  }
  take();
  Expr key;
  if (keys.size() == 1) {
    key = std::move(keys[0]);
  } else {
    for (const Expr& part : keys)
      if (part->op == Op::slice) fail_here("a slice among several subscripts");
    key = node(Op::tuple, token.line);
    key->operands = std::move(keys);
    key = finished(std::move(key));
  }
  return binary(Op::item, std::move(expr), std::move(key));
}

Expr Parser::parse_subscripted() {
  const auto at_end = [&] { return current().is_op("]") || current().is_op(",") || current().is_op(":"); };
  Expr start;
  if (!current().is_op(":")) {
    start = parse_expression();
    if (!current().is_op(":")) return start;
  }
  Expr slice = node(Op::slice, take().line);
  slice->operands.push_back(std::move(start));
  slice->operands.push_back(at_end() ? nullptr : parse_expression());
  Expr step;
  if (skip_op(":") && !at_end()) step = parse_expression();
  slice->operands.push_back(std::move(step));
  return finished(std::move(slice));
}

void Parser::parse_arguments(ExprNode& call) {
  const Nesting nesting(*this);
  expect_op("(");
  bool first = true;
  const auto ensure = [&](bool valid) {
    if (!valid) fail_here("invalid syntax in the arguments of a call");
  };
  while (!current().is_op(")")) {
    if (!first) expect_op(",");
    if (current().is_op(")")) break;
    first = false;
    if (skip_op("*")) {
      ensure(!call.star_args && !call.star_named);
      call.star_args = parse_expression();
    } else if (skip_op("**")) {
      ensure(!call.star_named);
      call.star_named = parse_expression();
    } else if (current().kind == Token::Kind::name && ahead().is_op("=")) {
      ensure(!call.star_named);
      std::string name = take().text;
      take();
      call.named.emplace_back(std::move(name), parse_expression());
    } else {
      ensure(!call.star_args && !call.star_named && call.named.empty());
      call.operands.push_back(parse_expression());
    }
  }
  take();
}

}  // namespace inkstone::jinja
