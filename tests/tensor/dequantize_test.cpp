// Every storage type against gguf-py's values, bit for bit. The fixture holds random blocks of each type.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "formats/safetensors.h"
#include "formats/weight_store.h"
#include "support/support.h"
#include "tensor/quant.h"
#include "tensor/quant_tables.h"

namespace ostro {
namespace {

#include "tensor/unpack.inc"

TEST(Dequantize, EveryTypeEqualsReference) {
  const WeightStore store = open_weights(test::fixture("quant/quant-blocks.gguf"));
  const SafetensorsFile reference = open_safetensors(test::fixture("quant/quant-blocks.reference.safetensors"));
  std::vector<bool> seen(kDTypes);
  for (const auto& [name, tensor] : store.tensors) {
    SCOPED_TRACE(name);
    seen[static_cast<size_t>(tensor.dtype)] = true;
    const auto rows = static_cast<size_t>(tensor.shape[0]), cols = static_cast<size_t>(tensor.shape[1]);
    const auto bytes = static_cast<size_t>(row_bytes(tensor.dtype, tensor.shape[1]));
    const std::span<const std::byte> expected = reference.tensors.at(name).bytes;
    ASSERT_EQ(expected.size(), rows * cols * sizeof(float));
    std::vector<float> row(cols);
    for (size_t r = 0; r < rows; ++r) {
      dequantize_row(tensor.dtype, tensor.bytes.data() + r * bytes, row);
      ASSERT_EQ(std::memcmp(row.data(), expected.data() + r * cols * sizeof(float), cols * sizeof(float)), 0) << r;
    }
  }
  EXPECT_EQ(std::ranges::count(seen, true), kDTypes - 1);  // all but F8_E4M3, which GGUF does not have
}

// Every code, against its definition.
TEST(Dequantize, E4m3) {
  for (int code = 0; code < 256; ++code) {
    const auto byte = static_cast<std::byte>(code);
    float value = 0;
    dequantize_row(DType::F8_E4M3, &byte, std::span(&value, 1));
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    if (exponent == 15 && mantissa == 7) {
      EXPECT_TRUE(std::isnan(value)) << code;
      continue;
    }
    const double expected = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
    EXPECT_EQ(value, static_cast<float>(code & 128 ? -expected : expected)) << code;
  }
}

TEST(Dequantize, SquaresOfE4m3HaveTheirOwnScales) {
  const std::vector<std::byte> codes(130 * 200, static_cast<std::byte>(0x38));  // 1
  const std::vector<float> scales = {1, 2, 3, 4, 5, 6};
  Matrix matrix{codes.data(), DType::F8_E4M3, 130, 200, 200};
  matrix.scales = scales.data();
  matrix.scale_stride = 2;
  matrix.scale_row = 127;
  std::vector<float> row(200);
  dequantize_row(matrix, 0, row);
  EXPECT_EQ(row[127], 1);
  EXPECT_EQ(row[128], 2);
  dequantize_row(matrix, 1, row);
  EXPECT_EQ(row[0], 3);
  dequantize_row(matrix, 129, row);
  EXPECT_EQ(row[199], 6);
}

// The kernels rely on codes of at most 7 bits, or signed 8-bit codes around 128.
TEST(Unpack, CodesFitTheirType) {
  const WeightStore store = open_weights(test::fixture("quant/quant-blocks.gguf"));
  for (const auto& [name, tensor] : store.tensors) {
    if (!is_quantized(tensor.dtype)) continue;
    const DTypeInfo& type = info(tensor.dtype);
    EXPECT_TRUE(type.group == 16 || type.group == 32) << name;
    if (type.zero == 128) continue;
    uint8_t code[256];
    float scale[16], min[16];
    unpack_function(tensor.dtype)(reinterpret_cast<const uint8_t*>(tensor.bytes.data()), 256, code, scale, min);
    EXPECT_LE(*std::max_element(code, code + 256), 127) << name;
  }
}

TEST(Dequantize, RowsThatAreNoMultipleOf256) {
  // 288 = 256 + 32 weights of a type with blocks of 32.
  std::vector<std::byte> blocks(static_cast<size_t>(row_bytes(DType::Q8_0, 288)));
  for (size_t b = 0; b < 9; ++b) {
    const uint16_t scale = f32_to_f16(static_cast<float>(b + 1));
    std::memcpy(&blocks[34 * b], &scale, 2);
    for (size_t i = 0; i < 32; ++i) blocks[34 * b + 2 + i] = static_cast<std::byte>(i - 16);
  }
  std::vector<float> row(288);
  dequantize_row(DType::Q8_0, blocks.data(), row);
  for (size_t i = 0; i < 288; ++i) {
    EXPECT_EQ(row[i], static_cast<float>(i / 32 + 1) * (static_cast<float>(i % 32) - 16)) << i;
  }
}

}  // namespace
}  // namespace ostro
