// Matrices of plain values from row-major to column-major.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ostro {

// in [rows, cols] -> out [cols, rows], of values of `size` bytes.
void transpose(std::byte* out, const std::byte* in, int64_t rows, int64_t cols, size_t size);

}  // namespace ostro
