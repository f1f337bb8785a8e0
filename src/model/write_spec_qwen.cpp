// Qwen2-MoE, Qwen3-MoE and OLMoE: ModelSpec -> config.json and the metadata of GGUF.
#include <fmt/format.h>

#include <array>

#include "base/error.h"
#include "model/write_spec_parts.h"

namespace ostro {

namespace {

constexpr std::array<std::string_view, 3> kFamilies = {"qwen2moe", "qwen3moe", "olmoe"};

struct Sparse {
  Parts parts;
  int64_t dense_inner = 0;            // of the layers without experts; 0: there are none
  std::vector<int64_t> dense_layers;  // their numbers
};

Sparse sparse_parts(const ModelSpec& spec, std::string_view layout) {
  Sparse sparse{parts_of(spec), 0, {}};
  for (const BlockSpec& block : spec.blocks) {
    const auto* dense = std::get_if<DenseSpec>(&block.mixer);
    if (dense == nullptr) continue;
    sparse.dense_inner = dense->inner;
    sparse.dense_layers.push_back(block.layer);
  }
  if (sparse.parts.moe == nullptr) cannot_say(layout, "it has no experts");
  const RouterSpec& router = sparse.parts.moe->router;
  if (router.score != Score::Softmax || router.weight_scale != 1 || router.selection_bias || router.groups != 1) {
    cannot_say(layout, "its router is not a plain softmax");
  }
  if (one_window(sparse.parts, layout) > 0) cannot_say(layout, "a sliding window");
  return sparse;
}

void put_keys(const ModelSpec& spec, GgufMetadata& metadata) {
  const Sparse sparse = sparse_parts(spec, "GGUF");
  const MoeSpec& moe = *sparse.parts.moe;
  const bool third = spec.family == "qwen3moe", olmoe = spec.family == "olmoe";
  // What llama.cpp takes for granted. (And that all layers have experts: no key says which have not, ours are known by
  // their tensors.)
  if (moe.router.renormalize != third) cannot_say("GGUF", "weights of experts normalised otherwise than its family's");
  const std::string architecture = spec.family;
  put_gguf_sizes(spec, architecture, metadata);
  put_gguf_heads(sparse.parts.attention, architecture, metadata);
  put_gguf_rope(sparse.parts.attention.rope, architecture, metadata);
  put(metadata, architecture + ".feed_forward_length", sparse.dense_inner > 0 ? sparse.dense_inner : moe.expert.inner);
  put(metadata, architecture + ".attention.layer_norm_rms_epsilon", static_cast<double>(spec.final_norm.eps));
  put(metadata, architecture + ".expert_count", moe.router.experts);
  put(metadata, architecture + ".expert_used_count", moe.router.top_k);
  if (!olmoe) put(metadata, architecture + ".expert_feed_forward_length", moe.expert.inner);
  if (moe.shared) put(metadata, architecture + ".expert_shared_feed_forward_length", moe.shared->inner);
}

Json config_json(const ModelSpec& spec, const std::string& dtype) {
  const Sparse sparse = sparse_parts(spec, "config.json");
  const GqaSpec& attention = sparse.parts.attention;
  const MoeSpec& moe = *sparse.parts.moe;
  check_whole_heads_turn(attention, "config.json");
  const bool third = spec.family == "qwen3moe", olmoe = spec.family == "olmoe";
  Json config;
  config["architectures"] = {olmoe ? "OlmoeForCausalLM" : third ? "Qwen3MoeForCausalLM" : "Qwen2MoeForCausalLM"};
  config["model_type"] = olmoe ? "olmoe" : third ? "qwen3_moe" : "qwen2_moe";
  config["attention_dropout"] = 0.0;
  if (olmoe || third) config["attention_bias"] = false;
  config["bos_token_id"] = token_or_null(spec.bos);
  config["eos_token_id"] = token_list(spec.eos);
  if (third || attention.head_dim * attention.query_heads != spec.width) config["head_dim"] = attention.head_dim;
  config["hidden_act"] = "silu";
  config["hidden_size"] = spec.width;
  config["initializer_range"] = 0.02;
  config["intermediate_size"] = sparse.dense_inner > 0 ? sparse.dense_inner : moe.expert.inner;
  config["max_position_embeddings"] = spec.context;
  if (!olmoe) {
    config["decoder_sparse_step"] = 1;
    config["mlp_only_layers"] = sparse.dense_layers;
    config["moe_intermediate_size"] = moe.expert.inner;
    config["use_sliding_window"] = false;
  }
  if (moe.shared) config["shared_expert_intermediate_size"] = moe.shared->inner;
  config["norm_topk_prob"] = moe.router.renormalize;
  config["num_attention_heads"] = attention.query_heads;
  config["num_experts"] = moe.router.experts;
  config["num_experts_per_tok"] = moe.router.top_k;
  config["num_hidden_layers"] = spec.layers;
  config["num_key_value_heads"] = attention.kv_heads;
  config["rms_norm_eps"] = shortest(spec.final_norm.eps);
  if (const Json scaling = hugging_face_scaling(attention); !scaling.is_null()) config["rope_scaling"] = scaling;
  config["rope_theta"] = attention.rope.theta;
  config["tie_word_embeddings"] = spec.tied_embeddings;
  config["torch_dtype"] = dtype;
  config["use_cache"] = true;
  config["vocab_size"] = spec.vocab;
  return config;
}

}  // namespace

const SpecWriter kQwenSpecWriter = {kFamilies, put_keys, nullptr, config_json};

}  // namespace ostro
