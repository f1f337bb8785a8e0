// The lexer: first cuts the template into text and tags, then each tag into tokens.
#include "text/jinja_lexer.h"

#include <array>

#include "base/error.h"
#include "text/jinja_value.h"

namespace ostro::jinja {

namespace {
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  return out;
}

bool is_ascii_digit(char c) { return c >= '0' && c <= '9'; }

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {
    if (!source_.empty() && source_.back() == '\n') source_.pop_back();
  }

  std::vector<Token> run() {
    while (at_ < source_.size()) text_until_tag();
    add(TokenKind::End, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    raise("TemplateSyntaxError", fmt::format("line {}: {}", line_, message));
  }

  bool here(std::string_view text) const { return std::string_view(source_).substr(at_, text.size()) == text; }
  void advance(size_t count) {
    for (size_t i = 0; i < count; ++i) line_ += source_[at_ + i] == '\n' ? 1 : 0;
    at_ += count;
  }
  void skip_space() { advance(leading_space(std::string_view(source_).substr(at_))); }
  void add(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  // After the '%}' or '#}' of a tag: one line break goes with it (trim_blocks).
  void trim_line_break() {
    line_starting_ = here("\n");
    if (line_starting_) advance(1);
  }
  // After a '-' at the end of a tag.
  void trim_all_space() {
    const size_t begin = at_;
    skip_space();
    line_starting_ = at_ > begin && source_[at_ - 1] == '\n';
  }

  // Adds the text before a tag whose sign ('-', '+' or none) says what becomes of the white space in front of it.
  void add_data(std::string_view data, char sign, bool is_variable) {
    if (sign == '-') {
      data.remove_suffix(trailing_space(data));
    } else if (sign != '+' && !is_variable) {
      const size_t line_break = data.rfind('\n');
      const size_t line_begin = line_break == std::string_view::npos ? 0 : line_break + 1;
      if (line_begin > 0 || line_starting_) {
        const std::string_view indent = data.substr(line_begin);
        if (leading_space(indent) == indent.size()) data = data.substr(0, line_begin);
      }
    }
    if (!data.empty()) add(TokenKind::Data, std::string(data));
  }

  void text_until_tag() {
    size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        add(TokenKind::Data, source_.substr(at_));
        advance(source_.size() - at_);
        return;
      }
      if (source_[tag + 1] == '{' || source_[tag + 1] == '%' || source_[tag + 1] == '#') break;
    }
    const char kind = source_[tag + 1];
    const char after = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const char sign = after == '-' || after == '+' ? after : '\0';
    add_data(std::string_view(source_).substr(at_, tag - at_), sign, kind == '{');
    line_starting_ = false;
    advance(tag - at_ + (sign == '\0' ? 2 : 3));
    if (kind == '#') return comment();
    if (kind == '%' && raw_begins()) return raw();
    add(kind == '{' ? TokenKind::VariableBegin : TokenKind::BlockBegin, "");
    inside_tag(kind == '{');
  }

