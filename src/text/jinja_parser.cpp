// The parser: recursive descent with the precedences of Jinja2. Depth is bounded, so that no template can exhaust the
// stack here or in the walks over the tree.
#include "text/jinja_parser.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>

#include "base/error.h"
#include "text/jinja_lexer.h"
#include "text/jinja_runtime.h"

namespace ostro::jinja {

namespace {
constexpr int kMaxNesting = 100;    // of brackets and blocks in the template
constexpr int kMaxTreeDepth = 250;  // of one expression

using Words = std::initializer_list<std::string_view>;

bool contains(Words words, std::string_view word) { return std::find(words.begin(), words.end(), word) != words.end(); }

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Block run() {
    Block body = block_until({});
    if (token().kind != TokenKind::End) fail("unexpected end of the template's blocks");
    if (!unknown_.empty()) raise("TemplateAssertionError", unknown_.front());
    return body;
  }

 private:
  // One level of brackets or blocks.
  struct Nesting {
    explicit Nesting(Parser& parser) : level(parser.nesting_) {
      if (++level > kMaxNesting) parser.fail("the template is nested too deeply");
    }
    ~Nesting() { --level; }
    int& level;
  };

  // --- tokens ---
  const Token& token(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  void next() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  [[noreturn]] void fail(const std::string& message) const {
    raise("TemplateSyntaxError", fmt::format("line {}: {}", token().line, message));
  }
  bool is_operator(std::string_view op) const { return token().kind == TokenKind::Operator && token().text == op; }
  bool is_name(std::string_view name) const { return token().kind == TokenKind::Name && token().text == name; }
  bool skip_operator(std::string_view op) {
    const bool found = is_operator(op);
    if (found) next();
    return found;
  }
  bool skip_name(std::string_view name) {
    const bool found = is_name(name);
    if (found) next();
    return found;
  }
  std::string describe() const {
    switch (token().kind) {
      case TokenKind::Data:
        return "template data / text";
      case TokenKind::VariableBegin:
        return "begin of print statement";
      case TokenKind::VariableEnd:
        return "end of print statement";
      case TokenKind::BlockBegin:
        return "begin of statement block";
      case TokenKind::BlockEnd:
        return "end of statement block";
      case TokenKind::End:
        return "end of template";
      default:
        return token().text;
    }
  }
  void expect_operator(std::string_view op) {
    if (!skip_operator(op)) fail(fmt::format("expected token '{}', got '{}'", op, describe()));
  }
  void expect_name(std::string_view name) {
    if (!skip_name(name)) fail(fmt::format("expected token '{}', got '{}'", name, describe()));
  }
  std::string any_name() {
    if (token().kind != TokenKind::Name) fail(fmt::format("expected token 'name', got '{}'", describe()));
    std::string name = token().text;
    next();
    return name;
  }
  void expect_block_end() {
    if (token().kind != TokenKind::BlockEnd) {
      fail(fmt::format("expected token 'end of statement block', got '{}'", describe()));
    }
    next();
  }

  // --- tree ---
  ExprPtr make(ExprKind kind) const {
    auto out = std::make_unique<Expr>();
    out->kind = kind;
    out->line = token().line;
    return out;
  }
  void add(Expr& parent, ExprPtr child) const {
    if (child != nullptr) deepen(parent, *child);
    parent.operands.push_back(std::move(child));
  }
  void deepen(Expr& parent, const Expr& child) const {
    parent.depth = std::max(parent.depth, child.depth + 1);
    if (parent.depth > kMaxTreeDepth) fail("the expression is too long or nested too deeply");
  }
  template <typename... Children>
  ExprPtr make(ExprKind kind, std::string name, Children... children) const {
    ExprPtr out = make(kind);
    out->name = std::move(name);
    (add(*out, std::move(children)), ...);
    return out;
  }
  ExprPtr constant(Value value) const {
    ExprPtr out = make(ExprKind::Constant);
    out->value = std::move(value);
    return out;
  }
  StatementPtr statement(StatementKind kind) const {
    auto out = std::make_unique<Statement>();
    out->kind = kind;
    out->line = token().line;
    return out;
  }

  // --- blocks ---
  // Everything up to a tag that begins with one of `ends` (which stays), or the end of the template.
  Block block_until(Words ends) {
    const Nesting nesting(*this);
    Block body;
    for (;;) {
      switch (token().kind) {
        case TokenKind::Data: {
          StatementPtr data = statement(StatementKind::Data);
          data->text = token().text;
          body.push_back(std::move(data));
          next();
          break;
        }
        case TokenKind::VariableBegin: {
          next();
          StatementPtr output = statement(StatementKind::Output);
          output->value = tuple_or_expression(true);
          if (token().kind != TokenKind::VariableEnd) {
            fail(fmt::format("expected token 'end of print statement', got '{}'", describe()));
          }
          next();
          body.push_back(std::move(output));
          break;
        }
        case TokenKind::BlockBegin: {
          next();
          if (token().kind != TokenKind::Name) fail("tag name expected");
          if (contains(ends, token().text)) return body;
          body.push_back(tag());
          break;
        }
        default:
          if (ends.size() != 0) {
            fail(fmt::format("Unexpected end of template. Jinja was looking for the tag '{}'.",
                             fmt::join(ends, "' or '")));
          }
          return body;
      }
    }
  }

  // The same in a frame of its own, where the reference does look for filters at once.
  Block inner_block_until(Words ends) {
    const bool outer = std::exchange(conditional_, false);
    Block body = block_until(ends);
    conditional_ = outer;
    return body;
  }

  // The body of a block with a frame of its own, and its end tag.
  Block block_and_end(std::string_view end) {
    expect_block_end();
    Block body = inner_block_until({end});
    next();
    return body;
  }

  StatementPtr tag() {
    const std::string name = token().text;
    next();
    StatementPtr out = tag_named(name);
    expect_block_end();
    return out;
  }

  StatementPtr tag_named(const std::string& name) {
    if (name == "for") return for_tag();
    if (name == "if") return if_tag();
    if (name == "set") return set_tag();
    if (name == "macro") return macro_tag();
    if (name == "call") return call_tag();
    if (name == "filter") return filter_tag();
    if (name == "with") return with_tag();
    if (name == "print") {
      StatementPtr out = statement(StatementKind::Output);
      out->value = tuple_or_expression(true);
      return out;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) raise("SyntaxError", fmt::format("line {}: '{}' outside loop", token().line, name));
      return statement(name == "break" ? StatementKind::Break : StatementKind::Continue);
    }
    if (name == "generation") {
      StatementPtr out = statement(StatementKind::Scope);
      out->body = block_and_end("endgeneration");
      return out;
    }
    if (name == "block") {
      StatementPtr out = statement(StatementKind::Scope);
      const std::string block = any_name();
      while (skip_name("scoped") || skip_name("required")) {
      }
      out->body = block_and_end("endblock");
      skip_name(block);
      return out;
    }
    if (name == "autoescape") {
      StatementPtr out = statement(StatementKind::Scope);
      const ExprPtr mode = expression();
      if (mode->kind != ExprKind::Constant || truthy(mode->value)) fail("autoescape is not supported");
      out->body = block_and_end("endautoescape");
      return out;
    }
    if (contains({"include", "import", "from", "extends"}, name)) {
      raise("TypeError", fmt::format("line {}: no loader for this environment specified ('{}')", token().line, name));
    }
    fail(fmt::format("Encountered unknown tag '{}'.", name));
  }

