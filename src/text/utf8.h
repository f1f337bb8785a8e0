// UTF-8, one character at a time, for text that may be broken.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ostro {

inline constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

// What stands at the front of some bytes (never empty).
struct Utf8Step {
  char32_t code = 0xFFFD;
  // Bytes of the character, or of the longest part that could have begun one (Unicode's "maximal subpart", >= 1).
  size_t length = 1;
  bool valid = false;
  bool cut = false;  // not valid, but more bytes could make it so
};

Utf8Step utf8_step(std::string_view bytes);
bool is_utf8(std::string_view bytes);
std::string replaced(std::string_view text, std::string_view from, std::string_view to);  // every one of them
bool is_white_space(char32_t code);                                                       // Unicode's White_Space
void append_utf8(std::string& out, char32_t code);

// How bytes that are not UTF-8 become U+FFFD.
enum class BrokenBytes {
  MaximalPart,  // one for each maximal subpart: Python, Rust's from_utf8_lossy
  EachByte,     // one for each byte that begins no character: SentencePiece
  WholeRun,     // a run of byte tokens with any fault in it: one for each of its bytes (Hugging Face's ByteFallback)
};
// The same text as valid UTF-8.
std::string repaired_utf8(std::string_view bytes, BrokenBytes rule);

}  // namespace ostro
