// safetensors: the reader of one file, for tensors of any type. Shards are put together by open_weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "tensor/dtype.h"

namespace ostro {

struct SafetensorsTensor {
  std::string dtype;  // as the file spells it: "BF16", "I32", ...
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

struct SafetensorsFile {
  std::map<std::string, std::string> metadata;
  std::map<std::string, SafetensorsTensor> tensors;
  std::shared_ptr<const MappedFile> mapping;  // what the bytes point into; null after parse_safetensors
};

// Reads one file. `name` begins the messages of Error(File). The tensors must cover the data exactly: no gap, no
// overlap, nothing after the last. A tensor with a size of zero is accepted and has no bytes.
SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name);

SafetensorsFile open_safetensors(const std::string& path);

// Bits of an element ("F4" has 4); nullopt for a name that the format does not define.
std::optional<uint64_t> safetensors_bits(std::string_view dtype);

// The types that weights may have: F32, F16, BF16.
std::optional<DType> dtype_from_safetensors(std::string_view dtype);

}  // namespace ostro
