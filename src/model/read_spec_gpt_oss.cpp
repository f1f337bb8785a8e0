// gpt-oss: config.json and GGUF metadata -> ModelSpec.
#include <fmt/format.h>

#include "model/read_spec_gguf.h"
#include "model/read_spec_json.h"
#include "model/read_spec_parts.h"

namespace ostro {

namespace {

// What sets it apart from Llama: attention sinks, biases everywhere, a clamped SwiGLU, weights that are the softmax
// over the chosen experts.
ModelSpec assemble_gpt_oss(LlamaShape shape, const std::string& source) {
  shape.family = "gpt-oss";
  shape.qkv_bias = true;
  ModelSpec spec = assemble(shape, source);
  for (BlockSpec& block : spec.blocks) {
    if (auto* gqa = std::get_if<GqaSpec>(&block.mixer)) {
      gqa->output_bias = true;
      gqa->sinks = true;
    } else if (auto* moe = std::get_if<MoeSpec>(&block.mixer)) {
      moe->router.score = Score::Logit;
      moe->router.renormalize = true;
      moe->router.bias = true;
      moe->expert.activation = Activation::ClampedSwiGlu;
      moe->expert.bias = true;
    }
  }
  validate(spec, source);
  return spec;
}

// Which layers see a window; by default every other one, the first included.
void read_windows(ConfigFields& config, LlamaShape& shape) {
  const int64_t window = config.whole("sliding_window");
  const nlohmann::json& types = config.raw("layer_types");
  if (types.is_null()) {
    shape.window = {window, 0};
    return;
  }
  if (!types.is_array() || std::ssize(types) != shape.layers) {
    config.refuse("layer_types", fmt::format("a list of {} types", shape.layers));
  }
  for (const nlohmann::json& type : types) {
    if (type != "sliding_attention" && type != "full_attention") {
      config.refuse("layer_types", "sliding_attention, full_attention");
    }
    shape.window.push_back(type == "sliding_attention" ? window : 0);
  }
}

}  // namespace

ModelSpec read_gpt_oss_config(const WeightStore& store, ConfigFields& config) {
  LlamaShape shape = read_config_shape(store, config, {"silu", "swish"}, true);
  shape.experts = config.whole("num_local_experts");
  const auto chosen = config.maybe_whole("num_experts_per_tok"), older = config.maybe_whole("experts_per_token");
  if (chosen && older && *chosen != *older) config.refuse("experts_per_token", fmt::format("{}", *chosen));
  shape.top_k = chosen ? *chosen : config.whole("experts_per_token");
  if (config.maybe_number("swiglu_limit").value_or(7) != 7) config.refuse("swiglu_limit", "7");
  if (config.has("quantization_config")) {
    ConfigFields quantization(config.raw("quantization_config"), config.where() + ": quantization_config");
    quantization.only_text("quant_method", {"mxfp4"});
  }
  config.harmless({"initial_context_length"});
  read_windows(config, shape);
  shape.rope = read_config_rope(config, shape.head_dim, 150000, shape.notes);
  judge_unread(config, shape.notes);
  return assemble_gpt_oss(shape, config.where());
}

ModelSpec read_gpt_oss_gguf(GgufFields& fields) {
  LlamaShape shape = read_gguf_shape(fields);
  read_gguf_experts(fields, shape);
  if (shape.experts == 0) fields.refuse("expert_count", "missing", "a positive number");
  shape.window = {fields.whole("attention.sliding_window"), 0};
  // No key says it: the publisher's ramp does not begin and end at whole dimensions.
  const RopeSpec rope = read_gguf_rope(fields, RopePairing::HalfSplit, shape.head_dim);
  RopeScaling scaling = rope.scaling;
  scaling.truncate = false;
  shape.rope = make_rope(rope.pairing, std::ssize(rope.inverse_frequency) * 2, rope.theta, scaling);
  fields.harmless({"rope.scaling.finetuned", "attention.sliding_window_pattern"});
  fields.refuse_unread();
  return assemble_gpt_oss(shape, fields.where());
}

}  // namespace ostro
