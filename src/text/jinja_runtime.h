// The running template: scopes, evaluation, and the tables of filters, tests, methods and functions.
#pragma once

#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_value.h"

namespace ostro::jinja {

// Variables of one block; names not found here are looked for outside.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> outer_scope) : outer(std::move(outer_scope)) {}
  std::map<std::string, Value, std::less<>> values;
  std::shared_ptr<Scope> outer;

  const Value* find(std::string_view name) const;
};
using ScopePtr = std::shared_ptr<Scope>;

class Namespace : public Object {
 public:
  std::string type_name() const override { return "Namespace"; }
  std::string repr() const override { return "<Namespace>"; }
  std::optional<Value> attribute(std::string_view name) override;
  void set(const std::string& name, Value value);
  void clear() { values_.clear(); }

 private:
  std::map<std::string, Value, std::less<>> values_;
};

class Runtime {
 public:
  Runtime(Budget& render_budget, size_t max_output) : budget(render_budget), max_output_(max_output) {}
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Text render(const Block& block, std::map<std::string, Value, std::less<>> variables);

  // Python's and Jinja2's operations on values.
  Value call(const Value& callee, Arguments& arguments);
  Value attribute(const Value& object, const std::string& name);  // object.name
  Value item(const Value& object, const Value& key);              // object[key]
  Value binary(std::string_view op, const Value& a, const Value& b);
  bool contains(const Value& container, const Value& item);
  Value apply_filter(const std::string& name, const Value& input, Arguments& arguments);
  bool apply_test(const std::string& name, const Value& input, Arguments& arguments);
  Value make_namespace(Arguments& arguments);
  Text text(const Value& value);  // str(value), charged
  Value make(Text text, bool markup = false) {
    budget.bytes(text.size());
    return Value(std::move(text), markup);
  }

  Budget& budget;

 private:
  friend class MacroObject;
  friend class LoopObject;
  enum class Flow { Normal, Break, Continue };
  class Depth;

  Flow run(const Block& block, const ScopePtr& scope);
  Flow run(const Statement& statement, const ScopePtr& scope);
  void run_for(const Statement& statement, const ScopePtr& scope, const Value& iterable, int depth);
  void run_with(const Statement& statement, const ScopePtr& scope);
  void run_call_block(const Statement& statement, const ScopePtr& scope);
  Text capture(const std::function<void()>& body);
  void write(const Text& text);
  void write_string(const Value& value);  // the text of a block that a filter or a macro made: nothing but str
  void assign(const Expr& target, const Value& value, const ScopePtr& scope);
  const ScopePtr& remember(const ScopePtr& scope);
  Text call_macro(const Macro& macro, const ScopePtr& scope, Arguments& arguments);

  Value evaluate(const Expr& expr, const ScopePtr& scope);
  Value evaluate_name(const Expr& expr, const ScopePtr& scope);
  Value evaluate_unary(const Expr& expr, const ScopePtr& scope);
  Value evaluate_compare(const Expr& expr, const ScopePtr& scope);
  Value evaluate_slice(const Value& object, const Expr& slice, const ScopePtr& scope);
  Arguments evaluate_arguments(const Expr& expr, const ScopePtr& scope);

  Text* output_ = nullptr;
  size_t max_output_;
  int depth_ = 0;        // of evaluation
  int macro_depth_ = 0;  // of macros that call macros
  Value captured_;       // the text of a block that filters are applied to
  // Scopes that functions remember, and namespaces: they can hold each other in circles and in long chains, so they
  // live as long as the runtime and are emptied one by one.
  std::vector<ScopePtr> closures_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

// --- tables ---
// The arguments of a built-in by parameter: what was given, else nothing.
class Parameters {
 public:
  // Raises TypeError when `arguments` do not fit the names; `required` of them must be there.
  Parameters(std::string_view function, const std::vector<std::string_view>& names, size_t required,
             Arguments& arguments);
  bool has(size_t i) const { return values_[i].has_value(); }
  int depth() const;  // of nesting
  // The value, or None.
  const Value& operator[](size_t i) const;
  bool flag(size_t i, bool otherwise) const { return has(i) ? truthy(*values_[i]) : otherwise; }
  int64_t integer(size_t i, int64_t otherwise) const;  // raises TypeError for another type
  const Text& text(size_t i) const;                    // the same

 private:
  std::vector<std::optional<Value>> values_;
};

struct Builtin {
  std::vector<std::string_view> parameters;
  size_t required = 0;
  std::function<Value(Runtime&, const Value& self, const Parameters&)> function;
  // Instead of `function`, for those that take any arguments.
  std::function<Value(Runtime&, const Value& self, Arguments&)> variadic = nullptr;

  Value call(Runtime& runtime, std::string_view name, const Value& self, Arguments& arguments) const;
};
using BuiltinTable = std::map<std::string, Builtin, std::less<>>;

const BuiltinTable& string_filters();
const BuiltinTable& sequence_filters();
const BuiltinTable& tests();
const BuiltinTable& string_methods();
const BuiltinTable& container_methods(const Value& value);  // of a list, dict or number: may be empty
bool is_filter(std::string_view name);
bool is_test(std::string_view name);
// range, dict, namespace, raise_exception, ...
const Value* find_global(std::string_view name);
// A method bound to its value; nullopt when the type has no such attribute.
std::optional<Value> method(const Value& self, const std::string& name);
Value function_value(std::string name, Value self, const Builtin& builtin);

// The reference's undefined value for a missing attribute or item.
Value missing(const Value& object, const Value& key);

// --- pieces shared by filters, methods and operators ---
Text percent_format(Runtime& runtime, const Text& format, const Value& arguments);  // "%s" % x
Text brace_format(Runtime& runtime, const Text& format, Arguments& arguments);      // "{}".format(x)
// The strings in a value escaped, for a format that is markup.
Value escape_strings(Runtime& runtime, const Value& value);
Text escape_html(Runtime& runtime, const Value& value);  // markupsafe.escape
Text replace(Runtime& runtime, const Text& text, const Text& old, const Text& by, int64_t count);
Text strip(const Text& text, const Value& characters, bool left, bool right);
enum class Case { Upper, Lower, Title };
// Changes the case of every character to what `choose` says; `previous` is 0 at the start.
Text map_case(Runtime& runtime, const Text& text, const std::function<Case(char32_t previous)>& choose);
Text repeat(Runtime& runtime, const Text& text, int64_t count);
std::vector<Text> split_lines(Runtime& runtime, const Text& text, bool keep_ends);
Text join(Runtime& runtime, const Text& separator, const std::vector<Text>& parts);
Text pad(Runtime& runtime, const Text& text, int64_t width, std::string_view fill, double left_share);
Value round_number(const Value& number, std::optional<int64_t> digits);
std::optional<int64_t> parse_integer(std::string_view text, int base);  // int("...")
std::optional<double> parse_float(std::string_view text);               // float("...")

}  // namespace ostro::jinja
