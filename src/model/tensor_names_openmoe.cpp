// OpenMoE: Hugging Face's layout, and a GGUF layout of ostro's own (llama.cpp has none).
#include <array>

#include "model/tensor_names_common.h"

namespace ostro {

namespace {

constexpr auto kHuggingFace =
    joined(kHubOuter, kHubAttention, kHubFeedForward,
           std::array{
               TensorName{Role::Router, "model.layers.{layer}.mlp.gate_weight", Packing::Whole},
               TensorName{Role::ExpertGate, "model.layers.{layer}.mlp.experts.wi_gate", Packing::ExpertsTransposed},
               TensorName{Role::ExpertUp, "model.layers.{layer}.mlp.experts.wi_up", Packing::ExpertsTransposed},
               TensorName{Role::ExpertDown, "model.layers.{layer}.mlp.experts.wo", Packing::ExpertsTransposed},
               TensorName{Role::ExtraNorm, "model.layers.{layer}.pre_extra_mlp_layernorm.weight", Packing::Whole},
               TensorName{Role::ExtraGate, "model.layers.{layer}.extra_mlp.gate_proj.weight", Packing::Whole},
               TensorName{Role::ExtraUp, "model.layers.{layer}.extra_mlp.up_proj.weight", Packing::Whole},
               TensorName{Role::ExtraDown, "model.layers.{layer}.extra_mlp.down_proj.weight", Packing::Whole},
           });

constexpr auto kGguf = joined(kGgufOuter, kGgufAttention, kGgufDense, kGgufExperts,
                              std::array{
                                  TensorName{Role::FeedForwardNorm, "blk.{layer}.ffn_norm.weight", Packing::Whole},
                                  TensorName{Role::ExtraNorm, "blk.{layer}.ffn_extra_norm.weight", Packing::Whole},
                                  TensorName{Role::ExtraGate, "blk.{layer}.ffn_gate_extra.weight", Packing::Whole},
                                  TensorName{Role::ExtraUp, "blk.{layer}.ffn_up_extra.weight", Packing::Whole},
                                  TensorName{Role::ExtraDown, "blk.{layer}.ffn_down_extra.weight", Packing::Whole},
                              });

constexpr std::array<std::string_view, 1> kFamilies = {"openmoe"};
constexpr std::array kTables = {
    NameTable{CheckpointFormat::HuggingFace, kFamilies, kHuggingFace, {}, RopePairing::HalfSplit},
    NameTable{CheckpointFormat::Gguf, kFamilies, kGguf, {}, RopePairing::HalfSplit},
};

}  // namespace

std::span<const NameTable> openmoe_name_tables() { return kTables; }

}  // namespace ostro
