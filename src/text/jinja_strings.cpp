// String operations that filters, methods and operators of the template interpreter share. All keep, byte by byte, the
// record of what came from the data.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "text/jinja_runtime.h"

namespace ostro::jinja {

namespace {
bool is_cased(char32_t c) { return is_upper(c) || is_lower(c) || is_title(c); }

// The capital sigma becomes another small one at the end of a word.
bool is_final_sigma(const Text& text, size_t at, char32_t previous) {
  const size_t after = at + codepoint_at(text.view(), at).size;
  return is_cased(previous) && (after >= text.size() || !is_cased(codepoint_at(text.view(), after).value));
}
}  // namespace

Text map_case(Runtime& runtime, const Text& text, const std::function<Case(char32_t previous)>& choose) {
  runtime.budget.bytes(text.size());
  Text out;
  char32_t previous = 0;
  for (size_t at = 0; at < text.size();) {
    const Codepoint c = codepoint_at(text.view(), at);
    const Case wanted = choose(previous);
    std::string mapped;
    if (c.value == 0xFFFD) {
      mapped = text.bytes().substr(at, c.size);
    } else if (wanted == Case::Lower && c.value == 0x3A3 && is_final_sigma(text, at, previous)) {
      mapped = to_utf8(0x3C2);
    } else {
      mapped = wanted == Case::Upper ? upper(c.value) : wanted == Case::Lower ? lower(c.value) : title(c.value);
    }
    out.append(mapped, text.from_data(at));
    previous = c.value;
    at += c.size;
  }
  return out;
}

Text escape_html(Runtime& runtime, const Value& value) {
  const Text text = runtime.text(value);
  if (value.is_string() && value.as_string().markup) return text;
  Text out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text.bytes()[i];
    const char* entity = c == '&'    ? "&amp;"
                         : c == '<'  ? "&lt;"
                         : c == '>'  ? "&gt;"
                         : c == '"'  ? "&#34;"
                         : c == '\'' ? "&#39;"
                                     : nullptr;
    if (entity != nullptr) {
      out.append(entity, text.from_data(i));
    } else {
      out.append(text, i, i + 1);
    }
  }
  runtime.budget.bytes(out.size());
  return out;
}

Text replace(Runtime& runtime, const Text& text, const Text& old, const Text& by, int64_t count) {
  Text out;
  size_t at = 0;
  int64_t done = 0;
  const auto put = [&](const Text& piece, size_t begin, size_t end) {
    runtime.budget.steps(1);
    runtime.budget.bytes(end - begin);
    out.append(piece, begin, end);
  };
  while (count < 0 || done < count) {
    size_t found = std::string::npos;
    if (!old.empty()) {
      found = text.bytes().find(old.bytes(), at);
      if (found == std::string::npos) break;
      put(text, at, found);
      at = found + old.size();
    }
    put(by, 0, by.size());
    ++done;
    if (old.empty()) {  // between all characters, and at both ends
      if (at >= text.size()) return out;
      const size_t next = at + codepoint_at(text.view(), at).size;
      put(text, at, next);
      at = next;
    }
  }
  put(text, at, text.size());
  return out;
}

Text strip(const Text& text, const Value& characters, bool left, bool right) {
  if (characters.is_none()) {
    const size_t begin = left ? leading_space(text.view()) : 0;
    if (begin == text.size()) return {};
    return text.substr(begin, text.size() - (right ? trailing_space(text.view()) : 0));
  }
  if (!characters.is_string()) raise("TypeError", "strip arg must be None or str");
  const std::string& set = characters.text().bytes();
  const auto in_set = [&](size_t begin, size_t end) {
    const std::string character = text.bytes().substr(begin, end - begin);
    size_t found = set.find(character);
    return found != std::string::npos;  // a whole character of UTF-8 is never found inside another
  };
  size_t begin = 0;
  size_t end = text.size();
  while (left && begin < end) {
    const size_t next = begin + codepoint_at(text.view(), begin).size;
    if (!in_set(begin, next)) break;
    begin = next;
  }
  while (right && end > begin) {
    size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(text.bytes()[last]) & 0xC0) == 0x80) --last;
    if (!in_set(last, end)) break;
    end = last;
  }
  return text.substr(begin, end);
}

Text repeat(Runtime& runtime, const Text& text, int64_t count) {
  Text out;
  if (count <= 0 || text.empty()) return out;
  uint64_t total = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(count), static_cast<uint64_t>(text.size()), &total)) {
    raise("TemplateLimitError", "the template makes too much text");
  }
  runtime.budget.bytes(total);
  for (int64_t i = 0; i < count; ++i) out.append(text);
  return out;
}

Text pad(Runtime& runtime, const Text& text, int64_t width, std::string_view fill, double left_share) {
  const auto size = static_cast<int64_t>(count_codepoints(text.view()));
  if (width <= size) return text;
  const int64_t total = width - size;
  int64_t left = left_share == 1 ? total : 0;
  if (left_share == 0.5) left = total / 2 + (total & width & 1);  // as CPython centres
  const Text filler{std::string(fill)};
  Text out = repeat(runtime, filler, left);
  out.append(text);
  out.append(repeat(runtime, filler, total - left));
  return out;
}

