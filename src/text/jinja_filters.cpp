// The filters on strings and numbers.
#include <cmath>

#include "base/error.h"
#include "text/jinja_runtime.h"

namespace ostro::jinja {

namespace {
bool is_markup(const Value& value) { return value.is_string() && value.as_string().markup; }

// A string made from `value`, safe as it is.
Value same_kind(Runtime& runtime, const Value& value, Text text) {
  return runtime.make(std::move(text), is_markup(value));
}

Value change_case(Runtime& runtime, const Value& value, const std::function<Case(char32_t)>& choose) {
  return same_kind(runtime, value, map_case(runtime, runtime.text(value), choose));
}

bool begins_title_word(char32_t previous) {
  return previous == 0 || is_space(previous) || previous == '-' || previous == '(' || previous == '{' ||
         previous == '[' || previous == '<';
}

Value indent(Runtime& runtime, const Value& self, const Parameters& p) {
  const Value width = p.has(0) ? p[0] : Value(4);
  if (self.is_sequence(SequenceKind::List)) raise("AttributeError", "'list' object has no attribute 'splitlines'");
  const Value source = runtime.binary("+", self, Value("\n"));  // raises what the reference raises
  Text indention = width.is_string() ? width.text() : repeat(runtime, Text(" "), p.integer(0, 4));
  if (is_markup(self)) indention = escape_html(runtime, width.is_string() ? width : Value(indention));
  const bool blank = p.flag(2, false);
  const std::vector<Text> lines = split_lines(runtime, source.text(), false);
  Text out;
  if (p.flag(1, false)) out.append(indention);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) {
      out.append("\n");
      runtime.budget.bytes(indention.size() + 1);
      if (blank || !lines[i].empty()) out.append(indention);
    }
    out.append(lines[i]);
  }
  return same_kind(runtime, self, std::move(out));
}

Value truncate(Runtime& runtime, const Value& self, const Parameters& p) {
  const auto whole = length(self);
  if (!whole) raise("TypeError", "object of type '" + type_name(self) + "' has no len()");
  const int64_t limit = p.integer(0, 255);
  const Text end = p.has(2) ? p.text(2) : Text("...");
  const int64_t leeway = p[3].is_none() ? 5 : p.integer(3, 5);
  const auto end_size = static_cast<int64_t>(count_codepoints(end.view()));
  if (limit < end_size) raise("AssertionError", fmt::format("expected length >= {}, got {}", end_size, limit));
  if (leeway < 0) raise("AssertionError", fmt::format("expected leeway >= 0, got {}", leeway));
  if (static_cast<int64_t>(*whole) - leeway <= limit) return self;
  if (!self.is_string()) raise("AttributeError", "'" + type_name(self) + "' object has no attribute 'rsplit'");
  const Text& text = self.text();
  const std::vector<size_t> offsets = codepoint_offsets(text.view());
  size_t cut = offsets[static_cast<size_t>(limit - end_size)];
  if (!p.flag(1, false)) {
    const size_t space = text.bytes().substr(0, cut).rfind(' ');
    if (space != std::string::npos) cut = space;
  }
  Text out = text.substr(0, cut);
  out.append(end);
  return same_kind(runtime, self, std::move(out));
}

Value to_integer(Runtime&, const Value& self, const Parameters& p) {
  const Value otherwise = p.has(0) ? p[0] : Value(0);
  require_defined(self);
  std::optional<double> number;
  if (self.is_string()) {
    if (const auto whole = parse_integer(self.text().view(), static_cast<int>(p.integer(1, 10)))) return *whole;
    number = parse_float(self.text().view());
  } else {
    if (const auto whole = self.integer()) return *whole;
    number = self.number();
  }
  if (!number || !std::isfinite(*number)) return otherwise;
  if (std::abs(*number) >= 9.2e18) raise("OverflowError", "integer too large");
  return static_cast<int64_t>(*number);
}

