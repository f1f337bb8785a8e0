// Grok-1: config.json of both Hugging Face ports and GGUF metadata -> ModelSpec.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/read_spec_gguf.h"
#include "model/read_spec_json.h"
#include "model/read_spec_parts.h"

namespace ostro {

namespace {

// Of the released model; the defaults of files that do not say them.
struct Multipliers {
  double embedding = 78.38367176906169;    // sqrt(6144)
  double output = 0.5773502691896257;      // 1 / sqrt(3)
  double attention = 0.08838834764831845;  // 1 / sqrt(128)
  double logit_cap = 30;
};
constexpr double kTheta = 10000;

// What sets it apart from Llama: a norm after each mixer too, factors on embeddings and logits, capped attention
// scores, GELU, and weights of the chosen experts as they are.
ModelSpec assemble_grok(LlamaShape shape, const Multipliers& multipliers, const std::string& source) {
  shape.family = "grok";
  ModelSpec spec = assemble(shape, source);
  spec.embedding_scale = static_cast<float>(multipliers.embedding);
  spec.logit_scale = static_cast<float>(multipliers.output);
  for (BlockSpec& block : spec.blocks) {
    block.post_norm = block.norm;
    if (auto* gqa = std::get_if<GqaSpec>(&block.mixer)) {
      gqa->scale = static_cast<float>(multipliers.attention);
      gqa->logit_cap = static_cast<float>(multipliers.logit_cap);
    } else if (auto* moe = std::get_if<MoeSpec>(&block.mixer)) {
      moe->expert.activation = Activation::GeGlu;
    }
  }
  validate(spec, source);
  return spec;
}

}  // namespace

ModelSpec read_grok_config(const WeightStore& store, ConfigFields& config) {
  LlamaShape shape;
  shape.width = config.whole("hidden_size");
  shape.vocab = config.whole("vocab_size");
  shape.layers = config.whole("num_hidden_layers");
  shape.context = config.whole("max_position_embeddings");
  shape.heads = config.whole("num_attention_heads");
  shape.kv_heads = config.whole("num_key_value_heads");
  const auto head_dim = config.maybe_whole("head_dim");
  shape.head_dim = head_dim ? *head_dim : default_head_dim(shape.width, shape.heads, config.where());
  shape.inner = config.whole("intermediate_size");
  shape.eps = config.number("rms_norm_eps");
  // One port counts `local` experts, the other does not.
  shape.experts = config.whole(config.has("num_local_experts") ? "num_local_experts" : "num_experts");
  shape.top_k = config.whole("num_experts_per_tok");
  shape.renormalize = false;

  Multipliers multipliers;
  multipliers.embedding = config.number("embedding_multiplier_scale");
  multipliers.output = config.number("output_multiplier_scale");
  multipliers.attention = config.number("attn_output_multiplier");
  multipliers.logit_cap = config.maybe_number("max_attn_value").value_or(multipliers.logit_cap);
  // All names of GELU mean the tanh form here: the weights were trained with it, whatever a port runs.
  config.only_text("hidden_act", {"gelu", "gelu_new", "gelu_pytorch_tanh"});
  config.only_false("attention_bias");
  shape.tied_embeddings = config.maybe_flag("tie_word_embeddings").value_or(true);
  shape.eos = read_eos(store, config);
  if (const auto bos = config.tokens("bos_token_id"); !bos.empty()) shape.bos = bos.front();
  shape.rope = read_config_rope(config, shape.head_dim, kTheta, shape.notes);
  judge_unread(config, shape.notes);
  return assemble_grok(shape, multipliers, config.where());
}

namespace {

// The published checkpoint has no configuration: what its tensors do not say is the release's.
nlohmann::json config_of_release(const WeightStore& store) {
  const auto shape = [&](const std::string& name) -> const std::vector<int64_t>& {
    const auto found = store.tensors.find(name);
    if (found == store.tensors.end()) throw_error(ErrorKind::File, "{}: no tensor {}", store.path, name);
    return found->second.shape;
  };
  const auto size = [&](const std::string& name, size_t dimensions, size_t at) {
    const std::vector<int64_t>& sizes = shape(name);
    if (sizes.size() != dimensions) {
      throw_error(ErrorKind::File, "{}: tensor {} has {} dimensions, expected {}", store.path, name, sizes.size(),
                  dimensions);
    }
    return sizes[at];
  };
  const std::string layer = "transformer/decoder_layer_0/", embedding = "language_model/in_out_embed/embeddings";
  constexpr int64_t kHeadDim = 128;
  const Multipliers release;
  int64_t layers = 0;
  while (store.tensors.contains(fmt::format("transformer/decoder_layer_{}/router/w", layers))) ++layers;
  return {{"vocab_size", size(embedding, 2, 0)},
          {"hidden_size", size(embedding, 2, 1)},
          {"intermediate_size", size(layer + "moe/linear/w", 3, 1)},
          {"num_hidden_layers", layers},
          {"head_dim", kHeadDim},
          {"num_attention_heads", size(layer + "multi_head_attention/query/w", 2, 0) / kHeadDim},
          {"num_key_value_heads", size(layer + "multi_head_attention/key/w", 2, 0) / kHeadDim},
          {"num_local_experts", size(layer + "moe/linear/w", 3, 0)},
          {"num_experts_per_tok", 2},
          {"max_position_embeddings", 8192},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", kTheta},
          {"attn_output_multiplier", release.attention},
          {"embedding_multiplier_scale", release.embedding},
          {"output_multiplier_scale", release.output},
          {"pad_token_id", 0},
          {"bos_token_id", 1},
          {"eos_token_id", 2}};
}

}  // namespace

ModelSpec read_numbered_spec(const WeightStore& store) {
  if (!store.config.is_null()) return read_hugging_face_spec(store);
  const nlohmann::json config = config_of_release(store);
  ConfigFields fields(config, store.path);
  ModelSpec spec = read_grok_config(store, fields);
  spec.notes.push_back("no config.json; multipliers, heads of 128 and the choice of 2 experts are those of Grok-1");
  return spec;
}

// Files before August 2025 have none of the multipliers: the engine had them as constants.
ModelSpec read_grok_gguf(GgufFields& fields) {
  LlamaShape shape = read_gguf_shape(fields);
  shape.renormalize = false;
  read_gguf_experts(fields, shape);
  if (shape.experts == 0) fields.refuse("expert_count", "missing", "a positive number");
  shape.rope = read_gguf_rope(fields, RopePairing::HalfSplit, shape.head_dim);

  Multipliers multipliers;
  const auto read = [&](const char* name, double& value) { value = fields.maybe_number(name).value_or(value); };
  read("embedding_scale", multipliers.embedding);
  read("logit_scale", multipliers.output);
  read("attention.output_scale", multipliers.attention);
  read("attn_logit_softcapping", multipliers.logit_cap);
  if (const double cap = fields.maybe_number("final_logit_softcapping").value_or(0); cap != 0) {
    fields.refuse("final_logit_softcapping", cap, "0");
  }
  // Written, but no one's forward pass of this model has it.
  fields.harmless({"router_logit_softcapping", "rope.scaling.finetuned"});
  fields.refuse_unread();
  return assemble_grok(shape, multipliers, fields.where());
}

}  // namespace ostro
