// Qwen2-MoE and Qwen3-MoE: config.json and GGUF metadata -> ModelSpec. The second has norms on the queries and keys of
// every head; the first has biases on queries, keys and values, and an expert that serves every token beside the chosen
// ones.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "model/read_spec_gguf.h"
#include "model/read_spec_json.h"
#include "model/read_spec_parts.h"

namespace ostro {

namespace {

constexpr int64_t kMostLayers = 4096;  // assemble refuses more

void set_generation(LlamaShape& shape, bool third) {
  shape.family = third ? "qwen3moe" : "qwen2moe";
  shape.query_key_norm = third ? QueryKeyNorm::PerHead : QueryKeyNorm::None;
  shape.qkv_bias = !third;
}

// A layer has experts where its number, counted from 1, is a multiple of decoder_sparse_step, unless mlp_only_layers
// lists it, counted from 0.
void read_dense_layers(ConfigFields& config, LlamaShape& shape) {
  const int64_t step = config.maybe_whole("decoder_sparse_step").value_or(1);
  if (step < 1 || step > shape.layers) {
    config.refuse("decoder_sparse_step", fmt::format("1 to the {} layers", shape.layers));
  }
  for (int64_t layer = 0; layer < std::min(shape.layers, kMostLayers); ++layer) {
    if ((layer + 1) % step != 0) shape.dense_layers.insert(layer);
  }
  const nlohmann::json& listed = config.raw("mlp_only_layers");
  if (!listed.is_null() && !listed.is_array()) config.refuse("mlp_only_layers", "a list of layers");
  for (const nlohmann::json& layer : listed) {
    if (!layer.is_number_unsigned() || layer.get<uint64_t>() >= static_cast<uint64_t>(shape.layers)) {
      config.refuse("mlp_only_layers", fmt::format("layers from 0 to {}", shape.layers - 1));
    }
    shape.dense_layers.insert(layer.get<int64_t>());
  }
}

// GGUF has no key for them: a layer is dense that has a feed-forward network and no router.
void read_dense_layers(const WeightStore& store, LlamaShape& shape) {
  for (int64_t layer = 0; layer < std::min(shape.layers, kMostLayers); ++layer) {
    const std::string network = fmt::format("blk.{}.ffn_gate", layer);
    if (store.tensors.contains(network + ".weight") && !store.tensors.contains(network + "_inp.weight")) {
      shape.dense_layers.insert(layer);
    }
  }
}

// Which layers see a window only, and only if the model says that it uses one.
void read_window(ConfigFields& config) {
  if (config.maybe_flag("use_sliding_window").value_or(false)) config.refuse("use_sliding_window", "false");
  config.harmless({"sliding_window", "max_window_layers"});
}

}  // namespace

ModelSpec read_qwen_moe_config(const WeightStore& store, ConfigFields& config) {
  LlamaShape shape = read_config_shape(store, config);
  const bool third = config.maybe_text("model_type") == "qwen3_moe";
  set_generation(shape, third);
  shape.experts = config.whole("num_experts");
  shape.top_k = config.whole("num_experts_per_tok");
  shape.expert_inner = config.whole("moe_intermediate_size");
  if (!third) shape.shared = SharedExpertSpec{config.whole("shared_expert_intermediate_size"), true};
  shape.renormalize = config.maybe_flag("norm_topk_prob").value_or(false);
  read_dense_layers(config, shape);
  read_window(config);
  if (!third) config.harmless({"qkv_bias"});
  shape.rope = read_config_rope(config, shape.head_dim, 10000, shape.notes);
  judge_unread(config, shape.notes);
  return assemble(shape, config.where());
}

ModelSpec read_qwen_moe_gguf(GgufFields& fields) {
  LlamaShape shape = read_gguf_shape(fields);
  const bool third = fields.store().gguf->text("general.architecture") == "qwen3moe";
  set_generation(shape, third);
  shape.experts = fields.whole("expert_count");
  shape.top_k = fields.whole("expert_used_count");
  shape.expert_inner = fields.whole("expert_feed_forward_length");
  if (!third) shape.shared = SharedExpertSpec{fields.whole("expert_shared_feed_forward_length"), true};
  // llama.cpp renormalises for the third generation and not for the second, without a key.
  shape.renormalize = fields.maybe_flag("expert_weights_norm").value_or(third);
  read_dense_layers(fields.store(), shape);
  shape.rope = read_gguf_rope(fields, RopePairing::HalfSplit, shape.head_dim);
  fields.harmless({"rope.scaling.finetuned"});
  fields.refuse_unread();
  return assemble(shape, fields.where());
}

}  // namespace ostro
