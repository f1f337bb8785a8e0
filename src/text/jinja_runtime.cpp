// The interpreter: statements, scopes, macros and loops.
#include "text/jinja_runtime.h"

#include <algorithm>

#include "base/error.h"

namespace ostro::jinja {

namespace {
constexpr int kMaxDepth = 1500;      // of evaluation: statements and expressions inside each other, through macros
constexpr int kMaxMacroDepth = 200;  // about where the reference's stack of 1000 frames ends
}  // namespace

class Runtime::Depth {
 public:
  explicit Depth(Runtime& runtime) : depth_(runtime.depth_) {
    if (depth_ >= kMaxDepth) raise("RecursionError", "maximum recursion depth exceeded");
    ++depth_;
  }
  ~Depth() { --depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

 private:
  int& depth_;
};

const Value* Scope::find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->outer.get()) {
    const auto found = scope->values.find(name);
    if (found != scope->values.end()) return &found->second;
  }
  return nullptr;
}

std::optional<Value> Namespace::attribute(std::string_view name) {
  const auto found = values_.find(name);
  if (found == values_.end()) return std::nullopt;
  return found->second;
}

void Namespace::set(const std::string& name, Value value) {
  if (name.starts_with('_')) {
    raise("SecurityError", "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '" +
                               name + "'. Please rename the attribute.");
  }
  values_[name] = std::move(value);
}

// `loop` inside a for block.
class LoopObject : public Object {
 public:
  LoopObject(const Statement& statement, ScopePtr scope, std::vector<Value> items, int depth0)
      : statement_(statement), scope_(std::move(scope)), items_(std::move(items)), depth0_(depth0) {
    for (const Value& item : items_) depth = std::max(depth, deeper(item.depth()));
  }

  void advance() { ++index0_; }
  std::string type_name() const override { return "LoopContext"; }
  std::string repr() const override { return fmt::format("<LoopContext {}/{}>", index0_ + 1, items_.size()); }
  bool callable() const override { return true; }

  std::optional<Value> attribute(std::string_view name) override {
    const auto count = static_cast<int64_t>(items_.size());
    const auto place = static_cast<size_t>(index0_);
    if (name == "index") return index0_ + 1;
    if (name == "index0") return index0_;
    if (name == "revindex") return count - index0_;
    if (name == "revindex0") return count - index0_ - 1;
    if (name == "first") return index0_ == 0;
    if (name == "last") return index0_ + 1 == count;
    if (name == "length") return count;
    if (name == "depth") return static_cast<int64_t>(depth0_ + 1);
    if (name == "depth0") return static_cast<int64_t>(depth0_);
    if (name == "previtem") return place > 0 ? items_[place - 1] : Value::undefined("there is no previous item");
    if (name == "nextitem") {
      return place + 1 < items_.size() ? items_[place + 1] : Value::undefined("there is no next item");
    }
    if (name == "cycle" || name == "changed") return function(name == "cycle");
    return std::nullopt;
  }

  Value call(Runtime& runtime, Arguments& arguments) override {
    if (!statement_.recursive) {
      raise("TypeError", "The loop must have the 'recursive' marker to be called recursively.");
    }
    if (arguments.positional.size() != 1 || !arguments.named.empty()) raise("TypeError", "loop() takes one argument");
    return Value(runtime.capture([&] { runtime.run_for(statement_, scope_, arguments.positional[0], depth0_ + 1); }));
  }

 private:
  Value function(bool cycle) {
    Builtin builtin;
    builtin.variadic = [this, cycle](Runtime& runtime, const Value&, Arguments& arguments) -> Value {
      if (!cycle) {
        Value now = Value::tuple(arguments.positional);
        const bool changed = !last_changed_ || !equal(runtime.budget, *last_changed_, now);
        if (changed) last_changed_ = std::move(now);
        return changed;
      }
      if (arguments.positional.empty()) raise("TypeError", "no items for cycling given");
      return arguments.positional[static_cast<size_t>(index0_) % arguments.positional.size()];
    };
    return function_value(cycle ? "cycle" : "changed", Value(self.lock()), builtin);
  }

 public:
  std::weak_ptr<Object> self;  // keeps the loop alive in its own functions

 private:
  const Statement& statement_;
  ScopePtr scope_;
  std::vector<Value> items_;
  int depth0_;
  int64_t index0_ = -1;
  std::optional<Value> last_changed_;
};

