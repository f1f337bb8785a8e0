// Eight bytes at a time, a table for each: the CRC is linear, so the tables' entries for the eight bytes add up.
#include "formats/crc32.h"

#include <array>
#include <bit>
#include <cstring>

namespace ostro {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr size_t kStep = 8;
using Tables = std::array<std::array<uint32_t, 256>, kStep>;

// tables[k][b]: the CRC of byte b followed by k zeros.
constexpr Tables make_tables() {
  Tables tables{};
  for (uint32_t b = 0; b < 256; ++b) {
    uint32_t rest = b;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1) != 0 ? 0xedb88320u : 0u);
    tables[0][b] = rest;
  }
  for (size_t k = 1; k < kStep; ++k) {
    for (size_t b = 0; b < 256; ++b) {
      const uint32_t before = tables[k - 1][b];
      tables[k][b] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

uint32_t crc32(std::span<const std::byte> bytes, uint32_t before) {
  uint32_t rest = ~before;
  while (bytes.size() >= kStep) {
    uint64_t eight = 0;
    std::memcpy(&eight, bytes.data(), kStep);
    eight ^= rest;
    rest = 0;
    for (size_t i = 0; i < kStep; ++i) rest ^= kTables[kStep - 1 - i][eight >> (8 * i) & 0xff];
    bytes = bytes.subspan(kStep);
  }
  for (const std::byte byte : bytes) rest = (rest >> 8) ^ kTables[0][(rest ^ std::to_integer<uint32_t>(byte)) & 0xff];
  return ~rest;
}

}  // namespace ostro