  StatementPtr for_tag() {
    StatementPtr out = statement(StatementKind::For);
    ++for_tags_;
    out->target = assign_target(false);
    expect_name("in");
    out->value = tuple_or_expression(false, {"recursive"});
    if (skip_name("if")) out->condition = expression();
    out->recursive = skip_name("recursive");
    expect_block_end();
    ++loops_;
    out->body = inner_block_until({"endfor", "else"});
    --loops_;
    if (is_name("else")) {
      next();
      out->otherwise = block_and_end("endfor");
    } else {
      next();
    }
    --for_tags_;
    return out;
  }

  StatementPtr if_tag() {
    StatementPtr out = statement(StatementKind::If);
    const bool outer = std::exchange(conditional_, true);
    do {
      ExprPtr condition = tuple_or_expression(false);
      expect_block_end();
      out->branches.emplace_back(std::move(condition), block_until({"elif", "else", "endif"}));
    } while (skip_name("elif"));
    if (skip_name("else")) {
      expect_block_end();
      out->otherwise = block_until({"endif"});
    }
    next();
    conditional_ = outer;
    return out;
  }

  StatementPtr set_tag() {
    StatementPtr out = statement(StatementKind::Set);
    out->target = assign_target(true);
    if (skip_operator("=")) {
      out->value = tuple_or_expression(true);
      return out;
    }
    out->kind = StatementKind::SetBlock;
    if (is_operator("|")) out->value = filters(nullptr, false);
    out->body = block_and_end("endset");
    return out;
  }

