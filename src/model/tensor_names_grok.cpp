// Grok-1: the original checkpoint, both Hugging Face ports and GGUF.
#include <array>

#include "model/tensor_names_common.h"

namespace ostro {

namespace {

#define PORT_A "transformer.decoder_layer.{layer}."
#define PORT_B "model.layers.{layer}."
constexpr std::array kHuggingFace = {
    // Names after the publisher's own modules.
    TensorName{Role::Embedding, "transformer.in_out_embed.weight", Packing::Whole},
    TensorName{Role::FinalNorm, "transformer.rms_norm.weight", Packing::Whole},
    TensorName{Role::Output, "lm_head.weight", Packing::Whole},
    TensorName{Role::AttentionNorm, PORT_A "rms_norm.weight", Packing::Whole},
    TensorName{Role::Query, PORT_A "multi_head_attention.query.weight", Packing::Whole},
    TensorName{Role::Key, PORT_A "multi_head_attention.key.weight", Packing::Whole},
    TensorName{Role::Value, PORT_A "multi_head_attention.value.weight", Packing::Whole},
    TensorName{Role::AttentionOutput, PORT_A "multi_head_attention.linear.weight", Packing::Whole},
    TensorName{Role::AttentionPostNorm, PORT_A "rms_norm_1.weight", Packing::Whole},
    TensorName{Role::FeedForwardNorm, PORT_A "rms_norm_2.weight", Packing::Whole},
    TensorName{Role::FeedForwardPostNorm, PORT_A "rms_norm_3.weight", Packing::Whole},
    TensorName{Role::Router, PORT_A "router.weight", Packing::Whole},
    TensorName{Role::ExpertGate, PORT_A "moe.{expert}.linear.weight", Packing::Whole},
    TensorName{Role::ExpertUp, PORT_A "moe.{expert}.linear_v.weight", Packing::Whole},
    TensorName{Role::ExpertDown, PORT_A "moe.{expert}.linear_1.weight", Packing::Whole},
    // Names after Hugging Face's habits.
    TensorName{Role::Embedding, "model.embed_tokens.weight", Packing::Whole},
    TensorName{Role::FinalNorm, "model.norm.scale", Packing::Whole},
    TensorName{Role::AttentionNorm, PORT_B "pre_attn_norm.scale", Packing::Whole},
    TensorName{Role::Query, PORT_B "attn.q_proj.weight", Packing::Whole},
    TensorName{Role::Key, PORT_B "attn.k_proj.weight", Packing::Whole},
    TensorName{Role::Value, PORT_B "attn.v_proj.weight", Packing::Whole},
    TensorName{Role::AttentionOutput, PORT_B "attn.o_proj.weight", Packing::Whole},
    TensorName{Role::AttentionPostNorm, PORT_B "post_attn_norm.scale", Packing::Whole},
    TensorName{Role::FeedForwardNorm, PORT_B "pre_moe_norm.scale", Packing::Whole},
    TensorName{Role::FeedForwardPostNorm, PORT_B "post_moe_norm.scale", Packing::Whole},
    TensorName{Role::Router, PORT_B "moe_block.gate.weight", Packing::Whole},
    TensorName{Role::ExpertGate, PORT_B "moe_block.experts.{expert}.linear.weight", Packing::Whole},
    TensorName{Role::ExpertUp, PORT_B "moe_block.experts.{expert}.linear_v.weight", Packing::Whole},
    TensorName{Role::ExpertDown, PORT_B "moe_block.experts.{expert}.linear_1.weight", Packing::Whole},
};
#undef PORT_A
#undef PORT_B

constexpr auto kGguf =
    joined(kGgufOuter, kGgufAttention, kGgufExperts, kGgufSingleExperts,
           std::array{
               TensorName{Role::AttentionPostNorm, "blk.{layer}.attn_output_norm.weight", Packing::Whole},
               TensorName{Role::FeedForwardNorm, "blk.{layer}.ffn_norm.weight", Packing::Whole},
               TensorName{Role::FeedForwardPostNorm, "blk.{layer}.layer_output_norm.weight", Packing::Whole},
               TensorName{Role::FeedForwardPostNorm, "blk.{layer}.post_ffw_norm.weight", Packing::Whole},
           });

// The publisher's parameters; 8-bit matrices are already turned when they are read.
#define LAYER "transformer/decoder_layer_{layer}/"
constexpr std::array kNumbered = {
    TensorName{Role::Embedding, "language_model/in_out_embed/embeddings", Packing::Whole},
    TensorName{Role::FinalNorm, "language_model/rms_norm/scale", Packing::Whole},
    TensorName{Role::AttentionNorm, LAYER "rms_norm/scale", Packing::Whole},
    TensorName{Role::Query, LAYER "multi_head_attention/query/w", Packing::Whole},
    TensorName{Role::Key, LAYER "multi_head_attention/key/w", Packing::Whole},
    TensorName{Role::Value, LAYER "multi_head_attention/value/w", Packing::Whole},
    TensorName{Role::AttentionOutput, LAYER "multi_head_attention/linear/w", Packing::Whole},
    TensorName{Role::AttentionPostNorm, LAYER "rms_norm_1/scale", Packing::Whole},
    TensorName{Role::FeedForwardNorm, LAYER "rms_norm_2/scale", Packing::Whole},
    TensorName{Role::FeedForwardPostNorm, LAYER "rms_norm_3/scale", Packing::Whole},
    TensorName{Role::Router, LAYER "router/w", Packing::Transposed},
    TensorName{Role::ExpertGate, LAYER "moe/linear/w", Packing::Experts},
    TensorName{Role::ExpertUp, LAYER "moe/linear_v/w", Packing::Experts},
    TensorName{Role::ExpertDown, LAYER "moe/linear_1/w", Packing::Experts},
};
#undef LAYER

constexpr std::array<std::string_view, 1> kFamilies = {"grok"};
constexpr std::array kTables = {
    NameTable{CheckpointFormat::HuggingFace, kFamilies, kHuggingFace, {}, RopePairing::HalfSplit},
    NameTable{CheckpointFormat::NumberedPickles, kFamilies, kNumbered, {}, RopePairing::HalfSplit},
    NameTable{CheckpointFormat::Gguf, kFamilies, kGguf, {}, RopePairing::HalfSplit},
};

}  // namespace

std::span<const NameTable> grok_name_tables() { return kTables; }

}  // namespace ostro
