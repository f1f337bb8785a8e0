// The syntax tree of a template.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace ostro::jinja {

enum class ExprKind {
  Constant,     // value
  Name,         // name
  List,         // operands
  Tuple,        // operands
  Dict,         // operands: key, value, key, value, ...
  Attribute,    // operands[0].name
  Item,         // operands[0][operands[1]]
  Slice,        // operands: start, stop, step, each possibly null; only as the second operand of Item
  Call,         // operands[0](operands[1..], named, star, double_star)
  Filter,       // operands[0] | name(operands[1..], ...); a null operands[0] is the text of a block
  Test,         // operands[0] is name(operands[1..], ...)
  Unary,        // name: "-", "+", "not"
  Binary,       // name: "+", "-", "*", "/", "//", "%", "**"
  Concat,       // operands joined as text
  And,          // operands[0], operands[1]
  Or,           // operands[0], operands[1]
  Compare,      // operands[0] names[0] operands[1] names[1] ...: a chain as in Python
  Conditional,  // operands: condition, value, otherwise or null
  Namespace     // only as a target: name.names[0]
};

struct Expr {
  ExprKind kind;
  int line = 0;
  int depth = 1;  // of the tree below
  std::string name;
  Value value;
  std::vector<std::unique_ptr<Expr>> operands;
  std::vector<std::pair<std::string, std::unique_ptr<Expr>>> named;
  std::unique_ptr<Expr> star, double_star;
  std::vector<std::string> names;
};
using ExprPtr = std::unique_ptr<Expr>;

struct Statement;
using StatementPtr = std::unique_ptr<Statement>;
using Block = std::vector<StatementPtr>;

enum class StatementKind {
  Data,         // text
  Output,       // value
  For,          // for target in value if condition [recursive]: body, otherwise
  If,           // branches, otherwise
  Macro,        // macro
  CallBlock,    // value is the call, macro the block
  FilterBlock,  // value is the chain of filters over the body's text
  With,         // bindings, body
  Set,          // target, value
  SetBlock,     // target, body, value: filters or null
  Scope,        // body in a scope of its own
  Break,
  Continue
};

struct Macro {
  std::string name;  // empty: the block of a call
  std::vector<std::string> parameters;
  std::vector<ExprPtr> defaults;  // of the last parameters
  Block body;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

struct Statement {
  StatementKind kind;
  int line = 0;
  std::string text;
  ExprPtr target, value, condition;
  Block body, otherwise;
  bool recursive = false;
  std::unique_ptr<Macro> macro;
  std::vector<std::pair<ExprPtr, Block>> branches;
  std::vector<std::pair<ExprPtr, ExprPtr>> bindings;
};

}  // namespace ostro::jinja