Value to_float(Runtime&, const Value& self, const Parameters& p) {
  require_defined(self);
  const auto number = self.is_string() ? parse_float(self.text().view()) : self.number();
  return number ? Value(*number) : (p.has(0) ? p[0] : Value(0.0));
}

Value round(Runtime&, const Value& self, const Parameters& p) {
  const std::string how = p.has(1) ? p.text(1).bytes() : "common";
  if (how != "common" && how != "ceil" && how != "floor") {
    raise("FilterArgumentError", "method must be common, ceil or floor");
  }
  if (how == "common") return round_number(self, p.integer(0, 0));
  require_defined(self);
  if (!self.number()) raise("TypeError", "must be real number, not " + type_name(self));
  const double unit = std::pow(10.0, static_cast<double>(p.integer(0, 0)));
  const double scaled = *self.number() * unit;
  return (how == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit;
}

Value absolute(Runtime&, const Value& self, const Parameters&) {
  if (const auto whole = self.integer()) {
    if (*whole == std::numeric_limits<int64_t>::min()) raise("OverflowError", "integer too large");
    return *whole < 0 ? -*whole : *whole;
  }
  if (self.is_float()) return std::abs(self.as_float());
  raise("TypeError", "bad operand type for abs(): '" + type_name(self) + "'");
}

void quote_url(const Text& text, bool query, Text& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.bytes()[i];
    const bool plain = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_' || c == '.' ||
                       c == '-' || c == '~' || (c == '/' && !query);
    const bool from_data = text.from_data(i);
    if (plain) {
      out.append(std::string_view(&c, 1), from_data);
    } else if (c == ' ' && query) {
      out.append("+", from_data);
    } else {
      out.append(fmt::format("%{:02X}", static_cast<unsigned char>(c)), from_data);
    }
  }
}

Value url_encode(Runtime& runtime, const Value& self, const Parameters&) {
  Text out;
  if (self.is_string() || !is_iterable(self)) {
    quote_url(runtime.text(self), false, out);
    return runtime.make(std::move(out));
  }
  std::vector<Value> pairs;
  if (self.is_dict()) {
    for (const auto& [key, value] : self.as_dict().items) pairs.push_back(Value::tuple({key, value}));
  } else {
    pairs = iterate(runtime.budget, self);
  }
  for (const Value& pair : pairs) {
    const std::vector<Value> both = iterate(runtime.budget, pair);
    if (both.size() != 2) raise("ValueError", "urlencode needs pairs");
    if (!out.empty()) out.append("&");
    quote_url(runtime.text(both[0]), true, out);
    out.append("=");
    quote_url(runtime.text(both[1]), true, out);
    runtime.budget.bytes(out.size());
  }
  return runtime.make(std::move(out));
}

Value word_count(Runtime& runtime, const Value& self, const Parameters&) {
  const Text text = runtime.text(self);
  int64_t count = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const Codepoint c = codepoint_at(text.view(), at);
    const bool word = c.value == '_' || is_alpha(c.value) || is_numeric(c.value);
    count += word && !inside ? 1 : 0;
    inside = word;
    at += c.size;
  }
  return count;
}

Value to_json_filter(Runtime& runtime, const Value& self, const Parameters& p) {
  JsonStyle style;
  style.ensure_ascii = p.flag(0, false);
  if (!p[1].is_none()) {
    style.indent = p[1].is_string() ? p[1].text() : repeat(runtime, Text(" "), p.integer(1, 0));
    style.item_separator = Text(",");
  }
  if (!p[2].is_none()) {
    const std::vector<Value> both = iterate(runtime.budget, p[2]);
    if (both.size() != 2 || !both[0].is_string() || !both[1].is_string()) {
      raise("ValueError", "separators must be a pair of strings");
    }
    style.item_separator = both[0].text();
    style.key_separator = both[1].text();
  }
  style.sort_keys = p.flag(3, false);
  return runtime.make(to_json(runtime.budget, self, style));
}

