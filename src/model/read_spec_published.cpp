#include "model/read_spec_published.h"

#include <algorithm>

#include "base/error.h"
#include "model/read_spec_parts.h"
#include "model/tensor_names.h"

namespace ostro {
namespace {

struct Published {
  const char* name;
  const char* config;  // what config.json says of the shape
};

constexpr Published kPublished[] = {
    {"mistral-7b", R"({"architectures": ["MistralForCausalLM"], "hidden_size": 4096, "num_hidden_layers": 32,
      "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 32768,
      "max_position_embeddings": 32768, "rope_theta": 1e6, "rms_norm_eps": 1e-5, "sliding_window": null,
      "bos_token_id": 1, "eos_token_id": 2})"},
    {"mixtral-8x7b", R"({"architectures": ["MixtralForCausalLM"], "hidden_size": 4096, "num_hidden_layers": 32,
      "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336, "num_local_experts": 8,
      "num_experts_per_tok": 2, "vocab_size": 32000, "max_position_embeddings": 32768, "rope_theta": 1e6,
      "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2})"},
    {"mixtral-8x22b", R"({"architectures": ["MixtralForCausalLM"], "hidden_size": 6144, "num_hidden_layers": 56,
      "num_attention_heads": 48, "num_key_value_heads": 8, "intermediate_size": 16384, "num_local_experts": 8,
      "num_experts_per_tok": 2, "vocab_size": 32000, "max_position_embeddings": 65536, "rope_theta": 1e6,
      "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": 2})"},
    {"grok-1", R"({"architectures": ["GrokForCausalLM"], "hidden_size": 6144, "num_hidden_layers": 64,
      "num_attention_heads": 48, "num_key_value_heads": 8, "intermediate_size": 32768, "num_local_experts": 8,
      "num_experts_per_tok": 2, "vocab_size": 131072, "max_position_embeddings": 8192, "rope_theta": 10000,
      "rms_norm_eps": 1e-5, "hidden_act": "gelu_new", "attn_output_multiplier": 0.08838834764831845,
      "embedding_multiplier_scale": 78.38367176906169, "output_multiplier_scale": 0.5773502691896257,
      "bos_token_id": 1, "eos_token_id": 2})"},
    {"dbrx", R"({"architectures": ["DbrxForCausalLM"], "d_model": 6144, "n_layers": 40, "n_heads": 48,
      "vocab_size": 100352, "max_seq_len": 32768, "attn_config": {"clip_qkv": 8, "kv_n_heads": 8, "rope_theta": 500000},
      "ffn_config": {"ffn_hidden_size": 10752, "moe_num_experts": 16, "moe_top_k": 4}, "eos_token_id": 100257})"},
    {"deepseek-v2-lite", R"({"architectures": ["DeepseekV2ForCausalLM"], "hidden_size": 2048, "num_hidden_layers": 27,
      "num_attention_heads": 16, "q_lora_rank": null, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 10944, "moe_intermediate_size": 1408,
      "n_routed_experts": 64, "num_experts_per_tok": 6, "n_shared_experts": 2, "n_group": 1,
      "topk_group": 1, "scoring_func": "softmax", "norm_topk_prob": false, "topk_method": "greedy",
      "routed_scaling_factor": 1, "first_k_dense_replace": 1, "vocab_size": 102400,
      "max_position_embeddings": 163840, "rope_theta": 10000, "rms_norm_eps": 1e-6, "rope_scaling": {"type": "yarn",
      "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707,
      "original_max_position_embeddings": 4096}, "bos_token_id": 100000, "eos_token_id": 100001})"},
    {"deepseek-v2", R"({"architectures": ["DeepseekV2ForCausalLM"], "hidden_size": 5120, "num_hidden_layers": 60,
      "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 12288, "moe_intermediate_size": 1536,
      "n_routed_experts": 160, "num_experts_per_tok": 6, "n_shared_experts": 2, "n_group": 8,
      "topk_group": 3, "scoring_func": "softmax", "norm_topk_prob": false, "topk_method": "group_limited_greedy",
      "routed_scaling_factor": 16, "first_k_dense_replace": 1, "vocab_size": 102400,
      "max_position_embeddings": 163840, "rope_theta": 10000, "rms_norm_eps": 1e-6, "rope_scaling": {"type": "yarn",
      "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707,
      "original_max_position_embeddings": 4096}, "bos_token_id": 100000, "eos_token_id": 100001})"},
    {"deepseek-v3", R"({"architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 7168, "num_hidden_layers": 61,
      "num_attention_heads": 128, "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128,
      "qk_rope_head_dim": 64, "v_head_dim": 128, "intermediate_size": 18432, "moe_intermediate_size": 2048,
      "n_routed_experts": 256, "num_experts_per_tok": 8, "n_shared_experts": 1, "n_group": 8,
      "topk_group": 4, "scoring_func": "sigmoid", "norm_topk_prob": true, "topk_method": "noaux_tc",
      "routed_scaling_factor": 2.5, "first_k_dense_replace": 3, "vocab_size": 129280,
      "max_position_embeddings": 163840, "rope_theta": 10000, "rms_norm_eps": 1e-6, "rope_scaling": {"type": "yarn",
      "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 1, "mscale_all_dim": 1,
      "original_max_position_embeddings": 4096}, "bos_token_id": 0, "eos_token_id": 1})"},
    {"openmoe-8b", R"({"architectures": ["OpenMoeForCausalLM"], "hidden_size": 2048, "num_hidden_layers": 24,
      "num_attention_heads": 24, "num_key_value_heads": 24, "head_dim": 128, "intermediate_size": 8192,
      "num_experts": 32, "moe_layer_interval": 6, "router_topk": 2, "router_capacity_factor_eval": 2,
      "router_min_capacity": 4, "hidden_act": "swiglu", "vocab_size": 256384, "max_position_embeddings": 2048,
      "rope_theta": 10000, "rms_norm_eps": 1e-6, "bos_token_id": 0, "eos_token_id": 1})"},
    {"qwen3-30b-a3b", R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048,
      "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
      "intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8,
      "norm_topk_prob": true, "vocab_size": 151936, "max_position_embeddings": 40960, "rope_theta": 1e6,
      "rms_norm_eps": 1e-6, "bos_token_id": 151643, "eos_token_id": 151645})"},
};

}  // namespace

