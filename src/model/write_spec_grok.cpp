// Grok-1: ModelSpec -> config.json (the port whose tensors have the publisher's names) and the metadata of GGUF.
#include <array>

#include "base/error.h"
#include "model/write_spec_parts.h"

namespace ostro {

namespace {

// That the chosen experts' weights are not renormalised no field of either layout says: readers of this family know.
Parts checked_parts(const ModelSpec& spec, std::string_view layout) {
  const Parts parts = parts_of(spec);
  CHECK(parts.moe != nullptr);
  const RouterSpec& router = parts.moe->router;
  if (router.score != Score::Softmax || router.renormalize || router.weight_scale != 1) {
    cannot_say(layout, "its router is not a softmax over all experts");
  }
  check_whole_heads_turn(parts.attention, layout);
  return parts;
}

void put_grok_keys(const ModelSpec& spec, GgufMetadata& metadata) {
  const Parts parts = checked_parts(spec, "GGUF");
  put_gguf_sizes(spec, "grok", metadata);
  put_gguf_heads(parts.attention, "grok", metadata);
  put_gguf_experts(*parts.moe, "grok", metadata);
  put(metadata, "grok.attention.layer_norm_rms_epsilon", shortest(spec.final_norm.eps));
  put(metadata, "grok.embedding_scale", shortest(spec.embedding_scale));
  put(metadata, "grok.logit_scale", shortest(spec.logit_scale));
  put(metadata, "grok.attention.output_scale", shortest(parts.attention.scale));
  put(metadata, "grok.attn_logit_softcapping", shortest(parts.attention.logit_cap));
  put(metadata, "grok.final_logit_softcapping", 0.0);
  put_gguf_rope(parts.attention.rope, "grok", metadata);
}

Json grok_config(const ModelSpec& spec, const std::string& dtype) {
  const Parts parts = checked_parts(spec, "config.json");
  Json config;
  config["architectures"] = {"GrokForCausalLM"};
  config["model_type"] = "grok";
  config["vocab_size"] = spec.vocab;
  config["hidden_size"] = spec.width;
  config["intermediate_size"] = parts.inner;
  config["num_hidden_layers"] = spec.layers;
  config["num_attention_heads"] = parts.attention.query_heads;
  config["num_key_value_heads"] = parts.attention.kv_heads;
  if (parts.attention.head_dim * parts.attention.query_heads != spec.width) {
    config["head_dim"] = parts.attention.head_dim;
  }
  config["max_position_embeddings"] = spec.context;
  config["rms_norm_eps"] = shortest(spec.final_norm.eps);
  config["attn_output_multiplier"] = shortest(parts.attention.scale);
  config["max_attn_value"] = shortest(parts.attention.logit_cap);
  config["embedding_multiplier_scale"] = shortest(spec.embedding_scale);
  config["output_multiplier_scale"] = shortest(spec.logit_scale);
  config["num_experts_per_tok"] = parts.moe->router.top_k;
  config["num_local_experts"] = parts.moe->router.experts;
  config["output_router_logits"] = false;
  config["router_aux_loss_coef"] = 0.02;
  config["hidden_act"] = "gelu_new";
  if (const Json scaling = hugging_face_scaling(parts.attention); !scaling.is_null()) config["rope_scaling"] = scaling;
  config["rope_theta"] = parts.attention.rope.theta;
  config["pad_token_id"] = 0;
  config["bos_token_id"] = token_or_null(spec.bos);
  config["eos_token_id"] = token_list(spec.eos);
  config["tie_word_embeddings"] = spec.tied_embeddings;
  config["torch_dtype"] = dtype;
  config["use_cache"] = true;
  return config;
}

constexpr std::array<std::string_view, 1> kFamilies = {"grok"};

}  // namespace

const SpecWriter kGrokSpecWriter = {kFamilies, put_grok_keys, nullptr, grok_config};

}  // namespace ostro
