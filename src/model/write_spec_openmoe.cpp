// OpenMoE: ModelSpec -> config.json, and the metadata of a GGUF architecture that is ostro's own.
#include <array>

#include "base/error.h"
#include "model/write_spec_parts.h"

namespace ostro {

namespace {

constexpr std::array<std::string_view, 1> kFamilies = {"openmoe"};

// As published, or as it was before the capacity was switched off.
CapacitySpec capacity_of(const Parts& parts, std::string_view layout) {
  if (parts.moe == nullptr) cannot_say(layout, "it has no experts");
  if (!parts.moe->router.capacity) cannot_say(layout, "its experts have no capacity");
  return *parts.moe->router.capacity;
}

int64_t interval_of(const ModelSpec& spec) {
  for (const BlockSpec& block : spec.blocks) {
    if (std::holds_alternative<MoeSpec>(block.mixer)) return block.layer + 1;
  }
  return 0;
}

void put_keys(const ModelSpec& spec, GgufMetadata& metadata) {
  const Parts parts = parts_of(spec);
  const CapacitySpec capacity = capacity_of(parts, "GGUF");
  const std::string architecture = "openmoe";
  put_gguf_sizes(spec, architecture, metadata);
  put_gguf_heads(parts.attention, architecture, metadata);
  put_gguf_rope(parts.attention.rope, architecture, metadata);
  put(metadata, "openmoe.feed_forward_length", parts.inner);
  put(metadata, "openmoe.attention.layer_norm_rms_epsilon", static_cast<double>(spec.final_norm.eps));
  put(metadata, "openmoe.expert_count", parts.moe->router.experts);
  put(metadata, "openmoe.expert_used_count", parts.moe->router.top_k);
  put(metadata, "openmoe.moe_every_n_layers", interval_of(spec));
  put(metadata, "openmoe.expert_capacity_factor", capacity.factor);
  put(metadata, "openmoe.expert_capacity_min", capacity.least);
}

Json config_json(const ModelSpec& spec, const std::string& dtype) {
  const Parts parts = parts_of(spec);
  const CapacitySpec capacity = capacity_of(parts, "config.json");
  check_whole_heads_turn(parts.attention, "config.json");
  Json config;
  config["architectures"] = {"OpenMoeForCausalLM"};
  config["model_type"] = "llama";
  config["attention_bias"] = false;
  config["bos_token_id"] = token_or_null(spec.bos);
  config["eos_token_id"] = token_list(spec.eos);
  config["head_dim"] = parts.attention.head_dim;
  config["hidden_act"] = "swiglu";
  config["hidden_size"] = spec.width;
  config["initializer_range"] = 0.02;
  config["intermediate_size"] = parts.inner;
  config["layer_norm_epsilon"] = shortest(spec.final_norm.eps);
  config["max_position_embeddings"] = spec.context;
  config["mlp_gated"] = true;
  config["moe_layer_interval"] = interval_of(spec);
  config["num_attention_heads"] = parts.attention.query_heads;
  config["num_experts"] = parts.moe->router.experts;
  config["num_hidden_layers"] = spec.layers;
  config["num_key_value_heads"] = parts.attention.kv_heads;
  config["pad_token_id"] = token_or_null(spec.bos);
  config["rms_norm_eps"] = shortest(spec.final_norm.eps);
  if (const Json scaling = hugging_face_scaling(parts.attention); !scaling.is_null()) config["rope_scaling"] = scaling;
  config["rope_theta"] = parts.attention.rope.theta;
  config["router_capacity_factor_eval"] = capacity.factor;
  config["router_min_capacity"] = capacity.least;
  config["router_drop_tks"] = true;
  config["router_noisy_policy"] = nullptr;
  config["router_topk"] = parts.moe->router.top_k;
  config["tie_word_embeddings"] = spec.tied_embeddings;
  config["torch_dtype"] = dtype;
  config["use_cache"] = true;
  config["vocab_size"] = spec.vocab;
  return config;
}

}  // namespace

const SpecWriter kOpenMoeSpecWriter = {kFamilies, put_keys, nullptr, config_json};

}  // namespace ostro