class MacroObject : public Object {
 public:
  MacroObject(const Macro& macro, ScopePtr scope) : macro_(macro), scope_(std::move(scope)) {}
  std::string type_name() const override { return "Macro"; }
  std::string repr() const override {
    return macro_.name.empty() ? "<Macro anonymous>" : "<Macro '" + macro_.name + "'>";
  }
  bool callable() const override { return true; }
  std::optional<Value> attribute(std::string_view name) override {
    if (name == "name") return macro_.name.empty() ? Value() : Value(macro_.name);
    if (name == "caller") return macro_.uses_caller;
    if (name == "catch_kwargs") return macro_.uses_kwargs;
    if (name == "catch_varargs") return macro_.uses_varargs;
    if (name == "arguments") {
      return Value::tuple(std::vector<Value>(macro_.parameters.begin(), macro_.parameters.end()));
    }
    return std::nullopt;
  }
  Value call(Runtime& runtime, Arguments& arguments) override {
    return Value(runtime.call_macro(macro_, scope_, arguments));
  }

 private:
  const Macro& macro_;
  ScopePtr scope_;
};

Runtime::~Runtime() {
  for (const auto& space : namespaces_) space->clear();
  for (const auto& scope : closures_) scope->values.clear();
}

const ScopePtr& Runtime::remember(const ScopePtr& scope) {
  if (closures_.empty() || closures_.back() != scope) closures_.push_back(scope);
  return scope;
}

Value Runtime::make_namespace(Arguments& arguments) {
  auto space = std::make_shared<Namespace>();
  namespaces_.push_back(space);
  if (arguments.positional.size() > 1) raise("TypeError", "dict expected at most 1 argument");
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (!source.is_dict()) raise("TypeError", "'" + type_name(source) + "' object is not iterable");
    for (const auto& [key, value] : source.as_dict().items) {
      if (key.is_string()) space->set(key.text().bytes(), value);
    }
  }
  for (auto& [name, value] : arguments.named) space->set(name, std::move(value));
  return Value(std::shared_ptr<Object>(space));
}

Text Runtime::render(const Block& block, std::map<std::string, Value, std::less<>> variables) {
  auto outermost = std::make_shared<Scope>(nullptr);
  outermost->values = std::move(variables);
  remember(outermost);
  return capture([&] { run(block, outermost); });
}

Text Runtime::capture(const std::function<void()>& body) {
  Text out;
  Text* const outer = std::exchange(output_, &out);
  try {
    body();
  } catch (...) {
    output_ = outer;
    throw;
  }
  output_ = outer;
  return out;
}

void Runtime::write(const Text& text) {
  budget.bytes(text.size());
  if (output_->size() + text.size() > max_output_) raise("TemplateLimitError", "the rendered text is too long");
  output_->append(text);
}

void Runtime::write_string(const Value& value) {
  if (!value.is_string()) raise("TypeError", "sequence item 0: expected str instance, " + type_name(value) + " found");
  write(value.text());
}

Text Runtime::text(const Value& value) {
  Text out = to_text(budget, value);
  budget.bytes(out.size());
  return out;
}

Runtime::Flow Runtime::run(const Block& block, const ScopePtr& scope) {
  for (const StatementPtr& statement : block) {
    const Flow flow = run(*statement, scope);
    if (flow != Flow::Normal) return flow;
  }
  return Flow::Normal;
}

Runtime::Flow Runtime::run(const Statement& statement, const ScopePtr& scope) {
  const Depth depth(*this);
  budget.steps(1);
  switch (statement.kind) {
    case StatementKind::Data:
      write(Text(statement.text));
      break;
    case StatementKind::Output:
      write(text(evaluate(*statement.value, scope)));
      break;
    case StatementKind::For:
      run_for(statement, scope, evaluate(*statement.value, scope), 0);
      break;
    case StatementKind::If:
      for (const auto& [condition, body] : statement.branches) {
        if (truthy(evaluate(*condition, scope))) return run(body, scope);
      }
      return run(statement.otherwise, scope);
    case StatementKind::Macro:
      scope->values[statement.macro->name] =
          Value(std::shared_ptr<Object>(std::make_shared<MacroObject>(*statement.macro, remember(scope))));
      break;
    case StatementKind::CallBlock:
      run_call_block(statement, scope);
      break;
    case StatementKind::FilterBlock:
    case StatementKind::SetBlock: {
      const auto inner = std::make_shared<Scope>(scope);
      Value result(capture([&] { run(statement.body, inner); }));
      if (statement.value != nullptr) {
        Value outer = std::exchange(captured_, std::move(result));
        result = evaluate(*statement.value, scope);
        captured_ = std::move(outer);
      }
      if (statement.kind == StatementKind::SetBlock) {
        assign(*statement.target, result, scope);
      } else {
        write_string(result);
      }
      break;
    }
    case StatementKind::With:
      run_with(statement, scope);
      break;
    case StatementKind::Set:
      assign(*statement.target, evaluate(*statement.value, scope), scope);
      break;
    case StatementKind::Scope:
      return run(statement.body, std::make_shared<Scope>(scope));
    case StatementKind::Break:
      return Flow::Break;
    case StatementKind::Continue:
      return Flow::Continue;
  }
  return Flow::Normal;
}