std::vector<Text> split_lines(Runtime& runtime, const Text& text, bool keep_ends) {
  std::vector<Text> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const Codepoint c = codepoint_at(text.view(), at);
    const bool ends = (c.value >= 0x0A && c.value <= 0x0D) || (c.value >= 0x1C && c.value <= 0x1E) || c.value == 0x85 ||
                      c.value == 0x2028 || c.value == 0x2029;
    size_t next = at + c.size;
    if (ends) {
      if (c.value == '\r' && next < text.size() && text.bytes()[next] == '\n') ++next;
      lines.push_back(text.substr(begin, keep_ends ? next : at));
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin, text.size()));
  runtime.budget.steps(lines.size());
  runtime.budget.bytes(text.size());
  return lines;
}

Text join(Runtime& runtime, const Text& separator, const std::vector<Text>& parts) {
  Text out;
  for (size_t i = 0; i < parts.size(); ++i) {
    runtime.budget.bytes(parts[i].size() + (i > 0 ? separator.size() : 0));
    if (i > 0) out.append(separator);
    out.append(parts[i]);
  }
  return out;
}

Value round_number(const Value& number, std::optional<int64_t> digits) {
  if (const auto whole = number.integer()) {
    if (!digits || *digits >= 0) return *whole;
    if (*digits < -18) return 0;
    int64_t unit = 1;
    for (int64_t i = 0; i < -*digits; ++i) unit *= 10;
    const int64_t rest = *whole % unit;
    const int64_t down = *whole - rest;
    const int64_t twice = 2 * (rest < 0 ? -rest : rest);
    const bool away = twice > unit || (twice == unit && (down / unit) % 2 != 0);
    return away ? down + (rest < 0 ? -unit : unit) : down;
  }
  if (!number.is_float()) {
    raise("TypeError", "type " + type_name(number) + " doesn't define __round__ method");
  }
  const double value = number.as_float();
  if (!std::isfinite(value)) return value;
  const int64_t places = digits.value_or(0);
  if (places > 320) return value;
  if (places < -310) return std::copysign(0.0, value);
  if (places < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-places));
    return std::nearbyint(value / unit) * unit;
  }
  // Decimal printing is exact, so ties are real ties and go to the even digit.
  return std::stod(fmt::format("{:.{}f}", value, places));
}

namespace {
// Without the white space around it and single underscores between digits; empty when the underscores are misplaced.
std::string plain_number(std::string_view text) {
  text.remove_prefix(leading_space(text));
  text.remove_suffix(trailing_space(text));
  std::string out;
  const auto is_one = [](char c) { return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'); };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
    } else if (i == 0 || i + 1 == text.size() || !is_one(text[i - 1]) || !is_one(text[i + 1])) {
      return {};
    }
  }
  return out;
}
}  // namespace

std::optional<int64_t> parse_integer(std::string_view text, int base) {
  std::string number = plain_number(text);
  if (base != 0 && (base < 2 || base > 36)) raise("ValueError", "int() base must be >= 2 and <= 36, or 0");
  bool negative = false;
  if (!number.empty() && (number[0] == '-' || number[0] == '+')) {
    negative = number[0] == '-';
    number.erase(0, 1);
  }
  if (number.size() > 2 && number[0] == '0') {
    const char letter = static_cast<char>(number[1] | 0x20);
    const int prefix = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 0;
    if (prefix != 0 && (base == 0 || base == prefix)) {
      base = prefix;
      number.erase(0, 2);
    }
  }
  if (base == 0) {
    const bool zeros = number.find_first_not_of('0') == std::string::npos;
    if (number.size() > 1 && number[0] == '0' && !zeros) return std::nullopt;
    base = 10;
  }
  if (number.empty() || number[0] == '-') return std::nullopt;
  if (negative) number.insert(0, 1, '-');
  int64_t value = 0;
  const auto result = std::from_chars(number.data(), number.data() + number.size(), value, base);
  if (result.ptr != number.data() + number.size()) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) raise("OverflowError", "integer too large");
  if (result.ec != std::errc()) return std::nullopt;
  return value;
}

std::optional<double> parse_float(std::string_view text) {
  std::string number = plain_number(text);
  if (!number.empty() && number[0] == '+') {
    number.erase(0, 1);
    if (!number.empty() && number[0] == '-') return std::nullopt;
  }
  if (number.empty() || number.find('(') != std::string::npos) return std::nullopt;
  double value = 0;
  const auto result = std::from_chars(number.data(), number.data() + number.size(), value);
  if (result.ptr != number.data() + number.size()) return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) return std::strtod(number.c_str(), nullptr);
  if (result.ec != std::errc()) return std::nullopt;
  return value;
}

}  // namespace ostro::jinja
