// Typed access to GGUF metadata.
#include <limits>

#include "base/error.h"
#include "formats/gguf.h"
#include "formats/untrusted.h"

namespace ostro {
namespace {

const char* kind_of(const GgufArray& array) {
  static constexpr const char* kNames[] = {"an array of integers", "an array of unsigned integers",
                                           "an array of floats", "an array of booleans", "an array of strings"};
  return kNames[array.index()];
}

const char* kind_of(const GgufValue& value) {
  static constexpr const char* kNames[] = {"an integer", "an unsigned integer", "a float", "a boolean", "a string"};
  const auto* array = std::get_if<GgufArray>(&value);
  return array != nullptr ? kind_of(*array) : kNames[value.index()];
}

[[noreturn]] void wrong_kind(const GgufMetadata& metadata, std::string_view key, const GgufValue& value,
                             const char* expected) {
  throw_error(ErrorKind::File, "{}: key {} is {}, expected {}", metadata.file, quote(key), kind_of(value), expected);
}

std::optional<int64_t> as_integer(uint64_t value) {
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return static_cast<int64_t>(value);
}

const GgufValue* find(const GgufMetadata& metadata, std::string_view key) {
  const auto found = metadata.values.find(key);
  return found == metadata.values.end() ? nullptr : &found->second;
}

template <typename T>
const T* find_array(const GgufValue& value) {
  const auto* array = std::get_if<GgufArray>(&value);
  return array != nullptr ? std::get_if<T>(array) : nullptr;
}

}  // namespace

std::optional<int64_t> GgufMetadata::integer(std::string_view key) const {
  const GgufValue* value = find(*this, key);
  if (value == nullptr) return std::nullopt;
  if (const auto* whole = std::get_if<int64_t>(value)) return *whole;
  if (const auto* whole = std::get_if<uint64_t>(value)) {
    const auto fits = as_integer(*whole);
    if (!fits) throw_error(ErrorKind::File, "{}: key {}: {} is out of range", file, quote(key), *whole);
    return fits;
  }
  wrong_kind(*this, key, *value, "an integer");
}

std::optional<double> GgufMetadata::number(std::string_view key) const {
  const GgufValue* value = find(*this, key);
  if (value == nullptr) return std::nullopt;
  if (const auto* real = std::get_if<double>(value)) return *real;
  if (const auto* whole = std::get_if<int64_t>(value)) return static_cast<double>(*whole);
  if (const auto* whole = std::get_if<uint64_t>(value)) return static_cast<double>(*whole);
  wrong_kind(*this, key, *value, "a number");
}

std::optional<bool> GgufMetadata::boolean(std::string_view key) const {
  const GgufValue* value = find(*this, key);
  if (value == nullptr) return std::nullopt;
  if (const auto* flag = std::get_if<bool>(value)) return *flag;
  wrong_kind(*this, key, *value, "a boolean");
}

std::optional<std::string> GgufMetadata::text(std::string_view key) const {
  const GgufValue* value = find(*this, key);
  if (value == nullptr) return std::nullopt;
  if (const auto* string = std::get_if<std::string>(value)) return *string;
  wrong_kind(*this, key, *value, "a string");
}

std::optional<std::vector<int64_t>> GgufMetadata::integers(std::string_view key) const {
  const GgufValue* value = find(*this, key);
  if (value == nullptr) return std::nullopt;
  if (const auto* list = find_array<std::vector<int64_t>>(*value)) return *list;
  if (const auto* list = find_array<std::vector<uint64_t>>(*value)) {
    std::vector<int64_t> out;
    out.reserve(list->size());
    for (const uint64_t whole : *list) {
      const auto fits = as_integer(whole);
      if (!fits) throw_error(ErrorKind::File, "{}: key {}: {} is out of range", file, quote(key), whole);
      out.push_back(*fits);
    }
    return out;
  }
  wrong_kind(*this, key, *value, "an array of integers");
}

std::optional<std::vector<double>> GgufMetadata::numbers(std::string_view key) const {
  const GgufValue* value = find(*this, key);
  if (value == nullptr) return std::nullopt;
  if (const auto* list = find_array<std::vector<double>>(*value)) return *list;
  if (const auto* list = find_array<std::vector<int64_t>>(*value))
    return std::vector<double>(list->begin(), list->end());
  if (const auto* list = find_array<std::vector<uint64_t>>(*value)) {
    return std::vector<double>(list->begin(), list->end());
  }
  wrong_kind(*this, key, *value, "an array of numbers");
}

const std::vector<std::string>* GgufMetadata::strings(std::string_view key) const {
  const GgufValue* value = find(*this, key);
  if (value == nullptr) return nullptr;
  if (const auto* list = find_array<std::vector<std::string>>(*value)) return list;
  wrong_kind(*this, key, *value, "an array of strings");
}

}  // namespace ostro
