// Models with latent attention in the layouts of the DeepSeek family: config.json and GGUF's deepseek2.
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "base/error.h"
#include "model/write_spec_parts.h"

namespace ostro {
namespace {

struct LatentParts {
  const MlaSpec* attention = nullptr;
  const DenseSpec* dense = nullptr;
  const MoeSpec* moe = nullptr;
  int64_t first_sparse = 0;  // all layers before it are dense, all others have experts
};

LatentParts latent_parts(const ModelSpec& spec, std::string_view layout) {
  LatentParts parts;
  for (const BlockSpec& block : spec.blocks) {
    if (const auto* mla = std::get_if<MlaSpec>(&block.mixer)) {
      parts.attention = mla;
    } else if (const auto* moe = std::get_if<MoeSpec>(&block.mixer)) {
      parts.moe = moe;
    } else if (const auto* dense = std::get_if<DenseSpec>(&block.mixer)) {
      parts.dense = dense;
      if (parts.moe != nullptr) cannot_say(layout, "a dense layer follows one with experts");
      parts.first_sparse = block.layer + 1;
    } else {
      cannot_say(layout, "its layers have different kinds of attention");
    }
  }
  if (parts.attention == nullptr || parts.moe == nullptr) cannot_say(layout, "it has no experts");
  return parts;
}

bool third_generation(const RouterSpec& router) { return router.score == Score::Sigmoid; }

// What the two generations fix: how groups are ranked goes with the score.
void check_generation(const RouterSpec& router, std::string_view layout) {
  const bool third = third_generation(router);
  const bool rank_fits = router.groups == 1 || (router.group_rank == GroupRank::TopTwoSum) == third;
  if (router.selection_bias != third || !rank_fits) cannot_say(layout, "its router mixes rules of both generations");
}

// How many routed experts the shared one is as wide as.
int64_t shared_experts(const MoeSpec& moe, std::string_view layout) {
  if (!moe.shared) return 0;
  if (moe.shared->inner % moe.expert.inner != 0) {
    cannot_say(layout, "the shared expert is not as wide as several others together");
  }
  return moe.shared->inner / moe.expert.inner;
}

int64_t dense_width(const LatentParts& parts) {
  return parts.dense != nullptr ? parts.dense->inner : parts.moe->expert.inner;
}

// mscale, whose factor on cos and sin is relative to that of mscale_all_dim.
double turn_mscale(const RopeScaling& scaling) {
  if (std::fabs(scaling.magnitude - 1) < 1e-6) return scaling.score_mscale;
  return (scaling.magnitude * yarn_magnitude(scaling.factor, scaling.score_mscale) - 1) /
         (0.1 * std::log(scaling.factor));
}

Json config_scaling(const RopeScaling& scaling) {
  switch (scaling.kind) {
    case RopeScaling::Kind::None:
      return nullptr;
    case RopeScaling::Kind::Yarn:
      if (!scaling.truncate)
        cannot_say("config.json", "the ramp of its YaRN scaling does not begin at a whole dimension");
      return {{"type", "yarn"},
              {"factor", scaling.factor},
              {"beta_fast", scaling.beta_fast},
              {"beta_slow", scaling.beta_slow},
              {"mscale", turn_mscale(scaling)},
              {"mscale_all_dim", scaling.score_mscale},
              {"original_max_position_embeddings", static_cast<int64_t>(scaling.original_context)}};
    default:
      cannot_say("config.json", "RoPE of latent attention is scaled otherwise than by YaRN");
  }
}

Json deepseek_config(const ModelSpec& spec, const std::string& dtype) {
  constexpr std::string_view kLayout = "config.json";
  const LatentParts parts = latent_parts(spec, kLayout);
  const MlaSpec& mla = *parts.attention;
  const RouterSpec& router = parts.moe->router;
  check_generation(router, kLayout);
  const bool third = third_generation(router);
  Json config;
  config["architectures"] = {third ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM"};
  config["model_type"] = third ? "deepseek_v3" : "deepseek_v2";
  config["attention_bias"] = false;
  config["attention_dropout"] = 0.0;
  config["bos_token_id"] = token_or_null(spec.bos);
  config["eos_token_id"] = token_list(spec.eos);
  config["first_k_dense_replace"] = parts.first_sparse;
  config["hidden_act"] = "silu";
  config["hidden_size"] = spec.width;
  config["initializer_range"] = 0.02;
  config["intermediate_size"] = dense_width(parts);
  config["kv_lora_rank"] = mla.kv_rank;
  config["max_position_embeddings"] = spec.context;
  config["moe_intermediate_size"] = parts.moe->expert.inner;
  config["moe_layer_freq"] = 1;
  config["n_group"] = router.groups;
  config["n_routed_experts"] = router.experts;
  config["n_shared_experts"] = shared_experts(*parts.moe, kLayout);
  config["norm_topk_prob"] = router.renormalize;
  config["num_attention_heads"] = mla.heads;
  config["num_experts_per_tok"] = router.top_k;
  config["num_hidden_layers"] = spec.layers;
  config["num_key_value_heads"] = mla.heads;
  config["num_nextn_predict_layers"] = spec.mtp_blocks > 0 ? 1 : 0;
  config["q_lora_rank"] = mla.query_rank > 0 ? Json(mla.query_rank) : Json(nullptr);
  config["qk_nope_head_dim"] = mla.nope_dim;
  config["qk_rope_head_dim"] = mla.rope_dim;
  config["rms_norm_eps"] = shortest(spec.final_norm.eps);
  config["rope_scaling"] = config_scaling(mla.rope.scaling);
  config["rope_theta"] = mla.rope.theta;
  config["routed_scaling_factor"] = shortest(router.weight_scale);
  config["scoring_func"] = third ? "sigmoid" : "softmax";
  config["tie_word_embeddings"] = spec.tied_embeddings;
  config["topk_group"] = router.groups_kept;
  config["topk_method"] = third ? "noaux_tc" : router.groups > 1 ? "group_limited_greedy" : "greedy";
  config["torch_dtype"] = dtype;
  config["use_cache"] = true;
  config["v_head_dim"] = mla.value_dim;
  config["vocab_size"] = spec.vocab;
  return config;
}

void put_deepseek_keys(const ModelSpec& spec, GgufMetadata& metadata) {
  constexpr std::string_view kLayout = "GGUF";
  const LatentParts parts = latent_parts(spec, kLayout);
  const MlaSpec& mla = *parts.attention;
  const RouterSpec& router = parts.moe->router;
  check_generation(router, kLayout);
  if (mla.latent_norm.eps != spec.final_norm.eps) cannot_say(kLayout, "the norms of its latents have another epsilon");
  const auto put = [&](const std::string& name, GgufValue value) {
    metadata.values["deepseek2." + name] = std::move(value);
  };
  put_gguf_sizes(spec, "deepseek2", metadata);
  if (spec.mtp_blocks > 0) put("block_count", spec.layers + 1);
  if (spec.mtp_blocks > 0) put("nextn_predict_layers", int64_t{1});
  put("feed_forward_length", dense_width(parts));
  put("attention.layer_norm_rms_epsilon", static_cast<double>(spec.final_norm.eps));
  // The latent is the one key-value head; `_mla` are the sizes before absorption.
  put("attention.head_count", mla.heads);
  put("attention.head_count_kv", int64_t{1});
  if (mla.query_rank > 0) put("attention.q_lora_rank", mla.query_rank);
  put("attention.kv_lora_rank", mla.kv_rank);
  put("attention.key_length", mla.kv_rank + mla.rope_dim);
  put("attention.value_length", mla.kv_rank);
  put("attention.key_length_mla", mla.nope_dim + mla.rope_dim);
  put("attention.value_length_mla", mla.value_dim);
  put("rope.dimension_count", mla.rope_dim);
  put("rope.freq_base", mla.rope.theta);
  const RopeScaling& scaling = mla.rope.scaling;
  if (scaling.kind == RopeScaling::Kind::Yarn) {
    if (!scaling.truncate) cannot_say(kLayout, "the ramp of its YaRN scaling does not begin at a whole dimension");
    put("rope.scaling.type", std::string("yarn"));
    put("rope.scaling.factor", scaling.factor);
    put("rope.scaling.original_context_length", static_cast<int64_t>(scaling.original_context));
    put("rope.scaling.yarn_beta_fast", scaling.beta_fast);
    put("rope.scaling.yarn_beta_slow", scaling.beta_slow);
    put("rope.scaling.yarn_log_multiplier", 0.1 * scaling.score_mscale);
    if (std::fabs(scaling.magnitude - 1) > 1e-6) put("rope.scaling.attn_factor", scaling.magnitude);
  } else if (scaling.kind != RopeScaling::Kind::None) {
    cannot_say(kLayout, "RoPE of latent attention is scaled otherwise than by YaRN");
  }
  put("leading_dense_block_count", parts.first_sparse);
  put("expert_count", router.experts);
  put("expert_used_count", router.top_k);
  put("expert_feed_forward_length", parts.moe->expert.inner);
  put("expert_shared_count", shared_experts(*parts.moe, kLayout));
  put("expert_gating_func", int64_t{third_generation(router) ? 2 : 1});
  put("expert_weights_scale", static_cast<double>(router.weight_scale));
  put("expert_weights_norm", router.renormalize);
  put("expert_group_count", router.groups);
  put("expert_group_used_count", router.groups_kept);
}

constexpr std::array<std::string_view, 2> kFamilies = {"deepseek-v2", "deepseek-v3"};

}  // namespace

const SpecWriter kDeepSeekSpecWriter = {kFamilies, put_deepseek_keys, put_deepseek_keys, deepseek_config};

}  // namespace ostro
