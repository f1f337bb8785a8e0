// MXFP4 as safetensors hold it, in two tensors of bytes: the codes of 32 weights, inputs 2i and 2i + 1 in byte i, and
// apart from them the exponents. Here, as in GGUF, a block is an exponent, then bytes with the inputs i and i + 16.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace ostro {

inline constexpr size_t kMxfp4Weights = 32;  // of a block
inline constexpr size_t kMxfp4Codes = 16;    // bytes of their codes
inline constexpr size_t kMxfp4Block = 1 + kMxfp4Codes;
// How the names of the two tensors end.
inline constexpr std::string_view kMxfp4CodesSuffix = "_blocks", kMxfp4ScalesSuffix = "_scales";

// As many blocks as there are scales.
void join_mxfp4(std::byte* out, std::span<const std::byte> codes, std::span<const std::byte> scales);
// Of whole blocks: their codes, or their exponents.
void mxfp4_codes(std::byte* out, std::span<const std::byte> blocks);
void mxfp4_scales(std::byte* out, std::span<const std::byte> blocks);

}  // namespace ostro
