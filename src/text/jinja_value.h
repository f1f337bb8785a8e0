// Values of the template interpreter, with Python's meaning: undefined, None, bool, int, float, str, sequences, dict
// and objects that can be called. Containers never change once made; only namespaces do.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja_text.h"

namespace ostro::jinja {

// Throws Error(Usage) "TypeError: message"; `type` is the class of exception the reference raises.
[[noreturn]] void raise(std::string_view type, std::string_view message);

// How much work a render may do. Every evaluated node and every touched element is a step; every byte of a string
// made counts, so that neither time nor memory can run away.
class Budget {
 public:
  Budget(uint64_t steps, uint64_t bytes) : steps_(steps), bytes_(bytes) {}
  void steps(uint64_t count) {
    if (count > steps_) raise("TemplateLimitError", "the template takes too many steps");
    steps_ -= count;
  }
  // Lists, dicts and strings take far more memory than an element of a list that exists.
  void containers(uint64_t count) { steps(count > UINT64_MAX / 16 ? UINT64_MAX : 16 * count); }
  void bytes(uint64_t count) {
    if (count > bytes_) raise("TemplateLimitError", "the template makes too much text");
    bytes_ -= count;
  }

 private:
  uint64_t steps_;
  uint64_t bytes_;
};

class Value;
class Runtime;

struct None {
  bool operator==(const None&) const = default;
};

struct Undefined {
  std::string error = "UndefinedError";  // what using it raises
  std::string message;
};

struct String {
  Text text;
  bool markup = false;  // |safe and |escape make it: joining with + then escapes the other side
};

enum class SequenceKind { List, Tuple, Range, Keys, Values, Items, Iterator };

struct Sequence {
  SequenceKind kind = SequenceKind::List;
  std::vector<Value> items;
  int depth = 1;                                // of nesting
  bool consumed = false;                        // Iterator: it has been walked once
  std::function<std::vector<Value>()> produce;  // Iterator: makes its items when it is walked
                                                // Iterator: it has been walked once
  std::string iterator_type = "generator";  // Iterator: its Python type; Tuple: "_GroupTuple" for a group of |groupby
  int64_t range_start = 0, range_stop = 0, range_step = 1;  // Range
};

struct Dict {
  std::vector<std::pair<Value, Value>> items;     // in order of insertion
  std::unordered_map<std::string, size_t> index;  // hash_key(key) -> place in items
  int depth = 1;

  const Value* find(const Value& key) const;  // raises TypeError for a key that cannot be one
  const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Namespaces, functions, macros, bound methods, `loop`.
class Object {
 public:
  virtual ~Object() = default;
  virtual std::string type_name() const = 0;
  virtual std::string repr() const = 0;
  virtual std::optional<Value> attribute(std::string_view name);
  virtual bool callable() const { return false; }
  virtual Value call(Runtime& runtime, Arguments& arguments);
  int depth = 0;  // of nesting: what it holds and itself
};

class Value {
 public:
  Value() : data_(None{}) {}
  Value(bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(int value) : data_(static_cast<int64_t>(value)) {}
  Value(double value) : data_(value) {}
  Value(Text text, bool markup = false) : data_(std::make_shared<const String>(String{std::move(text), markup})) {}
  Value(std::string_view text) : Value(Text(std::string(text))) {}
  Value(const std::string& text) : Value(Text(text)) {}
  Value(const char* text) : Value(Text(text)) {}
  Value(std::shared_ptr<const Dict> dict) : data_(std::move(dict)) {}
  Value(std::shared_ptr<Object> object) : data_(std::move(object)) {}

  static Value undefined(std::string message, std::string error = "UndefinedError");
  static Value list(std::vector<Value> items) { return sequence(SequenceKind::List, std::move(items)); }
  static Value tuple(std::vector<Value> items) { return sequence(SequenceKind::Tuple, std::move(items)); }
  static Value iterator(std::vector<Value> items, std::string type = "generator");
  // A generator; `depth` is the nesting of what `produce` holds.
  static Value generator(std::function<std::vector<Value>()> produce, int depth);
  static Value sequence(SequenceKind kind, std::vector<Value> items);
  static Value range(Budget& budget, int64_t start, int64_t stop, int64_t step);
  static Value dict(Dict dict);
  // Every string in it is marked as coming from the data.
  static Value from_json(const nlohmann::ordered_json& json, int depth = 0);

  bool is_undefined() const { return std::holds_alternative<std::shared_ptr<const Undefined>>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_int() const { return std::holds_alternative<int64_t>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  bool is_string() const { return std::holds_alternative<std::shared_ptr<const String>>(data_); }
  bool is_sequence() const { return std::holds_alternative<std::shared_ptr<Sequence>>(data_); }
  bool is_dict() const { return std::holds_alternative<std::shared_ptr<const Dict>>(data_); }
  bool is_object() const { return std::holds_alternative<std::shared_ptr<Object>>(data_); }
  bool is_sequence(SequenceKind kind) const { return is_sequence() && as_sequence().kind == kind; }

  const Undefined& as_undefined() const { return *std::get<std::shared_ptr<const Undefined>>(data_); }
  const String& as_string() const { return *std::get<std::shared_ptr<const String>>(data_); }
  const Text& text() const { return as_string().text; }
  Sequence& as_sequence() const { return *std::get<std::shared_ptr<Sequence>>(data_); }
  const Dict& as_dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  Object& as_object() const { return *std::get<std::shared_ptr<Object>>(data_); }
  double as_float() const { return std::get<double>(data_); }
  // A bool is an int, as in Python.
  std::optional<int64_t> integer() const;
  std::optional<double> number() const;

  bool same_object(const Value& other) const;  // Python's `is`
  int depth() const;                           // of nesting
  const void* identity() const;

 private:
  std::variant<None, bool, int64_t, double, std::shared_ptr<const Undefined>, std::shared_ptr<const String>,
               std::shared_ptr<Sequence>, std::shared_ptr<const Dict>, std::shared_ptr<Object>>
      data_;
};

// One more than `depth`; raises RecursionError when that is too deep to walk over safely.
int deeper(int depth);
// Raises the error of an undefined value; does nothing for others.
void require_defined(const Value& value);
std::string type_name(const Value& value);  // "str", "NoneType", "dict"
bool truthy(const Value& value);
bool equal(Budget& budget, const Value& a, const Value& b);
// Below, equal or above zero; raises TypeError naming `op` for types without an order. Unordered floats: nullopt.
std::optional<int> compare(Budget& budget, const Value& a, const Value& b, std::string_view op);
// The string that equal keys share; raises TypeError for a list or a dict.
std::string hash_key(const Value& value);
// len(); nullopt for types without one.
std::optional<size_t> length(const Value& value);
// What a for loop walks over (dict: keys, str: characters); raises TypeError for types that have no items.
std::vector<Value> iterate(Budget& budget, const Value& value);
bool is_iterable(const Value& value);

// str(value) and repr(value).
Text to_text(Budget& budget, const Value& value);
Text repr(Budget& budget, const Value& value);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<Text> indent;
  Text item_separator{", "};
  Text key_separator{": "};
};
// json.dumps
Text to_json(Budget& budget, const Value& value, const JsonStyle& style);

}  // namespace ostro::jinja
