// What every reader of files from strangers needs: bounded reads, names fit to be printed, and a guess at what a file
// of the wrong kind is.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace ostro {

static_assert(std::endian::native == std::endian::little, "the readers copy little-endian numbers as they are");

// A cursor over bytes that throws Error(File) instead of leaving them.
class ByteReader {
 public:
  ByteReader(std::span<const std::byte> bytes, std::string file) : bytes_(bytes), file_(std::move(file)) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }
  const std::string& file() const { return file_; }

  // The next `count` bytes; `what` says what they were to be.
  std::span<const std::byte> take(uint64_t count, std::string_view what);

  template <typename T>
  T read(std::string_view what) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  uint64_t position_ = 0;
  std::string file_;
};

inline std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A piece of a file in quotes, for one line of an error message: at most 80 bytes, everything but ASCII escaped.
std::string quote(std::string_view text);

// Throws Error(File) unless `name` is UTF-8 of 1 to 65535 bytes without control characters, so that it can be printed.
void check_name(std::string_view name, std::string_view what, const std::string& file);

// "it is empty", "it looks like an HTML page", ...; "it begins with '...'" when nothing fits.
std::string appearance(std::span<const std::byte> bytes);

}  // namespace ostro
