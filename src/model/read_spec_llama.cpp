// Dense Llama, Mistral and Mixtral: config.json, Mistral's params.json and GGUF metadata -> ModelSpec.
#include <fmt/format.h>

#include "base/error.h"
#include "model/read_spec_gguf.h"
#include "model/read_spec_json.h"
#include "model/read_spec_parts.h"
#include "model/tensor_names.h"

namespace ostro {

namespace {

void ignore_window(LlamaShape& shape, int64_t window) {
  shape.notes.push_back(fmt::format("sliding_window {} is ignored: Mixtral was trained without a window", window));
}

enum class Family { Mistral, Mixtral, Llama };

ModelSpec read_config(const WeightStore& store, ConfigFields& config, Family family) {
  LlamaShape shape = read_config_shape(store, config);
  shape.family = family == Family::Mistral ? "mistral" : family == Family::Mixtral ? "mixtral" : "llama";
  if (family != Family::Llama) config.whole("num_key_value_heads");  // not to be left out

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
  shape.rope = read_config_rope(config, shape.head_dim, default_theta, shape.notes);
  judge_unread(config, shape.notes);
  return assemble(shape, config.where());
}

}  // namespace

ModelSpec read_llama_config(const WeightStore& store, ConfigFields& config) {
  return read_config(store, config, Family::Llama);
}
ModelSpec read_mistral_config(const WeightStore& store, ConfigFields& config) {
  return read_config(store, config, Family::Mistral);
}
ModelSpec read_mixtral_config(const WeightStore& store, ConfigFields& config) {
  return read_config(store, config, Family::Mixtral);
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
  shape.rope = make_rope(name_table(CheckpointFormat::Mistral, shape.family).row_order, shape.head_dim, *theta);
  return assemble(shape, params.where());
}

namespace {

// llama.cpp neither writes nor reads the window of this architecture. Where a file has it, it was meant.
void read_gguf_window(GgufFields& fields, LlamaShape& shape) {
  const auto window = fields.maybe_whole("attention.sliding_window");
  if (!window || *window == 0) return;
  if (shape.experts > 0) {
    shape.notes.push_back(
        fmt::format("{} {} is ignored: Mixtral was trained without a window", "attention.sliding_window", *window));
  } else {
    shape.window = {*window};
  }
}

}  // namespace

ModelSpec read_llama_gguf(GgufFields& fields) {
  fields.harmless({"rope.scaling.finetuned", "tensor_data_layout"});
  LlamaShape shape = read_gguf_shape(fields);
  read_gguf_experts(fields, shape);
  shape.family = shape.experts > 0 ? "mixtral" : "llama";
  read_gguf_window(fields, shape);
  shape.rope = read_gguf_rope(fields, RopePairing::Interleaved, shape.head_dim);
  fields.refuse_unread();
  return assemble(shape, fields.where());
}

}  // namespace ostro