void Runtime::run_for(const Statement& statement, const ScopePtr& scope, const Value& iterable, int depth) {
  if (depth > kMaxMacroDepth) raise("RecursionError", "maximum recursion depth exceeded");
  std::vector<Value> items = iterate(budget, iterable);
  if (statement.condition != nullptr) {
    std::vector<Value> kept;
    for (Value& item : items) {
      const auto inner = std::make_shared<Scope>(scope);
      assign(*statement.target, item, inner);
      if (truthy(evaluate(*statement.condition, inner))) kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
  bool finished = false;
  const auto loop = std::make_shared<LoopObject>(statement, remember(scope), items, depth);
  loop->self = loop;
  for (const Value& item : items) {
    budget.steps(1);
    loop->advance();
    const auto inner = std::make_shared<Scope>(scope);
    inner->values["loop"] = Value(std::shared_ptr<Object>(loop));
    assign(*statement.target, item, inner);
    const Flow flow = run(statement.body, inner);
    finished = finished || flow == Flow::Normal;
    if (flow == Flow::Break) break;
  }
  // As in the reference, a loop none of whose rounds came to its end counts as one without items.
  if (!finished) run(statement.otherwise, std::make_shared<Scope>(scope));
}

void Runtime::run_with(const Statement& statement, const ScopePtr& scope) {
  const auto inner = std::make_shared<Scope>(scope);
  for (const auto& [target, value] : statement.bindings) assign(*target, evaluate(*value, scope), inner);
  run(statement.body, inner);
}

void Runtime::run_call_block(const Statement& statement, const ScopePtr& scope) {
  const Expr& call_expr = *statement.value;
  const Value callee = evaluate(*call_expr.operands[0], scope);
  Arguments arguments = evaluate_arguments(call_expr, scope);
  arguments.named.emplace_back(
      "caller", Value(std::shared_ptr<Object>(std::make_shared<MacroObject>(*statement.macro, remember(scope)))));
  write_string(call(callee, arguments));
}

void Runtime::assign(const Expr& target, const Value& value, const ScopePtr& scope) {
  if (target.kind == ExprKind::Name) {
    scope->values.insert_or_assign(target.name, value);
    return;
  }
  if (target.kind == ExprKind::Namespace) {
    const Value* space = scope->find(target.name);
    Namespace* object =
        space != nullptr && space->is_object() ? dynamic_cast<Namespace*>(&space->as_object()) : nullptr;
    if (object == nullptr) raise("TemplateRuntimeError", "cannot assign attribute on non-namespace object");
    object->set(target.names[0], value);
    return;
  }
  if (!is_iterable(value)) raise("TypeError", "cannot unpack non-iterable " + type_name(value) + " object");
  const std::vector<Value> items = iterate(budget, value);
  if (items.size() > target.operands.size()) {
    raise("ValueError", fmt::format("too many values to unpack (expected {})", target.operands.size()));
  }
  if (items.size() < target.operands.size()) {
    raise("ValueError",
          fmt::format("not enough values to unpack (expected {}, got {})", target.operands.size(), items.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) assign(*target.operands[i], items[i], scope);
}

Text Runtime::call_macro(const Macro& macro, const ScopePtr& scope, Arguments& arguments) {
  const Depth depth(*this);
  if (macro_depth_ >= kMaxMacroDepth) raise("RecursionError", "maximum recursion depth exceeded");
  const auto inner = std::make_shared<Scope>(scope);
  const size_t count = macro.parameters.size();
  auto& given = arguments.positional;
  const auto take_named = [&](const std::string& name) -> std::optional<Value> {
    const auto found = std::find_if(arguments.named.begin(), arguments.named.end(),
                                    [&](const auto& argument) { return argument.first == name; });
    if (found == arguments.named.end()) return std::nullopt;
    Value value = std::move(found->second);
    arguments.named.erase(found);
    return value;
  };
  std::vector<size_t> absent;
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = macro.parameters[i];
    std::optional<Value> value = i < given.size() ? std::optional<Value>(given[i]) : take_named(name);
    if (!value) absent.push_back(i);
    inner->values.insert_or_assign(
        name, value ? std::move(*value) : Value::undefined("parameter '" + name + "' was not provided"));
  }
  for (const size_t i : absent) {  // a default sees the other parameters
    const size_t first_default = count - macro.defaults.size();
    if (i < first_default) continue;
    inner->values.insert_or_assign(macro.parameters[i], evaluate(*macro.defaults[i - first_default], inner));
  }
  if (macro.uses_caller && inner->values.count("caller") == 0) {
    std::optional<Value> caller = take_named("caller");
    inner->values["caller"] = caller ? *caller : Value::undefined("No caller defined");
  }
  if (macro.uses_kwargs) {
    Dict rest;
    for (auto& [name, value] : arguments.named) rest.set(Value(name), std::move(value));
    inner->values["kwargs"] = Value::dict(std::move(rest));
  } else if (!arguments.named.empty()) {
    raise("TypeError", fmt::format("macro '{}' takes no keyword argument '{}'", macro.name, arguments.named[0].first));
  }
  if (macro.uses_varargs) {
    std::vector<Value> rest;
    for (size_t i = count; i < given.size(); ++i) rest.push_back(given[i]);
    inner->values["varargs"] = Value::tuple(std::move(rest));
  } else if (given.size() > count) {
    raise("TypeError", fmt::format("macro '{}' takes not more than {} argument(s)", macro.name, count));
  }
  ++macro_depth_;
  Text out;
  try {
    out = capture([&] { run(macro.body, inner); });
  } catch (...) {
    --macro_depth_;
    throw;
  }
  --macro_depth_;
  return out;
}

// --- expressions ---

Value Runtime::evaluate(const Expr& expr, const ScopePtr& scope) {
  const Depth depth(*this);
  budget.steps(1);
  const auto operand = [&](size_t i) { return evaluate(*expr.operands[i], scope); };
  switch (expr.kind) {
    case ExprKind::Constant:
      return expr.value;
    case ExprKind::Name:
      return evaluate_name(expr, scope);
    case ExprKind::List:
    case ExprKind::Tuple: {
      budget.containers(1);
      std::vector<Value> items;
      for (const ExprPtr& item : expr.operands) items.push_back(evaluate(*item, scope));
      return expr.kind == ExprKind::List ? Value::list(std::move(items)) : Value::tuple(std::move(items));
    }
    case ExprKind::Dict: {
      budget.containers(1 + expr.operands.size() / 2);
      Dict dict;
      for (size_t i = 0; i < expr.operands.size(); i += 2) {
        const Value key = operand(i);
        dict.set(key, operand(i + 1));
      }
      return Value::dict(std::move(dict));
    }
    case ExprKind::Attribute:
      return attribute(operand(0), expr.name);
    case ExprKind::Item: {
      const Value object = operand(0);
      if (expr.operands[1]->kind == ExprKind::Slice) return evaluate_slice(object, *expr.operands[1], scope);
      return item(object, operand(1));
    }
    case ExprKind::Call: {
      const Value callee = operand(0);
      Arguments arguments = evaluate_arguments(expr, scope);
      return call(callee, arguments);
    }
    case ExprKind::Filter: {
      const Value input = expr.operands[0] == nullptr ? captured_ : operand(0);
      Arguments arguments = evaluate_arguments(expr, scope);
      return apply_filter(expr.name, input, arguments);
    }
    case ExprKind::Test: {
      const Value input = operand(0);
      Arguments arguments = evaluate_arguments(expr, scope);
      return apply_test(expr.name, input, arguments);
    }
    case ExprKind::Unary:
      return evaluate_unary(expr, scope);
    case ExprKind::Binary: {
      const Value left = operand(0);
      return binary(expr.name, left, operand(1));
    }
    case ExprKind::Concat: {
      Text out;
      for (const ExprPtr& part : expr.operands) {
        const Text piece = text(evaluate(*part, scope));
        budget.bytes(piece.size());
        out.append(piece);
      }
      return out;
    }
    case ExprKind::And: {
      Value left = operand(0);
      return truthy(left) ? operand(1) : left;
    }
    case ExprKind::Or: {
      Value left = operand(0);
      return truthy(left) ? left : operand(1);
    }
    case ExprKind::Compare:
      return evaluate_compare(expr, scope);
    case ExprKind::Conditional:
      if (truthy(operand(0))) return operand(1);
      if (expr.operands[2] != nullptr) return operand(2);
      return Value::undefined(fmt::format(
          "the inline if-expression on line {} evaluated to false and no else section was defined.", expr.line));
    case ExprKind::Slice:
    case ExprKind::Namespace:
      break;
  }
  raise("TemplateSyntaxError", fmt::format("line {}: a slice or a namespace cannot stand here", expr.line));
}

Value Runtime::evaluate_name(const Expr& expr, const ScopePtr& scope) {
  if (const Value* found = scope->find(expr.name)) return *found;
  if (const Value* global = find_global(expr.name)) return *global;
  return Value::undefined("'" + expr.name + "' is undefined");
}

Value Runtime::evaluate_unary(const Expr& expr, const ScopePtr& scope) {
  const Value value = evaluate(*expr.operands[0], scope);
  if (expr.name == "not") return !truthy(value);
  require_defined(value);
  if (const auto whole = value.integer()) {
    if (expr.name == "+") return *whole;
    int64_t negated = 0;
    if (__builtin_sub_overflow(int64_t{0}, *whole, &negated)) raise("OverflowError", "integer too large");
    return negated;
  }
  if (value.is_float()) return expr.name == "+" ? value.as_float() : -value.as_float();
  raise("TypeError", fmt::format("bad operand type for unary {}: '{}'", expr.name, type_name(value)));
}

Value Runtime::evaluate_compare(const Expr& expr, const ScopePtr& scope) {
  Value left = evaluate(*expr.operands[0], scope);
  for (size_t i = 0; i < expr.names.size(); ++i) {
    Value right = evaluate(*expr.operands[i + 1], scope);
    const std::string& op = expr.names[i];
    bool holds = false;
    if (op == "==" || op == "!=") {
      holds = equal(budget, left, right) == (op == "==");
    } else if (op == "in" || op == "not in") {
      holds = contains(right, left) == (op == "in");
    } else {
      const auto order = compare(budget, left, right, op);
      holds = order && (op == "<" ? *order < 0 : op == "<=" ? *order <= 0 : op == ">" ? *order > 0 : *order >= 0);
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Arguments Runtime::evaluate_arguments(const Expr& expr, const ScopePtr& scope) {
  Arguments out;
  for (size_t i = 1; i < expr.operands.size(); ++i) out.positional.push_back(evaluate(*expr.operands[i], scope));
  for (const auto& [name, value] : expr.named) out.named.emplace_back(name, evaluate(*value, scope));
  if (expr.star != nullptr) {
    for (Value& item : iterate(budget, evaluate(*expr.star, scope))) out.positional.push_back(std::move(item));
  }
  if (expr.double_star != nullptr) {
    const Value named = evaluate(*expr.double_star, scope);
    if (!named.is_dict()) raise("TypeError", "argument after ** must be a mapping, not " + type_name(named));
    budget.steps(named.as_dict().items.size());
    for (const auto& [key, value] : named.as_dict().items) {
      if (!key.is_string()) raise("TypeError", "keywords must be strings");
      out.named.emplace_back(key.text().bytes(), value);
    }
  }
  return out;
}

Value Runtime::apply_filter(const std::string& name, const Value& input, Arguments& arguments) {
  const BuiltinTable& strings = string_filters();
  const BuiltinTable& table = strings.count(name) != 0 ? strings : sequence_filters();
  const auto found = table.find(name);
  if (found == table.end()) raise("TemplateRuntimeError", "No filter named '" + name + "'.");
  return found->second.call(*this, name, input, arguments);
}

bool Runtime::apply_test(const std::string& name, const Value& input, Arguments& arguments) {
  const auto found = tests().find(name);
  if (found == tests().end()) raise("TemplateRuntimeError", "No test named '" + name + "'.");
  return truthy(found->second.call(*this, name, input, arguments));
}

}  // namespace ostro::jinja
