// OpenMoE: Hugging Face's layout, and a GGUF layout of ostro's own (llama.cpp has none).
#include <array>

#include "model/tensor_names.h"

namespace ostro {

namespace {

constexpr std::array kHuggingFace = {
    TensorName{Role::Embedding, "model.embed_tokens.weight", Packing::Whole},
    TensorName{Role::FinalNorm, "model.norm.weight", Packing::Whole},
    TensorName{Role::Output, "lm_head.weight", Packing::Whole},
    TensorName{Role::AttentionNorm, "model.layers.{layer}.input_layernorm.weight", Packing::Whole},
    TensorName{Role::Query, "model.layers.{layer}.self_attn.q_proj.weight", Packing::Whole},
    TensorName{Role::Key, "model.layers.{layer}.self_attn.k_proj.weight", Packing::Whole},
    TensorName{Role::Value, "model.layers.{layer}.self_attn.v_proj.weight", Packing::Whole},
    TensorName{Role::AttentionOutput, "model.layers.{layer}.self_attn.o_proj.weight", Packing::Whole},
    TensorName{Role::FeedForwardNorm, "model.layers.{layer}.post_attention_layernorm.weight", Packing::Whole},
    TensorName{Role::Gate, "model.layers.{layer}.mlp.gate_proj.weight", Packing::Whole},
    TensorName{Role::Up, "model.layers.{layer}.mlp.up_proj.weight", Packing::Whole},
    TensorName{Role::Down, "model.layers.{layer}.mlp.down_proj.weight", Packing::Whole},
    TensorName{Role::Router, "model.layers.{layer}.mlp.gate_weight", Packing::Whole},
    TensorName{Role::ExpertGate, "model.layers.{layer}.mlp.experts.wi_gate", Packing::ExpertsTransposed},
    TensorName{Role::ExpertUp, "model.layers.{layer}.mlp.experts.wi_up", Packing::ExpertsTransposed},
    TensorName{Role::ExpertDown, "model.layers.{layer}.mlp.experts.wo", Packing::ExpertsTransposed},
    TensorName{Role::ExtraNorm, "model.layers.{layer}.pre_extra_mlp_layernorm.weight", Packing::Whole},
    TensorName{Role::ExtraGate, "model.layers.{layer}.extra_mlp.gate_proj.weight", Packing::Whole},
    TensorName{Role::ExtraUp, "model.layers.{layer}.extra_mlp.up_proj.weight", Packing::Whole},
    TensorName{Role::ExtraDown, "model.layers.{layer}.extra_mlp.down_proj.weight", Packing::Whole},
};

constexpr std::array kGguf = {
    TensorName{Role::Embedding, "token_embd.weight", Packing::Whole},
    TensorName{Role::FinalNorm, "output_norm.weight", Packing::Whole},
    TensorName{Role::Output, "output.weight", Packing::Whole},
    TensorName{Role::AttentionNorm, "blk.{layer}.attn_norm.weight", Packing::Whole},
    TensorName{Role::Query, "blk.{layer}.attn_q.weight", Packing::Whole},
    TensorName{Role::Key, "blk.{layer}.attn_k.weight", Packing::Whole},
    TensorName{Role::Value, "blk.{layer}.attn_v.weight", Packing::Whole},
    TensorName{Role::AttentionOutput, "blk.{layer}.attn_output.weight", Packing::Whole},
    TensorName{Role::FeedForwardNorm, "blk.{layer}.ffn_norm.weight", Packing::Whole},
    TensorName{Role::Gate, "blk.{layer}.ffn_gate.weight", Packing::Whole},
    TensorName{Role::Up, "blk.{layer}.ffn_up.weight", Packing::Whole},
    TensorName{Role::Down, "blk.{layer}.ffn_down.weight", Packing::Whole},
    TensorName{Role::Router, "blk.{layer}.ffn_gate_inp.weight", Packing::Whole},
    TensorName{Role::ExpertGate, "blk.{layer}.ffn_gate_exps.weight", Packing::Experts},
    TensorName{Role::ExpertUp, "blk.{layer}.ffn_up_exps.weight", Packing::Experts},
    TensorName{Role::ExpertDown, "blk.{layer}.ffn_down_exps.weight", Packing::Experts},
    TensorName{Role::ExtraNorm, "blk.{layer}.ffn_extra_norm.weight", Packing::Whole},
    TensorName{Role::ExtraGate, "blk.{layer}.ffn_gate_extra.weight", Packing::Whole},
    TensorName{Role::ExtraUp, "blk.{layer}.ffn_up_extra.weight", Packing::Whole},
    TensorName{Role::ExtraDown, "blk.{layer}.ffn_down_extra.weight", Packing::Whole},
};

constexpr std::array<std::string_view, 1> kFamilies = {"openmoe"};
constexpr std::array kTables = {
    NameTable{CheckpointFormat::HuggingFace, kFamilies, kHuggingFace, {}, RopePairing::HalfSplit},
    NameTable{CheckpointFormat::Gguf, kFamilies, kGguf, {}, RopePairing::HalfSplit},
};

}  // namespace

std::span<const NameTable> openmoe_name_tables() { return kTables; }

}  // namespace ostro
