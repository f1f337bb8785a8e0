// gpt-oss: Hugging Face's folders, with experts in MXFP4 or BF16, and GGUF.
#include <array>

#include "model/tensor_names_common.h"

namespace ostro {

namespace {

constexpr auto kHuggingFace = joined(
    kHubOuter, kHubAttention,
    std::array{
        TensorName{Role::QueryBias, "model.layers.{layer}.self_attn.q_proj.bias", Packing::Whole},
        TensorName{Role::KeyBias, "model.layers.{layer}.self_attn.k_proj.bias", Packing::Whole},
        TensorName{Role::ValueBias, "model.layers.{layer}.self_attn.v_proj.bias", Packing::Whole},
        TensorName{Role::AttentionOutputBias, "model.layers.{layer}.self_attn.o_proj.bias", Packing::Whole},
        TensorName{Role::Sinks, "model.layers.{layer}.self_attn.sinks", Packing::Whole},
        TensorName{Role::FeedForwardNorm, "model.layers.{layer}.post_attention_layernorm.weight", Packing::Whole},
        TensorName{Role::Router, "model.layers.{layer}.mlp.router.weight", Packing::Whole},
        TensorName{Role::RouterBias, "model.layers.{layer}.mlp.router.bias", Packing::Whole},
        TensorName{Role::ExpertGate, "model.layers.{layer}.mlp.experts.gate_up_proj", Packing::ExpertsEvenColumns},
        TensorName{Role::ExpertUp, "model.layers.{layer}.mlp.experts.gate_up_proj", Packing::ExpertsOddColumns},
        TensorName{Role::ExpertDown, "model.layers.{layer}.mlp.experts.down_proj", Packing::ExpertsTransposed},
        TensorName{Role::ExpertGate, "model.layers.{layer}.mlp.experts.gate_up_proj_blocks", Packing::ExpertsEvenRows},
        TensorName{Role::ExpertUp, "model.layers.{layer}.mlp.experts.gate_up_proj_blocks", Packing::ExpertsOddRows},
        TensorName{Role::ExpertDown, "model.layers.{layer}.mlp.experts.down_proj_blocks", Packing::Experts},
        TensorName{Role::ExpertGateBias, "model.layers.{layer}.mlp.experts.gate_up_proj_bias",
                   Packing::ExpertsEvenRows},
        TensorName{Role::ExpertUpBias, "model.layers.{layer}.mlp.experts.gate_up_proj_bias", Packing::ExpertsOddRows},
        TensorName{Role::ExpertDownBias, "model.layers.{layer}.mlp.experts.down_proj_bias", Packing::Experts},
    });

constexpr auto kGguf =
    joined(kGgufOuter, kGgufAttention, kGgufExperts,
           std::array{
               TensorName{Role::QueryBias, "blk.{layer}.attn_q.bias", Packing::Whole},
               TensorName{Role::KeyBias, "blk.{layer}.attn_k.bias", Packing::Whole},
               TensorName{Role::ValueBias, "blk.{layer}.attn_v.bias", Packing::Whole},
               TensorName{Role::AttentionOutputBias, "blk.{layer}.attn_output.bias", Packing::Whole},
               TensorName{Role::Sinks, "blk.{layer}.attn_sinks.weight", Packing::Whole},
               TensorName{Role::FeedForwardNorm, "blk.{layer}.post_attention_norm.weight", Packing::Whole},
               TensorName{Role::RouterBias, "blk.{layer}.ffn_gate_inp.bias", Packing::Whole},
               TensorName{Role::ExpertGateBias, "blk.{layer}.ffn_gate_exps.bias", Packing::Experts},
               TensorName{Role::ExpertUpBias, "blk.{layer}.ffn_up_exps.bias", Packing::Experts},
               TensorName{Role::ExpertDownBias, "blk.{layer}.ffn_down_exps.bias", Packing::Experts},
           });

constexpr std::array<std::string_view, 1> kFamilies = {"gpt-oss"};
constexpr std::array kTables = {
    NameTable{CheckpointFormat::HuggingFace, kFamilies, kHuggingFace, {}, RopePairing::HalfSplit},
    NameTable{CheckpointFormat::Gguf, kFamilies, kGguf, {}, RopePairing::HalfSplit},
};

}  // namespace

std::span<const NameTable> gpt_oss_name_tables() { return kTables; }

}  // namespace ostro
