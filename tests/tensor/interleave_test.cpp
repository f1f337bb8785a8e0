// Interleaved rows hold what the rows held, and each can be read back.
#include "tensor/interleave.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"

namespace ostro {
namespace {

std::vector<std::byte> random_bytes(size_t count) {
  std::vector<std::byte> out(count);
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<std::byte>(random_bits(1, 2, i));
  return out;
}

// Two groups and a part of one.
void check_rows(DType type) {
  const int64_t cols = is_quantized(type) ? 3 * info(type).block : 96, bytes = row_bytes(type, cols);
  const int64_t rows = 2 * kInterleavedRows + 5;
  ASSERT_TRUE(can_interleave(type, cols));
  const auto plain = random_bytes(static_cast<size_t>(rows * bytes));
  std::vector<std::byte> repacked = plain, copy(static_cast<size_t>(bytes));
  for (int64_t row = 0; row + kInterleavedRows <= rows; row += kInterleavedRows) {
    const auto at = static_cast<size_t>(row * bytes);
    interleave_rows(&repacked[at], &plain[at], type, bytes);
  }
  EXPECT_NE(plain, repacked);
  Matrix matrix{repacked.data(), type, rows, cols, bytes};
  matrix.interleaved = true;
  for (int64_t row = 0; row < rows; ++row) {
    const std::byte* found = whole_row(matrix, row, copy.data());
    EXPECT_TRUE(std::equal(found, found + bytes, &plain[static_cast<size_t>(row * bytes)])) << row;
  }
}

TEST(Interleave, RowsComeBack) {
  for (const char* name : {"f32", "f16", "bf16", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q2_k", "q3_k", "q4_k", "q5_k",
                           "q6_k", "iq4_nl", "iq4_xs"}) {
    SCOPED_TRACE(name);
    check_rows(dtype_from_name(name).value());
  }
}

// The word at byte i of row r of a group lies at 16 i + 4 r.
TEST(Interleave, OrderIsAsDocumented) {
  const int64_t bytes = row_bytes(DType::Q4_0, 64);  // two blocks of a scale (2 bytes) and 16 bytes of codes
  const auto plain = random_bytes(static_cast<size_t>(16 * bytes));
  std::vector<std::byte> out(plain.size());
  interleave_rows(out.data(), plain.data(), DType::Q4_0, bytes);
  for (int64_t row = 0; row < 16; ++row) {
    const std::byte* in = &plain[static_cast<size_t>(row * bytes)];
    for (const int64_t scale : {0, 18}) {
      EXPECT_TRUE(std::equal(in + scale, in + scale + 2, &out[static_cast<size_t>(16 * scale + 2 * row)]));
    }
    for (const int64_t word : {2, 14, 20, 32}) {
      EXPECT_TRUE(std::equal(in + word, in + word + 4, &out[static_cast<size_t>(16 * word + 4 * row)]));
    }
  }
}

}  // namespace
}  // namespace ostro
