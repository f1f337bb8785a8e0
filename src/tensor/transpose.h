// Matrices of plain values from row-major to column-major.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ostro {

// in [rows, cols] -> out [cols, rows], of values of `size` bytes.
void transpose(std::byte* out, const std::byte* in, int64_t rows, int64_t cols, size_t size);

// Some columns of a matrix whose rows lie `stride` values apart: offset + i * step for i in [first, last).
struct ColumnRange {
  int64_t stride = 0, offset = 0, step = 1, first = 0, last = 0;
};
// Row i of out, [rows] long, becomes column i of them.
void transpose(std::byte* out, const std::byte* in, int64_t rows, const ColumnRange& columns, size_t size);

}  // namespace ostro
