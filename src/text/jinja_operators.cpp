// Python's operators on values of the template interpreter: arithmetic, membership, attributes, items, slices, calls.
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/jinja_runtime.h"

namespace ostro::jinja {

namespace {
[[noreturn]] void unsupported(std::string_view op, const Value& a, const Value& b) {
  const std::string name(op == "**" ? "** or pow()" : op);
  raise("TypeError",
        fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", name, type_name(a), type_name(b)));
}

[[noreturn]] void too_large() { raise("OverflowError", "integer too large"); }
[[noreturn]] void division_by_zero() { raise("ZeroDivisionError", "division by zero"); }

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == 0) division_by_zero();
  if (b == -1 && a == std::numeric_limits<int64_t>::min()) too_large();
  const int64_t quotient = a / b;
  return quotient * b != a && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

int64_t floor_modulo(int64_t a, int64_t b) {
  if (b == 0) division_by_zero();
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double float_modulo(double a, double b) {
  if (b == 0) division_by_zero();
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
  return rest == 0 ? std::copysign(0.0, b) : rest;
}

Value integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) raise("ZeroDivisionError", "0.0 cannot be raised to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  int64_t out = 1;
  for (int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(out, base, &out)) too_large();
  }
  return out;
}

Value integer_arithmetic(std::string_view op, int64_t a, int64_t b) {
  int64_t out = 0;
  if (op == "+") return __builtin_add_overflow(a, b, &out) ? (too_large(), Value()) : Value(out);
  if (op == "-") return __builtin_sub_overflow(a, b, &out) ? (too_large(), Value()) : Value(out);
  if (op == "*") return __builtin_mul_overflow(a, b, &out) ? (too_large(), Value()) : Value(out);
  if (op == "//") return floor_divide(a, b);
  if (op == "%") return floor_modulo(a, b);
  if (op == "**") return integer_power(a, b);
  if (b == 0) division_by_zero();
  return static_cast<double>(a) / static_cast<double>(b);
}

Value float_arithmetic(std::string_view op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "%") return float_modulo(a, b);
  if (op == "**") {
    if (a == 0 && b < 0) raise("ZeroDivisionError", "0.0 cannot be raised to a negative power");
    if (a < 0 && std::floor(b) != b) raise("TypeError", "complex numbers are not supported");
    const double out = std::pow(a, b);
    if (std::isinf(out) && std::isfinite(a) && std::isfinite(b))
      raise("OverflowError", "Numerical result out of range");
    return out;
  }
  if (b == 0) division_by_zero();
  if (op == "/") return a / b;
  const double quotient = std::floor(a / b);  // as Python: from the exact remainder
  return std::floor((a - float_modulo(a, b)) / b + 0.5) != quotient
             ? Value(std::floor((a - float_modulo(a, b)) / b + 0.5))
             : Value(quotient);
}

bool is_list_or_tuple(const Value& value) {
  return value.is_sequence(SequenceKind::List) || value.is_sequence(SequenceKind::Tuple);
}

Value add(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_string()) {
    if (!b.is_string()) {
      raise("TypeError", fmt::format("can only concatenate str (not \"{}\") to str", type_name(b)));
    }
    const bool markup = a.as_string().markup || b.as_string().markup;
    Text out = markup ? escape_html(runtime, a) : a.text();
    runtime.budget.bytes(out.size() + b.text().size());
    out.append(markup ? escape_html(runtime, b) : b.text());
    return Value(std::move(out), markup);
  }
  if (is_list_or_tuple(a)) {
    const Sequence& left = a.as_sequence();
    if (!b.is_sequence(left.kind)) {
      raise("TypeError", fmt::format("can only concatenate {0} (not \"{1}\") to {0}", type_name(a), type_name(b)));
    }
    std::vector<Value> items = left.items;
    const auto& more = b.as_sequence().items;
    runtime.budget.steps(items.size() + more.size());
    items.insert(items.end(), more.begin(), more.end());
    return Value::sequence(left.kind, std::move(items));
  }
  unsupported("+", a, b);
}

