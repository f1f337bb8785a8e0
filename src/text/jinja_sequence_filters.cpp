// The filters on sequences and mappings.
#include <algorithm>
#include <unordered_set>

#include "base/error.h"
#include "text/jinja_runtime.h"

namespace ostro::jinja {

namespace {
// What `attribute=` names: "a.b.0" steps through items.
class AttributePath {
 public:
  AttributePath(const Value& attribute, Value otherwise = {}) : otherwise_(std::move(otherwise)) {
    if (attribute.is_none()) return;
    if (!attribute.is_string()) {
      parts_.push_back(attribute);
      return;
    }
    const Text& text = attribute.text();
    for (size_t begin = 0;;) {
      const size_t dot = std::min(text.bytes().find('.', begin), text.size());
      const Text part = text.substr(begin, dot);
      const bool number = !part.empty() && part.bytes().find_first_not_of("0123456789") == std::string::npos;
      const auto index = number ? parse_integer(part.view(), 10) : std::nullopt;
      parts_.push_back(index ? Value(*index) : Value(part));
      if (dot == text.size()) break;
      begin = dot + 1;
    }
  }

  Value get(Runtime& runtime, Value item) const {
    for (const Value& part : parts_) {
      item = runtime.item(item, part);
      if (item.is_undefined() && !otherwise_.is_none()) item = otherwise_;
    }
    return item;
  }

