// Named mixes of storage types, as llama.cpp's users know them: "q4_k_m" is mostly q4_k, with more bits for the tensors
// that need them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/weights.h"

namespace ostro {

struct QuantMix {
  std::string_view name;  // "q4_k_m"
  DType base;
  int file_type;  // general.file_type in GGUF
};

std::optional<QuantMix> find_quant_mix(std::string_view name);  // any letter case; "q4_k" is "q4_k_m"
std::vector<std::string> quant_mix_names();
// The plain mix of a type (general.file_type of a file that is mostly of it), e.g. for bf16.
std::optional<QuantMix> mix_of(DType type);

// The type of a matrix with rows of `cols` weights. Routers stay float32. A type whose blocks do not divide a row gives
// way to one with smaller blocks, at last to f16.
DType mixed_type(const QuantMix& mix, const ModelSpec& spec, const TensorId& id, int64_t cols);

}  // namespace ostro