Value multiply(Runtime& runtime, const Value& a, const Value& b) {
  const Value& what = b.integer() ? a : b;
  const auto times = b.integer() ? b.integer() : a.integer();
  if (times && what.is_string()) return Value(repeat(runtime, what.text(), *times), what.as_string().markup);
  if (times && is_list_or_tuple(what)) {
    const auto& items = what.as_sequence().items;
    std::vector<Value> out;
    for (int64_t i = 0; i < *times && !items.empty(); ++i) {
      runtime.budget.containers((items.size() + 3) / 4);
      out.insert(out.end(), items.begin(), items.end());
    }
    return Value::sequence(what.as_sequence().kind, std::move(out));
  }
  if (what.is_string() || is_list_or_tuple(what)) {
    raise("TypeError", fmt::format("can't multiply sequence by non-int of type '{}'", type_name(b)));
  }
  unsupported("*", a, b);
}

struct Bounds {
  int64_t start, stop, step;
};

// slice.indices: where the walk begins, ends (exclusive) and how it steps.
Bounds slice_bounds(const Value& start, const Value& stop, const Value& step, int64_t size) {
  const auto index = [](const Value& value) -> std::optional<int64_t> {
    if (value.is_none()) return std::nullopt;
    if (!value.integer()) {
      raise("TypeError", "slice indices must be integers or None or have an __index__ method");
    }
    return value.integer();
  };
  const int64_t stride = index(step).value_or(1);
  if (stride == 0) raise("ValueError", "slice step cannot be zero");
  const int64_t lowest = stride > 0 ? 0 : -1;
  const int64_t highest = stride > 0 ? size : size - 1;
  const auto clamp = [&](std::optional<int64_t> place, int64_t otherwise) {
    if (!place) return otherwise;
    if (*place < 0) return *place < -size ? lowest : std::max(*place + size, lowest);
    return std::min(*place, highest);
  };
  return {clamp(index(start), stride > 0 ? lowest : highest), clamp(index(stop), stride > 0 ? highest : lowest),
          stride};
}

std::optional<size_t> element(const Value& key, size_t size) {
  const auto index = key.integer();
  if (!index) return std::nullopt;
  const auto count = static_cast<int64_t>(size);
  if (*index < -count || *index >= count) return std::nullopt;
  return static_cast<size_t>(*index < 0 ? *index + count : *index);
}

// Whether Python's type of the value has a method that changes it.
bool changes_value(const Value& value, std::string_view name) {
  static constexpr std::string_view kList[] = {"append", "clear",  "pop",    "reverse",
                                               "insert", "extend", "remove", "sort"};
  static constexpr std::string_view kDict[] = {"clear", "pop", "popitem", "setdefault", "update"};
  if (value.is_sequence(SequenceKind::List))
    return std::find(std::begin(kList), std::end(kList), name) != std::end(kList);
  if (value.is_dict()) return std::find(std::begin(kDict), std::end(kDict), name) != std::end(kDict);
  return false;
}

class FunctionObject : public Object {
 public:
  FunctionObject(std::string name, Value self, const Builtin& builtin)
      : name_(std::move(name)), self_(std::move(self)), builtin_(builtin) {
    depth = deeper(self_.depth());
  }
  std::string type_name() const override { return "builtin_function_or_method"; }
  std::string repr() const override {
    return self_.is_none() ? "<function " + name_ + ">"
                           : "<built-in method " + name_ + " of " + jinja::type_name(self_) + " object>";
  }
  bool callable() const override { return true; }
  Value call(Runtime& runtime, Arguments& arguments) override {
    return builtin_.call(runtime, name_, self_, arguments);
  }

 private:
  std::string name_;
  Value self_;
  Builtin builtin_;
};
}  // namespace

Value missing(const Value& object, const Value& key) {
  const std::string owner = object.is_none() ? "None" : type_name(object) + " object";
  if (key.is_string())
    return Value::undefined(fmt::format("'{}' has no attribute {}", owner, quote(key.text()).bytes()));
  Budget small(1000, 10000);
  return Value::undefined(
      fmt::format("{} has no element {}", owner,
                  is_list_or_tuple(key) || key.is_dict() ? type_name(key) : repr(small, key).bytes()));
}

Value function_value(std::string name, Value self, const Builtin& builtin) {
  return Value(std::shared_ptr<Object>(std::make_shared<FunctionObject>(std::move(name), std::move(self), builtin)));
}

