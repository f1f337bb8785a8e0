// Characters and strings of the template interpreter, after Python's str.
#include "text/jinja_text.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

namespace ostro::jinja {

void Text::append(std::string_view bytes, bool from_data) {
  if (from_data && marks_.empty()) marks_.assign(bytes_.size(), '\0');
  bytes_.append(bytes);
  if (from_data || !marks_.empty()) marks_.append(bytes.size(), from_data ? '\1' : '\0');
}

void Text::append(const Text& other, size_t begin, size_t end) {
  if (!other.marks_.empty() && marks_.empty()) marks_.assign(bytes_.size(), '\0');
  bytes_.append(other.bytes_, begin, end - begin);
  if (!other.marks_.empty()) {
    marks_.append(other.marks_, begin, end - begin);
  } else if (!marks_.empty()) {
    marks_.append(end - begin, '\0');
  }
}

Text Text::substr(size_t begin, size_t end) const {
  Text out;
  out.append(*this, begin, end);
  return out;
}

Codepoint codepoint_at(std::string_view text, size_t at) {
  const auto first = static_cast<unsigned char>(text[at]);
  if (first < 0x80) return {first, 1};
  utf8proc_int32_t value = 0;
  const auto rest = static_cast<utf8proc_ssize_t>(std::min<size_t>(text.size() - at, 4));
  const auto used = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at, rest, &value);
  if (used <= 0) return {0xFFFD, 1};
  return {static_cast<char32_t>(value), static_cast<size_t>(used)};
}

size_t count_codepoints(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); at += codepoint_at(text, at).size) ++count;
  return count;
}

std::vector<size_t> codepoint_offsets(std::string_view text) {
  std::vector<size_t> offsets;
  offsets.reserve(text.size() + 1);
  for (size_t at = 0; at < text.size(); at += codepoint_at(text, at).size) offsets.push_back(at);
  offsets.push_back(text.size());
  return offsets;
}

std::string to_utf8(char32_t codepoint) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  if (codepoint > 0x10FFFF || (codepoint >= 0xD800 && codepoint < 0xE000)) codepoint = 0xFFFD;
  const auto size = utf8proc_encode_char(static_cast<utf8proc_int32_t>(codepoint), bytes.data());
  return {reinterpret_cast<const char*>(bytes.data()), static_cast<size_t>(size)};
}

namespace {
utf8proc_category_t category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

// Superscripts and circled digits: digits to Python, but not decimal ones. Ranges from the Unicode data (Numeric_Type).
bool is_other_digit(char32_t c) {
  static constexpr std::array<std::array<char32_t, 2>, 17> kRanges{{{0xB2, 0xB3},
                                                                    {0xB9, 0xB9},
                                                                    {0x1369, 0x1371},
                                                                    {0x19DA, 0x19DA},
                                                                    {0x2070, 0x2070},
                                                                    {0x2074, 0x2079},
                                                                    {0x2080, 0x2089},
                                                                    {0x2460, 0x2468},
                                                                    {0x2474, 0x247C},
                                                                    {0x2488, 0x2490},
                                                                    {0x24EA, 0x24EA},
                                                                    {0x24F5, 0x24FD},
                                                                    {0x24FF, 0x24FF},
                                                                    {0x2776, 0x277E},
                                                                    {0x2780, 0x2788},
                                                                    {0x278A, 0x2792},
                                                                    {0x1F100, 0x1F10A}}};
  return std::any_of(kRanges.begin(), kRanges.end(), [c](const auto& range) { return c >= range[0] && c <= range[1]; });
}

// The letters of everyday text whose upper case is longer than one character (Unicode's SpecialCasing).
std::string special_upper(char32_t c) {
  switch (c) {
    case 0xDF:
      return "SS";
    case 0x149:
      return "\u02BCN";
    case 0x1F0:
      return "J\u030C";
    case 0xFB00:
      return "FF";
    case 0xFB01:
      return "FI";
    case 0xFB02:
      return "FL";
    case 0xFB03:
      return "FFI";
    case 0xFB04:
      return "FFL";
    case 0xFB05:
    case 0xFB06:
      return "ST";
    default:
      return {};
  }
}
}  // namespace

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_printable(char32_t c) {
  if (c == ' ') return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }
