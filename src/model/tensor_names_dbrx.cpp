// DBRX: Hugging Face's layout and GGUF.
#include <array>

#include "model/tensor_names_common.h"

namespace ostro {

namespace {

#define BLOCK "transformer.blocks.{layer}."
constexpr std::array kHuggingFace = {
    TensorName{Role::Embedding, "transformer.wte.weight", Packing::Whole},
    TensorName{Role::FinalNorm, "transformer.norm_f.weight", Packing::Whole},
    TensorName{Role::Output, "lm_head.weight", Packing::Whole},
    TensorName{Role::AttentionNorm, BLOCK "norm_attn_norm.norm_1.weight", Packing::Whole},
    TensorName{Role::Query, BLOCK "norm_attn_norm.attn.Wqkv.weight", Packing::QueryKeyValueRows},
    TensorName{Role::Key, BLOCK "norm_attn_norm.attn.Wqkv.weight", Packing::QueryKeyValueRows},
    TensorName{Role::Value, BLOCK "norm_attn_norm.attn.Wqkv.weight", Packing::QueryKeyValueRows},
    TensorName{Role::AttentionOutput, BLOCK "norm_attn_norm.attn.out_proj.weight", Packing::Whole},
    TensorName{Role::FeedForwardNorm, BLOCK "norm_attn_norm.norm_2.weight", Packing::Whole},
    TensorName{Role::Router, BLOCK "ffn.router.layer.weight", Packing::Whole},
    TensorName{Role::ExpertGate, BLOCK "ffn.experts.mlp.w1", Packing::ExpertRows},
    TensorName{Role::ExpertUp, BLOCK "ffn.experts.mlp.v1", Packing::ExpertRows},
    TensorName{Role::ExpertDown, BLOCK "ffn.experts.mlp.w2", Packing::ExpertColumns},
};
#undef BLOCK

// attn_output_norm is what others call ffn_norm.
constexpr auto kGguf =
    joined(kGgufOuter, kGgufExperts,
           std::array{
               TensorName{Role::AttentionNorm, "blk.{layer}.attn_norm.weight", Packing::Whole},
               TensorName{Role::Query, "blk.{layer}.attn_qkv.weight", Packing::QueryKeyValueRows},
               TensorName{Role::Key, "blk.{layer}.attn_qkv.weight", Packing::QueryKeyValueRows},
               TensorName{Role::Value, "blk.{layer}.attn_qkv.weight", Packing::QueryKeyValueRows},
               TensorName{Role::AttentionOutput, "blk.{layer}.attn_output.weight", Packing::Whole},
               TensorName{Role::FeedForwardNorm, "blk.{layer}.attn_output_norm.weight", Packing::Whole},
           });

constexpr std::array<std::string_view, 1> kFamilies = {"dbrx"};
constexpr std::array kTables = {
    NameTable{CheckpointFormat::HuggingFace, kFamilies, kHuggingFace, {}, RopePairing::HalfSplit},
    NameTable{CheckpointFormat::Gguf, kFamilies, kGguf, {}, RopePairing::HalfSplit},
};

}  // namespace

std::span<const NameTable> dbrx_name_tables() { return kTables; }

}  // namespace ostro
