// config.json (Hugging Face) and params.json (Mistral) -> ModelSpec.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include "base/error.h"
#include "model/config_fields.h"
#include "model/read_spec_parts.h"
#include "model/tensor_names.h"

namespace ostro {

namespace {

// Fields of config.json that cannot change what a forward pass computes.
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

// A field that ostro has never heard of is only noted, unless its name speaks of what a forward pass does.
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
    const auto magnitude = [&](double m) { return scaling.factor <= 1 ? 1 : 0.1 * m * std::log(scaling.factor) + 1; };
    const auto mscale = fields.maybe_number("mscale"), mscale_all = fields.maybe_number("mscale_all_dim");
    const bool both = mscale.value_or(0) != 0 && mscale_all.value_or(0) != 0;
    scaling.magnitude = fields.maybe_number("attention_factor")
                            .value_or(both ? magnitude(*mscale) / magnitude(*mscale_all) : magnitude(1));
  } else {
    fields.refuse(fields.has("rope_type") ? "rope_type" : "type", "default, linear, llama3, yarn");
  }
  if (const auto unread = fields.unread(); !unread.empty()) {
    fields.refuse(unread.front(), fmt::format("absent for the type {}", type));
  }
  return scaling;
}

// theta stands in rope_theta or, since Transformers 5, inside rope_parameters.
RopeSpec read_rope(ConfigFields& config, int64_t head_dim, double default_theta, std::vector<std::string>& notes) {
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
  return make_rope(row_order(CheckpointFormat::HuggingFace), head_dim, *theta,
                   read_scaling(newer ? parameters : older, where, original));
}

enum class Family { Mistral, Mixtral, Llama };

Family hugging_face_family(ConfigFields& config) {
  static const std::map<std::string, Family, std::less<>> kFamilies = {
      {"MistralForCausalLM", Family::Mistral}, {"mistral", Family::Mistral},
      {"MixtralForCausalLM", Family::Mixtral}, {"mixtral", Family::Mixtral},
      {"LlamaForCausalLM", Family::Llama},     {"llama", Family::Llama}};
  const nlohmann::json& list = config.raw("architectures");
  std::string name;
  if (list.is_array() && !list.empty() && list[0].is_string()) name = list[0].get<std::string>();
  const auto type = config.maybe_text("model_type");
  const char* field = name.empty() ? "model_type" : "architectures";
  const auto found = kFamilies.find(name.empty() ? type.value_or("") : name);
  constexpr std::string_view kSupported = "MistralForCausalLM, MixtralForCausalLM, LlamaForCausalLM";
  if (found == kFamilies.end()) config.refuse(field, kSupported);
  if (type) {
    const auto same = kFamilies.find(*type);
    if (same == kFamilies.end() || same->second != found->second) config.refuse("model_type", "the type of " + name);
  }
  return found->second;
}

// The tokens that end a text: those of generation_config.json and of config.json together.
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

// Whole numbers that some files wrote as strings.
std::optional<int64_t> lenient_whole(ConfigFields& fields, std::string_view name) {
  const nlohmann::json& value = fields.raw(name);
  if (!value.is_string()) return fields.maybe_whole(name);
  const auto& text = value.get_ref<const std::string&>();
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) fields.refuse(name, "a whole number or null");
  return number;
}

void ignore_window(LlamaShape& shape, int64_t window) {
  shape.notes.push_back(fmt::format("sliding_window {} is ignored: Mixtral was trained without a window", window));
}

}  // namespace

ModelSpec read_hugging_face_spec(const WeightStore& store) {
  ConfigFields config(store.config, store.folder + "/config.json");
  const Family family = hugging_face_family(config);
  mark_harmless(config);

  LlamaShape shape;
  shape.family = family == Family::Mistral ? "mistral" : family == Family::Mixtral ? "mixtral" : "llama";
  shape.width = config.whole("hidden_size");
  shape.vocab = config.whole("vocab_size");
  shape.layers = config.whole("num_hidden_layers");
  shape.context = config.whole("max_position_embeddings");
  shape.heads = config.whole("num_attention_heads");
  // The first Llama had no key-value groups.
  shape.kv_heads = family == Family::Llama ? config.maybe_whole("num_key_value_heads").value_or(shape.heads)
                                           : config.whole("num_key_value_heads");
  const auto head_dim = config.maybe_whole("head_dim");
  shape.head_dim = head_dim ? *head_dim : default_head_dim(shape.width, shape.heads, config.where());
  shape.inner = config.whole("intermediate_size");
  shape.eps = config.number("rms_norm_eps");
  shape.tied_embeddings = config.maybe_flag("tie_word_embeddings").value_or(false);
  shape.eos = read_eos(store, config);
  const auto bos = config.tokens("bos_token_id");
  if (!bos.empty()) shape.bos = bos.front();
  config.only_text("hidden_act", {"silu", "swish"});
  config.only_false("attention_bias");
  config.only_false("mlp_bias");
  if (config.maybe_number("partial_rotary_factor").value_or(1) != 1) config.refuse("partial_rotary_factor", "1");

  double default_theta = 10000;
  if (family == Family::Mixtral) {
    shape.experts = config.whole("num_local_experts");
    shape.top_k = config.whole("num_experts_per_tok");
    default_theta = 1e6;
    if (const auto window = lenient_whole(config, "sliding_window")) ignore_window(shape, *window);
  } else if (family == Family::Mistral) {
    constexpr int64_t kWindow = 4096;  // of Transformers, where the field is not there at all
    const bool there = store.config.contains("sliding_window");
    if (!there) shape.notes.push_back(fmt::format("sliding_window is missing; {} is assumed", kWindow));
    const auto window = there ? lenient_whole(config, "sliding_window") : kWindow;
    if (window) shape.window = {*window};
    if (window == 0) config.refuse("sliding_window", "a positive number or null");
  }
  shape.rope = read_rope(config, shape.head_dim, default_theta, shape.notes);
  judge_unread(config, shape.notes);
  return assemble(shape, config.where());
}

