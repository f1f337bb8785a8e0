// Rows of every storage type to float32.
#include "tensor/quant.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "tensor/quant_tables.h"

namespace ostro {
namespace {

#include "tensor/unpack.inc"

constexpr int kMaxWeights = 256;  // an unpacker's most weights a call

template <float (*to_f32)(uint16_t)>
void widen(const std::byte* row, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, row + 2 * i, sizeof bits);
    out[i] = to_f32(bits);
  }
}

void dequantize_blocks(const DTypeInfo& type, const std::byte* row, std::span<float> out) {
  const UnpackFunction unpack = unpack_function(type.type);
  uint8_t code[kMaxWeights];
  float scale[kMaxWeights / 16], min[kMaxWeights / 16] = {};
  while (!out.empty()) {
    const size_t weights = std::min<size_t>(out.size(), kMaxWeights);
    unpack(reinterpret_cast<const uint8_t*>(row), static_cast<int>(weights), code, scale, min);
    for (size_t i = 0; i < weights; ++i) {
      const size_t group = i / static_cast<size_t>(type.group);
      const float value = scale[group] * static_cast<float>(code[i] - type.zero);
      out[i] = type.has_min ? value - min[group] : value;
    }
    row += row_bytes(type.type, static_cast<int64_t>(weights));
    out = out.subspan(weights);
  }
}

}  // namespace

void dequantize_row(DType type, const std::byte* row, std::span<float> out) {
  CHECK(out.size() % static_cast<size_t>(info(type).block) == 0);
  switch (type) {
    case DType::F32:
      if (!out.empty()) std::memcpy(out.data(), row, out.size_bytes());
      return;
    case DType::F16:
      return widen<f16_to_f32>(row, out);
    case DType::BF16:
      return widen<bf16_to_f32>(row, out);
    default:
      return dequantize_blocks(info(type), row, out);
  }
}

}  // namespace ostro
