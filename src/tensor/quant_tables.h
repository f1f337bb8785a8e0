// The numeric tables that define the IQ and MXFP4 storage types, laid out for tensor/unpack.inc: codes as bytes of a
// word, element 0 in the lowest byte. Grid entries already carry the zero of their type (tensor/dtype.h).
#pragma once

#include <cstdint>

namespace ostro {

// A plain array that a constexpr function can return, and that kernels can index without library code.
template <typename Entry, int kSize>
struct Table {
  Entry at[kSize];
};

extern const Table<uint64_t, 2048> kIq1Grid;    // 16 + 8 g, g in -1 0 1
extern const Table<uint64_t, 256> kIq2XxsGrid;  // 64 + g, g in 8 25 43
extern const Table<uint64_t, 512> kIq2XsGrid;   // 64 + g
extern const Table<uint64_t, 1024> kIq2SGrid;   // 64 + g
extern const Table<uint32_t, 256> kIq3XxsGrid;  // 64 + g, g in 4 12 20 28 36 44 52 62
extern const Table<uint32_t, 512> kIq3SGrid;    // 16 + g, g odd in 1 to 15

// Byte i is 0xff where bit i of the index is set.
extern const Table<uint64_t, 256> kByteMask;
// IQ2_XXS, IQ2_XS and IQ3_XXS store seven of eight signs; the eighth makes the number of minus signs even. Byte i is
// 0xff where sign i is minus.
extern const Table<uint64_t, 128> kEvenSigns;

inline constexpr int kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr int kMxfp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};  // twice e2m1
extern const Table<uint8_t, 16> kIq4Codes;                                                          // 128 + value
extern const Table<uint8_t, 16> kMxfp4Codes;                                                        // 16 + value

}  // namespace ostro
