// Lexer: a template's source -> tokens, with trim_blocks and lstrip_blocks as transformers sets them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace inkstone::jinja {

struct Token {
  enum class Kind { data, variable_begin, variable_end, block_begin, block_end, name, string, integer, real, op, end };
  Kind kind = Kind::end;
  std::string text;  // the data, the name, the string's value, the number's or operator's spelling
  int line = 0;

  bool is_op(std::string_view spelling) const { return kind == Kind::op && text == spelling; }
  bool is_name(std::string_view name) const { return kind == Kind::name && text == name; }
};

// The last token is of kind end. Throws Failure.
std::vector<Token> tokenize(std::string_view source);

}  // namespace inkstone::jinja
