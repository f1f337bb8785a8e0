// Rows of every storage type to and from float32.
#include "tensor/quant.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/half.h"
#include "tensor/quant_tables.h"
#include "tensor/quantizers.h"

namespace ostro {
namespace {

#include "tensor/unpack.inc"

constexpr int kMaxWeights = 256;  // an unpacker's most weights a call

template <uint16_t (*from_f32)(float)>
void narrow(std::span<const float> in, std::byte* out) {
  for (size_t i = 0; i < in.size(); ++i) {
    const uint16_t bits = from_f32(in[i]);
    std::memcpy(out + 2 * i, &bits, sizeof bits);
  }
}

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

void dequantize_row(const Matrix& matrix, int64_t row, std::span<float> out) {
  CHECK(static_cast<int64_t>(out.size()) == matrix.cols);
  dequantize_row(matrix.dtype, matrix.row(row), out);
  if (matrix.scales == nullptr) return;
  const float* scales = matrix.scales + (matrix.scale_row + row) / kScaleBlock * matrix.scale_stride;
  for (size_t c = 0; c < out.size(); ++c) out[c] *= scales[c / kScaleBlock];
}

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
    case DType::F8_E4M3:
      for (size_t i = 0; i < out.size(); ++i) out[i] = e4m3_to_f32(std::to_integer<uint8_t>(row[i]));
      return;
    default:
      return dequantize_blocks(info(type), row, out);
  }
}

bool can_quantize(DType type) {
  switch (type) {
    case DType::F8_E4M3:
    case DType::IQ1_S:
    case DType::IQ1_M:
    case DType::IQ2_XXS:
    case DType::IQ2_XS:
    case DType::IQ2_S:
    case DType::IQ3_XXS:
    case DType::IQ3_S:
      return false;
    default:
      return true;
  }
}

void quantize_row(DType type, std::span<const float> in, std::byte* out, std::span<const float> importance) {
  CHECK(can_quantize(type) && in.size() % static_cast<size_t>(info(type).block) == 0);
  CHECK(importance.empty() || importance.size() == in.size());
  const auto blocks = static_cast<int64_t>(in.size()) / info(type).block;
  const float* x = in.data();
  const float* weight = importance.empty() ? nullptr : importance.data();
  auto* bytes = reinterpret_cast<uint8_t*>(out);
  switch (type) {
    case DType::F32:
      if (!in.empty()) std::memcpy(out, x, in.size_bytes());
      return;
    case DType::F16:
      return narrow<f32_to_f16>(in, out);
    case DType::BF16:
      return narrow<f32_to_bf16>(in, out);
    case DType::Q4_0:
      return quantizers::q4_0(x, blocks, bytes);
    case DType::Q4_1:
      return quantizers::q4_1(x, blocks, bytes);
    case DType::Q5_0:
      return quantizers::q5_0(x, blocks, bytes);
    case DType::Q5_1:
      return quantizers::q5_1(x, blocks, bytes);
    case DType::Q8_0:
      return quantizers::q8_0(x, blocks, bytes);
    case DType::Q2_K:
      return quantizers::q2_k(x, weight, blocks, bytes);
    case DType::Q3_K:
      return quantizers::q3_k(x, weight, blocks, bytes);
    case DType::Q4_K:
      return quantizers::q4_k(x, weight, blocks, bytes);
    case DType::Q5_K:
      return quantizers::q5_k(x, weight, blocks, bytes);
    case DType::Q6_K:
      return quantizers::q6_k(x, weight, blocks, bytes);
    case DType::IQ4_NL:
      return quantizers::iq4_nl(x, weight, blocks, bytes);
    case DType::IQ4_XS:
      return quantizers::iq4_xs(x, weight, blocks, bytes);
    case DType::TQ1_0:
      return quantizers::tq1_0(x, blocks, bytes);
    case DType::TQ2_0:
      return quantizers::tq2_0(x, blocks, bytes);
    case DType::MXFP4:
      return quantizers::mxfp4(x, blocks, bytes);
    default:
      CHECK(false);
  }
}

}  // namespace ostro
