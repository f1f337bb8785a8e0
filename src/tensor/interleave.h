// The second order in which the rows of a weight may lie in memory: interleaved, made once at load so that a product
// with 16 outputs at a time finds its words side by side.
//
// Each whole group of 16 rows takes the same bytes as before. A row is a sequence of units (words of four bytes; where
// a block's scales are binary16 that a word would cut through, or a byte, each scale is a unit of its own), and the
// unit at byte i of the 16 rows lies at 16 * i of the group, that of the first row first. Rows past the last whole
// group stay as they are.
#pragma once

#include <cstddef>

#include "tensor/views.h"

namespace ostro {

inline constexpr int64_t kInterleavedRows = 16;

// Whether rows of this type and width have such an order.
bool can_interleave(DType type, int64_t cols);

// 16 rows of row_bytes each; `out` and `in` do not overlap.
void interleave_rows(std::byte* out, const std::byte* in, DType type, int64_t row_bytes);

// Row `row` of a matrix in either order, as its type defines it: where it lies, or copied to `copy`, which then holds
// row_bytes.
const std::byte* whole_row(const Matrix& matrix, int64_t row, std::byte* copy);

}  // namespace ostro
