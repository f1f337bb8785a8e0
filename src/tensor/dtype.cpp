#include "tensor/dtype.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"

namespace ostro {
namespace {

// Geometry from the block structs of ggml-common.h; numbers from gguf's GGMLQuantizationType.
constexpr std::array<DTypeInfo, kDTypes> kInfo = {{
    {DType::F32, "f32", 0, 1, 4, 0, 0, false},
    {DType::F16, "f16", 1, 1, 2, 0, 0, false},
    {DType::BF16, "bf16", 30, 1, 2, 0, 0, false},
    {DType::F8_E4M3, "f8_e4m3", -1, 1, 1, 0, 0, false},
    {DType::Q4_0, "q4_0", 2, 32, 18, 32, 8, false},
    {DType::Q4_1, "q4_1", 3, 32, 20, 32, 0, true},
    {DType::Q5_0, "q5_0", 6, 32, 22, 32, 16, false},
    {DType::Q5_1, "q5_1", 7, 32, 24, 32, 0, true},
    {DType::Q8_0, "q8_0", 8, 32, 34, 32, 128, false},
    {DType::Q2_K, "q2_k", 10, 256, 84, 16, 0, true},
    {DType::Q3_K, "q3_k", 11, 256, 110, 16, 4, false},
    {DType::Q4_K, "q4_k", 12, 256, 144, 32, 0, true},
    {DType::Q5_K, "q5_k", 13, 256, 176, 32, 0, true},
    {DType::Q6_K, "q6_k", 14, 256, 210, 16, 32, false},
    {DType::IQ1_S, "iq1_s", 19, 256, 50, 32, 16, false},
    {DType::IQ1_M, "iq1_m", 29, 256, 56, 16, 16, false},
    {DType::IQ2_XXS, "iq2_xxs", 16, 256, 66, 32, 64, false},
    {DType::IQ2_XS, "iq2_xs", 17, 256, 74, 16, 64, false},
    {DType::IQ2_S, "iq2_s", 22, 256, 82, 16, 64, false},
    {DType::IQ3_XXS, "iq3_xxs", 18, 256, 98, 32, 64, false},
    {DType::IQ3_S, "iq3_s", 21, 256, 110, 32, 16, false},
    {DType::IQ4_NL, "iq4_nl", 20, 32, 18, 32, 128, false},
    {DType::IQ4_XS, "iq4_xs", 23, 256, 136, 32, 128, false},
    {DType::TQ1_0, "tq1_0", 34, 256, 54, 32, 1, false},
    {DType::TQ2_0, "tq2_0", 35, 256, 66, 32, 1, false},
    {DType::MXFP4, "mxfp4", 39, 32, 17, 32, 16, false},
}};

constexpr bool in_order() {
  for (size_t i = 0; i < kInfo.size(); ++i) {
    if (static_cast<size_t>(kInfo[i].type) != i) return false;
  }
  return true;
}
static_assert(in_order(), "kInfo is indexed by DType");

}  // namespace

const DTypeInfo& info(DType type) { return kInfo[static_cast<size_t>(type)]; }

std::optional<DType> dtype_from_name(std::string_view name) {
  const auto same = [&](const DTypeInfo& entry) {
    return std::ranges::equal(entry.name, name, [](char a, char b) {
      return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
    });
  };
  const auto* found = std::ranges::find_if(kInfo, same);
  return found == kInfo.end() ? std::nullopt : std::optional(found->type);
}

std::optional<DType> dtype_from_ggml(uint32_t number) {
  const auto* found = std::ranges::find_if(
      kInfo, [&](const DTypeInfo& e) { return e.ggml_type >= 0 && static_cast<uint32_t>(e.ggml_type) == number; });
  return found == kInfo.end() ? std::nullopt : std::optional(found->type);
}

int64_t row_bytes(DType type, int64_t cols) {
  const DTypeInfo& entry = info(type);
  CHECK(cols % entry.block == 0);
  return cols / entry.block * entry.bytes;
}

}  // namespace ostro