std::vector<std::string> published_shapes() {
  std::vector<std::string> names;
  for (const auto& published : kPublished) names.emplace_back(published.name);
  return names;
}

ModelSpec published_shape(const std::string& name, int64_t layers) {
  const auto* published = std::ranges::find(kPublished, name, &Published::name);
  if (published == std::end(kPublished)) {
    throw_error(ErrorKind::Usage, "no published shape {}: expected one of {}", name,
                fmt::join(published_shapes(), ", "));
  }
  WeightStore store;
  store.folder = name;
  store.config = nlohmann::json::parse(published->config);
  // Where every few layers have experts, of fewer layers than that the last has.
  const auto interval = store.config.find("moe_layer_interval");
  if (interval != store.config.end() && layers > 0) *interval = std::min(interval->get<int64_t>(), layers);
  // Where the first layers are dense, of a few layers only one is.
  const auto dense = store.config.find("first_k_dense_replace");
  if (dense != store.config.end() && layers > 0) *dense = std::min<int64_t>(1, layers - 1);
  ModelSpec spec = read_hugging_face_spec(store);
  if (layers < 0 || layers > spec.layers) {
    throw_error(ErrorKind::Usage, "--layers {}: expected at most the {} layers of {}", layers, spec.layers, name);
  }
  if (layers > 0) {
    spec.layers = layers;
    std::erase_if(spec.blocks, [&](const BlockSpec& block) { return block.layer >= layers; });
  }
  const RopePairing pairing = name_table(CheckpointFormat::Gguf, spec.family).row_order;
  for (BlockSpec& block : spec.blocks) {
    if (auto* gqa = std::get_if<GqaSpec>(&block.mixer)) gqa->rope.pairing = pairing;
  }
  return spec;
}

void add_placeholder_tokenizer(GgufMetadata& metadata, const ModelSpec& spec) {
  enum Kind : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6 };
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int64_t> kinds = {kUnknown, kControl, kControl};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(fmt::format("<0x{:02X}>", byte));
    kinds.push_back(kByte);
  }
  for (int64_t id = static_cast<int64_t>(tokens.size()); id < spec.vocab; ++id) {
    tokens.push_back(fmt::format("filler{}", id));
    kinds.push_back(kNormal);
  }
  CHECK(static_cast<int64_t>(tokens.size()) == spec.vocab);
  metadata.values["tokenizer.ggml.model"] = "llama";
  metadata.values["tokenizer.ggml.pre"] = "default";
  metadata.values["tokenizer.ggml.scores"] = GgufArray(std::vector<double>(tokens.size(), 0.0));
  metadata.values["tokenizer.ggml.tokens"] = GgufArray(std::move(tokens));
  metadata.values["tokenizer.ggml.token_type"] = GgufArray(std::move(kinds));
  metadata.values["tokenizer.ggml.unknown_token_id"] = uint64_t{0};
  metadata.values["tokenizer.ggml.bos_token_id"] = uint64_t{1};
  metadata.values["tokenizer.ggml.eos_token_id"] = uint64_t{2};
}

}  // namespace ostro
