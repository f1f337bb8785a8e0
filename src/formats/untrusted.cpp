#include "formats/untrusted.h"

#include <array>
#include <utility>

#include "base/error.h"

namespace ostro {
namespace {

constexpr size_t kLongestName = 65535;  // the GGUF specification's limit of a key
constexpr size_t kLongestQuote = 80;

// Bytes of the UTF-8 sequence at the front of `text`; 0 when it is malformed (RFC 3629: no overlong forms, no
// surrogates, nothing above U+10FFFF).
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
      (first == 0xf4 && second > 0x8f)) {
    return 0;
  }
  return length;
}

bool printable_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const auto first = static_cast<unsigned char>(text[0]);
    if (length == 0 || first < 0x20 || first == 0x7f) return false;
    if (first == 0xc2 && static_cast<unsigned char>(text[1]) < 0xa0) return false;  // C1 controls
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

std::span<const std::byte> ByteReader::take(uint64_t count, std::string_view what) {
  if (count > left()) {
    throw_error(ErrorKind::File, "{}: cut short: {} at byte {} needs {} bytes, {} left", file_, what, position_, count,
                left());
  }
  const auto taken = bytes_.subspan(position_, count);
  position_ += count;
  return taken;
}

std::string quote(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, kLongestQuote)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte >= 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + (text.size() > kLongestQuote ? "'..." : "'");
}

void check_name(std::string_view name, std::string_view what, const std::string& file) {
  if (name.empty()) throw_error(ErrorKind::File, "{}: {} is empty", file, what);
  if (name.size() > kLongestName) {
    throw_error(ErrorKind::File, "{}: {} of {} bytes, at most {} allowed", file, what, name.size(), kLongestName);
  }
  if (!printable_utf8(name)) {
    throw_error(ErrorKind::File, "{}: {} {} is not UTF-8 text without control characters", file, what, quote(name));
  }
}

std::string appearance(std::span<const std::byte> bytes) {
  using Kind = std::pair<std::string_view, const char*>;
  static constexpr std::array<Kind, 9> kKinds = {{
      {"GGUF", "a GGUF file"},
      {"FUGG", "a GGUF file of the other byte order"},
      {"version https://git-lfs", "a Git LFS pointer (run git lfs pull)"},
      {"<!DOCTYPE", "an HTML page"},
      {"<html", "an HTML page"},
      {"PK\x03\x04", "a zip archive (a torch file?)"},
      {"\x1f\x8b", "gzip data"},
      {"\x80\x02", "a pickle (a torch file from before torch 1.6?)"},
      {"{", "JSON text"},
  }};
  if (bytes.empty()) return "it is empty";
  const std::string_view text = as_text(bytes);
  for (const auto& [magic, kind] : kKinds) {
    if (text.starts_with(magic)) return fmt::format("it looks like {}", kind);
  }
  return "it begins with " + quote(text.substr(0, 8));
}

}  // namespace ostro
