// Strings of the template interpreter: UTF-8 whose every byte remembers whether it came from the data (a message, a
// tool) or from the template, and Python's notions of characters: white space, case, printable, repr.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ostro::jinja {

class Text {
 public:
  Text() = default;
  explicit Text(std::string bytes, bool from_data = false) : bytes_(std::move(bytes)) {
    if (from_data) marks_.assign(bytes_.size(), '\1');
  }

  const std::string& bytes() const { return bytes_; }
  std::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  bool from_data(size_t byte) const { return !marks_.empty() && marks_[byte] != 0; }
  bool any_from_data() const { return marks_.find('\1') != std::string::npos; }

  void append(std::string_view bytes, bool from_data = false);
  void append(const Text& other) { append(other, 0, other.size()); }
  void append(const Text& other, size_t begin, size_t end);
  Text substr(size_t begin, size_t end) const;

 private:
  std::string bytes_;
  std::string marks_;  // empty: nothing from the data; else one byte per byte, 1 = from the data
};

struct Codepoint {
  char32_t value;
  size_t size;  // bytes
};
// The character at `at`; a byte that is not UTF-8 counts as one character U+FFFD.
Codepoint codepoint_at(std::string_view text, size_t at);
size_t count_codepoints(std::string_view text);
// Byte offset of every character, and the size at the end.
std::vector<size_t> codepoint_offsets(std::string_view text);
std::string to_utf8(char32_t codepoint);

bool is_space(char32_t c);      // str.isspace
bool is_printable(char32_t c);  // str.isprintable
bool is_digit(char32_t c);      // str.isdigit
bool is_decimal(char32_t c);    // str.isdecimal
bool is_numeric(char32_t c);    // str.isnumeric
bool is_alpha(char32_t c);      // str.isalpha
bool is_upper(char32_t c);
bool is_lower(char32_t c);
bool is_title(char32_t c);
std::string upper(char32_t c);  // full mapping: one character may become more
std::string lower(char32_t c);
std::string title(char32_t c);

// Bytes of white space at either end.
size_t leading_space(std::string_view text);
size_t trailing_space(std::string_view text);

// 'text' with Python's choice of quotes and escapes.
Text quote(const Text& text);
// The text of a float as repr writes it: 1.0, 1e-07, inf, nan.
std::string float_repr(double value);

}  // namespace ostro::jinja