namespace {

// params.json of the first Mixtral release, which spells its fields as Hugging Face does.
void read_first_mixtral(ConfigFields& params, LlamaShape& shape) {
  shape.width = params.whole("hidden_size");
  shape.layers = params.whole("num_hidden_layers");
  shape.heads = params.whole("num_attention_heads");
  shape.kv_heads = params.whole("num_key_value_heads");
  shape.inner = params.whole("intermediate_size");
  shape.eps = params.number("rms_norm_eps");
  shape.experts = params.whole("num_local_experts");
  shape.top_k = params.whole("num_experts_per_tok");
  const auto head_dim = params.maybe_whole("head_dim");
  shape.head_dim = head_dim ? *head_dim : default_head_dim(shape.width, shape.heads, params.where());
}

void read_params(ConfigFields& params, LlamaShape& shape) {
  shape.width = params.whole("dim");
  shape.layers = params.whole("n_layers");
  shape.heads = params.whole("n_heads");
  shape.kv_heads = params.whole("n_kv_heads");
  shape.head_dim = params.whole("head_dim");
  shape.inner = params.whole("hidden_dim");
  shape.eps = params.number("norm_eps");
  shape.tied_embeddings = params.maybe_flag("tied_embeddings").value_or(false);
  if (!params.has("moe")) return;
  ConfigFields moe(params.raw("moe"), params.where() + ": moe");
  shape.experts = moe.whole("num_experts");
  shape.top_k = moe.whole("num_experts_per_tok");
  if (const auto unread = moe.unread(); !unread.empty()) moe.refuse(unread.front(), "absent");
}

// A number (also as a string), or a list for the layers in turn, null meaning all keys.
void read_window(ConfigFields& params, LlamaShape& shape) {
  const nlohmann::json& value = params.raw("sliding_window");
  if (!value.is_array()) {
    const auto window = lenient_whole(params, "sliding_window");
    if (window) shape.window = {*window};
    return;
  }
  for (const nlohmann::json& one : value) {
    if (!one.is_null() && !one.is_number_integer()) params.refuse("sliding_window", "whole numbers or null");
    shape.window.push_back(one.is_null() ? 0 : one.get<int64_t>());
  }
  const auto count = static_cast<int64_t>(shape.window.size());
  if (count == 0 || shape.layers % count != 0)
    params.refuse("sliding_window", "a list whose length divides the layers");
}

}  // namespace

ModelSpec read_mistral_spec(const WeightStore& store) {
  ConfigFields params(store.config, store.folder + "/params.json");
  params.harmless({"max_batch_size", "multiple_of", "ffn_dim_multiplier"});

  LlamaShape shape;
  if (params.has("num_local_experts")) {
    read_first_mixtral(params, shape);
  } else {
    read_params(params, shape);
  }
  shape.family = shape.experts > 0 ? "mixtral" : "mistral";
  shape.vocab = params.whole("vocab_size");
  constexpr int64_t kContext = 32768;  // of all models published in this layout without a word on it
  const auto longest = params.maybe_whole("max_position_embeddings"), also = params.maybe_whole("max_seq_len");
  shape.context = longest ? *longest : also.value_or(kContext);
  shape.bos = 1;
  shape.eos = {2};
  read_window(params, shape);
  if (shape.experts > 0 && !shape.window.empty()) {
    ignore_window(shape, shape.window.front());
    shape.window.clear();
  }
  // The first 7B, the only one with a window, was trained with 10000 and does not say so; later files do.
  auto theta = params.maybe_number("rope_theta");
  if (!theta) {
    theta = shape.window.empty() ? 1e6 : 1e4;
    shape.notes.push_back(fmt::format("rope_theta is missing; {} is assumed", *theta));
  }
  if (const auto unread = params.unread(); !unread.empty()) {
    params.refuse(unread.front(), "absent; ostro does not implement this field");
  }
  shape.rope = make_rope(row_order(CheckpointFormat::Mistral), shape.head_dim, *theta);
  return assemble(shape, params.where());
}

}  // namespace ostro