Value format_filter(Runtime& runtime, const Value& self, Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    raise("FilterArgumentError", "can't handle positional and keyword arguments at the same time");
  }
  Value values = Value::tuple(arguments.positional);
  if (!arguments.named.empty()) {
    Dict dict;
    for (auto& [name, value] : arguments.named) dict.set(Value(name), value);
    values = Value::dict(std::move(dict));
  }
  return same_kind(runtime, self, percent_format(runtime, runtime.text(self), values));
}

Value replace_filter(Runtime& runtime, const Value& self, const Parameters& p) {
  const int64_t count = p[2].is_none() ? -1 : p.integer(2, -1);
  return Value(replace(runtime, runtime.text(self), runtime.text(p[0]), runtime.text(p[1]), count));
}

Value escape_filter(Runtime& runtime, const Value& self, const Parameters&) {
  return Value(escape_html(runtime, self), true);
}

Value string_filter(Runtime& runtime, const Value& self, const Parameters&) {
  return self.is_string() ? self : runtime.make(runtime.text(self));
}
}  // namespace

const BuiltinTable& string_filters() {
  static const BuiltinTable kTable = [] {
    BuiltinTable t;
    t["upper"] = {{}, 0, [](Runtime& r, const Value& self, const Parameters&) {
                    return change_case(r, self, [](char32_t) { return Case::Upper; });
                  }};
    t["lower"] = {{}, 0, [](Runtime& r, const Value& self, const Parameters&) {
                    return change_case(r, self, [](char32_t) { return Case::Lower; });
                  }};
    t["capitalize"] = {{}, 0, [](Runtime& r, const Value& self, const Parameters&) {
                         return change_case(r, self, [](char32_t c) { return c == 0 ? Case::Title : Case::Lower; });
                       }};
    t["title"] = {{}, 0, [](Runtime& r, const Value& self, const Parameters&) {
                    return change_case(r, self,
                                       [](char32_t c) { return begins_title_word(c) ? Case::Upper : Case::Lower; });
                  }};
    t["trim"] = {{"chars"}, 0, [](Runtime& r, const Value& self, const Parameters& p) {
                   return same_kind(r, self, strip(r.text(self), p[0], true, true));
                 }};
    t["center"] = {{"width"}, 0, [](Runtime& r, const Value& self, const Parameters& p) {
                     return same_kind(r, self, pad(r, r.text(self), p.integer(0, 80), " ", 0.5));
                   }};
    t["safe"] = {{}, 0, [](Runtime& r, const Value& self, const Parameters&) { return r.make(r.text(self), true); }};
    t["string"] = {{}, 0, string_filter};
    t["escape"] = t["e"] = {{}, 0, escape_filter};
    t["forceescape"] = {{}, 0, [](Runtime& r, const Value& self, const Parameters&) {
                          return Value(escape_html(r, Value(r.text(self))), true);
                        }};
    t["replace"] = {{"old", "new", "count"}, 2, replace_filter};
    t["indent"] = {{"width", "first", "blank"}, 0, indent};
    t["truncate"] = {{"length", "killwords", "end", "leeway"}, 0, truncate};
    t["wordcount"] = {{}, 0, word_count};
    t["urlencode"] = {{}, 0, url_encode};
    t["format"].variadic = format_filter;
    t["int"] = {{"default", "base"}, 0, to_integer};
    t["float"] = {{"default"}, 0, to_float};
    t["round"] = {{"precision", "method"}, 0, round};
    t["abs"] = {{}, 0, absolute};
    t["pprint"] = {
        {}, 0, [](Runtime& r, const Value& self, const Parameters&) { return r.make(repr(r.budget, self)); }};
    t["tojson"] = {{"ensure_ascii", "indent", "separators", "sort_keys"}, 0, to_json_filter};
    return t;
  }();
  return kTable;
}

}  // namespace ostro::jinja
