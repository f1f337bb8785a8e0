// gpt-oss: ModelSpec -> config.json and the metadata of GGUF.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "model/write_spec_parts.h"

namespace ostro {

namespace {

void put_gpt_oss_keys(const ModelSpec& spec, GgufMetadata& metadata) {
  const Parts parts = parts_of(spec);
  CHECK(parts.moe != nullptr);
  for (size_t layer = 0; layer < parts.windows.size(); ++layer) {
    if (parts.windows[layer] != (layer % 2 == 0 ? parts.windows.front() : 0)) {
      cannot_say("GGUF", "its layers do not see a window and everything in turn");
    }
  }
  put_gguf_sizes(spec, "gpt-oss", metadata);
  put_gguf_heads(parts.attention, "gpt-oss", metadata);
  put_gguf_experts(*parts.moe, "gpt-oss", metadata);
  put(metadata, "gpt-oss.expert_feed_forward_length", parts.moe->expert.inner);
  put(metadata, "gpt-oss.attention.sliding_window", parts.windows.front());
  put(metadata, "gpt-oss.attention.layer_norm_rms_epsilon", shortest(spec.final_norm.eps));
  RopeSpec rope = parts.attention.rope;
  if (rope.scaling.kind == RopeScaling::Kind::Yarn && rope.scaling.truncate) {
    cannot_say("GGUF", "readers of this architecture know that the ramp of its YaRN scaling is not truncated");
  }
  rope.scaling.truncate = true;
  put_gguf_rope(rope, "gpt-oss", metadata);
}

Json gpt_oss_config(const ModelSpec& spec, const std::string& dtype) {
  const Parts parts = parts_of(spec);
  CHECK(parts.moe != nullptr);
  check_whole_heads_turn(parts.attention, "config.json");
  int64_t window = 0;
  std::vector<std::string> layer_types;
  for (const int64_t own : parts.windows) {
    if (own > 0 && window > 0 && own != window) cannot_say("config.json", "windows of several sizes");
    window = std::max(window, own);
    layer_types.emplace_back(own > 0 ? "sliding_attention" : "full_attention");
  }
  const int64_t experts = parts.moe->router.top_k;
  Json config;
  config["architectures"] = {"GptOssForCausalLM"};
  config["model_type"] = "gpt_oss";
  config["attention_bias"] = true;
  config["attention_dropout"] = 0.0;
  config["bos_token_id"] = token_or_null(spec.bos);
  config["eos_token_id"] = token_list(spec.eos);
  config["experts_per_token"] = experts;
  config["head_dim"] = parts.attention.head_dim;
  config["hidden_act"] = "silu";
  config["hidden_size"] = spec.width;
  config["initializer_range"] = 0.02;
  config["intermediate_size"] = parts.moe->expert.inner;
  config["layer_types"] = layer_types;
  config["max_position_embeddings"] = spec.context;
  config["num_attention_heads"] = parts.attention.query_heads;
  config["num_experts_per_tok"] = experts;
  config["num_hidden_layers"] = spec.layers;
  config["num_key_value_heads"] = parts.attention.kv_heads;
  config["num_local_experts"] = parts.moe->router.experts;
  config["rms_norm_eps"] = shortest(spec.final_norm.eps);
  if (const Json scaling = hugging_face_scaling(parts.attention); !scaling.is_null()) {
    config["rope_scaling"] = scaling;
    if (scaling.contains("original_max_position_embeddings")) {
      config["initial_context_length"] = scaling["original_max_position_embeddings"];
    }
  }
  config["rope_theta"] = parts.attention.rope.theta;
  config["sliding_window"] = window > 0 ? window : 128;  // readers want one even where no layer has it
  config["swiglu_limit"] = 7.0;
  config["tie_word_embeddings"] = spec.tied_embeddings;
  config["torch_dtype"] = dtype;
  config["use_cache"] = true;
  config["vocab_size"] = spec.vocab;
  return config;
}

constexpr std::array<std::string_view, 1> kFamilies = {"gpt-oss"};
constexpr std::array<std::string_view, 4> kNotMxfp4 = {"model.layers.*.self_attn", "model.layers.*.mlp.router",
                                                       "model.embed_tokens", "lm_head"};

}  // namespace

const SpecWriter kGptOssSpecWriter = {kFamilies, put_gpt_oss_keys, nullptr, gpt_oss_config, kNotMxfp4};

}  // namespace ostro
