#include "tensor/transpose.h"

#include <algorithm>
#include <cstring>

namespace ostro {

void transpose(std::byte* out, const std::byte* in, int64_t rows, int64_t cols, size_t size) {
  transpose(out, in, rows, {.stride = cols, .last = cols}, size);
}

// In squares that stay in the first-level cache.
void transpose(std::byte* out, const std::byte* in, int64_t rows, const ColumnRange& columns, size_t size) {
  constexpr int64_t kSquare = 32;
  for (int64_t c0 = columns.first; c0 < columns.last; c0 += kSquare) {
    for (int64_t r0 = 0; r0 < rows; r0 += kSquare) {
      for (int64_t r = r0; r < std::min(rows, r0 + kSquare); ++r) {
        for (int64_t c = c0; c < std::min(columns.last, c0 + kSquare); ++c) {
          const int64_t from = r * columns.stride + columns.offset + c * columns.step;
          std::memcpy(out + static_cast<size_t>(c * rows + r) * size, in + static_cast<size_t>(from) * size, size);
        }
      }
    }
  }
}

}  // namespace ostro
