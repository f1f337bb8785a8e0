#include "tensor/interleave.h"

#include <cstring>

#include "base/error.h"

namespace ostro {
namespace {

// Bytes of the scales before the words of a block, binary16 or one byte of MXFP4, or -1: the type is not interleaved.
// What is left after the last word is a binary16 scale too.
int64_t leading_scales(DType type) {
  switch (type) {
    case DType::Q4_0:
    case DType::Q5_0:
    case DType::Q8_0:
    case DType::IQ1_S:
    case DType::IQ2_XXS:
    case DType::IQ2_XS:
    case DType::IQ2_S:
    case DType::IQ3_XXS:
    case DType::IQ3_S:
    case DType::IQ4_NL:
      return 2;
    case DType::Q4_1:
    case DType::Q5_1:
      return 4;
    case DType::MXFP4:
      return 1;
    case DType::F32:
    case DType::F16:
    case DType::BF16:
    case DType::Q2_K:
    case DType::Q3_K:
    case DType::Q4_K:
    case DType::Q5_K:
    case DType::Q6_K:
    case DType::IQ1_M:
    case DType::IQ4_XS:
    case DType::TQ2_0:
      return 0;
    default:
      return -1;
  }
}

// visit(offset, bytes) for each unit of a row, in order.
template <typename Visit>
void for_units(DType type, int64_t row_bytes, const Visit& visit) {
  const int64_t scales = leading_scales(type);
  CHECK(scales >= 0);
  const int64_t block_bytes = is_quantized(type) ? info(type).bytes : row_bytes;
  for (int64_t block = 0; block < row_bytes; block += block_bytes) {
    int64_t at = 0;
    for (; at + 2 <= scales; at += 2) visit(block + at, std::integral_constant<size_t, 2>{});
    for (; at < scales; ++at) visit(block + at, std::integral_constant<size_t, 1>{});
    for (; at + 4 <= block_bytes; at += 4) visit(block + at, std::integral_constant<size_t, 4>{});
    for (; at < block_bytes; at += 2) visit(block + at, std::integral_constant<size_t, 2>{});
  }
}

}  // namespace

bool can_interleave(DType type, int64_t cols) {
  // Rows of floats whose width is no multiple of 32 end in lanes that their kernels fill in row by row.
  return leading_scales(type) >= 0 && (is_quantized(type) || cols % 32 == 0);
}

void interleave_rows(std::byte* out, const std::byte* in, DType type, int64_t row_bytes) {
  for_units(type, row_bytes, [&](int64_t at, auto bytes) {
    std::byte* to = out + kInterleavedRows * at;
    for (int64_t row = 0; row < kInterleavedRows; ++row, to += bytes) std::memcpy(to, in + row * row_bytes + at, bytes);
  });
}

const std::byte* whole_row(const Matrix& matrix, int64_t row, std::byte* copy) {
  const int64_t in_group = row % kInterleavedRows, first = row - in_group;
  if (!matrix.interleaved || first + kInterleavedRows > matrix.rows) return matrix.row(row);
  const std::byte* group = matrix.row(first);
  for_units(matrix.dtype, matrix.row_bytes, [&](int64_t at, auto bytes) {
    std::memcpy(copy + at, group + kInterleavedRows * at + in_group * static_cast<int64_t>(bytes), bytes);
  });
  return copy;
}

}  // namespace ostro
