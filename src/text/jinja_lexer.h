// Template text to tokens: tags, white space control, trim_blocks and lstrip_blocks as Jinja2 has them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ostro::jinja {

enum class TokenKind {
  Data,  // text between tags, already trimmed
  VariableBegin,
  VariableEnd,
  BlockBegin,
  BlockEnd,
  Name,
  String,  // unescaped
  Integer,
  Float,
  Operator,
  End
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;
};

// Raises TemplateSyntaxError. The last token is End.
std::vector<Token> tokenize(std::string_view source);

}  // namespace ostro::jinja
