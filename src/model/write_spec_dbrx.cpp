// DBRX: ModelSpec -> config.json and the metadata of GGUF.
#include <array>

#include "base/error.h"
#include "model/write_spec_parts.h"

namespace ostro {

namespace {

Parts checked_parts(const ModelSpec& spec, std::string_view layout) {
  const Parts parts = parts_of(spec);
  check_router(parts, layout);
  CHECK(parts.moe != nullptr);
  check_whole_heads_turn(parts.attention, layout);
  return parts;
}

void put_dbrx_keys(const ModelSpec& spec, GgufMetadata& metadata) {
  const Parts parts = checked_parts(spec, "GGUF");
  put_gguf_sizes(spec, "dbrx", metadata);
  put_gguf_heads(parts.attention, "dbrx", metadata);
  put_gguf_experts(*parts.moe, "dbrx", metadata);
  put(metadata, "dbrx.attention.layer_norm_epsilon", shortest(spec.final_norm.eps));
  put(metadata, "dbrx.attention.clamp_kqv", shortest(parts.attention.clip_qkv));
  put_gguf_rope(parts.attention.rope, "dbrx", metadata);
}

Json dbrx_config(const ModelSpec& spec, const std::string& dtype) {
  const Parts parts = checked_parts(spec, "config.json");
  const GqaSpec& attention = parts.attention;
  if (attention.rope.scaling.kind != RopeScaling::Kind::None) cannot_say("config.json", "its RoPE is scaled");
  if (attention.head_dim * attention.query_heads != spec.width) {
    cannot_say("config.json", "its heads are not the width divided by their number");
  }
  constexpr float kEpsilon = 1e-5f;  // no field says it
  if (spec.final_norm.eps != kEpsilon) cannot_say("config.json", "the epsilon of its norms is not 1e-05");
  Json config;
  config["architectures"] = {"DbrxForCausalLM"};
  config["model_type"] = "dbrx";
  config["d_model"] = spec.width;
  config["n_heads"] = attention.query_heads;
  config["n_layers"] = spec.layers;
  config["max_seq_len"] = spec.context;
  config["vocab_size"] = spec.vocab;
  config["attn_config"] = {{"kv_n_heads", attention.kv_heads}, {"rope_theta", attention.rope.theta}};
  config["attn_config"]["clip_qkv"] = attention.clip_qkv > 0 ? Json(shortest(attention.clip_qkv)) : Json(nullptr);
  config["ffn_config"] = {{"ffn_hidden_size", parts.inner},
                          {"moe_num_experts", parts.moe->router.experts},
                          {"moe_top_k", parts.moe->router.top_k}};
  config["bos_token_id"] = token_or_null(spec.bos);
  config["eos_token_id"] = token_list(spec.eos);
  config["emb_pdrop"] = 0.0;
  config["resid_pdrop"] = 0.0;
  config["initializer_range"] = 0.02;
  config["output_router_logits"] = false;
  config["router_aux_loss_coef"] = 0.05;
  config["tie_word_embeddings"] = spec.tied_embeddings;
  config["torch_dtype"] = dtype;
  config["use_cache"] = true;
  return config;
}

constexpr std::array<std::string_view, 1> kFamilies = {"dbrx"};

}  // namespace

const SpecWriter kDbrxSpecWriter = {kFamilies, put_dbrx_keys, nullptr, dbrx_config};

}  // namespace ostro
