// Values of the template interpreter: construction, truth, equality, order, hashing, iteration.
#include "text/jinja_value.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace ostro::jinja {

namespace {
// Nesting of containers; keeps every walk over a value (and its destruction) within the stack.
constexpr int kMaxDepth = 400;
constexpr size_t kMaxKeyBytes = size_t{1} << 20;

void append_hash_key(const Value& value, std::string& out) {
  if (out.size() > kMaxKeyBytes) raise("TemplateLimitError", "a key is too long");
  if (value.is_string()) {
    out += 's' + value.text().bytes();
  } else if (const auto whole = value.integer()) {
    out += 'n' + std::to_string(*whole);
  } else if (value.is_float()) {
    const double number = value.as_float();
    const bool exact = std::floor(number) == number && std::abs(number) < 9e18;
    out += 'n' + (exact ? std::to_string(static_cast<int64_t>(number)) : float_repr(number));
  } else if (value.is_none()) {
    out += 'N';
  } else if (value.is_undefined()) {
    out += 'U';
  } else if (value.is_sequence(SequenceKind::Tuple)) {
    out += '(';
    for (const Value& item : value.as_sequence().items) {
      append_hash_key(item, out);
      out += ',';
    }
    out += ')';
  } else if (value.is_object() || value.is_sequence(SequenceKind::Iterator)) {
    out += 'o' + std::to_string(reinterpret_cast<uintptr_t>(value.identity()));
  } else {
    raise("TypeError", "unhashable type: '" + type_name(value) + "'");
  }
}
}  // namespace

void raise(std::string_view type, std::string_view message) {
  throw Error(ErrorKind::Usage, message.empty() ? std::string(type) : fmt::format("{}: {}", type, message));
}

const Value* Dict::find(const Value& key) const {
  const auto found = index.find(hash_key(key));
  return found == index.end() ? nullptr : &items[found->second].second;
}

const Value* Dict::find(std::string_view key) const {
  const auto found = index.find('s' + std::string(key));
  return found == index.end() ? nullptr : &items[found->second].second;
}

void Dict::set(const Value& key, Value value) {
  depth = std::max(depth, deeper(value.depth()));
  const auto [place, inserted] = index.try_emplace(hash_key(key), items.size());
  if (inserted) {
    items.emplace_back(key, std::move(value));
  } else {
    items[place->second].second = std::move(value);
  }
}

int deeper(int depth) {
  if (depth >= kMaxDepth) raise("RecursionError", "containers are nested too deeply");
  return depth + 1;
}

std::optional<Value> Object::attribute(std::string_view) { return std::nullopt; }
Value Object::call(Runtime&, Arguments&) { raise("TypeError", "'" + type_name() + "' object is not callable"); }

Value Value::undefined(std::string message, std::string error) {
  Value out;
  out.data_ = std::make_shared<const Undefined>(Undefined{std::move(error), std::move(message)});
  return out;
}

Value Value::sequence(SequenceKind kind, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  for (const Value& item : items) sequence->depth = std::max(sequence->depth, deeper(item.depth()));
  sequence->items = std::move(items);
  Value out;
  out.data_ = std::move(sequence);
  return out;
}

Value Value::iterator(std::vector<Value> items, std::string type) {
  Value out = sequence(SequenceKind::Iterator, std::move(items));
  out.as_sequence().iterator_type = std::move(type);
  return out;
}

Value Value::generator(std::function<std::vector<Value>()> produce, int depth) {
  Value out = iterator({});
  out.as_sequence().produce = std::move(produce);
  out.as_sequence().depth = deeper(depth);
  return out;
}

Value Value::range(Budget& budget, int64_t start, int64_t stop, int64_t step) {
  constexpr uint64_t kMaxRange = 100000;  // as the reference's sandbox
  if (step == 0) raise("ValueError", "range() arg 3 must not be zero");
  const bool up = step > 0;
  uint64_t count = 0;
  if (up ? start < stop : start > stop) {
    const uint64_t distance = up ? static_cast<uint64_t>(stop) - static_cast<uint64_t>(start)
                                 : static_cast<uint64_t>(start) - static_cast<uint64_t>(stop);
    const uint64_t stride = up ? static_cast<uint64_t>(step) : 0 - static_cast<uint64_t>(step);
    count = (distance - 1) / stride + 1;
  }
  if (count > kMaxRange) {
    raise("OverflowError",
          "Range too big. The sandbox blocks ranges larger than MAX_RANGE (" + std::to_string(kMaxRange) + ").");
  }
  budget.steps(count);
  std::vector<Value> items;
  items.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    items.emplace_back(static_cast<int64_t>(static_cast<uint64_t>(start) + i * static_cast<uint64_t>(step)));
  }
  Value out = sequence(SequenceKind::Range, std::move(items));
  Sequence& range = out.as_sequence();
  range.range_start = start;
  range.range_stop = stop;
  range.range_step = step;
  return out;
}