bool is_digit(char32_t c) { return is_decimal(c) || is_other_digit(c); }
bool is_numeric(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL || kind == UTF8PROC_CATEGORY_NO;
}
bool is_alpha(char32_t c) {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}
bool is_upper(char32_t c) { return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0; }
bool is_lower(char32_t c) { return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0; }
bool is_title(char32_t c) { return category(c) == UTF8PROC_CATEGORY_LT; }

std::string upper(char32_t c) {
  std::string special = special_upper(c);
  if (!special.empty()) return special;
  return to_utf8(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

std::string lower(char32_t c) {
  if (c == 0x130) return "i\u0307";
  return to_utf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

std::string title(char32_t c) {
  std::string special = special_upper(c);
  if (!special.empty()) {  // only its first letter stays a capital: SS -> Ss
    for (size_t i = codepoint_at(special, 0).size; i < special.size(); ++i) {
      if (special[i] >= 'A' && special[i] <= 'Z') special[i] = static_cast<char>(special[i] + 32);
    }
    return c == 0x149 ? upper(c) : special;
  }
  return to_utf8(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
}

size_t leading_space(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Codepoint c = codepoint_at(text, at);
    if (!is_space(c.value)) break;
    at += c.size;
  }
  return at;
}

size_t trailing_space(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
    const Codepoint c = codepoint_at(text.substr(0, end), begin);
    if (begin + c.size != end || !is_space(c.value)) break;
    end = begin;
  }
  return text.size() - end;
}

Text quote(const Text& text) {
  const bool has_single = text.bytes().find('\'') != std::string::npos;
  const char delimiter = has_single && text.bytes().find('"') == std::string::npos ? '"' : '\'';
  Text out(std::string(1, delimiter));
  for (size_t at = 0; at < text.size();) {
    const Codepoint c = codepoint_at(text.view(), at);
    std::string escaped;
    if (c.value == static_cast<char32_t>(delimiter) || c.value == '\\') {
      escaped = std::string("\\") + static_cast<char>(c.value);
    } else if (c.value == '\n') {
      escaped = "\\n";
    } else if (c.value == '\r') {
      escaped = "\\r";
    } else if (c.value == '\t') {
      escaped = "\\t";
    } else if (!is_printable(c.value)) {
      const auto number = static_cast<uint32_t>(c.value);
      escaped = number <= 0xFF     ? fmt::format("\\x{:02x}", number)
                : number <= 0xFFFF ? fmt::format("\\u{:04x}", number)
                                   : fmt::format("\\U{:08x}", number);
    }
    if (escaped.empty()) {
      out.append(text, at, at + c.size);
    } else {
      out.append(escaped, text.from_data(at));
    }
    at += c.size;
  }
  out.append(std::string_view(&delimiter, 1));
  return out;
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific);
  const std::string shortest(buffer.data(), end.ptr);  // d.ddde[+-]xx with the fewest digits that read back the same
  const size_t e = shortest.find('e');
  const int exponent = std::stoi(shortest.substr(e + 1));
  if (exponent < -4 || exponent >= 16) return shortest;
  std::string digits;
  for (const char c : shortest.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  std::string out = value < 0 || (value == 0 && std::signbit(value)) ? "-" : "";
  const auto count = static_cast<int>(digits.size());
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  if (count <= exponent + 1) return out + digits + std::string(static_cast<size_t>(exponent + 1 - count), '0') + ".0";
  return out + digits.substr(0, static_cast<size_t>(exponent) + 1) + "." +
         digits.substr(static_cast<size_t>(exponent) + 1);
}

}  // namespace ostro::jinja
