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
extern const Table<uint8_t, 128> kEvenSignBits;  // bit i for byte i

// The grids once more for kernels that look up bytes: two bytes a point. Of eight weights each has two bits of level,
// weights 0 to 3 in the first byte; of four weights the first byte has the low pairs of bits of all levels, the second
// their third bits from bit 0 on.
template <int kSize>
struct LevelTable {
  alignas(64) uint8_t at[2][kSize];
};
extern const LevelTable<2048> kIq1Levels;
extern const LevelTable<256> kIq2XxsLevels;
extern const LevelTable<512> kIq2XsLevels;
extern const LevelTable<1024> kIq2SLevels;
extern const LevelTable<256> kIq3XxsLevels;
extern const LevelTable<512> kIq3SLevels;
// Codes (zero and level) of a level in the low bits of the index and, above it, one bit: minus, for IQ1 shifted down.
extern const Table<uint8_t, 64> kIq1Codes;
extern const Table<uint8_t, 64> kIq2Codes;
extern const Table<uint8_t, 64> kIq3XxsCodes;
extern const Table<uint8_t, 64> kIq3SCodes;

inline constexpr int kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr int kMxfp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};  // twice e2m1
extern const Table<uint8_t, 16> kIq4Codes;                                                          // 128 + value
extern const Table<uint8_t, 16> kMxfp4Codes;                                                        // 16 + value

}  // namespace ostro
