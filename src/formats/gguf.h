// GGUF: metadata values and the reader of versions 2 and 3 (little-endian). Split files are put together by
// open_weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "formats/tensor_entry.h"

namespace ostro {

// Arrays keep their element type; integers of every width become int64 / uint64 lists.
using GgufArray = std::variant<std::vector<int64_t>, std::vector<uint64_t>, std::vector<double>, std::vector<bool>,
                               std::vector<std::string>>;
using GgufValue = std::variant<int64_t, uint64_t, double, bool, std::string, GgufArray>;

// Value types as numbered in files.
enum class GgufType : uint32_t {
  U8 = 0,
  I8 = 1,
  U16 = 2,
  I16 = 3,
  U32 = 4,
  I32 = 5,
  F32 = 6,
  Bool = 7,
  String = 8,
  Array = 9,
  U64 = 10,
  I64 = 11,
  F64 = 12,
};

class GgufMetadata {
 public:
  std::string file;  // for error messages
  std::map<std::string, GgufValue, std::less<>> values;
  // The type in the file (of the elements, for an array), so that copying a file keeps it. The writer chooses the usual
  // type for keys without an entry.
  std::map<std::string, GgufType, std::less<>> types;

  bool has(std::string_view key) const { return values.find(key) != values.end(); }
  // nullopt when absent; Error(File) naming the key, the type found and the type expected when it is something else.
  // Whole numbers convert to each other when they fit; f32 and f64 both read as double.
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;  // also accepts whole numbers
  std::optional<bool> boolean(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;
  std::optional<std::vector<double>> numbers(std::string_view key) const;  // also accepts whole numbers
  // Borrowed, as these are long (vocabularies, merges); null when absent.
  const std::vector<std::string>* strings(std::string_view key) const;
};

struct GgufFile {
  uint32_t version = 0;
  GgufMetadata metadata;
  std::vector<TensorEntry> tensors;  // in the file's order; their bytes point into what was parsed
};

// Reads one file. `name` begins the messages of Error(File). Tensors must follow each other without overlap or gap
// (but for padding) and end with the file.
GgufFile parse_gguf(std::span<const std::byte> bytes, const std::string& name);

}  // namespace ostro