  // (a, b=1): the parameters of a macro or of the block of a call.
  void signature(Macro& macro) {
    expect_operator("(");
    while (!is_operator(")")) {
      if (!macro.parameters.empty()) expect_operator(",");
      macro.parameters.push_back(any_name());
      if (skip_operator("=")) {
        macro.defaults.push_back(expression());
      } else if (!macro.defaults.empty()) {
        fail("non-default argument follows default argument");
      }
    }
    expect_operator(")");
  }

  void macro_body(Macro& macro, std::string_view end) {
    Macro* const outer_macro = std::exchange(macro_, &macro);
    const int outer_loops = std::exchange(loops_, 0);
    macro.body = block_and_end(end);
    macro_ = outer_macro;
    if (macro_ != nullptr) {  // names used further in count as used here
      macro_->uses_caller = macro_->uses_caller || macro.uses_caller;
      macro_->uses_varargs = macro_->uses_varargs || macro.uses_varargs;
      macro_->uses_kwargs = macro_->uses_kwargs || macro.uses_kwargs;
    }
    loops_ = outer_loops;
  }

  StatementPtr macro_tag() {
    StatementPtr out = statement(StatementKind::Macro);
    out->macro = std::make_unique<Macro>();
    out->macro->name = any_name();
    signature(*out->macro);
    macro_body(*out->macro, "endmacro");
    return out;
  }

  StatementPtr call_tag() {
    StatementPtr out = statement(StatementKind::CallBlock);
    out->macro = std::make_unique<Macro>();
    if (is_operator("(")) signature(*out->macro);
    out->value = expression();
    if (out->value->kind != ExprKind::Call) fail("expected call");
    macro_body(*out->macro, "endcall");
    return out;
  }

  StatementPtr filter_tag() {
    StatementPtr out = statement(StatementKind::FilterBlock);
    out->value = filters(nullptr, true);
    out->body = block_and_end("endfilter");
    return out;
  }

  StatementPtr with_tag() {
    StatementPtr out = statement(StatementKind::With);
    while (token().kind != TokenKind::BlockEnd) {
      if (!out->bindings.empty()) expect_operator(",");
      ExprPtr target = assign_target(false);
      expect_operator("=");
      out->bindings.emplace_back(std::move(target), expression());
    }
    out->body = block_and_end("endwith");
    return out;
  }

  ExprPtr assign_target(bool with_namespace) {
    ExprPtr target;
    if (with_namespace && token().kind == TokenKind::Name && token(1).text == "." &&
        token(1).kind == TokenKind::Operator) {
      target = make(ExprKind::Namespace);
      target->name = any_name();
      next();
      target->names.push_back(any_name());
      return target;
    }
    std::vector<ExprPtr> parts;
    bool is_tuple = false;
    do {
      if (!parts.empty() && !is_target_start()) break;
      parts.push_back(primary());
      is_tuple = is_tuple || is_operator(",");
    } while (skip_operator(","));
    if (is_tuple) {
      target = make(ExprKind::Tuple);
      for (ExprPtr& part : parts) add(*target, std::move(part));
    } else {
      target = std::move(parts[0]);
    }
    check_target(*target);
    return target;
  }
  bool is_target_start() const { return (token().kind == TokenKind::Name && token().text != "in") || is_operator("("); }
  void check_target(const Expr& target) const {
    if (target.kind == ExprKind::Tuple || target.kind == ExprKind::List) {
      for (const ExprPtr& part : target.operands) check_target(*part);
    } else if (target.kind != ExprKind::Name) {
      fail("can't assign to this expression");
    } else if (target.name == "loop" && for_tags_ > 0) {
      raise("TemplateAssertionError", "Can't assign to special loop variable in for-loop target");
    }
  }

