// The methods of Python's str, dict, list, tuple and float that a template can call. Those that change their value do
// not exist here, as in the reference's sandbox.
#include <algorithm>

#include "base/error.h"
#include "text/jinja_runtime.h"

namespace ostro::jinja {

namespace {
Value kept(Runtime& runtime, const Value& self, Text text) {
  return runtime.make(std::move(text), self.as_string().markup);
}

const Text& string_argument(const Value& value) {
  require_defined(value);
  if (!value.is_string()) raise("TypeError", "must be str, not " + type_name(value));
  return value.text();
}

std::vector<Text> split_words(Runtime& runtime, const Text& text, int64_t limit, bool from_right) {
  std::vector<Text> out;
  size_t begin = 0;
  size_t end = text.size();
  for (;;) {
    runtime.budget.steps(1);
    const std::string_view rest = text.view().substr(begin, end - begin);
    begin += leading_space(rest);
    end -= begin < end ? trailing_space(text.view().substr(begin, end - begin)) : 0;
    if (begin >= end) break;
    if (limit >= 0 && static_cast<int64_t>(out.size()) == limit) {
      // What is left keeps the space at its far side.
      out.push_back(from_right ? text.substr(0, end) : text.substr(begin, text.size()));
      break;
    }
    if (from_right) {
      size_t word = end;
      while (word > begin) {
        size_t previous = word - 1;
        while (previous > begin && (static_cast<unsigned char>(text.bytes()[previous]) & 0xC0) == 0x80) --previous;
        if (is_space(codepoint_at(text.view(), previous).value)) break;
        word = previous;
      }
      out.push_back(text.substr(word, end));
      end = word;
      begin = 0;
    } else {
      size_t word = begin;
      while (word < end && !is_space(codepoint_at(text.view(), word).value))
        word += codepoint_at(text.view(), word).size;
      out.push_back(text.substr(begin, word));
      begin = word;
      end = text.size();
    }
  }
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<Text> split_at(Runtime& runtime, const Text& text, const Text& separator, int64_t limit, bool from_right) {
  if (separator.empty()) raise("ValueError", "empty separator");
  std::vector<Text> out;
  const std::string& bytes = text.bytes();
  size_t begin = 0;
  size_t end = bytes.size();
  while (limit < 0 || static_cast<int64_t>(out.size()) < limit) {
    runtime.budget.steps(1);
    size_t found = std::string::npos;
    if (!from_right) {
      found = bytes.find(separator.bytes(), begin);
    } else if (end >= separator.size()) {
      found = bytes.rfind(separator.bytes(), end - separator.size());
    }
    if (found == std::string::npos) break;
    if (from_right) {
      out.push_back(text.substr(found + separator.size(), end));
      end = found;
    } else {
      out.push_back(text.substr(begin, found));
      begin = found + separator.size();
    }
  }
  out.push_back(text.substr(begin, end));
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

Value split(Runtime& runtime, const Value& self, const Parameters& p, bool from_right) {
  const int64_t limit = p.integer(1, -1);
  std::vector<Text> parts = p[0].is_none() ? split_words(runtime, self.text(), limit, from_right)
                                           : split_at(runtime, self.text(), string_argument(p[0]), limit, from_right);
  std::vector<Value> out;
  runtime.budget.containers(parts.size() / 4);
  for (Text& part : parts) out.push_back(kept(runtime, self, std::move(part)));
  return Value::list(std::move(out));
}

// The bytes between two optional character places, which count from the end when negative.
struct Window {
  size_t begin = 0, end = 0;
  bool valid = true;
};
Window window(Runtime& runtime, const Text& text, const Parameters& p, size_t first) {
  if (!p.has(first) && !p.has(first + 1)) return {0, text.size(), true};
  runtime.budget.steps(text.size() / 16);
  const std::vector<size_t> offsets = codepoint_offsets(text.view());
  const auto size = static_cast<int64_t>(offsets.size()) - 1;
  const auto place = [&](size_t i, int64_t otherwise) {
    int64_t at = p[i].is_none() ? otherwise : p.integer(i, otherwise);
    if (at < 0) at = at < -size ? 0 : at + size;
    return at;
  };
  const int64_t begin = place(first, 0);
  const int64_t end = std::min(place(first + 1, size), size);
  if (begin > end) return {0, 0, false};
  return {offsets[static_cast<size_t>(begin)], offsets[static_cast<size_t>(end)], true};
}

Value find(Runtime& runtime, const Value& self, const Parameters& p, bool from_right, bool must) {
  const Text& text = self.text();
  const Text& wanted = string_argument(p[0]);
  const Window where = window(runtime, text, p, 1);
  runtime.budget.steps(text.size() / 16);
  size_t found = std::string_view::npos;
  if (where.valid) {
    const std::string_view part = text.view().substr(where.begin, where.end - where.begin);
    found = from_right ? part.rfind(wanted.view()) : part.find(wanted.view());
  }
  if (found == std::string_view::npos) {
    if (must) raise("ValueError", "substring not found");
    return -1;
  }
  return static_cast<int64_t>(count_codepoints(text.view().substr(0, where.begin + found)));
}

Value count(Runtime& runtime, const Value& self, const Parameters& p) {
  const Text& wanted = string_argument(p[0]);
  const Window where = window(runtime, self.text(), p, 1);
  if (!where.valid) return 0;
  const std::string_view part = self.text().view().substr(where.begin, where.end - where.begin);
  runtime.budget.steps(part.size() / 16);
  if (wanted.empty()) return static_cast<int64_t>(count_codepoints(part)) + 1;
  int64_t found = 0;
  for (size_t at = part.find(wanted.view()); at != std::string_view::npos;
       at = part.find(wanted.view(), at + wanted.size())) {
    ++found;
  }
  return found;
}

Value has_affix(Runtime& runtime, const Value& self, const Parameters& p, bool suffix) {
  const Window where = window(runtime, self.text(), p, 1);
  if (!where.valid) return false;
  const std::string_view part = self.text().view().substr(where.begin, where.end - where.begin);
  std::vector<Value> affixes{p[0]};
  if (p[0].is_sequence(SequenceKind::Tuple)) affixes = p[0].as_sequence().items;
  for (const Value& affix : affixes) {
    require_defined(affix);
    if (!affix.is_string()) {
      raise("TypeError", fmt::format("{} first arg must be str or a tuple of str, not {}",
                                     suffix ? "endswith" : "startswith", type_name(affix)));
    }
    const std::string_view wanted = affix.text().view();
    if (suffix ? part.ends_with(wanted) : part.starts_with(wanted)) return true;
  }
  return false;
}

Value partition(Runtime& runtime, const Value& self, const Parameters& p, bool from_right) {
  const Text& text = self.text();
  const Text& separator = string_argument(p[0]);
  if (separator.empty()) raise("ValueError", "empty separator");
  const size_t found = from_right ? text.bytes().rfind(separator.bytes()) : text.bytes().find(separator.bytes());
  if (found == std::string::npos) {
    return from_right ? Value::tuple({Value(""), Value(""), self}) : Value::tuple({self, Value(""), Value("")});
  }
  const size_t after = found + separator.size();
  return Value::tuple({kept(runtime, self, text.substr(0, found)), kept(runtime, self, text.substr(found, after)),
                       kept(runtime, self, text.substr(after, text.size()))});
}

Value join_method(Runtime& runtime, const Value& self, const Parameters& p) {
  if (!is_iterable(p[0])) raise("TypeError", "can only join an iterable");
  std::vector<Text> parts;
  for (const Value& item : iterate(runtime.budget, p[0])) {
    if (!item.is_string()) {
      raise("TypeError",
            fmt::format("sequence item {}: expected str instance, {} found", parts.size(), type_name(item)));
    }
    parts.push_back(self.as_string().markup ? escape_html(runtime, item) : item.text());
  }
  return kept(runtime, self, join(runtime, self.text(), parts));
}

Builtin every(bool (*holds)(char32_t)) {
  return {{}, 0, [holds](Runtime&, const Value& self, const Parameters&) -> Value {
            const std::string_view text = self.text().view();
            if (text.empty()) return false;
            for (size_t at = 0; at < text.size();) {
              const Codepoint c = codepoint_at(text, at);
              if (!holds(c.value)) return false;
              at += c.size;
            }
            return true;
          }};
}

Builtin cased(std::function<Case(char32_t)> choose) {
  return {{}, 0, [choose = std::move(choose)](Runtime& runtime, const Value& self, const Parameters&) -> Value {
            return kept(runtime, self, map_case(runtime, self.text(), choose));
          }};
}

Builtin stripped(bool left, bool right) {
  return {{"chars"}, 0, [left, right](Runtime& runtime, const Value& self, const Parameters& p) -> Value {
            if (!p[0].is_none()) string_argument(p[0]);
            return kept(runtime, self, strip(self.text(), p[0], left, right));
          }};
}

Builtin padded(double left_share) {
  return {{"width", "fillchar"}, 1, [left_share](Runtime& runtime, const Value& self, const Parameters& p) -> Value {
            const std::string fill = p.has(1) ? string_argument(p[1]).bytes() : " ";
            if (count_codepoints(fill) != 1) {
              raise("TypeError", "The fill character must be exactly one character long");
            }
            return kept(runtime, self, pad(runtime, self.text(), p.integer(0, 0), fill, left_share));
          }};
}

Value zfill(Runtime& runtime, const Value& self, const Parameters& p) {
  const Text& text = self.text();
  const bool sign = !text.empty() && (text.bytes()[0] == '-' || text.bytes()[0] == '+');
  Text out = sign ? text.substr(0, 1) : Text();
  const int64_t width = p.integer(0, 0) - (sign ? 1 : 0);
  out.append(pad(runtime, text.substr(sign ? 1 : 0, text.size()), width, "0", 1));
  return kept(runtime, self, std::move(out));
}

Value remove_affix(Runtime& runtime, const Value& self, const Parameters& p, bool suffix) {
  const std::string& text = self.text().bytes();
  const std::string& affix = string_argument(p[0]).bytes();
  if (affix.empty() || !(suffix ? text.ends_with(affix) : text.starts_with(affix))) return self;
  return kept(
      runtime, self,
      suffix ? self.text().substr(0, text.size() - affix.size()) : self.text().substr(affix.size(), text.size()));
}

Value split_lines_method(Runtime& runtime, const Value& self, const Parameters& p) {
  std::vector<Value> out;
  for (Text& line : split_lines(runtime, self.text(), p.flag(0, false))) out.emplace_back(std::move(line));
  return Value::list(std::move(out));
}

Value swap_case(Runtime& runtime, const Value& self, const Parameters&) {
  Text out;
  const Text& text = self.text();
  for (size_t at = 0; at < text.size();) {
    const Codepoint c = codepoint_at(text.view(), at);
    out.append(is_upper(c.value) ? lower(c.value) : upper(c.value), text.from_data(at));
    at += c.size;
  }
  return kept(runtime, self, std::move(out));
}

Value index_of(Runtime& runtime, const Value& self, const Parameters& p) {
  const auto& items = self.as_sequence().items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (equal(runtime.budget, items[i], p[0])) return static_cast<int64_t>(i);
  }
  raise("ValueError", "the value is not in the sequence");
}

Value count_of(Runtime& runtime, const Value& self, const Parameters& p) {
  const auto& items = self.as_sequence().items;
  return static_cast<int64_t>(
      std::count_if(items.begin(), items.end(), [&](const Value& item) { return equal(runtime.budget, item, p[0]); }));
}

Value dict_view(Runtime& runtime, const Value& self, SequenceKind kind) {
  std::vector<Value> out;
  runtime.budget.containers(self.as_dict().items.size());
  for (const auto& [key, value] : self.as_dict().items) {
    out.push_back(kind == SequenceKind::Keys ? key : kind == SequenceKind::Values ? value : Value::tuple({key, value}));
  }
  return Value::sequence(kind, std::move(out));
}

BuiltinTable make_string_methods() {
  BuiltinTable t;
  t["upper"] = cased([](char32_t) { return Case::Upper; });
  t["lower"] = t["casefold"] = cased([](char32_t) { return Case::Lower; });
  t["capitalize"] = cased([](char32_t previous) { return previous == 0 ? Case::Title : Case::Lower; });
  t["title"] = cased([](char32_t previous) {
    return is_upper(previous) || is_lower(previous) || is_title(previous) ? Case::Lower : Case::Title;
  });
  t["swapcase"] = {{}, 0, swap_case};
  t["strip"] = stripped(true, true);
  t["lstrip"] = stripped(true, false);
  t["rstrip"] = stripped(false, true);
  t["center"] = padded(0.5);
  t["rjust"] = padded(1);
  t["ljust"] = padded(0);
  t["zfill"] = {{"width"}, 1, zfill};
  t["isspace"] = every(is_space);
  t["isalpha"] = every(is_alpha);
  t["isdigit"] = every(is_digit);
  t["isdecimal"] = every(is_decimal);
  t["isnumeric"] = every(is_numeric);
  t["isalnum"] = every([](char32_t c) { return is_alpha(c) || is_numeric(c) || is_digit(c); });
  t["isupper"] = tests().at("upper");
  t["islower"] = tests().at("lower");
  t["isascii"] = {{}, 0, [](Runtime&, const Value& self, const Parameters&) -> Value {
                    const std::string& text = self.text().bytes();
                    return std::all_of(text.begin(), text.end(),
                                       [](char c) { return static_cast<signed char>(c) >= 0; });
                  }};
  t["isprintable"] = {{}, 0, [](Runtime& r, const Value& self, const Parameters& p) -> Value {
                        static const Builtin kPrintable = every(is_printable);
                        return self.text().empty() ? Value(true) : kPrintable.function(r, self, p);
                      }};
  t["split"] = {
      {"sep", "maxsplit"}, 0, [](Runtime& r, const Value& s, const Parameters& p) { return split(r, s, p, false); }};
  t["rsplit"] = {
      {"sep", "maxsplit"}, 0, [](Runtime& r, const Value& s, const Parameters& p) { return split(r, s, p, true); }};
  t["splitlines"] = {{"keepends"}, 0, split_lines_method};
  const std::vector<std::string_view> search{"sub", "start", "end"};
  t["find"] = {search, 1, [](Runtime& r, const Value& s, const Parameters& p) { return find(r, s, p, false, false); }};
  t["rfind"] = {search, 1, [](Runtime& r, const Value& s, const Parameters& p) { return find(r, s, p, true, false); }};
  t["index"] = {search, 1, [](Runtime& r, const Value& s, const Parameters& p) { return find(r, s, p, false, true); }};
  t["rindex"] = {search, 1, [](Runtime& r, const Value& s, const Parameters& p) { return find(r, s, p, true, true); }};
  t["count"] = {search, 1, count};
  t["startswith"] = {search, 1,
                     [](Runtime& r, const Value& s, const Parameters& p) { return has_affix(r, s, p, false); }};
  t["endswith"] = {search, 1, [](Runtime& r, const Value& s, const Parameters& p) { return has_affix(r, s, p, true); }};
  t["removeprefix"] = {
      {"prefix"}, 1, [](Runtime& r, const Value& s, const Parameters& p) { return remove_affix(r, s, p, false); }};
  t["removesuffix"] = {
      {"suffix"}, 1, [](Runtime& r, const Value& s, const Parameters& p) { return remove_affix(r, s, p, true); }};
  t["partition"] = {
      {"sep"}, 1, [](Runtime& r, const Value& s, const Parameters& p) { return partition(r, s, p, false); }};
  t["rpartition"] = {
      {"sep"}, 1, [](Runtime& r, const Value& s, const Parameters& p) { return partition(r, s, p, true); }};
  t["join"] = {{"iterable"}, 1, join_method};
  t["replace"] = {{"old", "new", "count"}, 2, [](Runtime& r, const Value& s, const Parameters& p) -> Value {
                    const Text text =
                        replace(r, s.text(), string_argument(p[0]), string_argument(p[1]), p.integer(2, -1));
                    return kept(r, s, text);
                  }};
  t["format"].variadic = [](Runtime& r, const Value& s, Arguments& arguments) -> Value {
    if (s.as_string().markup) {
      for (Value& value : arguments.positional) value = escape_strings(r, value);
      for (auto& [name, value] : arguments.named) value = escape_strings(r, value);
    }
    return kept(r, s, brace_format(r, s.text(), arguments));
  };
  t["format_map"] = {{"mapping"}, 1, [](Runtime& r, const Value& s, const Parameters& p) -> Value {
                       if (!p[0].is_dict()) raise("TypeError", "format_map() takes a mapping");
                       Arguments arguments;
                       for (const auto& [key, value] : p[0].as_dict().items) {
                         if (key.is_string()) arguments.named.emplace_back(key.text().bytes(), value);
                       }
                       return kept(r, s, brace_format(r, s.text(), arguments));
                     }};
  return t;
}
}  // namespace

const BuiltinTable& string_methods() {
  static const BuiltinTable kTable = make_string_methods();
  return kTable;
}

const BuiltinTable& container_methods(const Value& value) {
  static const BuiltinTable kNone;
  static const BuiltinTable kSequence = [] {
    BuiltinTable t;
    t["index"] = {{"value"}, 1, index_of};
    t["count"] = {{"value"}, 1, count_of};
    return t;
  }();
  static const BuiltinTable kList = [] {
    BuiltinTable t = kSequence;
    t["copy"] = {
        {}, 0, [](Runtime& r, const Value& self, const Parameters&) { return Value::list(iterate(r.budget, self)); }};
    return t;
  }();
  static const BuiltinTable kDict = [] {
    BuiltinTable t;
    t["get"] = {{"key", "default"}, 1, [](Runtime&, const Value& self, const Parameters& p) -> Value {
                  const Value* found = self.as_dict().find(p[0]);
                  return found != nullptr ? *found : p[1];
                }};
    t["keys"] = {
        {}, 0, [](Runtime& r, const Value& self, const Parameters&) { return dict_view(r, self, SequenceKind::Keys); }};
    t["values"] = {{}, 0, [](Runtime& r, const Value& self, const Parameters&) {
                     return dict_view(r, self, SequenceKind::Values);
                   }};
    t["items"] = {{}, 0, [](Runtime& r, const Value& self, const Parameters&) {
                    return dict_view(r, self, SequenceKind::Items);
                  }};
    t["copy"] = {{}, 0, [](Runtime&, const Value& self, const Parameters&) { return self; }};
    return t;
  }();
  static const BuiltinTable kFloat = [] {
    BuiltinTable t;
    t["is_integer"] = {{}, 0, [](Runtime&, const Value& self, const Parameters&) -> Value {
                         const double number = *self.number();
                         return number - number == 0 && static_cast<double>(static_cast<int64_t>(number)) == number;
                       }};
    return t;
  }();
  if (value.is_dict()) return kDict;
  if (value.is_float()) return kFloat;
  if (value.is_sequence(SequenceKind::List)) return kList;
  if (value.is_sequence(SequenceKind::Tuple) || value.is_sequence(SequenceKind::Range)) return kSequence;
  return kNone;
}

}  // namespace ostro::jinja