 private:
  std::vector<Value> parts_;
  Value otherwise_;
};

Value lower_string(Runtime& runtime, Value value, bool case_sensitive) {
  if (case_sensitive || !value.is_string()) return value;
  return Value(map_case(runtime, value.text(), [](char32_t) { return Case::Lower; }));
}

struct Keyed {
  std::vector<Value> keys;
  Value value;
};

// Keys are compared as lists, whose equal members are passed over; a single one as it is when `plain`.
void sort_keyed(Runtime& runtime, std::vector<Keyed>& items, bool reverse, bool plain) {
  const auto less = [&](const Keyed& a, const Keyed& b) {
    if (plain) return compare(runtime.budget, a.keys[0], b.keys[0], "<").value_or(0) < 0;
    for (size_t i = 0; i < a.keys.size(); ++i) {
      if (equal(runtime.budget, a.keys[i], b.keys[i])) continue;
      return compare(runtime.budget, a.keys[i], b.keys[i], "<").value_or(0) < 0;
    }
    return false;
  };
  if (reverse) {
    std::stable_sort(items.begin(), items.end(), [&](const Keyed& a, const Keyed& b) { return less(b, a); });
  } else {
    std::stable_sort(items.begin(), items.end(), less);
  }
}

std::vector<Value> values_of(std::vector<Keyed> items) {
  std::vector<Value> out;
  for (Keyed& item : items) out.push_back(std::move(item.value));
  return out;
}

Value sort(Runtime& runtime, const Value& self, const Parameters& p) {
  std::vector<AttributePath> paths;
  if (p[2].is_string()) {
    const Text& names = p[2].text();
    for (size_t begin = 0; begin <= names.size();) {
      const size_t comma = std::min(names.bytes().find(',', begin), names.size());
      paths.emplace_back(Value(names.substr(begin, comma)));
      begin = comma + 1;
    }
  } else {
    paths.emplace_back(p[2]);
  }
  std::vector<Keyed> items;
  for (Value& value : iterate(runtime.budget, self)) {
    Keyed keyed;
    for (const AttributePath& path : paths) {
      keyed.keys.push_back(lower_string(runtime, path.get(runtime, value), p.flag(1, false)));
    }
    keyed.value = std::move(value);
    items.push_back(std::move(keyed));
  }
  sort_keyed(runtime, items, p.flag(0, false), false);
  return Value::list(values_of(std::move(items)));
}

Value dict_sort(Runtime& runtime, const Value& self, const Parameters& p) {
  const std::string by = p.has(1) ? p.text(1).bytes() : "key";
  if (by != "key" && by != "value") raise("FilterArgumentError", "You can only sort by either \"key\" or \"value\"");
  require_defined(self);
  if (!self.is_dict()) raise("AttributeError", "'" + type_name(self) + "' object has no attribute 'items'");
  std::vector<Keyed> items;
  for (const auto& [key, value] : self.as_dict().items) {
    items.push_back({{lower_string(runtime, by == "key" ? key : value, p.flag(0, false))}, Value::tuple({key, value})});
  }
  sort_keyed(runtime, items, p.flag(2, false), true);
  return Value::list(values_of(std::move(items)));
}

std::vector<Value> unique(Runtime& runtime, const Value& self, const Parameters& p) {
  const AttributePath path(p[1]);
  std::unordered_set<std::string> seen;
  std::vector<Value> out;
  for (const Value& value : iterate(runtime.budget, self)) {
    const Value key = lower_string(runtime, path.get(runtime, value), p.flag(0, false));
    if (seen.insert(hash_key(key)).second) out.push_back(value);
  }
  return out;
}

Value extreme(Runtime& runtime, const Value& self, const Parameters& p, bool largest) {
  const AttributePath path(p[1]);
  const std::vector<Value> items = iterate(runtime.budget, self);
  if (items.empty()) return Value::undefined("No aggregated item, sequence was empty.");
  size_t best = 0;
  Value best_key = lower_string(runtime, path.get(runtime, items[0]), p.flag(0, false));
  for (size_t i = 1; i < items.size(); ++i) {
    Value key = lower_string(runtime, path.get(runtime, items[i]), p.flag(0, false));
    const int order = compare(runtime.budget, key, best_key, largest ? ">" : "<").value_or(0);
    if (largest ? order > 0 : order < 0) {
      best = i;
      best_key = std::move(key);
    }
  }
  return items[best];
}

Value group_by(Runtime& runtime, const Value& self, const Parameters& p) {
  const AttributePath path(p[0], p[1]);
  std::vector<Keyed> items;
  for (Value& value : iterate(runtime.budget, self)) {
    Value key = lower_string(runtime, path.get(runtime, value), p.flag(2, false));
    items.push_back({{std::move(key)}, std::move(value)});
  }
  sort_keyed(runtime, items, false, true);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < items.size();) {
    size_t end = begin;
    std::vector<Value> members;
    while (end < items.size() && equal(runtime.budget, items[begin].keys[0], items[end].keys[0])) {
      members.push_back(items[end++].value);
    }
    const Value grouper = path.get(runtime, items[begin].value);
    Value group = Value::tuple({grouper, Value::list(std::move(members))});
    group.as_sequence().iterator_type = "_GroupTuple";
    groups.push_back(std::move(group));
    begin = end;
  }
  return Value::list(std::move(groups));
}

Value sum(Runtime& runtime, const Value& self, const Parameters& p) {
  const AttributePath path(p[0]);
  Value total = p.has(1) ? p[1] : Value(0);
  if (total.is_string()) raise("TypeError", "sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value& value : iterate(runtime.budget, self)) {
    total = runtime.binary("+", total, path.get(runtime, value));
  }
  return total;
}

Value join_filter(Runtime& runtime, const Value& self, const Parameters& p) {
  const AttributePath path(p[1]);
  std::vector<Text> parts;
  for (const Value& value : iterate(runtime.budget, self)) parts.push_back(runtime.text(path.get(runtime, value)));
  return Value(join(runtime, p.has(0) ? runtime.text(p[0]) : Text(), parts));
}

Value first(Runtime& runtime, const Value& self, const Parameters&) {
  const std::vector<Value> items = iterate(runtime.budget, self);
  return items.empty() ? Value::undefined("No first item, sequence was empty.") : items.front();
}

Value last(Runtime& runtime, const Value& self, const Parameters&) {
  if (self.is_sequence(SequenceKind::Iterator)) {
    raise("TypeError", "'" + type_name(self) + "' object is not reversible");
  }
  const std::vector<Value> items = iterate(runtime.budget, self);
  return items.empty() ? Value::undefined("No last item, sequence was empty.") : items.back();
}

Value count(Runtime& runtime, const Value& self, const Parameters&) {
  if (self.is_string()) runtime.budget.steps(self.text().size() / 16);
  const auto size = length(self);
  if (!size) raise("TypeError", "object of type '" + type_name(self) + "' has no len()");
  return static_cast<int64_t>(*size);
}

Value reverse(Runtime& runtime, const Value& self, const Parameters&) {
  if (!is_iterable(self)) raise("FilterArgumentError", "argument must be iterable");
  std::vector<Value> items = iterate(runtime.budget, self);
  std::reverse(items.begin(), items.end());
  if (self.is_string()) {
    Text out;
    for (const Value& character : items) out.append(character.text());
    return Value(std::move(out), self.as_string().markup);
  }
  if (self.is_sequence(SequenceKind::Iterator) || self.is_undefined()) return Value::list(std::move(items));
  return Value::iterator(std::move(items), self.is_dict()                         ? "dict_reversekeyiterator"
                                           : self.is_sequence(SequenceKind::List) ? "list_reverseiterator"
                                                                                  : "reversed");
}

std::vector<Value> items_filter(Runtime& runtime, const Value& self, const Parameters&) {
  if (self.is_undefined()) return {};
  if (!self.is_dict()) raise("TypeError", "Can only get item pairs from a mapping.");
  std::vector<Value> out;
  runtime.budget.containers(self.as_dict().items.size());
  for (const auto& [key, value] : self.as_dict().items) out.push_back(Value::tuple({key, value}));
  return out;
}

std::vector<Value> batch(Runtime& runtime, const Value& self, const Parameters& p) {
  const int64_t size = p.integer(0, 0);
  std::vector<Value> out, row;
  for (Value& value : iterate(runtime.budget, self)) {
    runtime.budget.containers(row.empty() ? 1 : 0);
    if (static_cast<int64_t>(row.size()) == size) out.push_back(Value::list(std::exchange(row, {})));
    row.push_back(std::move(value));
  }
  if (!row.empty()) {
    while (!p[1].is_none() && static_cast<int64_t>(row.size()) < size) {
      runtime.budget.steps(1);
      row.push_back(p[1]);
    }
    out.push_back(Value::list(std::move(row)));
  }
  return out;
}

std::vector<Value> slice(Runtime& runtime, const Value& self, const Parameters& p) {
  const std::vector<Value> items = iterate(runtime.budget, self);
  const int64_t slices = p.integer(0, 0);
  if (slices == 0) raise("ZeroDivisionError", "integer division or modulo by zero");
  std::vector<Value> out;
  size_t begin = 0;
  for (int64_t i = 0; i < slices; ++i) {
    runtime.budget.containers(1);
    const bool extra = i < static_cast<int64_t>(items.size()) % slices;
    const size_t end = begin + items.size() / static_cast<size_t>(slices) + (extra ? 1 : 0);
    std::vector<Value> part;
    for (size_t k = begin; k < end; ++k) part.push_back(items[k]);
    if (!p[1].is_none() && !extra) part.push_back(p[1]);
    out.push_back(Value::list(std::move(part)));
    begin = end;
  }
  return out;
}

std::vector<Value> map(Runtime& runtime, const Value& self, Arguments& arguments) {
  if (!truthy(self)) return {};
  std::vector<Value> out;
  if (arguments.positional.empty()) {
    Value attribute, otherwise;
    bool found = false;
    for (auto& [name, value] : arguments.named) {
      if (name == "attribute") {
        attribute = value;
        found = true;
      } else if (name == "default") {
        otherwise = value;
      } else {
        raise("FilterArgumentError", "Unexpected keyword argument '" + name + "'");
      }
    }
    if (!found) raise("FilterArgumentError", "map requires a filter argument");
    const AttributePath path(attribute, otherwise);
    for (const Value& value : iterate(runtime.budget, self)) out.push_back(path.get(runtime, value));
    return out;
  }
  const std::string filter = runtime.text(arguments.positional[0]).bytes();
  for (const Value& value : iterate(runtime.budget, self)) {
    Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
    out.push_back(runtime.apply_filter(filter, value, rest));
  }
  return out;
}

std::vector<Value> choose(Runtime& runtime, const Value& self, Arguments& arguments, bool keep, bool by_attribute) {
  if (!truthy(self)) return {};
  const auto& given = arguments.positional;
  const size_t offset = by_attribute ? 1 : 0;
  if (by_attribute && given.empty()) raise("FilterArgumentError", "Missing parameter for attribute name");
  const AttributePath path(by_attribute ? given[0] : Value());
  std::vector<Value> out;
  for (const Value& value : iterate(runtime.budget, self)) {
    const Value subject = path.get(runtime, value);
    bool holds = false;
    if (given.size() > offset) {
      Arguments rest{{given.begin() + static_cast<ptrdiff_t>(offset) + 1, given.end()}, arguments.named};
      holds = runtime.apply_test(runtime.text(given[offset]).bytes(), subject, rest);
    } else {
      holds = truthy(subject);
    }
    if (holds == keep) out.push_back(value);
  }
  return out;
}

Value default_filter(Runtime&, const Value& self, const Parameters& p) {
  if (self.is_undefined() || (p.flag(1, false) && !truthy(self))) return p.has(0) ? p[0] : Value("");
  return self;
}

Value attr(Runtime&, const Value& self, const Parameters& p) {
  require_defined(self);
  if (auto found = method(self, p.text(0).bytes())) return *found;
  return missing(self, p[0]);
}
// Filters that are generators in the reference: they work, and fail, when somebody walks over them.
Builtin lazy(std::vector<std::string_view> names, size_t required,
             std::vector<Value> (*make)(Runtime&, const Value&, const Parameters&)) {
  return {std::move(names), required, [make](Runtime& runtime, const Value& self, const Parameters& p) {
            return Value::generator([&runtime, self, p, make] { return make(runtime, self, p); },
                                    std::max(self.depth(), p.depth()));
          }};
}

Builtin lazy(const std::function<std::vector<Value>(Runtime&, const Value&, Arguments&)>& make) {
  Builtin out;
  out.variadic = [make](Runtime& runtime, const Value& self, Arguments& arguments) {
    int depth = self.depth();
    for (const Value& value : arguments.positional) depth = std::max(depth, value.depth());
    for (const auto& [name, value] : arguments.named) depth = std::max(depth, value.depth());
    return Value::generator([&runtime, self, arguments, make]() mutable { return make(runtime, self, arguments); },
                            depth);
  };
  return out;
}

}  // namespace