Value Value::dict(Dict dict) { return Value(std::make_shared<const Dict>(std::move(dict))); }

Value Value::from_json(const nlohmann::ordered_json& json, int depth) {
  depth = deeper(depth);
  switch (json.type()) {
    case nlohmann::json::value_t::boolean:
      return json.get<bool>();
    case nlohmann::json::value_t::number_integer:
      return json.get<int64_t>();
    case nlohmann::json::value_t::number_unsigned: {
      const auto value = json.get<uint64_t>();
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        raise("OverflowError", "the integer " + std::to_string(value) + " does not fit 64 bits");
      }
      return static_cast<int64_t>(value);
    }
    case nlohmann::json::value_t::number_float:
      return json.get<double>();
    case nlohmann::json::value_t::string:
      return Text(json.get_ref<const std::string&>(), true);
    case nlohmann::json::value_t::array: {
      std::vector<Value> items;
      items.reserve(json.size());
      for (const auto& item : json) items.push_back(from_json(item, depth));
      return list(std::move(items));
    }
    case nlohmann::json::value_t::object: {
      Dict out;
      for (const auto& [key, value] : json.items()) out.set(Text(key, true), from_json(value, depth));
      return dict(std::move(out));
    }
    default:
      return {};
  }
}

std::optional<int64_t> Value::integer() const {
  if (is_int()) return std::get<int64_t>(data_);
  if (is_bool()) return std::get<bool>(data_) ? 1 : 0;
  return std::nullopt;
}

std::optional<double> Value::number() const {
  if (is_float()) return as_float();
  if (const auto whole = integer()) return static_cast<double>(*whole);
  return std::nullopt;
}

const void* Value::identity() const {
  if (is_undefined()) return &as_undefined();
  if (is_string()) return &as_string();
  if (is_sequence()) return &as_sequence();
  if (is_dict()) return &as_dict();
  if (is_object()) return &as_object();
  return nullptr;
}

bool Value::same_object(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  if (is_none()) return true;
  if (is_bool() || is_int()) return integer() == other.integer();
  // Python shares equal short strings it has seen as literals.
  if (is_string()) return text().bytes() == other.text().bytes();
  return identity() != nullptr && identity() == other.identity();
}

int Value::depth() const {
  if (is_sequence()) return as_sequence().depth;
  if (is_dict()) return as_dict().depth;
  if (is_object()) return as_object().depth;
  return 0;
}

void require_defined(const Value& value) {
  if (value.is_undefined()) raise(value.as_undefined().error, value.as_undefined().message);
}

std::string type_name(const Value& value) {
  if (value.is_none()) return "NoneType";
  if (value.is_bool()) return "bool";
  if (value.is_int()) return "int";
  if (value.is_float()) return "float";
  if (value.is_string()) return value.as_string().markup ? "Markup" : "str";
  if (value.is_dict()) return "dict";
  if (value.is_object()) return value.as_object().type_name();
  if (value.is_undefined()) return "Undefined";
  switch (value.as_sequence().kind) {
    case SequenceKind::List:
      return "list";
    case SequenceKind::Tuple:
      return value.as_sequence().iterator_type == "_GroupTuple" ? "_GroupTuple" : "tuple";
    case SequenceKind::Range:
      return "range";
    case SequenceKind::Keys:
      return "dict_keys";
    case SequenceKind::Values:
      return "dict_values";
    case SequenceKind::Items:
      return "dict_items";
    case SequenceKind::Iterator:
      break;
  }
  return value.as_sequence().iterator_type;
}

bool truthy(const Value& value) {
  if (value.is_none() || value.is_undefined()) return false;
  if (const auto number = value.number()) return *number != 0;
  if (value.is_string()) return !value.text().empty();
  if (value.is_dict()) return !value.as_dict().items.empty();
  if (value.is_sequence() && !value.is_sequence(SequenceKind::Iterator)) return !value.as_sequence().items.empty();
  return true;
}

