// Dense Llama, Mistral and Mixtral: in Hugging Face's layouts, in Mistral's own, in GGUF (one architecture for all).
#include <array>

#include "model/tensor_names_common.h"

namespace ostro {

namespace {

constexpr auto kHuggingFace = joined(
    kHubOuter, kHubAttention, kHubFeedForward,
    std::array{
        // Mixtral as published.
        TensorName{Role::Router, "model.layers.{layer}.block_sparse_moe.gate.weight", Packing::Whole},
        TensorName{Role::ExpertGate, "model.layers.{layer}.block_sparse_moe.experts.{expert}.w1.weight",
                   Packing::Whole},
        TensorName{Role::ExpertUp, "model.layers.{layer}.block_sparse_moe.experts.{expert}.w3.weight", Packing::Whole},
        TensorName{Role::ExpertDown, "model.layers.{layer}.block_sparse_moe.experts.{expert}.w2.weight",
                   Packing::Whole},
        // As Transformers 5 holds it in memory, and tools that save a state dict as it is.
        TensorName{Role::Router, "model.layers.{layer}.mlp.gate.weight", Packing::Whole},
    },
    kHubMergedExperts);

constexpr std::array kMistral = {
    TensorName{Role::Embedding, "tok_embeddings.weight", Packing::Whole},
    TensorName{Role::FinalNorm, "norm.weight", Packing::Whole},
    TensorName{Role::Output, "output.weight", Packing::Whole},
    TensorName{Role::AttentionNorm, "layers.{layer}.attention_norm.weight", Packing::Whole},
    TensorName{Role::Query, "layers.{layer}.attention.wq.weight", Packing::Whole},
    TensorName{Role::Key, "layers.{layer}.attention.wk.weight", Packing::Whole},
    TensorName{Role::Value, "layers.{layer}.attention.wv.weight", Packing::Whole},
    TensorName{Role::AttentionOutput, "layers.{layer}.attention.wo.weight", Packing::Whole},
    TensorName{Role::FeedForwardNorm, "layers.{layer}.ffn_norm.weight", Packing::Whole},
    TensorName{Role::Gate, "layers.{layer}.feed_forward.w1.weight", Packing::Whole},
    TensorName{Role::Up, "layers.{layer}.feed_forward.w3.weight", Packing::Whole},
    TensorName{Role::Down, "layers.{layer}.feed_forward.w2.weight", Packing::Whole},
    TensorName{Role::Router, "layers.{layer}.feed_forward.gate.weight", Packing::Whole},
    TensorName{Role::ExpertGate, "layers.{layer}.feed_forward.experts.{expert}.w1.weight", Packing::Whole},
    TensorName{Role::ExpertUp, "layers.{layer}.feed_forward.experts.{expert}.w3.weight", Packing::Whole},
    TensorName{Role::ExpertDown, "layers.{layer}.feed_forward.experts.{expert}.w2.weight", Packing::Whole},
    // The first release of Mixtral, December 2023.
    TensorName{Role::Router, "layers.{layer}.block_sparse_moe.gate.weight", Packing::Whole},
    TensorName{Role::ExpertGate, "layers.{layer}.block_sparse_moe.w1", Packing::ExpertRows},
    TensorName{Role::ExpertUp, "layers.{layer}.block_sparse_moe.w3", Packing::ExpertRows},
    TensorName{Role::ExpertDown, "layers.{layer}.block_sparse_moe.w2", Packing::ExpertColumns},
};

constexpr auto kGguf =
    joined(kGgufOuter, kGgufAttention, kGgufDense, kGgufExperts, kGgufFusedExperts, kGgufSingleExperts,
           std::array{
               TensorName{Role::FeedForwardNorm, "blk.{layer}.ffn_norm.weight", Packing::Whole},
           });

constexpr std::string_view kComputed = "RoPE frequencies, computed from the configuration";
constexpr std::array kHuggingFaceIgnored = {
    IgnoredTensor{"model.layers.{layer}.self_attn.rotary_emb.inv_freq", kComputed},
    IgnoredTensor{"model.rotary_emb.inv_freq", kComputed},
};
constexpr std::array kMistralIgnored = {
    IgnoredTensor{"rope.freqs", kComputed},
};
constexpr std::array kGgufIgnored = {
    IgnoredTensor{"rope_freqs.weight", "divisors of the RoPE frequencies, already in the model's description"},
    IgnoredTensor{"blk.{layer}.attn_rot_embd.weight", kComputed},
    IgnoredTensor{"blk.{layer}.attn_rot_embd", kComputed},
};

constexpr std::array<std::string_view, 3> kFamilies = {"mistral", "mixtral", "llama"};
// Hugging Face's converters sort the rows of each head so that the pairs of RoPE are (i, i + dims/2); Mistral's own
// files and, for this architecture, GGUF keep them as (2i, 2i + 1).
constexpr std::array kTables = {
    NameTable{CheckpointFormat::HuggingFace, kFamilies, kHuggingFace, kHuggingFaceIgnored, RopePairing::HalfSplit},
    NameTable{CheckpointFormat::Mistral, kFamilies, kMistral, kMistralIgnored, RopePairing::Interleaved},
    NameTable{CheckpointFormat::Gguf, kFamilies, kGguf, kGgufIgnored, RopePairing::Interleaved},
};

}  // namespace

std::span<const NameTable> llama_name_tables() { return kTables; }

}  // namespace ostro