std::optional<Value> method(const Value& self, const std::string& name) {
  if (self.is_object()) {
    if (auto found = self.as_object().attribute(name)) return found;
  }
  if (changes_value(self, name) || (name.size() > 4 && name.starts_with("__") && name.ends_with("__"))) {
    return Value::undefined(fmt::format("access to attribute '{}' of '{}' object is unsafe.", name, type_name(self)),
                            "SecurityError");
  }
  if (self.is_sequence(SequenceKind::Tuple) && type_name(self) == "_GroupTuple") {
    if (name == "grouper" || name == "list") return self.as_sequence().items[name == "list" ? 1 : 0];
  }
  const BuiltinTable& table = self.is_string() ? string_methods() : container_methods(self);
  const auto found = table.find(name);
  if (found == table.end()) return std::nullopt;
  return function_value(name, self, found->second);
}

Value Runtime::call(const Value& callee, Arguments& arguments) {
  require_defined(callee);
  if (!callee.is_object()) raise("TypeError", "'" + type_name(callee) + "' object is not callable");
  return callee.as_object().call(*this, arguments);
}

Value Runtime::attribute(const Value& object, const std::string& name) {
  require_defined(object);
  if (auto found = method(object, name)) return *found;
  if (object.is_dict()) {
    if (const Value* found = object.as_dict().find(std::string_view(name))) return *found;
  }
  return missing(object, Value(name));
}

Value Runtime::item(const Value& object, const Value& key) {
  require_defined(object);
  if (object.is_dict()) {
    const bool hashable = !key.is_dict() && !(key.is_sequence() && !key.is_sequence(SequenceKind::Tuple));
    if (const Value* found = hashable ? object.as_dict().find(key) : nullptr) return *found;
  } else if (object.is_string() && key.integer()) {
    const std::string_view text = object.text().view();
    budget.steps(text.size() / 16);
    if (const auto place = element(key, count_codepoints(text))) {
      size_t at = 0;
      for (size_t i = 0; i < *place; ++i) at += codepoint_at(text, at).size;
      return Value(object.text().substr(at, at + codepoint_at(text, at).size), object.as_string().markup);
    }
  } else if (is_list_or_tuple(object) || object.is_sequence(SequenceKind::Range)) {
    const auto& items = object.as_sequence().items;
    if (const auto place = element(key, items.size())) return items[*place];
  }
  if (key.is_string()) {
    if (auto found = method(object, key.text().bytes())) return *found;
  }
  return missing(object, key);
}

Value Runtime::evaluate_slice(const Value& object, const Expr& slice, const ScopePtr& scope) {
  Value parts[3];
  for (size_t i = 0; i < 3; ++i) {
    if (slice.operands[i] != nullptr) parts[i] = evaluate(*slice.operands[i], scope);
  }
  require_defined(object);
  const auto walk = [&](size_t size, const auto& visit) {
    const Bounds bounds = slice_bounds(parts[0], parts[1], parts[2], static_cast<int64_t>(size));
    for (int64_t i = bounds.start; bounds.step > 0 ? i < bounds.stop : i > bounds.stop;) {
      budget.steps(1);
      visit(static_cast<size_t>(i));
      if (__builtin_add_overflow(i, bounds.step, &i)) break;
    }
  };
  if (object.is_string()) {
    const Text& text = object.text();
    const std::vector<size_t> offsets = codepoint_offsets(text.view());
    budget.bytes(text.size());
    Text out;
    walk(offsets.size() - 1, [&](size_t i) { out.append(text, offsets[i], offsets[i + 1]); });
    return make(std::move(out), object.as_string().markup);
  }
  if (is_list_or_tuple(object) || object.is_sequence(SequenceKind::Range)) {
    const Sequence& sequence = object.as_sequence();
    std::vector<Value> out;
    walk(sequence.items.size(), [&](size_t i) { out.push_back(sequence.items[i]); });
    if (sequence.kind != SequenceKind::Range) return Value::sequence(sequence.kind, std::move(out));
    const Bounds bounds = slice_bounds(parts[0], parts[1], parts[2], static_cast<int64_t>(sequence.items.size()));
    const auto at = [&](int64_t i) { return sequence.range_start + i * sequence.range_step; };
    const int64_t step = static_cast<int64_t>(out.empty() ? 1 : bounds.step) * sequence.range_step;
    return Value::range(budget, at(bounds.start), at(bounds.stop), step);
  }
  if (object.is_dict()) raise("TypeError", "unhashable type: 'slice'");
  raise("TypeError", "'" + type_name(object) + "' object is not subscriptable");
}

