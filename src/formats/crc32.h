// CRC-32 as zip archives have it: reflected polynomial 0xedb88320, all ones before and after (APPNOTE.TXT 4.4.7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ostro {

// Of the bytes that gave `before`, followed by these.
uint32_t crc32(std::span<const std::byte> bytes, uint32_t before = 0);

}  // namespace ostro
