// The functions every template can call: range, dict, namespace, raise_exception, strftime_now, joiner, cycler.
#include <array>
#include <ctime>

#include "base/error.h"
#include "text/jinja_runtime.h"

namespace ostro::jinja {

namespace {
Value range(Runtime& runtime, const Value&, Arguments& arguments) {
  const auto& given = arguments.positional;
  if (!arguments.named.empty()) raise("TypeError", "range() takes no keyword arguments");
  if (given.empty() || given.size() > 3) {
    raise("TypeError", fmt::format("range expected 1 to 3 arguments, got {}", given.size()));
  }
  std::array<int64_t, 3> bounds{0, 0, 1};
  for (size_t i = 0; i < given.size(); ++i) {
    const auto bound = given[i].integer();
    if (!bound) raise("TypeError", "'" + type_name(given[i]) + "' object cannot be interpreted as an integer");
    bounds[given.size() == 1 ? 1 : i] = *bound;
  }
  return Value::range(runtime.budget, bounds[0], bounds[1], bounds[2]);
}

Value make_dict(Runtime& runtime, const Value&, Arguments& arguments) {
  Dict out;
  if (arguments.positional.size() > 1) {
    raise("TypeError", fmt::format("dict expected at most 1 argument, got {}", arguments.positional.size()));
  }
  if (!arguments.positional.empty()) {
    const Value& source = arguments.positional[0];
    if (source.is_dict()) {
      runtime.budget.steps(source.as_dict().items.size());
      for (const auto& [key, value] : source.as_dict().items) out.set(key, value);
    } else {
      for (const Value& pair : iterate(runtime.budget, source)) {
        const std::vector<Value> both = iterate(runtime.budget, pair);
        if (both.size() != 2) raise("ValueError", "dictionary update sequence element has not the length 2");
        out.set(both[0], both[1]);
      }
    }
  }
  for (auto& [name, value] : arguments.named) out.set(Value(name), std::move(value));
  return Value::dict(std::move(out));
}

Value strftime_now(Runtime& runtime, const Value&, const Parameters& p) {
  const std::string format = p.text(0).bytes();
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, 4096> buffer{};
  const size_t size = std::strftime(buffer.data(), buffer.size(), format.c_str(), &local);
  return runtime.make(Text(std::string(buffer.data(), size)));
}

// joiner(", "): nothing at the first call, the separator at every later one.
class Joiner : public Object {
 public:
  explicit Joiner(Value separator) : separator_(std::move(separator)) { depth = deeper(separator_.depth()); }
  std::string type_name() const override { return "Joiner"; }
  std::string repr() const override { return "<Joiner>"; }
  bool callable() const override { return true; }
  Value call(Runtime&, Arguments&) override {
    if (used_) return separator_;
    used_ = true;
    return Value("");
  }

 private:
  Value separator_;
  bool used_ = false;
};

// cycler("odd", "even"): next(), current, reset().
class Cycler : public Object, public std::enable_shared_from_this<Cycler> {
 public:
  explicit Cycler(std::vector<Value> items) : items_(std::move(items)) {
    for (const Value& item : items_) depth = std::max(depth, deeper(item.depth()));
  }
  std::string type_name() const override { return "Cycler"; }
  std::string repr() const override { return "<Cycler>"; }
  std::optional<Value> attribute(std::string_view name) override {
    if (name == "current") return items_[place_];
    if (name != "next" && name != "reset") return std::nullopt;
    Builtin builtin;
    builtin.variadic = [this, next = name == "next"](Runtime&, const Value&, Arguments&) -> Value {
      if (!next) {
        place_ = 0;
        return {};
      }
      Value now = items_[place_];
      place_ = (place_ + 1) % items_.size();
      return now;
    };
    return function_value(std::string(name), Value(std::shared_ptr<Object>(shared_from_this())), builtin);
  }

 private:
  std::vector<Value> items_;
  size_t place_ = 0;
};

Value cycler(Runtime&, const Value&, Arguments& arguments) {
  if (arguments.positional.empty()) raise("RuntimeError", "at least one item has to be provided");
  return Value(std::shared_ptr<Object>(std::make_shared<Cycler>(std::move(arguments.positional))));
}

Value joiner(Runtime&, const Value&, const Parameters& p) {
  return Value(std::shared_ptr<Object>(std::make_shared<Joiner>(p.has(0) ? p[0] : Value(", "))));
}

Value raise_exception(Runtime& runtime, const Value&, const Parameters& p) {
  raise("TemplateError", runtime.text(p[0]).bytes());
}
}  // namespace

const Value* find_global(std::string_view name) {
  static const std::map<std::string, Value, std::less<>> kGlobals = [] {
    BuiltinTable t;
    t["range"].variadic = range;
    t["dict"].variadic = make_dict;
    t["cycler"].variadic = cycler;
    t["namespace"].variadic = [](Runtime& r, const Value&, Arguments& arguments) {
      return r.make_namespace(arguments);
    };
    t["joiner"] = {{"sep"}, 0, joiner};
    t["raise_exception"] = {{"message"}, 1, raise_exception};
    t["strftime_now"] = {{"format"}, 1, strftime_now};
    std::map<std::string, Value, std::less<>> globals;
    for (const auto& [key, builtin] : t) globals.emplace(key, function_value(key, Value(), builtin));
    return globals;
  }();
  const auto found = kGlobals.find(name);
  return found == kGlobals.end() ? nullptr : &found->second;
}

}  // namespace ostro::jinja
