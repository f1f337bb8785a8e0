// OpenMoE (Xue et al. 2024): config.json, and GGUF metadata as ostro writes them -> ModelSpec. Every few layers have
// experts, and behind them a dense block as a third one; scores of attention are not scaled; a gate of two halves; an
// expert takes so many tokens of a prompt and drops the others, also at inference.
#include <fmt/format.h>

#include "base/error.h"
#include "model/read_spec_gguf.h"
#include "model/read_spec_json.h"
#include "model/read_spec_parts.h"

namespace ostro {

namespace {

struct Published {
  int64_t interval = 0, experts = 0, top_k = 0;
  CapacitySpec capacity;
};

// The blocks of a layer: attention, then experts and a dense block, or a dense block alone.
ModelSpec assemble_openmoe(LlamaShape& shape, const Published& published, const std::string& source) {
  shape.family = "openmoe";
  if (published.interval < 1) {
    throw_error(ErrorKind::File, "{}: experts stand in every {}th layer, expected a positive number", source,
                published.interval);
  }
  if (published.top_k > 2) {
    throw_error(ErrorKind::File, "{}: a token has {} experts, expected 1 or 2", source, published.top_k);
  }
  ModelSpec spec = assemble(shape, source);
  std::vector<BlockSpec> blocks;
  for (BlockSpec& block : spec.blocks) {
    if (auto* attention = std::get_if<GqaSpec>(&block.mixer)) attention->scale = 1;
    auto* dense = std::get_if<DenseSpec>(&block.mixer);
    if (dense != nullptr) {
      dense->activation = Activation::GatedSwiGlu;
      block.extra = (block.layer + 1) % published.interval == 0;
    }
    if (block.extra) {
      MoeSpec moe;
      moe.router.experts = published.experts;
      moe.router.top_k = published.top_k;
      moe.router.renormalize = false;
      moe.router.capacity = published.capacity;
      moe.expert = *dense;
      blocks.push_back({block.layer, block.norm, moe});
    }
    blocks.push_back(block);
  }
  spec.blocks = std::move(blocks);
  // A T5 vocabulary has no BOS; its padding token begins every text.
  spec.begins_with_bos = true;
  validate(spec, source);
  return spec;
}

// A field under its later or its early name.
std::string_view spelled(const ConfigFields& config, std::string_view later, std::string_view early) {
  return config.has(early) && !config.has(later) ? early : later;
}

}  // namespace

ModelSpec read_openmoe_config(const WeightStore& store, ConfigFields& config) {
  LlamaShape shape = read_config_shape(store, config, {"swiglu"});
  Published published;
  published.interval = config.whole("moe_layer_interval");
  published.experts = config.whole("num_experts");
  published.top_k = config.whole(spelled(config, "router_topk", "topk"));
  published.capacity.factor = config.number(spelled(config, "router_capacity_factor_eval", "capacity_factor_eval"));
  published.capacity.least = config.whole(spelled(config, "router_min_capacity", "min_capacity"));
  const std::string_view gated = spelled(config, "mlp_gated", "gated");
  if (!config.maybe_flag(gated).value_or(true)) config.refuse(gated, "true");
  const std::string_view drop = spelled(config, "router_drop_tks", "drop_tks");
  if (!config.maybe_flag(drop).value_or(true)) {
    shape.notes.push_back(fmt::format("{} is false: the published code drops all the same", drop));
  }
  // Some configurations have other numbers, left over from Llama's.
  constexpr int32_t kPad = 0, kEos = 1;
  if (shape.bos != kPad || shape.eos != std::vector<int32_t>{kEos}) {
    shape.notes.push_back(
        fmt::format("bos_token_id and eos_token_id are not used: a text begins with {} and ends with "
                    "{}, as in the model's vocabulary",
                    kPad, kEos));
  }
  shape.bos = kPad;
  shape.eos = {kEos};
  // Of training, or of how the work is spread.
  config.harmless({"dropout_rate", "label_smoothing", "z_loss_factor", "layer_norm_epsilon", "router_aux_loss_factor",
                   "router_z_loss_factor", "aux_loss_factor", "router_capacity_factor_train", "capacity_factor_train",
                   "router_noisy_policy", "noisy_policy", "expert_parallel", "enable_comm_overlap",
                   "enable_hierarchical_alltoall", "enable_kernel", "enable_load_balance", "load_balance_beam_width",
                   "load_balance_group_swap_factor", "load_balance_tolerance"});
  shape.rope = read_config_rope(config, shape.head_dim, 10000, shape.notes);
  judge_unread(config, shape.notes);
  return assemble_openmoe(shape, published, config.where());
}

ModelSpec read_openmoe_gguf(GgufFields& fields) {
  LlamaShape shape = read_gguf_shape(fields);
  Published published;
  published.interval = fields.whole("moe_every_n_layers");
  published.experts = fields.whole("expert_count");
  published.top_k = fields.whole("expert_used_count");
  published.capacity.factor = fields.number("expert_capacity_factor");
  published.capacity.least = fields.whole("expert_capacity_min");
  shape.rope = read_gguf_rope(fields, RopePairing::HalfSplit, shape.head_dim);
  fields.refuse_unread();
  return assemble_openmoe(shape, published, fields.where());
}

}  // namespace ostro
