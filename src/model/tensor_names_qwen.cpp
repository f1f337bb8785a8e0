// Qwen2-MoE, Qwen3-MoE and OLMoE, which spell their tensors alike: Hugging Face's layout and GGUF.
#include <array>

#include "model/tensor_names_common.h"

namespace ostro {

namespace {

constexpr auto kHuggingFace = joined(
    kHubOuter, kHubAttention, kHubFeedForward,
    std::array{
        TensorName{Role::QueryNorm, "model.layers.{layer}.self_attn.q_norm.weight", Packing::Whole},
        TensorName{Role::KeyNorm, "model.layers.{layer}.self_attn.k_norm.weight", Packing::Whole},
        TensorName{Role::QueryBias, "model.layers.{layer}.self_attn.q_proj.bias", Packing::Whole},
        TensorName{Role::KeyBias, "model.layers.{layer}.self_attn.k_proj.bias", Packing::Whole},
        TensorName{Role::ValueBias, "model.layers.{layer}.self_attn.v_proj.bias", Packing::Whole},
        TensorName{Role::Router, "model.layers.{layer}.mlp.gate.weight", Packing::Whole},
        TensorName{Role::SharedGate, "model.layers.{layer}.mlp.shared_expert.gate_proj.weight", Packing::Whole},
        TensorName{Role::SharedUp, "model.layers.{layer}.mlp.shared_expert.up_proj.weight", Packing::Whole},
        TensorName{Role::SharedDown, "model.layers.{layer}.mlp.shared_expert.down_proj.weight", Packing::Whole},
        TensorName{Role::SharedScale, "model.layers.{layer}.mlp.shared_expert_gate.weight", Packing::Row},
        TensorName{Role::ExpertGate, "model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight", Packing::Whole},
        TensorName{Role::ExpertUp, "model.layers.{layer}.mlp.experts.{expert}.up_proj.weight", Packing::Whole},
        TensorName{Role::ExpertDown, "model.layers.{layer}.mlp.experts.{expert}.down_proj.weight", Packing::Whole},
    },
    kHubMergedExperts);

constexpr auto kGguf = joined(kGgufOuter, kGgufAttention, kGgufDense, kGgufExperts, kGgufFusedExperts,
                              std::array{
                                  TensorName{Role::QueryNorm, "blk.{layer}.attn_q_norm.weight", Packing::Whole},
                                  TensorName{Role::KeyNorm, "blk.{layer}.attn_k_norm.weight", Packing::Whole},
                                  TensorName{Role::QueryBias, "blk.{layer}.attn_q.bias", Packing::Whole},
                                  TensorName{Role::KeyBias, "blk.{layer}.attn_k.bias", Packing::Whole},
                                  TensorName{Role::ValueBias, "blk.{layer}.attn_v.bias", Packing::Whole},
                                  TensorName{Role::FeedForwardNorm, "blk.{layer}.ffn_norm.weight", Packing::Whole},
                                  TensorName{Role::SharedGate, "blk.{layer}.ffn_gate_shexp.weight", Packing::Whole},
                                  TensorName{Role::SharedUp, "blk.{layer}.ffn_up_shexp.weight", Packing::Whole},
                                  TensorName{Role::SharedDown, "blk.{layer}.ffn_down_shexp.weight", Packing::Whole},
                                  TensorName{Role::SharedScale, "blk.{layer}.ffn_gate_inp_shexp.weight", Packing::Row},
                              });

constexpr std::array kHuggingFaceIgnored = {
    IgnoredTensor{"model.layers.{layer}.self_attn.rotary_emb.inv_freq",
                  "RoPE frequencies, computed from the configuration"},
};
constexpr std::array kGgufIgnored = {
    IgnoredTensor{"rope_freqs.weight", "divisors of the RoPE frequencies, already in the model's description"},
};

constexpr std::array<std::string_view, 3> kFamilies = {"qwen2moe", "qwen3moe", "olmoe"};
constexpr std::array kTables = {
    NameTable{CheckpointFormat::HuggingFace, kFamilies, kHuggingFace, kHuggingFaceIgnored, RopePairing::HalfSplit},
    NameTable{CheckpointFormat::Gguf, kFamilies, kGguf, kGgufIgnored, RopePairing::HalfSplit},
};

}  // namespace

std::span<const NameTable> qwen_name_tables() { return kTables; }

}  // namespace ostro
