// gpt-oss: Hugging Face's folders, with experts in MXFP4 or BF16, and GGUF.
#include <array>

#include "model/tensor_names.h"

namespace ostro {

namespace {

#define LAYER "model.layers.{layer}."
constexpr std::array kHuggingFace = {
    TensorName{Role::Embedding, "model.embed_tokens.weight", Packing::Whole},
    TensorName{Role::FinalNorm, "model.norm.weight", Packing::Whole},
    TensorName{Role::Output, "lm_head.weight", Packing::Whole},
    TensorName{Role::AttentionNorm, LAYER "input_layernorm.weight", Packing::Whole},
    TensorName{Role::Query, LAYER "self_attn.q_proj.weight", Packing::Whole},
    TensorName{Role::Key, LAYER "self_attn.k_proj.weight", Packing::Whole},
    TensorName{Role::Value, LAYER "self_attn.v_proj.weight", Packing::Whole},
    TensorName{Role::AttentionOutput, LAYER "self_attn.o_proj.weight", Packing::Whole},
    TensorName{Role::QueryBias, LAYER "self_attn.q_proj.bias", Packing::Whole},
    TensorName{Role::KeyBias, LAYER "self_attn.k_proj.bias", Packing::Whole},
    TensorName{Role::ValueBias, LAYER "self_attn.v_proj.bias", Packing::Whole},
    TensorName{Role::AttentionOutputBias, LAYER "self_attn.o_proj.bias", Packing::Whole},
    TensorName{Role::Sinks, LAYER "self_attn.sinks", Packing::Whole},
    TensorName{Role::FeedForwardNorm, LAYER "post_attention_layernorm.weight", Packing::Whole},
    TensorName{Role::Router, LAYER "mlp.router.weight", Packing::Whole},
    TensorName{Role::RouterBias, LAYER "mlp.router.bias", Packing::Whole},
    TensorName{Role::ExpertGate, LAYER "mlp.experts.gate_up_proj", Packing::ExpertsEvenColumns},
    TensorName{Role::ExpertUp, LAYER "mlp.experts.gate_up_proj", Packing::ExpertsOddColumns},
    TensorName{Role::ExpertDown, LAYER "mlp.experts.down_proj", Packing::ExpertsTransposed},
    TensorName{Role::ExpertGate, LAYER "mlp.experts.gate_up_proj_blocks", Packing::ExpertsEvenRows},
    TensorName{Role::ExpertUp, LAYER "mlp.experts.gate_up_proj_blocks", Packing::ExpertsOddRows},
    TensorName{Role::ExpertDown, LAYER "mlp.experts.down_proj_blocks", Packing::Experts},
    TensorName{Role::ExpertGateBias, LAYER "mlp.experts.gate_up_proj_bias", Packing::ExpertsEvenRows},
    TensorName{Role::ExpertUpBias, LAYER "mlp.experts.gate_up_proj_bias", Packing::ExpertsOddRows},
    TensorName{Role::ExpertDownBias, LAYER "mlp.experts.down_proj_bias", Packing::Experts},
};
#undef LAYER

constexpr std::array kGguf = {
    TensorName{Role::Embedding, "token_embd.weight", Packing::Whole},
    TensorName{Role::FinalNorm, "output_norm.weight", Packing::Whole},
    TensorName{Role::Output, "output.weight", Packing::Whole},
    TensorName{Role::AttentionNorm, "blk.{layer}.attn_norm.weight", Packing::Whole},
    TensorName{Role::Query, "blk.{layer}.attn_q.weight", Packing::Whole},
    TensorName{Role::Key, "blk.{layer}.attn_k.weight", Packing::Whole},
    TensorName{Role::Value, "blk.{layer}.attn_v.weight", Packing::Whole},
    TensorName{Role::AttentionOutput, "blk.{layer}.attn_output.weight", Packing::Whole},
    TensorName{Role::QueryBias, "blk.{layer}.attn_q.bias", Packing::Whole},
    TensorName{Role::KeyBias, "blk.{layer}.attn_k.bias", Packing::Whole},
    TensorName{Role::ValueBias, "blk.{layer}.attn_v.bias", Packing::Whole},
    TensorName{Role::AttentionOutputBias, "blk.{layer}.attn_output.bias", Packing::Whole},
    TensorName{Role::Sinks, "blk.{layer}.attn_sinks.weight", Packing::Whole},
    TensorName{Role::FeedForwardNorm, "blk.{layer}.post_attention_norm.weight", Packing::Whole},
    TensorName{Role::Router, "blk.{layer}.ffn_gate_inp.weight", Packing::Whole},
    TensorName{Role::RouterBias, "blk.{layer}.ffn_gate_inp.bias", Packing::Whole},
    TensorName{Role::ExpertGate, "blk.{layer}.ffn_gate_exps.weight", Packing::Experts},
    TensorName{Role::ExpertUp, "blk.{layer}.ffn_up_exps.weight", Packing::Experts},
    TensorName{Role::ExpertDown, "blk.{layer}.ffn_down_exps.weight", Packing::Experts},
    TensorName{Role::ExpertGateBias, "blk.{layer}.ffn_gate_exps.bias", Packing::Experts},
    TensorName{Role::ExpertUpBias, "blk.{layer}.ffn_up_exps.bias", Packing::Experts},
    TensorName{Role::ExpertDownBias, "blk.{layer}.ffn_down_exps.bias", Packing::Experts},
};

constexpr std::array<std::string_view, 1> kFamilies = {"gpt-oss"};
constexpr std::array kTables = {
    NameTable{CheckpointFormat::HuggingFace, kFamilies, kHuggingFace, {}, RopePairing::HalfSplit},
    NameTable{CheckpointFormat::Gguf, kFamilies, kGguf, {}, RopePairing::HalfSplit},
};

}  // namespace

std::span<const NameTable> gpt_oss_name_tables() { return kTables; }

}  // namespace ostro
