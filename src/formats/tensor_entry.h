// A named tensor as a file holds it, and the arithmetic of its size.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace ostro {

// Shape in row-major order, outermost first ([out, in] for a linear layer; GGUF's dimensions are reversed on reading,
// so a merged expert tensor is [experts, out, in] in every format).
struct TensorEntry {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  std::string file;  // for error messages
};

// Elements of a shape. Throws Error(File), naming `where`, on a negative size or when the product leaves int64.
uint64_t element_count(std::span<const int64_t> shape, const std::string& where);

// Bytes of a tensor. Throws as element_count, and when a row is not a whole number of blocks.
uint64_t tensor_bytes(DType type, std::span<const int64_t> shape, const std::string& where);

// "[8, 14336, 4096]"
std::string shape_text(std::span<const int64_t> shape);

}  // namespace ostro
