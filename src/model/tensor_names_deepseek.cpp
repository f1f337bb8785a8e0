// DeepSeek-V2, V2-Lite, V3 and R1: in Hugging Face's layout and in GGUF. The layer after the decoder's last holds the
// multi-token-prediction module.
#include <array>

#include "model/tensor_names_common.h"

namespace ostro {

namespace {

constexpr auto kHuggingFace = joined(
    kHubOuter, kHubFeedForward,
    std::array{
        TensorName{Role::AttentionNorm, "model.layers.{layer}.input_layernorm.weight", Packing::Whole},
        TensorName{Role::Query, "model.layers.{layer}.self_attn.q_proj.weight", Packing::Whole},
        TensorName{Role::QueryDown, "model.layers.{layer}.self_attn.q_a_proj.weight", Packing::Whole},
        TensorName{Role::QueryDownNorm, "model.layers.{layer}.self_attn.q_a_layernorm.weight", Packing::Whole},
        TensorName{Role::QueryUp, "model.layers.{layer}.self_attn.q_b_proj.weight", Packing::Whole},
        TensorName{Role::KvDown, "model.layers.{layer}.self_attn.kv_a_proj_with_mqa.weight", Packing::Whole},
        TensorName{Role::KvDownNorm, "model.layers.{layer}.self_attn.kv_a_layernorm.weight", Packing::Whole},
        TensorName{Role::KvUp, "model.layers.{layer}.self_attn.kv_b_proj.weight", Packing::Whole},
        TensorName{Role::AttentionOutput, "model.layers.{layer}.self_attn.o_proj.weight", Packing::Whole},
        TensorName{Role::Router, "model.layers.{layer}.mlp.gate.weight", Packing::Whole},
        TensorName{Role::SelectionBias, "model.layers.{layer}.mlp.gate.e_score_correction_bias", Packing::Whole},
        TensorName{Role::ExpertGate, "model.layers.{layer}.mlp.experts.{expert}.gate_proj.weight", Packing::Whole},
        TensorName{Role::ExpertUp, "model.layers.{layer}.mlp.experts.{expert}.up_proj.weight", Packing::Whole},
        TensorName{Role::ExpertDown, "model.layers.{layer}.mlp.experts.{expert}.down_proj.weight", Packing::Whole},
        TensorName{Role::SharedGate, "model.layers.{layer}.mlp.shared_experts.gate_proj.weight", Packing::Whole},
        TensorName{Role::SharedUp, "model.layers.{layer}.mlp.shared_experts.up_proj.weight", Packing::Whole},
        TensorName{Role::SharedDown, "model.layers.{layer}.mlp.shared_experts.down_proj.weight", Packing::Whole},
        TensorName{Role::MtpEmbedding, "model.layers.{layer}.embed_tokens.weight", Packing::Whole},
        TensorName{Role::MtpEmbeddingNorm, "model.layers.{layer}.enorm.weight", Packing::Whole},
        TensorName{Role::MtpHiddenNorm, "model.layers.{layer}.hnorm.weight", Packing::Whole},
        TensorName{Role::MtpJoin, "model.layers.{layer}.eh_proj.weight", Packing::Whole},
        TensorName{Role::MtpFinalNorm, "model.layers.{layer}.shared_head.norm.weight", Packing::Whole},
        TensorName{Role::MtpOutput, "model.layers.{layer}.shared_head.head.weight", Packing::Whole},
    },
    kHubMergedExperts);

// Since 2025 the two halves of kv_b are stored apart, keys transposed; heads lie as experts do.
constexpr auto kGguf =
    joined(kGgufOuter, kGgufDense, kGgufExperts, kGgufFusedExperts,
           std::array{
               TensorName{Role::AttentionNorm, "blk.{layer}.attn_norm.weight", Packing::Whole},
               TensorName{Role::Query, "blk.{layer}.attn_q.weight", Packing::Whole},
               TensorName{Role::QueryDown, "blk.{layer}.attn_q_a.weight", Packing::Whole},
               TensorName{Role::QueryDownNorm, "blk.{layer}.attn_q_a_norm.weight", Packing::Whole},
               TensorName{Role::QueryUp, "blk.{layer}.attn_q_b.weight", Packing::Whole},
               TensorName{Role::KvDown, "blk.{layer}.attn_kv_a_mqa.weight", Packing::Whole},
               TensorName{Role::KvDownNorm, "blk.{layer}.attn_kv_a_norm.weight", Packing::Whole},
               TensorName{Role::KeyUp, "blk.{layer}.attn_k_b.weight", Packing::Experts},
               TensorName{Role::ValueUp, "blk.{layer}.attn_v_b.weight", Packing::Experts},
               TensorName{Role::KeyUp, "blk.{layer}.attn_k_b.weight", Packing::ExpertRows},
               TensorName{Role::ValueUp, "blk.{layer}.attn_v_b.weight", Packing::ExpertRows},
               TensorName{Role::KvUp, "blk.{layer}.attn_kv_b.weight", Packing::Whole},
               TensorName{Role::AttentionOutput, "blk.{layer}.attn_output.weight", Packing::Whole},
               TensorName{Role::FeedForwardNorm, "blk.{layer}.ffn_norm.weight", Packing::Whole},
               TensorName{Role::SelectionBias, "blk.{layer}.exp_probs_b.bias", Packing::Whole},
               TensorName{Role::SharedGate, "blk.{layer}.ffn_gate_shexp.weight", Packing::Whole},
               TensorName{Role::SharedUp, "blk.{layer}.ffn_up_shexp.weight", Packing::Whole},
               TensorName{Role::SharedDown, "blk.{layer}.ffn_down_shexp.weight", Packing::Whole},
               TensorName{Role::MtpEmbedding, "blk.{layer}.nextn.embed_tokens.weight", Packing::Whole},
               TensorName{Role::MtpEmbeddingNorm, "blk.{layer}.nextn.enorm.weight", Packing::Whole},
               TensorName{Role::MtpHiddenNorm, "blk.{layer}.nextn.hnorm.weight", Packing::Whole},
               TensorName{Role::MtpJoin, "blk.{layer}.nextn.eh_proj.weight", Packing::Whole},
               TensorName{Role::MtpFinalNorm, "blk.{layer}.nextn.shared_head_norm.weight", Packing::Whole},
               TensorName{Role::MtpOutput, "blk.{layer}.nextn.shared_head_head.weight", Packing::Whole},
           });

constexpr std::string_view kComputed = "RoPE frequencies, computed from the configuration";
constexpr std::array kHuggingFaceIgnored = {
    IgnoredTensor{"model.layers.{layer}.self_attn.rotary_emb.inv_freq", kComputed},
};
constexpr std::array kGgufIgnored = {
    IgnoredTensor{"blk.{layer}.attn_kv_b.weight", "attn_k_b and attn_v_b hold the same"},
};

constexpr std::array<std::string_view, 2> kFamilies = {"deepseek-v2", "deepseek-v3"};
constexpr std::array kTables = {
    NameTable{CheckpointFormat::HuggingFace, kFamilies, kHuggingFace, kHuggingFaceIgnored, RopePairing::Interleaved},
    NameTable{CheckpointFormat::Gguf, kFamilies, kGguf, kGgufIgnored, RopePairing::Interleaved},
};

}  // namespace

std::span<const NameTable> deepseek_name_tables() { return kTables; }

}  // namespace ostro
