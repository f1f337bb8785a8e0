// config.json of a Hugging Face folder -> ModelSpec: which family reads it, and what all families share.
#include "model/read_spec_json.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

#include "base/error.h"

namespace ostro {

namespace {

using Reader = ModelSpec (*)(const WeightStore& store, ConfigFields& config);
struct Family {
  std::string_view architecture, model_type;
  Reader read;
};
constexpr std::array kFamilies = {
    Family{"MistralForCausalLM", "mistral", read_mistral_config},
    Family{"MixtralForCausalLM", "mixtral", read_mixtral_config},
    Family{"LlamaForCausalLM", "llama", read_llama_config},
    Family{"OlmoeForCausalLM", "olmoe", read_olmoe_config},
    Family{"OpenMoeForCausalLM", "llama", read_openmoe_config},  // its model_type is that of the code it grew from
    Family{"Qwen2MoeForCausalLM", "qwen2_moe", read_qwen_moe_config},
    Family{"Qwen3MoeForCausalLM", "qwen3_moe", read_qwen_moe_config},
    Family{"DbrxForCausalLM", "dbrx", read_dbrx_config},
    Family{"GptOssForCausalLM", "gpt_oss", read_gpt_oss_config},
    Family{"GrokForCausalLM", "grok", read_grok_config},
    Family{"Grok1ModelForCausalLM", "grok-1", read_grok_config},
    Family{"DeepseekV2ForCausalLM", "deepseek_v2", read_deepseek2_config},
    Family{"DeepseekV3ForCausalLM", "deepseek_v3", read_deepseek3_config},
};

const Family& find_family(ConfigFields& config) {
  const nlohmann::json& list = config.raw("architectures");
  const auto type = config.maybe_text("model_type");
  const bool named = list.is_array() && !list.empty() && list[0].is_string();
  const std::string name = named ? list[0].get<std::string>() : "";
  for (const Family& family : kFamilies) {
    if (named ? family.architecture != name : family.model_type != type) continue;
    if (type && family.model_type != *type)
      config.refuse("model_type", fmt::format("{}, the type of {}", family.model_type, name));
    return family;
  }
  std::string supported;
  for (const Family& family : kFamilies) {
    supported.append(supported.empty() ? "" : ", ").append(named ? family.architecture : family.model_type);
  }
  config.refuse(named ? "architectures" : "model_type", supported);
}

// RoPE scaling as Transformers defines it, from rope_scaling or rope_parameters.
RopeScaling read_scaling(const nlohmann::json& object, const std::string& where, double original_at_top) {
  RopeScaling scaling;
  if (object.is_null()) return scaling;
  ConfigFields fields(object, where);
  fields.harmless({"rope_theta", "finetuned"});
  // Older files say `type`; some have both.
  const auto older = fields.maybe_text("type");
  const std::string type = fields.maybe_text("rope_type").value_or(older.value_or("default"));
  const auto original_context = [&] {
    const auto own = fields.maybe_number("original_max_position_embeddings");
    if (original_at_top > 0) return original_at_top;
    return own ? *own : fields.number("original_max_position_embeddings");
  };
  if (type == "default") {
    scaling.kind = RopeScaling::Kind::None;
  } else if (type == "linear") {
    scaling.kind = RopeScaling::Kind::Linear;
    scaling.factor = fields.number("factor");
  } else if (type == "llama3") {
    scaling.kind = RopeScaling::Kind::Bands;
    scaling.factor = fields.number("factor");
    scaling.original_context = original_context();
    scaling.low_frequency = fields.number("low_freq_factor");
    scaling.high_frequency = fields.number("high_freq_factor");
  } else if (type == "yarn") {
    scaling.kind = RopeScaling::Kind::Yarn;
    scaling.factor = fields.number("factor");
    scaling.original_context = original_context();
    scaling.beta_fast = fields.maybe_number("beta_fast").value_or(scaling.beta_fast);
    scaling.beta_slow = fields.maybe_number("beta_slow").value_or(scaling.beta_slow);
    scaling.truncate = fields.maybe_flag("truncate").value_or(true);
    const auto magnitude = [&](double m) { return yarn_magnitude(scaling.factor, m); };
    const auto mscale = fields.maybe_number("mscale"), mscale_all = fields.maybe_number("mscale_all_dim");
    const bool both = mscale.value_or(0) != 0 && mscale_all.value_or(0) != 0;
    scaling.magnitude = fields.maybe_number("attention_factor")
                            .value_or(both ? magnitude(*mscale) / magnitude(*mscale_all) : magnitude(1));
    scaling.score_mscale = mscale_all.value_or(0);
  } else {
    fields.refuse(fields.has("rope_type") ? "rope_type" : "type", "default, linear, llama3, yarn");
  }
  if (const auto unread = fields.unread(); !unread.empty()) {
    fields.refuse(unread.front(), fmt::format("absent for the type {}", type));
  }
  return scaling;
}

}  // namespace

void mark_harmless(ConfigFields& config) {
  config.harmless({"_name_or_path",
                   "transformers_version",
                   "torch_dtype",
                   "dtype",
                   "use_cache",
                   "initializer_range",
                   "attention_dropout",
                   "hidden_dropout",
                   "resid_pdrop",
                   "embd_pdrop",
                   "pretraining_tp",
                   "router_aux_loss_coef",
                   "router_jitter_noise",
                   "output_router_logits",
                   "pad_token_id",
                   "unk_token_id",
                   "sep_token_id",
                   "is_decoder",
                   "id2label",
                   "label2id",
                   "problem_type",
                   "max_length",
                   "min_length",
                   "top_k",
                   "top_p",
                   "temperature",
                   "typical_p",
                   "repetition_penalty",
                   "length_penalty",
                   "num_beams",
                   "chunk_size_feed_forward",
                   "return_dict",
                   "attn_implementation",
                   "_attn_implementation",
                   "max_sequence_length"});
}

LlamaShape read_config_shape(const WeightStore& store, ConfigFields& config,
                             std::initializer_list<std::string_view> activations, bool attention_bias) {
  LlamaShape shape;
  shape.width = config.whole("hidden_size");
  shape.vocab = config.whole("vocab_size");
  shape.layers = config.whole("num_hidden_layers");
  shape.context = config.whole("max_position_embeddings");
  shape.heads = config.whole("num_attention_heads");
  // The first models had no key-value groups.
  shape.kv_heads = config.maybe_whole("num_key_value_heads").value_or(shape.heads);
  const auto head_dim = config.maybe_whole("head_dim");
  shape.head_dim = head_dim ? *head_dim : default_head_dim(shape.width, shape.heads, config.where());
  shape.inner = config.whole("intermediate_size");
  shape.eps = config.number("rms_norm_eps");
  shape.tied_embeddings = config.maybe_flag("tie_word_embeddings").value_or(false);
  shape.eos = read_eos(store, config);
  const auto bos = config.tokens("bos_token_id");
  if (!bos.empty()) shape.bos = bos.front();
  config.only_text("hidden_act", activations);
  if (config.maybe_flag("attention_bias").value_or(attention_bias) != attention_bias) {
    config.refuse("attention_bias", attention_bias ? "true" : "false");
  }
  config.only_false("mlp_bias");
  if (config.maybe_number("partial_rotary_factor").value_or(1) != 1) config.refuse("partial_rotary_factor", "1");
  return shape;
}

void judge_unread(const ConfigFields& config, std::vector<std::string>& notes) {
  static constexpr std::string_view kSpeaksOfResults[] = {
      "router",     "expert",   "moe",        "topk",   "rope",     "rotary", "norm",        "scale",     "scaling",
      "multiplier", "softcap",  "capping",    "clip",   "clamp",    "bias",   "window",      "attention", "attn",
      "quant",      "residual", "activation", "act_fn", "parallel", "shared", "layer_types", "mlp",       "lora"};
  for (const std::string& name : config.unread()) {
    for (const std::string_view word : kSpeaksOfResults) {
      if (name.find(word) != std::string::npos) config.refuse(name, "absent; ostro does not implement this field");
    }
    notes.push_back(fmt::format("{}: {} is not used", config.where(), name));
  }
}

RopeSpec read_config_rope(ConfigFields& config, int64_t head_dim, double default_theta,
                          std::vector<std::string>& notes) {
  const nlohmann::json& parameters = config.raw("rope_parameters");
  const nlohmann::json& older = config.raw("rope_scaling");
  if (!parameters.is_null() && !older.is_null() && parameters != older) {
    config.refuse("rope_scaling", "absent, or equal to rope_parameters");
  }
  const bool newer = !parameters.is_null();
  const std::string where = config.where() + (newer ? ": rope_parameters" : ": rope_scaling");
  auto theta = config.maybe_number("rope_theta");
  if (newer) {
    const auto inner = ConfigFields(parameters, where).maybe_number("rope_theta");
    if (theta && inner && *theta != *inner)
      config.refuse("rope_theta", fmt::format("{} as in rope_parameters", *inner));
    if (inner) theta = inner;
  }
  if (!theta) {
    theta = default_theta;
    notes.push_back(fmt::format("rope_theta is missing; {} is assumed, the default of this family", default_theta));
  }
  // Transformers prefers the original context at the top of the file to the one beside the scaling.
  const double original = config.maybe_number("original_max_position_embeddings").value_or(0);
  return make_rope(RopePairing::HalfSplit, head_dim, *theta, read_scaling(newer ? parameters : older, where, original));
}

std::vector<int32_t> read_eos(const WeightStore& store, ConfigFields& config) {
  std::vector<int32_t> eos;
  if (!store.generation_config.is_null()) {
    eos = ConfigFields(store.generation_config, store.folder + "/generation_config.json").tokens("eos_token_id");
  }
  for (const int32_t id : config.tokens("eos_token_id")) {
    if (std::find(eos.begin(), eos.end(), id) == eos.end()) eos.push_back(id);
  }
  return eos;
}

std::optional<int64_t> lenient_whole(ConfigFields& fields, std::string_view name) {
  const nlohmann::json& value = fields.raw(name);
  if (!value.is_string()) return fields.maybe_whole(name);
  const auto& text = value.get_ref<const std::string&>();
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) fields.refuse(name, "a whole number or null");
  return number;
}

ModelSpec read_hugging_face_spec(const WeightStore& store) {
  ConfigFields config(store.config, store.folder + "/config.json");
  const Family& family = find_family(config);
  mark_harmless(config);
  return family.read(store, config);
}

}  // namespace ostro
