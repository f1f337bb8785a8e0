// Pickles of one NumPy array each, or of one array of 8-bit weights with its scales, as checkpoints of JAX programs
// hold them. Read by formats/pickle.h: nothing in them is ever executed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace ostro {

struct PickledArray {
  enum class Type : uint8_t { F32, BF16, I8 } type = Type::F32;
  std::vector<int64_t> shape;  // row-major
  std::span<const std::byte> bytes;
};

// values, or values * scales: a scale of shape [.., g, out] holds for equal groups of rows of values [.., in, out].
struct PickledWeight {
  PickledArray values;
  std::optional<PickledArray> scales;
};

// `name` begins the messages of Error(File). Where there are scales, values are I8 and scales BF16 or F32, and their
// shapes fit each other.
PickledWeight parse_array_pickle(std::span<const std::byte> bytes, const std::string& name);

}  // namespace ostro