bool equal(Budget& budget, const Value& a, const Value& b) {
  budget.steps(1);
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  const auto whole_a = a.integer();
  const auto whole_b = b.integer();
  if (whole_a && whole_b) return *whole_a == *whole_b;
  const auto number_a = a.number();
  const auto number_b = b.number();
  if (number_a || number_b) return number_a && number_b && *number_a == *number_b;
  if (a.identity() == b.identity()) return true;
  if (a.is_string() && b.is_string()) {
    budget.steps(std::min(a.text().size(), b.text().size()) / 64);
    return a.text().bytes() == b.text().bytes();
  }
  if (a.is_sequence() && b.is_sequence()) {
    const Sequence& left = a.as_sequence();
    const Sequence& right = b.as_sequence();
    if (left.kind != right.kind || left.kind == SequenceKind::Iterator || left.items.size() != right.items.size()) {
      return false;
    }
    for (size_t i = 0; i < left.items.size(); ++i) {
      if (!equal(budget, left.items[i], right.items[i])) return false;
    }
    return true;
  }
  if (a.is_dict() && b.is_dict()) {
    if (a.as_dict().items.size() != b.as_dict().items.size()) return false;
    for (const auto& [key, value] : a.as_dict().items) {
      const Value* other = b.as_dict().find(key);
      if (other == nullptr || !equal(budget, value, *other)) return false;
    }
    return true;
  }
  return false;
}

std::optional<int> compare(Budget& budget, const Value& a, const Value& b, std::string_view op) {
  budget.steps(1);
  require_defined(a);
  require_defined(b);
  const auto sign = [](const auto& x, const auto& y) { return x < y ? -1 : (y < x ? 1 : 0); };
  const auto whole_a = a.integer();
  const auto whole_b = b.integer();
  if (whole_a && whole_b) return sign(*whole_a, *whole_b);
  const auto number_a = a.number();
  const auto number_b = b.number();
  if (number_a && number_b) {
    if (std::isnan(*number_a) || std::isnan(*number_b)) return std::nullopt;
    return sign(*number_a, *number_b);
  }
  if (a.is_string() && b.is_string()) return sign(a.text().bytes(), b.text().bytes());  // UTF-8 keeps the order
  if (a.is_sequence() && b.is_sequence() && a.as_sequence().kind == b.as_sequence().kind &&
      (a.is_sequence(SequenceKind::List) || a.is_sequence(SequenceKind::Tuple))) {
    const auto& left = a.as_sequence().items;
    const auto& right = b.as_sequence().items;
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!equal(budget, left[i], right[i])) return compare(budget, left[i], right[i], op);
    }
    return sign(left.size(), right.size());
  }
  raise("TypeError",
        fmt::format("'{}' not supported between instances of '{}' and '{}'", op, type_name(a), type_name(b)));
}

std::string hash_key(const Value& value) {
  std::string out;
  append_hash_key(value, out);
  return out;
}

std::optional<size_t> length(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_string()) return count_codepoints(value.text().view());
  if (value.is_dict()) return value.as_dict().items.size();
  if (value.is_sequence() && !value.is_sequence(SequenceKind::Iterator)) return value.as_sequence().items.size();
  if (value.is_object()) {
    // Only `loop` has a length.
    if (value.as_object().type_name() == "LoopContext") {
      return static_cast<size_t>(*value.as_object().attribute("length")->integer());
    }
  }
  return std::nullopt;
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_dict() || value.is_sequence();
}

std::vector<Value> iterate(Budget& budget, const Value& value) {
  if (value.is_undefined()) return {};
  std::vector<Value> out;
  if (value.is_string()) {
    const String& string = value.as_string();
    const std::vector<size_t> offsets = codepoint_offsets(string.text.view());
    budget.containers(offsets.size() / 4);
    out.reserve(offsets.size());
    for (size_t i = 0; i + 1 < offsets.size(); ++i) {
      out.emplace_back(string.text.substr(offsets[i], offsets[i + 1]), string.markup);
    }
    return out;
  }
  if (value.is_dict()) {
    const auto& items = value.as_dict().items;
    budget.steps(items.size());
    out.reserve(items.size());
    for (const auto& [key, unused] : items) out.push_back(key);
    return out;
  }
  if (!value.is_sequence()) raise("TypeError", "'" + type_name(value) + "' object is not iterable");
  Sequence& sequence = value.as_sequence();
  if (sequence.kind == SequenceKind::Iterator) {
    if (sequence.consumed) return {};
    sequence.consumed = true;
    if (sequence.produce) return sequence.produce();
  }
  budget.steps(sequence.items.size());
  return sequence.items;
}

}  // namespace ostro::jinja