  // --- expressions ---
  ExprPtr tuple_or_expression(bool with_conditional, Words end_words = {}) {
    return tuple(with_conditional, end_words, false);
  }

  ExprPtr tuple(bool with_conditional, Words end_words, bool in_parentheses) {
    std::vector<ExprPtr> items;
    bool is_tuple = false;
    for (;;) {
      if (!items.empty()) expect_operator(",");
      if (tuple_ends(end_words)) break;
      items.push_back(with_conditional ? expression() : disjunction());
      if (!is_operator(",")) break;
      is_tuple = true;
    }
    if (!is_tuple) {
      if (!items.empty()) return std::move(items[0]);
      if (!in_parentheses) fail(fmt::format("Expected an expression, got '{}'", describe()));
    }
    ExprPtr out = make(ExprKind::Tuple);
    for (ExprPtr& item : items) add(*out, std::move(item));
    return out;
  }
  bool tuple_ends(Words end_words) const {
    return token().kind == TokenKind::VariableEnd || token().kind == TokenKind::BlockEnd || is_operator(")") ||
           (token().kind == TokenKind::Name && contains(end_words, token().text));
  }

  ExprPtr expression() {
    const Nesting nesting(*this);
    const bool outer = conditional_;
    const size_t known_faults = unknown_.size();
    ExprPtr value = disjunction();
    while (skip_name("if")) {
      unknown_.resize(known_faults);
      ExprPtr out = make(ExprKind::Conditional);
      conditional_ = true;
      add(*out, disjunction());
      add(*out, std::move(value));
      add(*out, skip_name("else") ? expression() : nullptr);
      conditional_ = outer;
      value = std::move(out);
    }
    return value;
  }

  ExprPtr disjunction() {
    ExprPtr left = conjunction();
    while (skip_name("or")) left = make(ExprKind::Or, "or", std::move(left), conjunction());
    return left;
  }

  ExprPtr conjunction() {
    ExprPtr left = negation();
    while (skip_name("and")) left = make(ExprKind::And, "and", std::move(left), negation());
    return left;
  }

  ExprPtr negation() {
    if (!skip_name("not")) return comparison();
    const Nesting nesting(*this);
    return make(ExprKind::Unary, "not", negation());
  }

  ExprPtr comparison() {
    ExprPtr first = sum();
    ExprPtr chain;
    for (;;) {
      std::string op;
      if (token().kind == TokenKind::Operator && contains({"==", "!=", "<", "<=", ">", ">="}, token().text)) {
        op = token().text;
        next();
      } else if (skip_name("in")) {
        op = "in";
      } else if (is_name("not") && token(1).kind == TokenKind::Name && token(1).text == "in") {
        next();
        next();
        op = "not in";
      } else {
        break;
      }
      if (chain == nullptr) chain = make(ExprKind::Compare, "", std::move(first));
      chain->names.push_back(op);
      add(*chain, sum());
    }
    return chain != nullptr ? std::move(chain) : std::move(first);
  }

  ExprPtr sum() {
    ExprPtr left = concatenation();
    while (is_operator("+") || is_operator("-")) {
      const std::string op = token().text;
      next();
      left = make(ExprKind::Binary, op, std::move(left), concatenation());
    }
    return left;
  }

  ExprPtr concatenation() {
    ExprPtr first = product();
    if (!is_operator("~")) return first;
    ExprPtr out = make(ExprKind::Concat, "", std::move(first));
    while (skip_operator("~")) add(*out, product());
    return out;
  }

  ExprPtr product() {
    ExprPtr left = power();
    while (is_operator("*") || is_operator("/") || is_operator("//") || is_operator("%")) {
      const std::string op = token().text;
      next();
      left = make(ExprKind::Binary, op, std::move(left), power());
    }
    return left;
  }

  ExprPtr power() {  // to the left, as Jinja2 has it
    ExprPtr left = unary(true);
    while (skip_operator("**")) left = make(ExprKind::Binary, "**", std::move(left), unary(true));
    return left;
  }

