// GGUF: metadata values and the reader of versions 2 and 3 (little-endian), single or split.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/mapped_file.h"

namespace ostro {

// Arrays keep their element type; integers of every width become int64 / uint64 lists.
using GgufArray = std::variant<std::vector<int64_t>, std::vector<uint64_t>, std::vector<double>, std::vector<bool>,
                               std::vector<std::string>>;
using GgufValue = std::variant<int64_t, uint64_t, double, bool, std::string, GgufArray>;

class GgufMetadata {
 public:
  std::map<std::string, GgufValue, std::less<>> values;

  bool has(std::string_view key) const { return values.find(key) != values.end(); }
  // nullopt when absent; Error(File) naming the key, the type found and the type expected when it is something else.
  // Whole numbers convert to each other when they fit; f32 and f64 both read as double.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;  // also accepts whole numbers
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;
  std::optional<std::vector<double>> numbers(std::string_view key) const;
  // Borrowed, as these are long (vocabularies, merges); null when absent.
  const std::vector<std::string>* strings(std::string_view key) const;
};

}  // namespace ostro