const BuiltinTable& sequence_filters() {
  static const BuiltinTable kTable = [] {
    BuiltinTable t;
    t["sort"] = {{"reverse", "case_sensitive", "attribute"}, 0, sort};
    t["dictsort"] = {{"case_sensitive", "by", "reverse"}, 0, dict_sort};
    t["unique"] = lazy({"case_sensitive", "attribute"}, 0, unique);
    t["min"] = {{"case_sensitive", "attribute"}, 0, [](Runtime& r, const Value& self, const Parameters& p) {
                  return extreme(r, self, p, false);
                }};
    t["max"] = {{"case_sensitive", "attribute"}, 0, [](Runtime& r, const Value& self, const Parameters& p) {
                  return extreme(r, self, p, true);
                }};
    t["groupby"] = {{"attribute", "default", "case_sensitive"}, 1, group_by};
    t["sum"] = {{"attribute", "start"}, 0, sum};
    t["join"] = {{"d", "attribute"}, 0, join_filter};
    t["first"] = {{}, 0, first};
    t["last"] = {{}, 0, last};
    t["length"] = t["count"] = {{}, 0, count};
    t["list"] = {
        {}, 0, [](Runtime& r, const Value& self, const Parameters&) { return Value::list(iterate(r.budget, self)); }};
    t["reverse"] = {{}, 0, reverse};
    t["items"] = lazy({}, 0, items_filter);
    t["batch"] = lazy({"linecount", "fill_with"}, 1, batch);
    t["slice"] = lazy({"slices", "fill_with"}, 1, slice);
    t["map"] = lazy(map);
    t["select"] = lazy([](Runtime& r, const Value& v, Arguments& a) { return choose(r, v, a, true, false); });
    t["reject"] = lazy([](Runtime& r, const Value& v, Arguments& a) { return choose(r, v, a, false, false); });
    t["selectattr"] = lazy([](Runtime& r, const Value& v, Arguments& a) { return choose(r, v, a, true, true); });
    t["rejectattr"] = lazy([](Runtime& r, const Value& v, Arguments& a) { return choose(r, v, a, false, true); });
    t["default"] = t["d"] = {{"default_value", "boolean"}, 0, default_filter};
    t["attr"] = {{"name"}, 1, attr};
    return t;
  }();
  return kTable;
}

}  // namespace ostro::jinja