  ExprPtr unary(bool with_filter) {
    ExprPtr out;
    if (is_operator("-") || is_operator("+")) {
      const Nesting nesting(*this);
      const std::string op = token().text;
      next();
      out = make(ExprKind::Unary, op, unary(false));
    } else {
      out = primary();
    }
    out = postfix(std::move(out));
    return with_filter ? filters_and_tests(std::move(out)) : std::move(out);
  }

  ExprPtr primary() {
    const Token& here = token();
    switch (here.kind) {
      case TokenKind::Name:
        return name();
      case TokenKind::String: {
        std::string text;
        for (; token().kind == TokenKind::String; next()) text += token().text;
        return constant(text);
      }
      case TokenKind::Integer:
        return constant(integer(here.text));
      case TokenKind::Float: {
        double value = 0;
        std::from_chars(here.text.data(), here.text.data() + here.text.size(), value);
        next();
        return constant(value);
      }
      default:
        break;
    }
    if (is_operator("(")) {
      const Nesting nesting(*this);
      next();
      ExprPtr out = tuple(true, {}, true);
      expect_operator(")");
      return out;
    }
    if (is_operator("[")) return list();
    if (is_operator("{")) return dict();
    fail(fmt::format("unexpected '{}'", describe()));
  }

  ExprPtr name() {
    const std::string name = any_name();
    if (name == "true" || name == "True") return constant(true);
    if (name == "false" || name == "False") return constant(false);
    if (name == "none" || name == "None") return constant({});
    if (macro_ != nullptr) {
      macro_->uses_caller = macro_->uses_caller || name == "caller";
      macro_->uses_varargs = macro_->uses_varargs || name == "varargs";
      macro_->uses_kwargs = macro_->uses_kwargs || name == "kwargs";
    }
    return make(ExprKind::Name, name);
  }

  Value integer(std::string_view text) {
    int base = 10;
    if (text.size() > 2 && text[0] == '0') {
      const char letter = static_cast<char>(text[1] | 0x20);
      base = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 10;
      if (base != 10) text.remove_prefix(2);
    }
    int64_t value = 0;
    const auto result = std::from_chars(text.data(), text.data() + text.size(), value, base);
    if (result.ec != std::errc()) fail("the integer does not fit 64 bits");
    next();
    return value;
  }

  ExprPtr list() {
    const Nesting nesting(*this);
    next();
    ExprPtr out = make(ExprKind::List);
    while (!is_operator("]")) {
      if (!out->operands.empty()) expect_operator(",");
      if (is_operator("]")) break;
      add(*out, expression());
    }
    expect_operator("]");
    return out;
  }

  ExprPtr dict() {
    const Nesting nesting(*this);
    next();
    ExprPtr out = make(ExprKind::Dict);
    while (!is_operator("}")) {
      if (!out->operands.empty()) expect_operator(",");
      if (is_operator("}")) break;
      add(*out, expression());
      expect_operator(":");
      add(*out, expression());
    }
    expect_operator("}");
    return out;
  }

  ExprPtr postfix(ExprPtr out) {
    for (;;) {
      if (is_operator(".")) {
        next();
        if (token().kind == TokenKind::Name) {
          out = make(ExprKind::Attribute, token().text, std::move(out));
          next();
        } else if (token().kind == TokenKind::Integer) {
          out = make(ExprKind::Item, "", std::move(out), constant(integer(token().text)));
        } else {
          fail("expected name or number");
        }
      } else if (is_operator("[")) {
        const Nesting nesting(*this);
        next();
        out = make(ExprKind::Item, "", std::move(out), subscript());
        expect_operator("]");
      } else if (is_operator("(")) {
        out = call(make(ExprKind::Call, "", std::move(out)));
      } else {
        return out;
      }
    }
  }

  ExprPtr subscript() {
    std::vector<ExprPtr> parts;
    while (!is_operator("]")) {
      if (!parts.empty()) expect_operator(",");
      parts.push_back(index_or_slice());
    }
    if (parts.size() == 1) return std::move(parts[0]);
    ExprPtr out = make(ExprKind::Tuple);
    for (ExprPtr& part : parts) {
      if (part->kind == ExprKind::Slice) fail("slices of several dimensions are not supported");
      add(*out, std::move(part));
    }
    return out;
  }

