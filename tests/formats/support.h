// Shared by the tests of the formats: building bytes by hand and expecting clean errors.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace ostro::test {

inline std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// A number as its little-endian bytes.
template <typename T>
std::string le(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  return out;
}

inline void write_text(const std::string& path, std::string_view text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file) throw std::runtime_error("cannot write " + path);
}

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The message of the Error that `act` throws, which must be one printable line; empty, and a failure, when none is.
template <typename Act>
std::string error_of(Act act) {
  try {
    act();
  } catch (const Error& error) {
    const std::string message = error.what();
    for (const char c : message) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << message;
    EXPECT_LT(message.size(), 1000u);
    return message;
  }
  ADD_FAILURE() << "no error";
  return "";
}

// The largest piece of memory that the program asked for since the last call.
size_t largest_request();

// 64-bit FNV-1a over little-endian 64-bit words, the last one padded with zeros (as in make_tensor_hashes.py).
inline uint64_t hash(std::span<const std::byte> bytes) {
  uint64_t value = 0xcbf29ce484222325u;
  for (size_t i = 0; i < bytes.size(); i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, bytes.data() + i, std::min<size_t>(8, bytes.size() - i));
    value = (value ^ word) * 0x100000001b3u;
  }
  return value;
}

}  // namespace ostro::test