bool Runtime::contains(const Value& container, const Value& item) {
  if (container.is_undefined()) return false;
  if (container.is_string()) {
    if (!item.is_string()) {
      raise("TypeError", "'in <string>' requires string as left operand, not " + type_name(item));
    }
    budget.steps(container.text().size() / 16);
    return container.text().bytes().find(item.text().bytes()) != std::string::npos;
  }
  if (container.is_dict()) return container.as_dict().find(item) != nullptr;
  if (container.is_sequence()) {
    for (const Value& candidate : iterate(budget, container)) {
      if (equal(budget, candidate, item)) return true;
    }
    return false;
  }
  raise("TypeError", "argument of type '" + type_name(container) + "' is not iterable");
}

Value Runtime::binary(std::string_view op, const Value& a, const Value& b) {
  require_defined(a);
  if (op == "%" && a.is_string()) {
    const bool markup = a.as_string().markup;
    return make(percent_format(*this, a.text(), markup ? escape_strings(*this, b) : b), markup);
  }
  require_defined(b);
  const auto whole_a = a.integer();
  const auto whole_b = b.integer();
  if (whole_a && whole_b) return integer_arithmetic(op, *whole_a, *whole_b);
  const auto number_a = a.number();
  const auto number_b = b.number();
  if (number_a && number_b) return float_arithmetic(op, *number_a, *number_b);
  if (op == "+") return add(*this, a, b);
  if (op == "*") return multiply(*this, a, b);
  unsupported(op, a, b);
}

// --- calls of built-ins ---

Parameters::Parameters(std::string_view function, const std::vector<std::string_view>& names, size_t required,
                       Arguments& arguments)
    : values_(names.size()) {
  if (arguments.positional.size() > names.size()) {
    raise("TypeError", fmt::format("{}() takes at most {} arguments ({} given)", function, names.size(),
                                   arguments.positional.size()));
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = std::move(arguments.positional[i]);
  for (auto& [name, value] : arguments.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      raise("TypeError", fmt::format("{}() got an unexpected keyword argument '{}'", function, name));
    }
    auto& slot = values_[static_cast<size_t>(found - names.begin())];
    if (slot) raise("TypeError", fmt::format("{}() got multiple values for argument '{}'", function, name));
    slot = std::move(value);
  }
  for (size_t i = 0; i < required; ++i) {
    if (!values_[i]) raise("TypeError", fmt::format("{}() missing required argument: '{}'", function, names[i]));
  }
}

int Parameters::depth() const {
  int depth = 0;
  for (const auto& value : values_) depth = std::max(depth, value ? value->depth() : 0);
  return depth;
}

const Value& Parameters::operator[](size_t i) const {
  static const Value kNone;
  return values_[i] ? *values_[i] : kNone;
}

int64_t Parameters::integer(size_t i, int64_t otherwise) const {
  if (!has(i)) return otherwise;
  require_defined(*values_[i]);
  const auto value = values_[i]->integer();
  if (!value) raise("TypeError", "'" + type_name(*values_[i]) + "' object cannot be interpreted as an integer");
  return *value;
}

const Text& Parameters::text(size_t i) const {
  const Value& value = (*this)[i];
  if (!value.is_string()) raise("TypeError", "expected a string, got '" + type_name(value) + "'");
  return value.text();
}

Value Builtin::call(Runtime& runtime, std::string_view name, const Value& self, Arguments& arguments) const {
  if (variadic) return variadic(runtime, self, arguments);
  return function(runtime, self, Parameters(name, parameters, required, arguments));
}

bool is_filter(std::string_view name) {
  return string_filters().find(name) != string_filters().end() ||
         sequence_filters().find(name) != sequence_filters().end();
}

bool is_test(std::string_view name) { return tests().find(name) != tests().end(); }

}  // namespace ostro::jinja
