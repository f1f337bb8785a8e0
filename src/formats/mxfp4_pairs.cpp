#include "formats/mxfp4_pairs.h"

namespace ostro {
namespace {

constexpr size_t kHalf = kMxfp4Weights / 2;

// The code of weight i where two lie side by side, and where they lie half a block apart.
std::byte side_by_side(const std::byte* codes, size_t i) {
  return codes[i / 2] >> (i % 2 == 0 ? 0 : 4) & std::byte{15};
}
std::byte half_apart(const std::byte* codes, size_t i) {
  return codes[i % kHalf] >> (i < kHalf ? 0 : 4) & std::byte{15};
}

}  // namespace

void join_mxfp4(std::byte* out, std::span<const std::byte> codes, std::span<const std::byte> scales) {
  for (size_t block = 0; block < scales.size(); ++block) {
    const std::byte* from = codes.data() + kMxfp4Codes * block;
    std::byte* to = out + kMxfp4Block * block;
    *to++ = scales[block];
    for (size_t i = 0; i < kHalf; ++i) to[i] = side_by_side(from, i) | side_by_side(from, i + kHalf) << 4;
  }
}

void mxfp4_codes(std::byte* out, std::span<const std::byte> blocks) {
  for (size_t block = 0; block < blocks.size() / kMxfp4Block; ++block) {
    const std::byte* from = blocks.data() + kMxfp4Block * block + 1;
    std::byte* to = out + kMxfp4Codes * block;
    for (size_t i = 0; i < kHalf; ++i) to[i] = half_apart(from, 2 * i) | half_apart(from, 2 * i + 1) << 4;
  }
}

void mxfp4_scales(std::byte* out, std::span<const std::byte> blocks) {
  for (size_t block = 0; block < blocks.size() / kMxfp4Block; ++block) out[block] = blocks[kMxfp4Block * block];
}

}  // namespace ostro
