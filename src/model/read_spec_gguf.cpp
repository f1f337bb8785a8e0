// GGUF metadata -> ModelSpec: which family reads an architecture.
#include "model/read_spec_gguf.h"

#include <array>

#include "base/error.h"

namespace ostro {

namespace {

using Reader = ModelSpec (*)(GgufFields& fields);
struct Architecture {
  std::string_view name;
  Reader read;
};
constexpr std::array kArchitectures = {
    Architecture{"llama", read_llama_gguf},        Architecture{"olmoe", read_olmoe_gguf},
    Architecture{"openmoe", read_openmoe_gguf},    Architecture{"qwen2moe", read_qwen_moe_gguf},
    Architecture{"qwen3moe", read_qwen_moe_gguf},  Architecture{"dbrx", read_dbrx_gguf},
    Architecture{"grok", read_grok_gguf},          Architecture{"gpt-oss", read_gpt_oss_gguf},
    Architecture{"deepseek2", read_deepseek_gguf},
};

}  // namespace

LlamaShape read_gguf_shape(GgufFields& fields) {
  if (!fields.maybe_flag("attention.causal").value_or(true)) fields.refuse("attention.causal", "false", "true");
  LlamaShape shape;
  shape.width = fields.whole("embedding_length");
  shape.layers = fields.whole("block_count");
  shape.context = fields.whole("context_length");
  shape.heads = fields.whole("attention.head_count");
  shape.kv_heads = fields.maybe_whole("attention.head_count_kv").value_or(shape.heads);
  shape.inner = fields.whole("feed_forward_length");
  const auto layer_norm = fields.maybe_number("attention.layer_norm_epsilon");
  shape.eps = layer_norm ? *layer_norm : fields.number("attention.layer_norm_rms_epsilon");
  const GgufVocabulary vocabulary = read_gguf_vocabulary(fields);
  shape.vocab = vocabulary.size;
  shape.bos = vocabulary.bos;
  shape.eos = vocabulary.eos;
  const auto length = fields.maybe_whole("attention.key_length");
  shape.head_dim = length ? *length : default_head_dim(shape.width, shape.heads, fields.where());
  const auto value_length = fields.maybe_whole("attention.value_length");
  if (value_length && *value_length != shape.head_dim) {
    fields.refuse("attention.value_length", *value_length, fmt::format("the same as the keys' {}", shape.head_dim));
  }
  shape.tied_embeddings = !fields.store().tensors.contains("output.weight");
  return shape;
}

void read_gguf_experts(GgufFields& fields, LlamaShape& shape) {
  fields.harmless({"expert_feed_forward_length", "expert_gating_func", "expert_weights_norm", "expert_weights_scale",
                   "expert_used_count"});
  shape.experts = fields.maybe_whole("expert_count").value_or(0);
  if (shape.experts == 0) return;
  shape.top_k = fields.whole("expert_used_count");
  const int64_t gating = fields.maybe_whole("expert_gating_func").value_or(1);
  if (gating != 1) fields.refuse("expert_gating_func", gating, "1 (softmax)");
  shape.renormalize = fields.maybe_flag("expert_weights_norm").value_or(shape.renormalize);
  // 0 stands for no scale.
  const double scale = fields.maybe_number("expert_weights_scale").value_or(0);
  shape.weight_scale = scale == 0 ? 1 : scale;
  const auto inner = fields.maybe_whole("expert_feed_forward_length");
  if (inner && *inner > 0) shape.inner = *inner;
}

ModelSpec read_gguf_spec(const WeightStore& store) {
  CHECK(store.gguf.has_value());
  const auto name = store.gguf->text("general.architecture");
  std::string supported;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) {
      GgufFields fields(store, architecture.name);
      return architecture.read(fields);
    }
    supported.append(supported.empty() ? "" : ", ").append(architecture.name);
  }
  throw_error(ErrorKind::File, "{}: general.architecture is {}, supported: {}", store.path,
              name ? "\"" + *name + "\"" : "missing", supported);
}

}  // namespace ostro
