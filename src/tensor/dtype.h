// The storage types of weights and caches: the only table of their names and block geometry.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace ostro {

enum class DType : uint8_t {
  F32,
  F16,
  BF16,
  F8_E4M3,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ1_S,
  IQ1_M,
  IQ2_XXS,
  IQ2_XS,
  IQ2_S,
  IQ3_XXS,
  IQ3_S,
  IQ4_NL,
  IQ4_XS,
  TQ1_0,
  TQ2_0,
  MXFP4,
};
inline constexpr int kDTypes = static_cast<int>(DType::MXFP4) + 1;

// How a type stores a row. Quantised types cut a row into blocks of `block` weights in `bytes` bytes; once unpacked
// (tensor/unpack.inc) each weight is a code of at most 8 bits with
//     value = scale[group] * (code - zero) - min[group],   groups of `group` weights.
struct DTypeInfo {
  DType type;
  std::string_view name;  // "q4_k", as the command line and the GGUF world spell it
  int ggml_type;          // number in GGUF files; -1: they have none
  int block;              // weights a block
  int bytes;              // bytes a block
  int group;              // weights that share a scale: 16 or 32; 0 for floats
  int zero;               // code that stands for 0
  bool has_min;
};

const DTypeInfo& info(DType type);
std::optional<DType> dtype_from_name(std::string_view name);  // any letter case
std::optional<DType> dtype_from_ggml(uint32_t number);

inline bool is_quantized(DType type) { return type >= DType::Q4_0; }
// Codes of F8_E4M3 (1 sign, 4 exponent and 3 mantissa bits, no infinities) mean little without the scales beside them.
inline constexpr int64_t kScaleBlock = 128;  // weights along each side of the square that shares a scale

// Bytes of one row of `cols` weights; cols must be a multiple of the block.
int64_t row_bytes(DType type, int64_t cols);

}  // namespace ostro
