#include "text/jinja/parser.h"

#include <algorithm>

namespace inkstone::jinja {
namespace {
constexpr int kMaxParserNesting = 120;
constexpr size_t kMaxMacroNesting = 20;
}  // namespace

Parser::Nesting::Nesting(Parser& parser) : parser_(parser) {
  if (++parser_.nesting_ > kMaxParserNesting) {
    --parser_.nesting_;
    parser_.fail_here(fmt::format("the template is nested more than {} levels deep", kMaxParserNesting));
  }
}

std::string Parser::found() const {
  switch (current().kind) {
    case Token::Kind::end: return "end of template";
    case Token::Kind::data: return "template data";
    case Token::Kind::variable_begin: return "'{{'";
    case Token::Kind::variable_end: return "'}}'";
    case Token::Kind::block_begin: return "'{%'";
    case Token::Kind::block_end: return "'%}'";
    case Token::Kind::string: return "a string";
    default: return "'" + current().text + "'";
  }
}

bool Parser::skip_op(std::string_view spelling) {
  if (!current().is_op(spelling)) return false;
  take();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!current().is_name(name)) return false;
  take();
  return true;
}

void Parser::expect_op(std::string_view spelling) {
  if (!skip_op(spelling)) fail_here(fmt::format("expected '{}', found {}", spelling, found()));
}

std::string Parser::expect_name() {
  if (current().kind != Token::Kind::name) fail_here("expected a name, found " + found());
  return take().text;
}

void Parser::expect_block_end() {
  if (current().kind != Token::Kind::block_end) fail_here("expected '%}', found " + found());
  take();
}

Tree Parser::parse() {
  Tree tree;
  tree.body = parse_body({});
  tree.symbols = std::move(symbols_);
  return tree;
}

Body Parser::parse_body(const std::vector<std::string_view>& ends) {
  const Nesting nesting(*this);
  Body body;
  while (true) {
    const Token& token = current();
    switch (token.kind) {
      case Token::Kind::end:
        if (ends.empty()) return body;
        fail_here(fmt::format("unexpected end of template, looking for '{}'", ends.front()));
      case Token::Kind::data: {
        StatementNode& node = body.emplace_back();
        node.line = token.line;
        node.text.append(take().text, true);
        break;
      }
      case Token::Kind::variable_begin: {
        take();
        StatementNode& node = body.emplace_back();
        node.kind = StatementNode::Kind::output;
        node.line = current().line;
        node.exprs.push_back(parse_tuple(true, false));
        if (current().kind != Token::Kind::variable_end) fail_here("expected '}}', found " + found());
        take();
        break;
      }
      case Token::Kind::block_begin:
        take();
        if (current().kind != Token::Kind::name) fail_here("tag name expected, found " + found());
        if (std::find(ends.begin(), ends.end(), current().text) != ends.end()) return body;
        parse_statement(body);
        expect_block_end();
        break;
      default: fail_here("unexpected " + found());
    }
  }
}

Body Parser::parse_block(std::string_view end) {
  skip_op(":");
  expect_block_end();
  Body body = parse_body({end});
  take();
  return body;
}

void Parser::parse_statement(Body& body) {
  const Token tag = take();
  StatementNode node;
  node.line = tag.line;
  const std::string& name = tag.text;
  if (name == "if") {
    parse_if(node);
  } else if (name == "for") {
    parse_for(node);
  } else if (name == "set") {
    parse_set(node);
  } else if (name == "macro") {
    parse_macro(node);
  } else if (name == "call") {
    parse_call_block(node);
  } else if (name == "with") {
    parse_with(node);
  } else if (name == "filter") {
    node.kind = StatementNode::Kind::filter_block;
    Expr text = this->node(Op::name, tag.line);
    text->symbol = kBlockText;
    node.exprs.push_back(parse_filter_chain(std::move(text), true));
    node.bodies.push_back(parse_block("endfilter"));
  } else if (name == "generation") {
    node.kind = StatementNode::Kind::scope;
    node.bodies.push_back(parse_block("endgeneration"));
  } else if (name == "print") {
    node.kind = StatementNode::Kind::output;
    while (current().kind != Token::Kind::block_end) {
      if (!node.exprs.empty()) expect_op(",");
      node.exprs.push_back(parse_expression());
    }
  } else if (name == "break") {
    parse_loop_control(node, StatementNode::Kind::break_);
  } else if (name == "continue") {
    parse_loop_control(node, StatementNode::Kind::continue_);
  } else if (name == "include" || name == "import" || name == "from" || name == "extends" || name == "block") {
    throw Failure(fmt::format("'{}' needs other templates: a chat template stands alone", name), tag.line);
  } else {
    throw Failure(fmt::format("unknown tag '{}'", name), tag.line);
  }
  body.push_back(std::move(node));
}

void Parser::parse_loop_control(StatementNode& node, StatementNode::Kind kind) {
  if (loops_ == 0) throw Failure("break or continue outside of a loop", node.line);
  node.kind = kind;
}

