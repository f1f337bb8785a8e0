#include "model/write_spec.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "model/tensor_names.h"

namespace ostro {
namespace {

using Json = nlohmann::ordered_json;

// All attention blocks, and all feed-forward blocks, of the models that these layouts hold are alike (but for windows).
struct Parts {
  GqaSpec attention;
  int64_t inner = 0;
  const MoeSpec* moe = nullptr;
  std::vector<int64_t> windows;  // of the layers
};

Parts parts_of(const ModelSpec& spec) {
  Parts parts;
  for (const BlockSpec& block : spec.blocks) {
    if (const auto* gqa = std::get_if<GqaSpec>(&block.mixer)) {
      parts.attention = *gqa;
      parts.windows.push_back(gqa->window);
    } else if (const auto* dense = std::get_if<DenseSpec>(&block.mixer)) {
      parts.inner = dense->inner;
    } else if (const auto* moe = std::get_if<MoeSpec>(&block.mixer)) {
      parts.moe = moe;
      parts.inner = moe->expert.inner;
    }
  }
  return parts;
}

[[noreturn]] void cannot_say(std::string_view layout, const std::string& what) {
  throw_error(ErrorKind::File, "{} cannot hold this model: {}", layout, what);
}

// The routing that llama.cpp, Transformers and mistral-inference hard-code for this architecture.
void check_router(const Parts& parts, std::string_view layout) {
  if (parts.moe == nullptr) return;
  const RouterSpec& router = parts.moe->router;
  if (router.score != Score::Softmax || !router.renormalize || router.weight_scale != 1) {
    cannot_say(layout, "its router is not a softmax with renormalised weights");
  }
}

int64_t one_window(const Parts& parts, std::string_view layout) {
  for (const int64_t window : parts.windows) {
    if (window != parts.windows.front()) cannot_say(layout, "its layers have different sliding windows");
  }
  return parts.windows.front();
}

int64_t rope_dims(const GqaSpec& attention) {
  return 2 * static_cast<int64_t>(attention.rope.inverse_frequency.size());
}

void check_whole_heads_turn(const GqaSpec& attention, std::string_view layout) {
  if (rope_dims(attention) != attention.head_dim) {
    cannot_say(layout, fmt::format("RoPE turns {} of {} dimensions", rope_dims(attention), attention.head_dim));
  }
}

// A float32 as the shortest decimal that means it: 1e-05, not 9.99999974e-06.
double shortest(float value) { return std::strtod(fmt::format("{}", value).c_str(), nullptr); }

double yarn_magnitude(double factor) { return 1 + 0.1 * std::log(std::max(factor, 1.0)); }

// Llama 3.x files in GGUF list divisors; the rule behind them has one free number, a power of two.
std::optional<RopeScaling> rule_of_divisors(const GqaSpec& attention) {
  RopeScaling rule;
  rule.kind = RopeScaling::Kind::Bands;
  rule.low_frequency = 1;
  rule.high_frequency = 4;
  const std::vector<double>& divisors = attention.rope.scaling.divisors;
  rule.factor = divisors.back();
  for (double original = 64; original <= 1 << 24; original *= 2) {
    rule.original_context = original;
    const RopeSpec made = make_rope(attention.rope.pairing, attention.head_dim, attention.rope.theta, rule);
    bool same = true;
    for (size_t i = 0; i < divisors.size(); ++i) {
      const double ratio = made.inverse_frequency[i] / attention.rope.inverse_frequency[i];
      same = same && std::fabs(ratio - 1) < 1e-5;
    }
    if (same) return rule;
  }
  return std::nullopt;
}

Json hugging_face_scaling(const GqaSpec& attention) {
  RopeScaling scaling = attention.rope.scaling;
  if (scaling.kind == RopeScaling::Kind::Divisors) {
    const auto rule = rule_of_divisors(attention);
    if (!rule) cannot_say("config.json", "its RoPE divisors follow no rule that can be named");
    scaling = *rule;
  }
  switch (scaling.kind) {
    case RopeScaling::Kind::None:
      break;
    case RopeScaling::Kind::Linear:
      return {{"rope_type", "linear"}, {"factor", scaling.factor}};
    case RopeScaling::Kind::Bands:
      return {{"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"low_freq_factor", scaling.low_frequency},
              {"high_freq_factor", scaling.high_frequency},
              {"original_max_position_embeddings", static_cast<int64_t>(scaling.original_context)}};
    case RopeScaling::Kind::Yarn: {
      Json yarn = {{"rope_type", "yarn"},
                   {"factor", scaling.factor},
                   {"original_max_position_embeddings", static_cast<int64_t>(scaling.original_context)},
                   {"beta_fast", scaling.beta_fast},
                   {"beta_slow", scaling.beta_slow},
                   {"attention_factor", scaling.magnitude}};
      if (!scaling.truncate) yarn["truncate"] = false;
      return yarn;
    }
    case RopeScaling::Kind::Divisors:
      CHECK(false);
  }
  return nullptr;
}

Json token_list(const std::vector<int32_t>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? Json(ids.front()) : Json(ids);
}
Json token_or_null(int32_t id) { return id < 0 ? Json(nullptr) : Json(id); }

void put(GgufMetadata& metadata, const std::string& key, GgufValue value) { metadata.values[key] = std::move(value); }

void write_gguf_rope(const GqaSpec& attention, GgufMetadata& metadata) {
  const RopeScaling& scaling = attention.rope.scaling;
  put(metadata, "llama.rope.dimension_count", rope_dims(attention));
  put(metadata, "llama.rope.freq_base", attention.rope.theta);
  if (scaling.kind == RopeScaling::Kind::Linear) {
    put(metadata, "llama.rope.scaling.type", std::string("linear"));
    put(metadata, "llama.rope.scaling.factor", scaling.factor);
  } else if (scaling.kind == RopeScaling::Kind::Yarn) {
    if (!scaling.truncate) cannot_say("GGUF", "the ramp of its YaRN scaling does not begin at a whole dimension");
    put(metadata, "llama.rope.scaling.type", std::string("yarn"));
    put(metadata, "llama.rope.scaling.factor", scaling.factor);
    put(metadata, "llama.rope.scaling.original_context_length", static_cast<int64_t>(scaling.original_context));
    const RopeScaling usual;
    if (scaling.beta_fast != usual.beta_fast) put(metadata, "llama.rope.scaling.yarn_beta_fast", scaling.beta_fast);
    if (scaling.beta_slow != usual.beta_slow) put(metadata, "llama.rope.scaling.yarn_beta_slow", scaling.beta_slow);
    const double extra = scaling.magnitude / yarn_magnitude(scaling.factor);
    if (std::fabs(extra - 1) > 1e-6) put(metadata, "llama.rope.scaling.attn_factor", extra);
  }
}

}  // namespace

GgufMetadata write_gguf_spec(const ModelSpec& spec, const std::string& name) {
  const Parts parts = parts_of(spec);
  check_router(parts, "GGUF");
  GgufMetadata metadata;
  put(metadata, "general.architecture", std::string("llama"));
  put(metadata, "general.type", std::string("model"));
  put(metadata, "general.name", name);
  put(metadata, "llama.vocab_size", spec.vocab);
  put(metadata, "llama.context_length", spec.context);
  put(metadata, "llama.embedding_length", spec.width);
  put(metadata, "llama.block_count", spec.layers);
  put(metadata, "llama.feed_forward_length", parts.inner);
  put(metadata, "llama.attention.head_count", parts.attention.query_heads);
  put(metadata, "llama.attention.head_count_kv", parts.attention.kv_heads);
  put(metadata, "llama.attention.key_length", parts.attention.head_dim);
  put(metadata, "llama.attention.value_length", parts.attention.head_dim);
  put(metadata, "llama.attention.layer_norm_rms_epsilon", static_cast<double>(spec.final_norm.eps));
  write_gguf_rope(parts.attention, metadata);
  update_gguf_spec(spec, metadata);
  static constexpr const char* kEnds[] = {"eos", "eot", "eom"};
  if (spec.eos.size() > std::size(kEnds)) cannot_say("GGUF", fmt::format("{} tokens end a text", spec.eos.size()));
  if (spec.bos >= 0) put(metadata, "tokenizer.ggml.bos_token_id", int64_t{spec.bos});
  for (size_t i = 0; i < spec.eos.size(); ++i) {
    put(metadata, fmt::format("tokenizer.ggml.{}_token_id", kEnds[i]), int64_t{spec.eos[i]});
  }
  return metadata;
}

void update_gguf_spec(const ModelSpec& spec, GgufMetadata& metadata) {
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

std::vector<float> rope_divisors(const ModelSpec& spec) {
  const RopeSpec rope = parts_of(spec).attention.rope;
  std::vector<float> divisors;
  if (rope.scaling.kind == RopeScaling::Kind::Divisors) {
    divisors.assign(rope.scaling.divisors.begin(), rope.scaling.divisors.end());
  } else if (rope.scaling.kind == RopeScaling::Kind::Bands) {
    const auto dims = 2 * static_cast<int64_t>(rope.inverse_frequency.size());
    const RopeSpec plain = make_rope(rope.pairing, dims, rope.theta);
    for (size_t i = 0; i < rope.inverse_frequency.size(); ++i) {
      divisors.push_back(static_cast<float>(plain.inverse_frequency[i] / rope.inverse_frequency[i]));
    }
  }
  return divisors;
}

Json write_hugging_face_spec(const ModelSpec& spec, const std::string& dtype) {
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

Json write_generation_config(const ModelSpec& spec) {
  return {{"bos_token_id", token_or_null(spec.bos)}, {"eos_token_id", token_list(spec.eos)}};
}

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
