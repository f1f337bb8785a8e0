// What the tables of tensor names of several families have in common, to be joined with their own. A table takes only
// the parts whose tensors all its checkpoints spell so: a spelling too many would let a file bind that should not.
#pragma once

#include <algorithm>
#include <array>

#include "model/tensor_names.h"

namespace ostro {

// One table of several parts; where two spell the same role, the earlier comes first.
template <size_t... kSizes>
constexpr auto joined(const std::array<TensorName, kSizes>&... parts) {
  std::array<TensorName, (kSizes + ...)> out{};
  auto at = out.begin();
  ((at = std::ranges::copy(parts, at).out), ...);
  return out;
}

// Hugging Face's habits.
inline constexpr std::array kHubOuter = {
    TensorName{Role::Embedding, "model.embed_tokens.weight", Packing::Whole},
    TensorName{Role::FinalNorm, "model.norm.weight", Packing::Whole},
    TensorName{Role::Output, "lm_head.weight", Packing::Whole},
};
inline constexpr std::array kHubAttention = {
    TensorName{Role::AttentionNorm, "model.layers.{layer}.input_layernorm.weight", Packing::Whole},
    TensorName{Role::Query, "model.layers.{layer}.self_attn.q_proj.weight", Packing::Whole},
    TensorName{Role::Key, "model.layers.{layer}.self_attn.k_proj.weight", Packing::Whole},
    TensorName{Role::Value, "model.layers.{layer}.self_attn.v_proj.weight", Packing::Whole},
    TensorName{Role::AttentionOutput, "model.layers.{layer}.self_attn.o_proj.weight", Packing::Whole},
};
inline constexpr std::array kHubFeedForward = {
    TensorName{Role::FeedForwardNorm, "model.layers.{layer}.post_attention_layernorm.weight", Packing::Whole},
    TensorName{Role::Gate, "model.layers.{layer}.mlp.gate_proj.weight", Packing::Whole},
    TensorName{Role::Up, "model.layers.{layer}.mlp.up_proj.weight", Packing::Whole},
    TensorName{Role::Down, "model.layers.{layer}.mlp.down_proj.weight", Packing::Whole},
};
// As Transformers 5 holds experts in memory, and tools that save a state dict as it is.
inline constexpr std::array kHubMergedExperts = {
    TensorName{Role::ExpertGate, "model.layers.{layer}.mlp.experts.gate_up_proj", Packing::ExpertsFirstHalf},
    TensorName{Role::ExpertUp, "model.layers.{layer}.mlp.experts.gate_up_proj", Packing::ExpertsSecondHalf},
    TensorName{Role::ExpertDown, "model.layers.{layer}.mlp.experts.down_proj", Packing::Experts},
};

// llama.cpp's.
inline constexpr std::array kGgufOuter = {
    TensorName{Role::Embedding, "token_embd.weight", Packing::Whole},
    TensorName{Role::FinalNorm, "output_norm.weight", Packing::Whole},
    TensorName{Role::Output, "output.weight", Packing::Whole},
};
inline constexpr std::array kGgufAttention = {
    TensorName{Role::AttentionNorm, "blk.{layer}.attn_norm.weight", Packing::Whole},
    TensorName{Role::Query, "blk.{layer}.attn_q.weight", Packing::Whole},
    TensorName{Role::Key, "blk.{layer}.attn_k.weight", Packing::Whole},
    TensorName{Role::Value, "blk.{layer}.attn_v.weight", Packing::Whole},
    TensorName{Role::AttentionOutput, "blk.{layer}.attn_output.weight", Packing::Whole},
};
inline constexpr std::array kGgufDense = {
    TensorName{Role::Gate, "blk.{layer}.ffn_gate.weight", Packing::Whole},
    TensorName{Role::Up, "blk.{layer}.ffn_up.weight", Packing::Whole},
    TensorName{Role::Down, "blk.{layer}.ffn_down.weight", Packing::Whole},
};
inline constexpr std::array kGgufExperts = {
    TensorName{Role::Router, "blk.{layer}.ffn_gate_inp.weight", Packing::Whole},
    TensorName{Role::ExpertGate, "blk.{layer}.ffn_gate_exps.weight", Packing::Experts},
    TensorName{Role::ExpertUp, "blk.{layer}.ffn_up_exps.weight", Packing::Experts},
    TensorName{Role::ExpertDown, "blk.{layer}.ffn_down_exps.weight", Packing::Experts},
};
inline constexpr std::array kGgufFusedExperts = {
    TensorName{Role::ExpertGate, "blk.{layer}.ffn_gate_up_exps.weight", Packing::ExpertsFirstHalf},
    TensorName{Role::ExpertUp, "blk.{layer}.ffn_gate_up_exps.weight", Packing::ExpertsSecondHalf},
};
// Files from before April 2024.
inline constexpr std::array kGgufSingleExperts = {
    TensorName{Role::ExpertGate, "blk.{layer}.ffn_gate.{expert}.weight", Packing::Whole},
    TensorName{Role::ExpertUp, "blk.{layer}.ffn_up.{expert}.weight", Packing::Whole},
    TensorName{Role::ExpertDown, "blk.{layer}.ffn_down.{expert}.weight", Packing::Whole},
};

}  // namespace ostro