void Parser::parse_if(StatementNode& node) {
  node.kind = StatementNode::Kind::if_;
  while (true) {
    node.exprs.push_back(parse_tuple(false, false));
    skip_op(":");
    expect_block_end();
    node.bodies.push_back(parse_body({"elif", "else", "endif"}));
    const std::string end = take().text;
    if (end == "elif") continue;
    if (end == "else") node.bodies.push_back(parse_block("endif"));
    return;
  }
}

void Parser::parse_for(StatementNode& node) {
  node.kind = StatementNode::Kind::for_;
  node.targets.push_back(parse_target(false, "in"));
  if (!skip_name("in")) fail_here("expected 'in', found " + found());
  node.exprs.push_back(parse_tuple(false, false, "recursive"));
  node.exprs.push_back(skip_name("if") ? parse_expression() : nullptr);
  node.recursive = skip_name("recursive");
  skip_op(":");
  expect_block_end();
  ++loops_;
  node.bodies.push_back(parse_body({"endfor", "else"}));
  --loops_;
  if (take().text == "else") node.bodies.push_back(parse_block("endfor"));
}

void Parser::parse_set(StatementNode& node) {
  node.targets.push_back(parse_target(true, "="));
  if (skip_op("=")) {
    node.kind = StatementNode::Kind::set;
    node.exprs.push_back(parse_tuple(true, false));
    return;
  }
  node.kind = StatementNode::Kind::set_block;
  if (current().is_op("|")) {
    Expr text = this->node(Op::name, node.line);
    text->symbol = kBlockText;
    node.exprs.push_back(parse_filter_chain(std::move(text), false));
  }
  node.bodies.push_back(parse_block("endset"));
}

void Parser::parse_with(StatementNode& node) {
  node.kind = StatementNode::Kind::with;
  while (current().kind != Token::Kind::block_end) {
    if (!node.targets.empty()) expect_op(",");
    node.targets.push_back(parse_target(false, "="));
    expect_op("=");
    node.exprs.push_back(parse_expression());
  }
  node.bodies.push_back(parse_block("endwith"));
}

Symbol Parser::parse_assigned_name() {
  if (current().is_name("true") || current().is_name("false") || current().is_name("none") ||
      current().is_name("True") || current().is_name("False") || current().is_name("None"))
    fail_here("can't assign to " + found());
  return symbols_.intern(expect_name());
}

Target Parser::parse_single_target(bool attributes) {
  Target target;
  if (skip_op("(")) {
    const Nesting nesting(*this);
    target = parse_target(attributes, ")");
    expect_op(")");
    return target;
  }
  target.symbol = parse_assigned_name();
  if (attributes && skip_op(".")) {
    target.kind = Target::Kind::attribute;
    target.attribute = expect_name();
  }
  return target;
}

Target Parser::parse_target(bool attributes, std::string_view end) {
  Target first = parse_single_target(attributes);
  if (!current().is_op(",")) return first;
  Target tuple;
  tuple.kind = Target::Kind::tuple;
  tuple.items.push_back(std::move(first));
  while (skip_op(",")) {
    if (current().is_name(end) || current().is_op(end) || current().kind == Token::Kind::block_end) break;
    tuple.items.push_back(parse_single_target(attributes));
  }
  return tuple;
}

void Parser::parse_parameters(MacroNode& macro) {
  expect_op("(");
  while (!current().is_op(")")) {
    if (!macro.parameters.empty()) expect_op(",");
    MacroNode::Parameter parameter;
    parameter.symbol = parse_assigned_name();
    parameter.name = symbols_.name(parameter.symbol);
    if (skip_op("="))
      parameter.fallback = parse_expression();
    else if (!macro.parameters.empty() && macro.parameters.back().fallback)
      fail_here("non-default argument follows default argument");
    macro.parameters.push_back(std::move(parameter));
  }
  expect_op(")");
}

void Parser::parse_macro_body(MacroNode& macro, std::string_view end) {
  if (macros_.size() >= kMaxMacroNesting) fail_here("macros are nested too deep");
  macros_.push_back(&macro);
  const int loops = std::exchange(loops_, 0);
  macro.body = parse_block(end);
  loops_ = loops;
  macros_.pop_back();
}

void Parser::parse_macro(StatementNode& node) {
  node.kind = StatementNode::Kind::macro;
  node.macro = std::make_unique<MacroNode>();
  Target target;
  target.symbol = parse_assigned_name();
  node.macro->name = symbols_.name(target.symbol);
  node.targets.push_back(std::move(target));
  parse_parameters(*node.macro);
  parse_macro_body(*node.macro, "endmacro");
}

void Parser::parse_call_block(StatementNode& node) {
  node.kind = StatementNode::Kind::call_block;
  node.macro = std::make_unique<MacroNode>();
  node.macro->name = "caller";
  if (current().is_op("(")) parse_parameters(*node.macro);
  node.exprs.push_back(parse_expression());
  if (node.exprs[0]->op != Op::call) fail_here("expected a call");
  parse_macro_body(*node.macro, "endcall");
}

Tree parse(std::string_view source) { return Parser(source).parse(); }

}  // namespace inkstone::jinja
