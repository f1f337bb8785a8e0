// OLMoE: config.json and GGUF metadata -> ModelSpec. Queries and keys are normalised before the heads are split; the
// weights of the chosen experts are not renormalised.
#include "model/read_spec_gguf.h"
#include "model/read_spec_json.h"
#include "model/read_spec_parts.h"

namespace ostro {

ModelSpec read_olmoe_config(const WeightStore& store, ConfigFields& config) {
  LlamaShape shape = read_config_shape(store, config);
  shape.family = "olmoe";
  shape.query_key_norm = QueryKeyNorm::Whole;
  shape.experts = config.whole("num_experts");
  shape.top_k = config.whole("num_experts_per_tok");
  shape.renormalize = config.maybe_flag("norm_topk_prob").value_or(false);
  if (config.has("clip_qkv")) config.refuse("clip_qkv", "null");
  shape.rope = read_config_rope(config, shape.head_dim, 10000, shape.notes);
  judge_unread(config, shape.notes);
  return assemble(shape, config.where());
}

ModelSpec read_olmoe_gguf(GgufFields& fields) {
  LlamaShape shape = read_gguf_shape(fields);
  shape.family = "olmoe";
  shape.query_key_norm = QueryKeyNorm::Whole;
  shape.experts = fields.whole("expert_count");
  shape.top_k = fields.whole("expert_used_count");
  shape.renormalize = fields.maybe_flag("expert_weights_norm").value_or(false);
  shape.rope = read_gguf_rope(fields, RopePairing::HalfSplit, shape.head_dim);
  fields.harmless({"rope.scaling.finetuned"});
  fields.refuse_unread();
  return assemble(shape, fields.where());
}

}  // namespace ostro