  ExprPtr index_or_slice() {
    ExprPtr start;
    if (!is_operator(":")) {
      start = expression();
      if (!is_operator(":")) return start;
    }
    next();
    const auto part = [this]() -> ExprPtr {
      return is_operator(":") || is_operator("]") || is_operator(",") ? nullptr : expression();
    };
    ExprPtr out = make(ExprKind::Slice);
    add(*out, std::move(start));
    add(*out, part());
    add(*out, skip_operator(":") ? part() : nullptr);
    return out;
  }

  // Adds the arguments in parentheses to a call, filter or test.
  ExprPtr call(ExprPtr out) {
    const Nesting nesting(*this);
    expect_operator("(");
    bool first = true;
    const auto require = [this](bool valid) {
      if (!valid) fail("invalid syntax for function call expression");
    };
    while (!is_operator(")")) {
      if (!first) {
        expect_operator(",");
        if (is_operator(")")) break;
      }
      first = false;
      if (skip_operator("*")) {
        require(out->star == nullptr && out->double_star == nullptr);
        out->star = expression();
        deepen(*out, *out->star);
      } else if (skip_operator("**")) {
        require(out->double_star == nullptr);
        out->double_star = expression();
        deepen(*out, *out->double_star);
      } else if (token().kind == TokenKind::Name && token(1).kind == TokenKind::Operator && token(1).text == "=") {
        require(out->double_star == nullptr);
        std::string key = any_name();
        next();
        out->named.emplace_back(std::move(key), expression());
        deepen(*out, *out->named.back().second);
      } else {
        require(out->star == nullptr && out->double_star == nullptr && out->named.empty());
        add(*out, expression());
      }
    }
    expect_operator(")");
    return out;
  }

  ExprPtr filters_and_tests(ExprPtr out) {
    for (;;) {
      if (is_operator("|")) {
        out = filters(std::move(out), false);
      } else if (is_name("is")) {
        out = test(std::move(out));
      } else if (is_operator("(")) {
        out = call(make(ExprKind::Call, "", std::move(out)));
      } else {
        return out;
      }
    }
  }

  std::string dotted_name() {
    std::string name = any_name();
    while (skip_operator(".")) name += "." + any_name();
    return name;
  }

  // One or more filters over `out`, null for a block; `inline_start`: the first has no bar before it.
  ExprPtr filters(ExprPtr out, bool inline_start) {
    while (inline_start || skip_operator("|")) {
      inline_start = false;
      const std::string name = dotted_name();
      if (!conditional_ && !is_filter(name)) {
        unknown_.push_back(fmt::format("line {}: No filter named '{}'.", token().line, name));
      }
      out = make(ExprKind::Filter, name, std::move(out));
      if (is_operator("(")) out = call(std::move(out));
    }
    return out;
  }

  ExprPtr test(ExprPtr subject) {
    next();
    const bool negated = skip_name("not");
    const std::string name = dotted_name();
    if (!conditional_ && !is_test(name)) {
      unknown_.push_back(fmt::format("line {}: No test named '{}'.", token().line, name));
    }
    ExprPtr out = make(ExprKind::Test, name, std::move(subject));
    if (is_operator("(")) {
      out = call(std::move(out));
    } else if (argument_starts()) {
      if (is_name("is")) fail("You cannot chain multiple tests with is");
      const Nesting nesting(*this);
      add(*out, postfix(primary()));
    }
    return negated ? make(ExprKind::Unary, "not", std::move(out)) : std::move(out);
  }
  bool argument_starts() const {
    switch (token().kind) {
      case TokenKind::Name:
        return !is_name("else") && !is_name("or") && !is_name("and");
      case TokenKind::String:
      case TokenKind::Integer:
      case TokenKind::Float:
        return true;
      default:
        return is_operator("[") || is_operator("{");
    }
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nesting_ = 0;
  int loops_ = 0;                     // open ones around this place
  bool conditional_ = false;          // inside an if: unknown filters and tests are found when they run
  Macro* macro_ = nullptr;            // the macro being read
  int for_tags_ = 0;                  // open ones, macros or not between
  std::vector<std::string> unknown_;  // filters and tests that will surely be missed
};
}  // namespace

Block parse(std::string_view source) { return Parser(tokenize(source)).run(); }

}  // namespace ostro::jinja
