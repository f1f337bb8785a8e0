// DBRX: config.json and GGUF metadata -> ModelSpec.
#include "model/read_spec_gguf.h"
#include "model/read_spec_json.h"
#include "model/read_spec_parts.h"

namespace ostro {

namespace {

// What sets it apart from Llama: LayerNorm without a bias, and queries, keys and values clipped.
ModelSpec assemble_dbrx(LlamaShape shape, double clip, const std::string& source) {
  shape.family = "dbrx";
  ModelSpec spec = assemble(shape, source);
  spec.final_norm.kind = NormKind::LayerNorm;
  for (BlockSpec& block : spec.blocks) {
    block.norm.kind = NormKind::LayerNorm;
    if (auto* gqa = std::get_if<GqaSpec>(&block.mixer)) gqa->clip_qkv = static_cast<float>(clip);
  }
  validate(spec, source);
  return spec;
}

// An object inside config.json, whose fields are all read or refused.
template <typename Read>
void read_object(ConfigFields& config, std::string_view name, const Read& read) {
  ConfigFields fields(config.raw(name), config.where() + ": " + std::string(name));
  // What every Transformers configuration writes.
  fields.harmless({"model_type", "transformers_version", "dtype", "torch_dtype"});
  read(fields);
  if (const auto unread = fields.unread(); !unread.empty()) {
    fields.refuse(unread.front(), "absent; ostro does not implement this field");
  }
}

constexpr double kEpsilon = 1e-5;  // of PyTorch's LayerNorm; no file says it

}  // namespace

ModelSpec read_dbrx_config(const WeightStore& store, ConfigFields& config) {
  LlamaShape shape;
  shape.width = config.whole("d_model");
  shape.heads = config.whole("n_heads");
  shape.layers = config.whole("n_layers");
  shape.context = config.whole("max_seq_len");
  shape.vocab = config.whole("vocab_size");
  shape.eps = kEpsilon;
  shape.head_dim = default_head_dim(shape.width, shape.heads, config.where());
  config.harmless({"emb_pdrop"});

  double clip = 0;
  read_object(config, "attn_config", [&](ConfigFields& attention) {
    shape.kv_heads = attention.maybe_whole("kv_n_heads").value_or(1);
    clip = attention.maybe_number("clip_qkv").value_or(0);
    shape.rope =
        make_rope(RopePairing::HalfSplit, shape.head_dim, attention.maybe_number("rope_theta").value_or(10000));
    attention.harmless({"attn_pdrop"});
  });
  read_object(config, "ffn_config", [&](ConfigFields& experts) {
    shape.inner = experts.whole("ffn_hidden_size");
    shape.experts = experts.whole("moe_num_experts");
    shape.top_k = experts.whole("moe_top_k");
    // Weights are divided by their p-norm; null stands for not at all.
    constexpr const char* kNorm = "moe_normalize_expert_weights";
    shape.renormalize = experts.has(kNorm) || !config.raw("ffn_config").contains(kNorm);
    if (experts.maybe_number(kNorm).value_or(1) != 1) experts.refuse(kNorm, "1 or null");
    experts.harmless({"moe_jitter_eps", "moe_loss_weight"});
    experts.only_false("uniform_expert_assignment");
    if (experts.has("ffn_act_fn")) {
      read_object(experts, "ffn_act_fn", [](ConfigFields& activation) { activation.only_text("name", {"silu"}); });
    }
  });

  shape.tied_embeddings = config.maybe_flag("tie_word_embeddings").value_or(false);
  shape.eos = read_eos(store, config);
  if (const auto bos = config.tokens("bos_token_id"); !bos.empty()) shape.bos = bos.front();
  judge_unread(config, shape.notes);
  return assemble_dbrx(shape, clip, config.where());
}

ModelSpec read_dbrx_gguf(GgufFields& fields) {
  LlamaShape shape = read_gguf_shape(fields);
  read_gguf_experts(fields, shape);
  if (shape.experts == 0) fields.refuse("expert_count", "missing", "a positive number");
  shape.rope = read_gguf_rope(fields, RopePairing::HalfSplit, shape.head_dim);
  fields.harmless({"rope.scaling.finetuned"});
  const double clip = fields.maybe_number("attention.clamp_kqv").value_or(0);
  fields.refuse_unread();
  return assemble_dbrx(shape, clip, fields.where());
}

}  // namespace ostro
