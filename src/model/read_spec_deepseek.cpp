// DeepSeek-V2, V2-Lite, V3 and R1: config.json and GGUF metadata -> ModelSpec.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/read_spec_gguf.h"
#include "model/read_spec_json.h"
#include "model/read_spec_parts.h"

namespace ostro {

float latent_scale(const MlaSpec& mla) {
  const double plain = 1 / std::sqrt(static_cast<double>(mla.nope_dim + mla.rope_dim));
  const RopeScaling& scaling = mla.rope.scaling;
  if (scaling.kind != RopeScaling::Kind::Yarn) return static_cast<float>(plain);
  const double factor = yarn_magnitude(scaling.factor, scaling.score_mscale);
  return static_cast<float>(plain * factor * factor);
}

namespace {

// The two generations differ in how a router scores, in what it adds where it chooses, and in how groups are ranked.
struct DeepSeekShape {
  std::string family;
  int64_t width = 0, vocab = 0, layers = 0, context = 0;
  MlaSpec attention;
  DenseSpec dense;
  MoeSpec moe;
  int64_t first_sparse = 0, sparse_every = 1;  // layers from first_sparse on that sparse_every divides have experts
  int64_t mtp_layers = 0;
  double eps = 0;
  bool tied_embeddings = false;
  int32_t bos = -1;
  std::vector<int32_t> eos;
  std::vector<std::string> notes;
};

ModelSpec assemble(DeepSeekShape& shape, const std::string& source) {
  constexpr int64_t kMostLayers = 4096;  // before the list of blocks is made; validate checks the rest
  if (shape.layers < 1 || shape.layers > kMostLayers) {
    throw_error(ErrorKind::File, "{}: the number of layers is {}, expected 1 to {}", source, shape.layers, kMostLayers);
  }
  if (shape.mtp_layers < 0 || shape.mtp_layers > 1) {
    throw_error(ErrorKind::File, "{}: {} layers of multi-token prediction, supported: 0, 1", source, shape.mtp_layers);
  }
  ModelSpec spec;
  spec.family = shape.family;
  spec.width = shape.width;
  spec.vocab = shape.vocab;
  spec.layers = shape.layers;
  spec.context = shape.context;
  spec.tied_embeddings = shape.tied_embeddings;
  spec.bos = shape.bos;
  spec.eos = shape.eos;
  spec.notes = shape.notes;
  spec.final_norm = {NormKind::Rms, static_cast<float>(shape.eps)};
  shape.attention.scale = latent_scale(shape.attention);
  BlockSpec attention{0, spec.final_norm, shape.attention}, sparse{0, spec.final_norm, shape.moe},
      dense{0, spec.final_norm, shape.dense};
  for (int64_t layer = 0; layer < shape.layers + shape.mtp_layers; ++layer) {
    const bool has_experts = layer >= shape.first_sparse && (layer % shape.sparse_every == 0 || layer >= shape.layers);
    BlockSpec& feed_forward = has_experts ? sparse : dense;
    attention.layer = feed_forward.layer = layer;
    spec.blocks.push_back(attention);
    spec.blocks.push_back(feed_forward);
  }
  spec.mtp_blocks = static_cast<size_t>(2 * shape.mtp_layers);
  validate(spec, source);
  return spec;
}

// DeepSeek-V2's own code and V3's; each has the ways to choose that its models were published with.
void read_router(ConfigFields& config, bool third, RouterSpec& router) {
  router.experts = config.whole("n_routed_experts");
  router.top_k = config.whole("num_experts_per_tok");
  config.only_text("scoring_func", {third ? "sigmoid" : "softmax"});
  router.score = third ? Score::Sigmoid : Score::Softmax;
  router.renormalize = config.maybe_flag("norm_topk_prob").value_or(third);
  router.weight_scale = static_cast<float>(config.maybe_number("routed_scaling_factor").value_or(1));
  // The second generation either divides by the sum or scales.
  if (!third && router.renormalize) router.weight_scale = 1;
  const std::string method = config.maybe_text("topk_method").value_or(third ? "noaux_tc" : "greedy");
  const auto groups = config.maybe_whole("n_group"), kept = config.maybe_whole("topk_group");
  if (third) {
    config.only_text("topk_method", {"noaux_tc"});
    router.selection_bias = true;
    router.group_rank = GroupRank::TopTwoSum;
  } else {
    config.only_text("topk_method", {"greedy", "group_limited_greedy"});
    if (method == "greedy") return;
  }
  router.groups = groups.value_or(1);
  router.groups_kept = kept.value_or(1);
}

void read_attention(ConfigFields& config, DeepSeekShape& shape) {
  MlaSpec& mla = shape.attention;
  mla.heads = config.whole("num_attention_heads");
  if (config.maybe_whole("num_key_value_heads").value_or(mla.heads) != mla.heads) {
    config.refuse("num_key_value_heads", fmt::format("{}, the number of attention heads", mla.heads));
  }
  mla.query_rank = config.maybe_whole("q_lora_rank").value_or(0);
  if (config.has("q_lora_rank") && mla.query_rank < 1) config.refuse("q_lora_rank", "a positive number or null");
  mla.kv_rank = config.whole("kv_lora_rank");
  mla.nope_dim = config.whole("qk_nope_head_dim");
  mla.rope_dim = config.whole("qk_rope_head_dim");
  mla.value_dim = config.whole("v_head_dim");
  if (const auto dim = config.maybe_whole("qk_head_dim"); dim && *dim != mla.nope_dim + mla.rope_dim) {
    config.refuse("qk_head_dim", "the sum of qk_nope_head_dim and qk_rope_head_dim");
  }
  if (const auto dim = config.maybe_whole("head_dim"); dim && *dim != mla.rope_dim) {
    config.refuse("head_dim", "qk_rope_head_dim, or absent");
  }
  if (!config.maybe_flag("rope_interleave").value_or(true)) config.refuse("rope_interleave", "true");
  mla.latent_norm = {NormKind::Rms, 1e-6f};  // fixed in the publisher's code
  mla.rope = read_config_rope(config, mla.rope_dim, 10000, shape.notes);
  mla.rope.pairing = RopePairing::Interleaved;
}

// FP8 weights in squares of 128. How activations would be rounded to FP8 is not followed: they stay wider here.
void read_quantization(ConfigFields& config) {
  if (!config.has("quantization_config")) return;
  ConfigFields fields(config.raw("quantization_config"), config.where() + ": quantization_config");
  fields.only_text("quant_method", {"fp8"});
  fields.only_text("fmt", {"e4m3"});
  fields.harmless({"activation_scheme", "scale_fmt", "modules_to_not_convert", "dequantize"});
  const nlohmann::json expected = {kScaleBlock, kScaleBlock};
  if (fields.raw("weight_block_size") != expected) {
    fields.refuse("weight_block_size", fmt::format("[{}, {}]", kScaleBlock, kScaleBlock));
  }
  if (const auto unread = fields.unread(); !unread.empty()) fields.refuse(unread.front(), "absent");
}

ModelSpec read_config(const WeightStore& store, ConfigFields& config, bool third) {
  DeepSeekShape shape;
  shape.family = third ? "deepseek-v3" : "deepseek-v2";
  shape.width = config.whole("hidden_size");
  shape.vocab = config.whole("vocab_size");
  shape.layers = config.whole("num_hidden_layers");
  shape.context = config.whole("max_position_embeddings");
  shape.eps = config.number("rms_norm_eps");
  shape.tied_embeddings = config.maybe_flag("tie_word_embeddings").value_or(false);
  shape.eos = read_eos(store, config);
  const auto bos = config.tokens("bos_token_id");
  if (!bos.empty()) shape.bos = bos.front();
  config.only_text("hidden_act", {"silu"});
  config.only_false("attention_bias");
  config.only_false("mlp_bias");
  config.harmless({"ep_size", "aux_loss_alpha", "seq_aux"});

  read_quantization(config);
  read_attention(config, shape);
  shape.dense = {config.whole("intermediate_size")};
  shape.moe.expert = {config.whole("moe_intermediate_size")};
  read_router(config, third, shape.moe.router);
  if (const int64_t shared = config.maybe_whole("n_shared_experts").value_or(0); shared != 0) {
    constexpr int64_t kMostShared = 1024;
    if (shared < 0 || shared > kMostShared) config.refuse("n_shared_experts", fmt::format("0 to {}", kMostShared));
    if (shape.moe.expert.inner > 0 && shape.moe.expert.inner <= kMostShared * kMostShared)
      shape.moe.shared = SharedExpertSpec{shared * shape.moe.expert.inner};
  }
  shape.first_sparse = config.maybe_whole("first_k_dense_replace").value_or(0);
  shape.sparse_every = config.maybe_whole("moe_layer_freq").value_or(1);
  if (shape.sparse_every < 1) config.refuse("moe_layer_freq", "a positive number");
  shape.mtp_layers = config.maybe_whole("num_nextn_predict_layers").value_or(0);
  judge_unread(config, shape.notes);
  return assemble(shape, config.where());
}

}  // namespace

ModelSpec read_deepseek2_config(const WeightStore& store, ConfigFields& config) {
  return read_config(store, config, false);
}
ModelSpec read_deepseek3_config(const WeightStore& store, ConfigFields& config) {
  return read_config(store, config, true);
}

namespace {

// Files written until 2025 say nothing of groups, though both large models were published with them.
void assume_groups(DeepSeekShape& shape) {
  struct Published {
    int64_t experts, layers, groups, kept;
  };
  constexpr Published kPublished[] = {{160, 60, 8, 3}, {256, 61, 8, 4}};
  for (const Published& model : kPublished) {
    if (shape.moe.router.experts != model.experts || shape.layers != model.layers) continue;
    shape.moe.router.groups = model.groups;
    shape.moe.router.groups_kept = model.kept;
    shape.notes.push_back(
        fmt::format("expert_group_count is missing; {} groups of which {} are kept are assumed, as published",
                    model.groups, model.kept));
  }
}

void read_gguf_router(GgufFields& fields, DeepSeekShape& shape) {
  constexpr int64_t kSoftmax = 1, kSigmoid = 2;
  RouterSpec& router = shape.moe.router;
  router.experts = fields.whole("expert_count");
  router.top_k = fields.whole("expert_used_count");
  const int64_t gating = fields.maybe_whole("expert_gating_func").value_or(kSoftmax);
  if (gating != kSoftmax && gating != kSigmoid) fields.refuse("expert_gating_func", gating, "1 (softmax), 2 (sigmoid)");
  const bool third = gating == kSigmoid;
  shape.family = third ? "deepseek-v3" : "deepseek-v2";
  router.score = third ? Score::Sigmoid : Score::Softmax;
  router.renormalize = fields.maybe_flag("expert_weights_norm").value_or(false);
  const double scale = fields.maybe_number("expert_weights_scale").value_or(0);  // 0 stands for no scale
  router.weight_scale = scale == 0 ? 1 : static_cast<float>(scale);
  router.selection_bias = third;
  router.group_rank = third ? GroupRank::TopTwoSum : GroupRank::Max;
  const auto groups = fields.maybe_whole("expert_group_count"), kept = fields.maybe_whole("expert_group_used_count");
  if (groups.value_or(0) > 0) {
    router.groups = *groups;
    router.groups_kept = kept.value_or(*groups);
  } else {
    assume_groups(shape);
  }
}

void read_gguf_attention(GgufFields& fields, DeepSeekShape& shape) {
  MlaSpec& mla = shape.attention;
  mla.heads = fields.whole("attention.head_count");
  // Files with the latent as their one key-value head say how long keys are before absorption by keys of their own.
  const auto key = fields.maybe_whole("attention.key_length"), key_mla = fields.maybe_whole("attention.key_length_mla");
  const auto value = fields.maybe_whole("attention.value_length"),
             value_mla = fields.maybe_whole("attention.value_length_mla");
  const int64_t key_heads = fields.maybe_whole("attention.head_count_kv").value_or(mla.heads);
  mla.query_rank = fields.maybe_whole("attention.q_lora_rank").value_or(0);
  mla.kv_rank = fields.whole("attention.kv_lora_rank");
  mla.rope_dim = fields.whole("rope.dimension_count");
  mla.value_dim = value_mla ? *value_mla : fields.whole("attention.value_length");
  mla.nope_dim = (key_mla ? *key_mla : fields.whole("attention.key_length")) - mla.rope_dim;
  if (key_mla && key && *key != mla.kv_rank + mla.rope_dim) {
    fields.refuse("attention.key_length", *key, "the sum of attention.kv_lora_rank and rope.dimension_count");
  }
  if (value_mla && value && *value != mla.kv_rank) {
    fields.refuse("attention.value_length", *value, "attention.kv_lora_rank");
  }
  if (key_heads != (key_mla ? 1 : mla.heads)) {
    fields.refuse("attention.head_count_kv", key_heads, fmt::format("{}", key_mla ? 1 : mla.heads));
  }
  mla.latent_norm = {NormKind::Rms, static_cast<float>(shape.eps)};
  RopeScaling scaling = read_gguf_scaling(fields);
  // llama.cpp divides the usual factor on cos and sin out again for this architecture.
  if (scaling.kind == RopeScaling::Kind::Yarn) scaling.magnitude /= yarn_magnitude(scaling.factor, 1);
  mla.rope =
      make_rope(RopePairing::Interleaved, mla.rope_dim, fields.maybe_number("rope.freq_base").value_or(10000), scaling);
}

}  // namespace

ModelSpec read_deepseek_gguf(GgufFields& fields) {
  fields.harmless({"rope.scaling.finetuned"});
  DeepSeekShape shape;
  shape.width = fields.whole("embedding_length");
  shape.mtp_layers = fields.maybe_whole("nextn_predict_layers").value_or(0);
  shape.layers = fields.whole("block_count") - shape.mtp_layers;
  shape.context = fields.whole("context_length");
  shape.eps = fields.number("attention.layer_norm_rms_epsilon");
  const GgufVocabulary vocabulary = read_gguf_vocabulary(fields);
  shape.vocab = vocabulary.size;
  shape.bos = vocabulary.bos;
  shape.eos = vocabulary.eos;
  read_gguf_attention(fields, shape);
  shape.dense = {fields.whole("feed_forward_length")};
  shape.moe.expert = {fields.whole("expert_feed_forward_length")};
  read_gguf_router(fields, shape);
  constexpr int64_t kMost = 1 << 20;  // keeps the product in range; validate checks it
  const int64_t shared = fields.maybe_whole("expert_shared_count").value_or(0);
  if (shared < 0 || shared > kMost) fields.refuse("expert_shared_count", shared, "a small number");
  if (shared > 0 && shape.moe.expert.inner > 0 && shape.moe.expert.inner <= kMost) {
    shape.moe.shared = SharedExpertSpec{shared * shape.moe.expert.inner};
  }
  shape.first_sparse = fields.maybe_whole("leading_dense_block_count").value_or(0);
  shape.tied_embeddings = !fields.store().tensors.contains("output.weight");
  fields.refuse_unread();
  return assemble(shape, fields.where());
}

}  // namespace ostro