  void comment() {
    const size_t begin = at_;
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) fail("Missing end of comment tag");
    const char sign = end > begin ? source_[end - 1] : '\0';
    advance(end + 2 - at_);
    close(sign);
  }

  void close(char sign) {
    if (sign == '-') return trim_all_space();
    if (sign == '+') {
      line_starting_ = false;
      return;
    }
    trim_line_break();
  }

  // `{% raw %}`: moves past it if it stands here.
  bool raw_begins() {
    size_t at = at_ + leading_space(std::string_view(source_).substr(at_));
    if (source_.compare(at, 3, "raw") != 0) return false;
    at += 3;
    at += leading_space(std::string_view(source_).substr(at));
    if (source_.compare(at, 2, "%}") == 0) {
      advance(at + 2 - at_);
      return true;
    }
    if (source_.compare(at, 3, "-%}") != 0) return false;
    advance(at + 3 - at_);
    trim_all_space();
    return true;
  }

  void raw() {
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 1)) {
      const std::string_view source = source_;
      size_t at = tag + 2;
      char sign = '\0';
      if (at < source.size() && (source[at] == '-' || source[at] == '+')) sign = source[at++];
      at += leading_space(source.substr(at));
      if (source.substr(at, 6) != "endraw") continue;
      at += 6;
      at += leading_space(source.substr(at));
      char end_sign = '\0';
      if (at < source.size() && (source[at] == '-' || source[at] == '+')) end_sign = source[at++];
      if (source.substr(at, 2) != "%}") continue;
      add_data(source.substr(at_, tag - at_), sign, false);
      advance(at + 2 - at_);
      return close(end_sign);
    }
    fail("Missing end of raw directive");
  }

  bool tag_ends(bool is_variable) {
    const std::string_view end = is_variable ? "}}" : "%}";
    if (here(end)) {
      advance(2);
      add(is_variable ? TokenKind::VariableEnd : TokenKind::BlockEnd, "");
      if (is_variable) {
        line_starting_ = false;
      } else {
        trim_line_break();
      }
      return true;
    }
    const bool minus = here("-") && std::string_view(source_).substr(at_ + 1, 2) == end;
    const bool plus = !is_variable && here("+%}");
    if (!minus && !plus) return false;
    advance(3);
    add(is_variable ? TokenKind::VariableEnd : TokenKind::BlockEnd, "");
    close(minus ? '-' : '+');
    return true;
  }

  void inside_tag(bool is_variable) {
    std::string open;  // brackets that wait for their partner
    while (at_ < source_.size()) {
      if (open.empty() && tag_ends(is_variable)) return;
      const std::string_view rest = std::string_view(source_).substr(at_);
      if (const size_t space = leading_space(rest); space > 0) {
        advance(space);
        continue;
      }
      const char c = rest[0];
      if (is_ascii_digit(c)) {
        number(rest);
      } else if (const size_t size = name_size(rest); size > 0) {
        add(TokenKind::Name, std::string(rest.substr(0, size)));
        advance(size);
      } else if (c == '\'' || c == '"') {
        string(c);
      } else {
        operation(rest, open);
      }
    }
    // The parser meets End inside a tag and says so.
  }

  static size_t name_size(std::string_view rest) {
    size_t size = 0;
    while (size < rest.size()) {
      const Codepoint c = codepoint_at(rest, size);
      if (c.value != '_' && !is_alpha(c.value) && !(size > 0 && is_numeric(c.value))) break;
      size += c.size;
    }
    return size;
  }

  // Digits with single underscores between them.
  template <typename Predicate>
  static size_t digits(std::string_view text, size_t at, Predicate is_one) {
    size_t end = at;
    while (end < text.size()) {
      if (is_one(text[end])) {
        ++end;
      } else if (text[end] == '_' && end > at && end + 1 < text.size() && is_one(text[end + 1])) {
        end += 2;
      } else {
        break;
      }
    }
    return end;
  }

  static std::string without_underscores(std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (c != '_') out += c;
    }
    return out;
  }

  void number(std::string_view rest) {
    const size_t whole = digits(rest, 0, is_ascii_digit);
    size_t end = whole;
    if (end + 1 < rest.size() && rest[end] == '.' && is_ascii_digit(rest[end + 1])) {
      end = digits(rest, end + 1, is_ascii_digit);
    }
    if (end < rest.size() && (rest[end] == 'e' || rest[end] == 'E')) {
      const size_t sign = end + 1 < rest.size() && (rest[end + 1] == '+' || rest[end + 1] == '-') ? 1 : 0;
      const size_t exponent = digits(rest, end + 1 + sign, is_ascii_digit);
      if (exponent > end + 1 + sign) end = exponent;
    }
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    if (end > whole && !after_dot) {
      add(TokenKind::Float, without_underscores(rest.substr(0, end)));
      return advance(end);
    }
    integer(rest, whole);
  }

  void integer(std::string_view rest, size_t whole) {
    size_t end = whole;
    const char base = rest.size() > 2 && rest[0] == '0' ? static_cast<char>(rest[1] | 0x20) : '\0';
    const auto is_one = [base](char c) {
      if (base == 'b') return c == '0' || c == '1';
      if (base == 'o') return c >= '0' && c <= '7';
      return is_ascii_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
    };
    if ((base == 'b' || base == 'o' || base == 'x') && is_one(rest[2])) {
      end = digits(rest, 2, is_one);
    } else if (rest[0] == '0') {  // only zeros may follow a zero
      end = digits(rest, 0, [](char c) { return c == '0'; });
    }
    add(TokenKind::Integer, without_underscores(rest.substr(0, end)));
    advance(end);
  }

  void string(char delimiter) {
    size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != delimiter) end += source_[end] == '\\' ? 2 : 1;
    if (end >= source_.size()) fail(fmt::format("unexpected char \"{}\" at {}", delimiter, at_));
    add(TokenKind::String, unescape(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    advance(end + 1 - at_);
  }

  // Python's escapes; an unknown one stays as it is written.
  std::string unescape(std::string_view text) const {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '\\' || i + 1 >= text.size()) {
        out += text[i];
        continue;
      }
      const char c = text[++i];
      static constexpr std::string_view kNames = "\\'\"abfnrtv";
      static constexpr std::string_view kValues = "\\'\"\a\b\f\n\r\t\v";
      if (const size_t known = kNames.find(c); known != std::string_view::npos) {
        out += kValues[known];
      } else if (c == '\n') {
        continue;
      } else if (c >= '0' && c <= '7') {
        uint32_t value = 0;
        size_t count = 0;
        while (count < 3 && i + count < text.size() && text[i + count] >= '0' && text[i + count] <= '7') {
          value = value * 8 + static_cast<uint32_t>(text[i + count++] - '0');
        }
        out += to_utf8(value);
        i += count - 1;
      } else if (c == 'x' || c == 'u' || c == 'U') {
        i = hexadecimal(text, i, c == 'x' ? 2 : (c == 'u' ? 4 : 8), out);
      } else if (static_cast<unsigned char>(c) >= 0x80) {
        // The reference spells the character as an escape first, whose backslash this one then escapes.
        const Codepoint point = codepoint_at(text, i);
        const auto value = static_cast<uint32_t>(point.value);
        out += value <= 0xFF     ? fmt::format("\\x{:02x}", value)
               : value <= 0xFFFF ? fmt::format("\\u{:04x}", value)
                                 : fmt::format("\\U{:08x}", value);
        i += point.size - 1;
      } else if (c == 'N') {
        fail("character names in strings are not supported");
      } else {
        out += '\\';
        out += c;
      }
    }
    return out;
  }

  // Reads `width` hexadecimal digits after text[i]; returns the place of the last one.
  size_t hexadecimal(std::string_view text, size_t i, size_t width, std::string& out) const {
    const auto read = [&](size_t begin) -> uint32_t {
      if (begin + width > text.size()) fail("truncated \\xXX, \\uXXXX or \\UXXXXXXXX escape");
      uint32_t value = 0;
      for (size_t k = begin; k < begin + width; ++k) {
        const char c = text[k];
        const char low = static_cast<char>(c | 0x20);
        if (!is_ascii_digit(c) && !(low >= 'a' && low <= 'f')) fail("truncated \\xXX, \\uXXXX or \\UXXXXXXXX escape");
        value = value * 16 + static_cast<uint32_t>(is_ascii_digit(c) ? c - '0' : low - 'a' + 10);
      }
      return value;
    };
    uint32_t value = read(i + 1);
    size_t last = i + width;
    // Two escapes of a surrogate pair make one character.
    if (width == 4 && value >= 0xD800 && value < 0xDC00 && text.substr(last + 1, 2) == "\\u") {
      const uint32_t low = read(last + 3);
      if (low >= 0xDC00 && low < 0xE000) {
        value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
        last += 6;
      }
    }
    if (value > 0x10FFFF) fail("illegal Unicode character");
    out += to_utf8(value);
    return last;
  }

  void operation(std::string_view rest, std::string& open) {
    static constexpr std::array<std::string_view, 26> kOperators{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                                 "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                                 ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const std::string_view op : kOperators) {
      if (rest.substr(0, op.size()) != op) continue;
      if (op == "{") open += '}';
      if (op == "(") open += ')';
      if (op == "[") open += ']';
      if (op == "}" || op == ")" || op == "]") {
        if (open.empty()) fail(fmt::format("unexpected '{}'", op));
        if (open.back() != op[0]) fail(fmt::format("unexpected '{}', expected '{}'", op, open.back()));
        open.pop_back();
      }
      add(TokenKind::Operator, std::string(op));
      return advance(op.size());
    }
    fail(fmt::format("unexpected char '{}' at {}", rest.substr(0, codepoint_at(rest, 0).size), at_));
  }

  std::string source_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
};
}  // namespace

std::vector<Token> tokenize(std::string_view source) { return Lexer(normalize_newlines(source)).run(); }

}  // namespace ostro::jinja
