// Dense Llama, Mistral and Mixtral: ModelSpec -> config.json, params.json and the metadata of GGUF.
#include <fmt/format.h>

#include <array>

#include "model/write_spec.h"
#include "model/write_spec_parts.h"

namespace ostro {

namespace {

void put_experts_and_window(const ModelSpec& spec, GgufMetadata& metadata) {
  const Parts parts = parts_of(spec);
  metadata.values.erase("llama.attention.sliding_window");
  if (const int64_t window = one_window(parts, "GGUF"); window > 0) {
    if (parts.moe != nullptr) cannot_say("GGUF", "a sparse model with a sliding window");
    put(metadata, "llama.attention.sliding_window", window);
  }
  if (parts.moe == nullptr) return;
  put(metadata, "llama.expert_count", parts.moe->router.experts);
  put(metadata, "llama.expert_used_count", parts.moe->router.top_k);
}

void put_llama_keys(const ModelSpec& spec, GgufMetadata& metadata) {
  const Parts parts = parts_of(spec);
  check_router(parts, "GGUF");
  put_gguf_sizes(spec, "llama", metadata);
  put_gguf_heads(parts.attention, "llama", metadata);
  put(metadata, "llama.feed_forward_length", parts.inner);
  put(metadata, "llama.attention.layer_norm_rms_epsilon", static_cast<double>(spec.final_norm.eps));
  put_gguf_rope(parts.attention.rope, "llama", metadata);
  put_experts_and_window(spec, metadata);
}

Json llama_config(const ModelSpec& spec, const std::string& dtype) {
  const Parts parts = parts_of(spec);
  check_router(parts, "config.json");
  check_whole_heads_turn(parts.attention, "config.json");
  const int64_t window = one_window(parts, "config.json");
  const bool sparse = parts.moe != nullptr;
  if (sparse && window > 0) cannot_say("config.json", "a sparse model with a sliding window");
  const bool windowed_family = !sparse && (window > 0 || spec.family == "mistral");
  Json config;
  config["architectures"] = {sparse            ? "MixtralForCausalLM"
                             : windowed_family ? "MistralForCausalLM"
                                               : "LlamaForCausalLM"};
  config["model_type"] = sparse ? "mixtral" : windowed_family ? "mistral" : "llama";
  config["attention_dropout"] = 0.0;
  if (!sparse && !windowed_family) {
    config["attention_bias"] = false;
    config["mlp_bias"] = false;
  }
  config["bos_token_id"] = token_or_null(spec.bos);
  config["eos_token_id"] = token_list(spec.eos);
  config["head_dim"] = parts.attention.head_dim;
  config["hidden_act"] = "silu";
  config["hidden_size"] = spec.width;
  config["initializer_range"] = 0.02;
  config["intermediate_size"] = parts.inner;
  config["max_position_embeddings"] = spec.context;
  config["num_attention_heads"] = parts.attention.query_heads;
  config["num_hidden_layers"] = spec.layers;
  config["num_key_value_heads"] = parts.attention.kv_heads;
  if (sparse) {
    config["num_experts_per_tok"] = parts.moe->router.top_k;
    config["num_local_experts"] = parts.moe->router.experts;
    config["output_router_logits"] = false;
    config["router_aux_loss_coef"] = 0.02;
  }
  config["rms_norm_eps"] = shortest(spec.final_norm.eps);
  if (const Json scaling = hugging_face_scaling(parts.attention); !scaling.is_null()) config["rope_scaling"] = scaling;
  config["rope_theta"] = parts.attention.rope.theta;
  if (sparse || windowed_family) config["sliding_window"] = window > 0 ? Json(window) : Json(nullptr);
  config["tie_word_embeddings"] = spec.tied_embeddings;
  config["torch_dtype"] = dtype;
  config["use_cache"] = true;
  config["vocab_size"] = spec.vocab;
  return config;
}

constexpr std::array<std::string_view, 3> kFamilies = {"mistral", "mixtral", "llama"};

}  // namespace

const SpecWriter kLlamaSpecWriter = {kFamilies, put_llama_keys, put_experts_and_window, llama_config};

Json write_native_spec(const ModelSpec& spec) {
  constexpr std::string_view kLayout = "params.json";
  const Parts parts = parts_of(spec);
  check_router(parts, kLayout);
  check_whole_heads_turn(parts.attention, kLayout);
  if (parts.attention.rope.scaling.kind != RopeScaling::Kind::None) cannot_say(kLayout, "its RoPE is scaled");
  if ((spec.bos >= 0 && spec.bos != 1) || (!spec.eos.empty() && spec.eos != std::vector<int32_t>{2})) {
    cannot_say(kLayout, "texts begin and end with other tokens than 1 and 2");
  }
  Json params = {{"dim", spec.width},
                 {"n_layers", spec.layers},
                 {"head_dim", parts.attention.head_dim},
                 {"hidden_dim", parts.inner},
                 {"n_heads", parts.attention.query_heads},
                 {"n_kv_heads", parts.attention.kv_heads},
                 {"norm_eps", shortest(spec.final_norm.eps)},
                 {"vocab_size", spec.vocab},
                 {"rope_theta", parts.attention.rope.theta}};
  if (const int64_t window = one_window(parts, kLayout); window > 0) params["sliding_window"] = window;
  if (spec.tied_embeddings) params["tied_embeddings"] = true;
  constexpr int64_t kUsualContext = 32768;
  if (spec.context != kUsualContext) params["max_position_embeddings"] = spec.context;
  if (parts.moe != nullptr) {
    params["moe"] = {{"num_experts_per_tok", parts.moe->router.top_k}, {"num_experts", parts.moe->router.experts}};
  }
  return params;
}

}  // namespace ostro
