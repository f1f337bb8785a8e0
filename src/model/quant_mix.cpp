// Which tensor gets which type: the rules of llama.cpp's quantiser for models of this shape, so that a name means the
// same sizes and the same quality here and there.
#include "model/quant_mix.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "model/tensor_names.h"

namespace ostro {
namespace {

constexpr std::array kMixes = {
    QuantMix{"f32", DType::F32, 0},        QuantMix{"f16", DType::F16, 1},          QuantMix{"bf16", DType::BF16, 32},
    QuantMix{"q4_0", DType::Q4_0, 2},      QuantMix{"q4_1", DType::Q4_1, 3},        QuantMix{"q5_0", DType::Q5_0, 8},
    QuantMix{"q5_1", DType::Q5_1, 9},      QuantMix{"q8_0", DType::Q8_0, 7},        QuantMix{"q2_k", DType::Q2_K, 10},
    QuantMix{"q2_k_s", DType::Q2_K, 21},   QuantMix{"q3_k_s", DType::Q3_K, 11},     QuantMix{"q3_k_m", DType::Q3_K, 12},
    QuantMix{"q3_k_l", DType::Q3_K, 13},   QuantMix{"q4_k_s", DType::Q4_K, 14},     QuantMix{"q4_k_m", DType::Q4_K, 15},
    QuantMix{"q5_k_s", DType::Q5_K, 16},   QuantMix{"q5_k_m", DType::Q5_K, 17},     QuantMix{"q6_k", DType::Q6_K, 18},
    QuantMix{"iq4_nl", DType::IQ4_NL, 25}, QuantMix{"iq4_xs", DType::IQ4_XS, 30},   QuantMix{"tq1_0", DType::TQ1_0, 36},
    QuantMix{"tq2_0", DType::TQ2_0, 37},   QuantMix{"mxfp4_moe", DType::MXFP4, 38},
};

// What the rules ask of a model.
struct Shape {
  int64_t layer, layers;
  int64_t queries_per_key;  // of attention heads
  bool eight_experts;       // then attention is small beside the experts, and gets more bits
  bool fused;               // query, key and value are one tensor
};

// The first and the last eighth of the layers, and every third between.
bool more_bits(const Shape& shape) {
  const int64_t eighth = shape.layers / 8;
  return shape.layer < eighth || shape.layer >= 7 * shape.layers / 8 || (shape.layer - eighth) % 3 == 2;
}

DType output_type(const QuantMix& mix, int64_t cols) {
  if (mix.base == DType::MXFP4 || mix.base == DType::Q8_0 || cols % info(mix.base).block != 0) return DType::Q8_0;
  return DType::Q6_K;
}

DType value_type(const QuantMix& mix, const Shape& shape) {
  if (shape.eight_experts) return DType::Q8_0;
  const bool few_keys = shape.queries_per_key >= 4;
  DType type = mix.base;
  if (mix.name == "q2_k") type = few_keys ? DType::Q4_K : DType::Q3_K;
  if (mix.name == "q2_k_s" && few_keys) type = DType::Q4_K;
  if (mix.name == "q3_k_m") type = shape.layer < 2 ? DType::Q5_K : DType::Q4_K;
  if (mix.name == "q3_k_l") type = DType::Q5_K;
  if (mix.name == "q4_k_s" && shape.layer < 4) type = DType::Q5_K;
  if ((mix.name == "q4_k_m" || mix.name == "q5_k_m") && more_bits(shape)) type = DType::Q6_K;
  if ((mix.name == "iq4_nl" || mix.name == "iq4_xs") && few_keys) type = DType::Q5_K;
  // Models of 80 layers share each value head among eight queries: their value matrices are small.
  if (shape.layers == 80 && shape.queries_per_key > 1 && (type == DType::Q3_K || type == DType::Q4_K)) {
    type = DType::Q5_K;
  }
  return type;
}

DType fused_type(const QuantMix& mix) {
  if (mix.name == "q3_k_m" || mix.name == "q3_k_l") return DType::Q4_K;
  if (mix.name == "q4_k_m") return DType::Q5_K;
  if (mix.name == "q5_k_m") return DType::Q6_K;
  return mix.base;
}

DType attention_output_type(const QuantMix& mix, const Shape& shape) {
  if (shape.eight_experts) {
    constexpr std::string_view kFive[] = {"q2_k", "q3_k_s", "q3_k_m", "q4_k_s", "q4_k_m", "iq4_nl", "iq4_xs"};
    return std::ranges::find(kFive, mix.name) != std::end(kFive) ? DType::Q5_K : mix.base;
  }
  if (mix.name == "q2_k") return DType::Q3_K;
  if (mix.name == "q3_k_m") return DType::Q4_K;
  if (mix.name == "q3_k_l") return DType::Q5_K;
  return mix.base;
}

DType down_type(const QuantMix& mix, const Shape& shape) {
  const bool first_eighth = shape.layer < shape.layers / 8;
  if (mix.name == "q2_k") return DType::Q3_K;
  if (mix.name == "q2_k_s" && first_eighth) return DType::Q4_K;
  if (mix.name == "q3_k_m") return shape.layer < shape.layers / 16 ? DType::Q5_K : DType::Q4_K;
  if (mix.name == "q3_k_l") return DType::Q5_K;
  if (mix.name == "q4_k_s" && first_eighth) return DType::Q5_K;
  if ((mix.name == "q4_k_m" || mix.name == "q5_k_m") && more_bits(shape)) return DType::Q6_K;
  if ((mix.name == "iq4_nl" || mix.name == "iq4_xs") && first_eighth) return DType::Q5_K;
  return mix.base;
}

DType wanted_type(const QuantMix& mix, const ModelSpec& spec, const TensorId& id, const Shape& shape, int64_t cols) {
  if (id.role == Role::Output || (id.role == Role::Embedding && spec.tied_embeddings)) return output_type(mix, cols);
  if (mix.base == DType::MXFP4) return id.expert >= 0 ? DType::MXFP4 : DType::Q8_0;
  switch (id.role) {
    case Role::Embedding:
      return mix.base == DType::TQ1_0 || mix.base == DType::TQ2_0 ? DType::Q4_K : mix.base;
    case Role::Query:
      return shape.fused ? fused_type(mix) : mix.base;
    case Role::Value:
      return shape.fused ? fused_type(mix) : value_type(mix, shape);
    case Role::Key:
      return shape.fused ? fused_type(mix) : shape.eight_experts ? DType::Q8_0 : mix.base;
    case Role::AttentionOutput:
      return attention_output_type(mix, shape);
    case Role::Down:
    case Role::ExpertDown:
    case Role::SharedDown:
    case Role::ExtraDown:
      return down_type(mix, shape);
    default:
      return mix.base;
  }
}

DType fit_to_row(DType type, int64_t cols) {
  const auto fits = [&](DType candidate) { return cols % info(candidate).block == 0; };
  if (fits(type)) return type;
  DType smaller = DType::F16;
  switch (type) {
    case DType::IQ4_XS:
      smaller = DType::IQ4_NL;
      break;
    case DType::Q2_K:
    case DType::Q3_K:
    case DType::TQ1_0:
    case DType::TQ2_0:
      smaller = DType::Q4_0;
      break;
    case DType::Q4_K:
      smaller = DType::Q5_0;
      break;
    case DType::Q5_K:
      smaller = DType::Q5_1;
      break;
    case DType::Q6_K:
      smaller = DType::Q8_0;
      break;
    default:
      break;
  }
  return fits(smaller) ? smaller : DType::F16;
}

Shape shape_of(const ModelSpec& spec, const TensorId& id) {
  Shape shape{id.layer, spec.layers, 1, false, false};
  const NameTable& names = name_table(CheckpointFormat::Gguf, spec.family);
  shape.fused = written_name(names, Role::Query).packing == Packing::QueryKeyValueRows;
  for (const BlockSpec& block : spec.blocks) {
    if (const auto* gqa = std::get_if<GqaSpec>(&block.mixer)) shape.queries_per_key = gqa->query_heads / gqa->kv_heads;
    if (const auto* moe = std::get_if<MoeSpec>(&block.mixer)) shape.eight_experts = moe->router.experts == 8;
  }
  return shape;
}

}  // namespace

std::optional<QuantMix> find_quant_mix(std::string_view name) {
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower == "q3_k" || lower == "q4_k" || lower == "q5_k") lower += "_m";
  const auto* found = std::ranges::find(kMixes, lower, &QuantMix::name);
  return found == kMixes.end() ? std::nullopt : std::optional(*found);
}

std::vector<std::string> quant_mix_names() {
  std::vector<std::string> names;
  for (const QuantMix& mix : kMixes) names.emplace_back(mix.name);
  return names;
}

std::optional<QuantMix> mix_of(DType type) {
  const auto* found = std::ranges::find(kMixes, type, &QuantMix::base);
  return found == kMixes.end() ? std::nullopt : std::optional(*found);
}

DType mixed_type(const QuantMix& mix, const ModelSpec& spec, const TensorId& id, int64_t cols) {
  if (id.role == Role::Router) return DType::F32;
  if (!is_quantized(mix.base)) return mix.base;
  return fit_to_row(wanted_type(mix, spec, id, shape_of(spec, id), cols), cols);
}

}  // namespace ostro
