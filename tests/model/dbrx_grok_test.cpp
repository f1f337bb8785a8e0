// DBRX and Grok-1: what their configurations say and how broken ones are refused; which types their mixes have.
#include <gmock/gmock.h>

#include "model/checkpoint_writer.h"
#include "model/read_spec.h"
#include "model/read_spec_published.h"
#include "model/support.h"
#include "model/tensor_names.h"
#include "tensor/quant.h"

namespace ostro::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

const GqaSpec& attention_of(const ModelSpec& spec) { return std::get<GqaSpec>(spec.blocks.at(0).mixer); }
const MoeSpec& experts_of(const ModelSpec& spec) { return std::get<MoeSpec>(spec.blocks.at(1).mixer); }

WeightStore hugging_face(const json& config) {
  WeightStore store;
  store.path = store.folder = "folder";
  store.config = config;
  return store;
}

// The released config.json of DBRX.
json dbrx() {
  return json::parse(R"({"architectures": ["DbrxForCausalLM"], "model_type": "dbrx", "d_model": 6144, "n_heads": 48,
    "n_layers": 40, "max_seq_len": 32768, "vocab_size": 100352, "emb_pdrop": 0.0, "resid_pdrop": 0.0,
    "attn_config": {"clip_qkv": 8, "kv_n_heads": 8, "model_type": "", "rope_theta": 500000},
    "ffn_config": {"ffn_hidden_size": 10752, "model_type": "", "moe_jitter_eps": 0.01, "moe_loss_weight": 0.05,
                   "moe_num_experts": 16, "moe_top_k": 4},
    "initializer_range": 0.02, "output_router_logits": false, "router_aux_loss_coef": 0.05,
    "tie_word_embeddings": false, "torch_dtype": "bfloat16", "transformers_version": "4.38.2", "use_cache": true})");
}

// That of the port whose tensors have the publisher's names.
json grok() {
  return json::parse(R"({"architectures": ["GrokForCausalLM"], "model_type": "grok", "vocab_size": 131072,
    "hidden_size": 6144, "intermediate_size": 32768, "num_hidden_layers": 64, "num_attention_heads": 48,
    "num_key_value_heads": 8, "attn_output_multiplier": 0.08838834764831845,
    "embedding_multiplier_scale": 78.38367176906169, "output_multiplier_scale": 0.5773502691896257,
    "max_attn_value": 30.0, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "num_experts_per_tok": 2, "num_local_experts": 8, "router_aux_loss_coef": 0.02, "hidden_act": "gelu_new",
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": true})");
}

TEST(Dbrx, ConfigSaysAll) {
  const ModelSpec spec = read_spec(hugging_face(dbrx()));
  EXPECT_EQ(spec.family, "dbrx");
  EXPECT_EQ(spec.final_norm.kind, NormKind::LayerNorm);
  for (const BlockSpec& block : spec.blocks) EXPECT_EQ(block.norm.kind, NormKind::LayerNorm);
  EXPECT_EQ(spec.final_norm.eps, 1e-5f);
  EXPECT_EQ(attention_of(spec).clip_qkv, 8);
  EXPECT_EQ(attention_of(spec).kv_heads, 8);
  EXPECT_EQ(attention_of(spec).rope.theta, 500000);
  EXPECT_EQ(attention_of(spec).rope.pairing, RopePairing::HalfSplit);
  EXPECT_EQ(experts_of(spec).router.experts, 16);
  EXPECT_EQ(experts_of(spec).router.top_k, 4);
  EXPECT_TRUE(experts_of(spec).router.renormalize);
  EXPECT_EQ(experts_of(spec).expert.activation, Activation::SwiGlu);
  EXPECT_EQ(spec.parameters(), 131'596'523'520);

  json raw_weights = dbrx();
  raw_weights["ffn_config"]["moe_normalize_expert_weights"] = nullptr;
  EXPECT_FALSE(experts_of(read_spec(hugging_face(raw_weights))).router.renormalize);
}

TEST(Grok, ConfigSaysAll) {
  const ModelSpec spec = read_spec(hugging_face(grok()));
  EXPECT_EQ(spec.family, "grok");
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_EQ(spec.embedding_scale, 78.38367176906169f);
  EXPECT_EQ(spec.logit_scale, 0.5773502691896257f);
  for (const BlockSpec& block : spec.blocks) EXPECT_TRUE(block.post_norm.has_value());
  EXPECT_EQ(attention_of(spec).logit_cap, 30);
  EXPECT_EQ(attention_of(spec).scale, 0.08838834764831845f);
  EXPECT_FALSE(experts_of(spec).router.renormalize);
  EXPECT_EQ(experts_of(spec).expert.activation, Activation::GeGlu);
  EXPECT_EQ(spec.parameters(), 315'684'820'992);
}

std::map<std::string, GgufValue, std::less<>> old_grok_gguf() {
  return {{"general.architecture", std::string("grok")},
          {"grok.vocab_size", uint64_t{131072}},
          {"grok.context_length", uint64_t{8192}},
          {"grok.embedding_length", uint64_t{6144}},
          {"grok.block_count", uint64_t{64}},
          {"grok.feed_forward_length", uint64_t{32768}},
          {"grok.attention.head_count", uint64_t{48}},
          {"grok.attention.head_count_kv", uint64_t{8}},
          {"grok.attention.layer_norm_rms_epsilon", 1e-5},
          {"grok.rope.freq_base", 10000.0},
          {"grok.expert_count", uint64_t{8}},
          {"grok.expert_used_count", uint64_t{2}}};
}

ModelSpec read_gguf(std::map<std::string, GgufValue, std::less<>> values) {
  WeightStore store;
  store.format = CheckpointFormat::Gguf;
  store.path = "file.gguf";
  store.gguf.emplace();
  store.gguf->values = std::move(values);
  return read_spec(store);
}

// Files of 2024 have no key for the multipliers.
TEST(Grok, OldGgufHasTheConstantsOfTheRelease) {
  const ModelSpec old = read_gguf(old_grok_gguf());
  const ModelSpec config = read_spec(hugging_face(grok()));
  EXPECT_EQ(old.embedding_scale, config.embedding_scale);
  EXPECT_EQ(old.logit_scale, config.logit_scale);
  EXPECT_EQ(attention_of(old).scale, attention_of(config).scale);
  EXPECT_EQ(attention_of(old).logit_cap, attention_of(config).logit_cap);
  EXPECT_FALSE(experts_of(old).router.renormalize);
  EXPECT_EQ(old.parameters(), config.parameters());
}

TEST(Grok, NewGgufKeysAreReadOrRefused) {
  auto values = old_grok_gguf();
  values["grok.embedding_scale"] = 2.5;
  values["grok.logit_scale"] = 0.62;
  values["grok.attention.output_scale"] = 0.35;
  values["grok.attn_logit_softcapping"] = 20.0;
  values["grok.router_logit_softcapping"] = 30.0;
  values["grok.final_logit_softcapping"] = 0.0;
  const ModelSpec spec = read_gguf(values);
  EXPECT_EQ(spec.embedding_scale, 2.5f);
  EXPECT_EQ(spec.logit_scale, 0.62f);
  EXPECT_EQ(attention_of(spec).scale, 0.35f);
  EXPECT_EQ(attention_of(spec).logit_cap, 20);
  values["grok.final_logit_softcapping"] = 50.0;
  EXPECT_EQ(message_of([&] { read_gguf(values); }), "file.gguf: grok.final_logit_softcapping is 50, supported: 0");
  values["grok.final_logit_softcapping"] = 0.0;
  values["grok.attention.temperature_length"] = uint64_t{1024};
  EXPECT_THAT(message_of([&] { read_gguf(values); }), HasSubstr("grok.attention.temperature_length is not a field"));
}

// The published checkpoint has no config.json: sizes come from its tensors, the rest is the release's.
TEST(Grok, TheReleaseNeedsNoConfiguration) {
  WeightStore store;
  store.format = CheckpointFormat::NumberedPickles;
  store.path = store.folder = "checkpoints/ckpt-0";
  const auto add = [&](const std::string& name, const std::vector<int64_t>& shape) {
    store.tensors[name] = {name, DType::Q8_0, shape, {}, ""};
  };
  add("language_model/in_out_embed/embeddings", {131072, 6144});
  for (int64_t layer = 0; layer < 64; ++layer) {
    const std::string prefix = fmt::format("transformer/decoder_layer_{}/", layer);
    add(prefix + "moe/linear/w", {8, 32768, 6144});
    add(prefix + "multi_head_attention/query/w", {6144, 6144});
    add(prefix + "multi_head_attention/key/w", {1024, 6144});
    add(prefix + "router/w", {6144, 8});
  }
  const ModelSpec spec = read_spec(store), config = read_spec(hugging_face(grok()));
  EXPECT_EQ(spec.parameters(), config.parameters());
  EXPECT_EQ(spec.embedding_scale, config.embedding_scale);
  EXPECT_EQ(spec.logit_scale, config.logit_scale);
  EXPECT_EQ(attention_of(spec).query_heads, 48);
  EXPECT_EQ(attention_of(spec).scale, attention_of(config).scale);
  EXPECT_EQ(attention_of(spec).logit_cap, 30);
  EXPECT_EQ(experts_of(spec).router.top_k, 2);
  store.tensors.erase("language_model/in_out_embed/embeddings");
  EXPECT_EQ(message_of([&] { read_spec(store); }),
            "checkpoints/ckpt-0: no tensor language_model/in_out_embed/embeddings");
}

TEST(Grok, NumbersBecomeNamesInTheOrderOfTheSortedNames) {
  WeightStore store;
  store.format = CheckpointFormat::NumberedPickles;
  store.path = "ckpt-0";
  const auto fill = [&](int64_t count) {
    store.tensors.clear();
    for (int64_t i = 0; i < count; ++i) {
      const std::string name = fmt::format("tensor{:05}_000", i);
      store.tensors[name] = {name, DType::F32, {i}, {}, ""};
    }
  };
  fill(2 + 12 * 12);
  name_numbered_tensors(store);
  const auto number_of = [&](const std::string& name) { return store.tensors.at(name).shape.at(0); };
  EXPECT_EQ(number_of("language_model/in_out_embed/embeddings"), 0);
  EXPECT_EQ(number_of("transformer/decoder_layer_0/moe/linear/w"), 2);
  EXPECT_EQ(number_of("transformer/decoder_layer_0/moe/linear_1/w"), 3);
  EXPECT_EQ(number_of("transformer/decoder_layer_1/moe/linear/w"), 14);
  EXPECT_EQ(number_of("transformer/decoder_layer_10/moe/linear/w"), 26);  // before layer 2
  EXPECT_EQ(number_of("transformer/decoder_layer_2/moe/linear/w"), 50);
  EXPECT_EQ(number_of("transformer/decoder_layer_9/router/w"), 145);
  for (const int64_t count : {1, 2, 13, 15, 145}) {
    fill(count);
    EXPECT_EQ(message_of([&] { name_numbered_tensors(store); }),
              fmt::format("ckpt-0: {} tensors, expected 2 and 12 for each layer", count));
  }
}

struct Refusal {
  const char* name;
  bool is_grok;
  const char* patch;
  const char* message;  // after "folder/config.json: "
};
void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.name; }

class FamilyRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(FamilyRefusal, NamesTheField) {
  json config = GetParam().is_grok ? grok() : dbrx();
  config.merge_patch(json::parse(GetParam().patch));
  EXPECT_EQ(message_of([&] { read_spec(hugging_face(config)); }),
            std::string("folder/config.json: ") + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Fields, FamilyRefusal,
    testing::Values(Refusal{"dbrx_too_many_chosen", false, R"({"ffn_config": {"moe_top_k": 17}})",
                            "the number of experts for each token is 17, expected 1 to 16"},
                    Refusal{"dbrx_norm_of_weights", false, R"({"ffn_config": {"moe_normalize_expert_weights": 2}})",
                            "ffn_config: moe_normalize_expert_weights is 2, supported: 1 or null"},
                    Refusal{"dbrx_uniform", false, R"({"ffn_config": {"uniform_expert_assignment": true}})",
                            "ffn_config: uniform_expert_assignment is true, supported: false"},
                    Refusal{"dbrx_activation", false, R"({"ffn_config": {"ffn_act_fn": {"name": "gelu"}}})",
                            "ffn_config: ffn_act_fn: name is \"gelu\", supported: silu"},
                    Refusal{"dbrx_clip", false, R"({"attn_config": {"clip_qkv": -1}})",
                            "queries, keys and values are clipped at -1, expected a positive number"},
                    Refusal{"dbrx_no_attention", false, R"({"attn_config": null})",
                            "attn_config: expected an object, found null"},
                    Refusal{"dbrx_unknown", false, R"({"attn_config": {"qk_norm": true}})",
                            "attn_config: qk_norm is true, supported: absent; ostro does not implement this field"},
                    Refusal{"dbrx_heads", false, R"({"attn_config": {"kv_n_heads": 7}})",
                            "48 attention heads are not a multiple of 7 key-value heads"},
                    Refusal{"grok_activation", true, R"({"hidden_act": "silu"})",
                            "hidden_act is \"silu\", supported: gelu, gelu_new, gelu_pytorch_tanh"},
                    Refusal{"grok_no_multiplier", true, R"({"attn_output_multiplier": null})",
                            "attn_output_multiplier is missing, supported: a number"},
                    Refusal{"grok_zero_scale", true, R"({"attn_output_multiplier": 0})",
                            "the scale of the attention scores is 0, expected a positive number"},
                    Refusal{"grok_cap", true, R"({"max_attn_value": -30})",
                            "the cap of the attention scores is -30, expected a positive number"},
                    Refusal{"grok_too_many_chosen", true, R"({"num_experts_per_tok": 9})",
                            "the number of experts for each token is 9, expected 1 to 8"},
                    Refusal{"grok_zero_logits", true, R"({"output_multiplier_scale": 0})",
                            "a factor on embeddings or logits is 0, expected another number"}),
    [](const auto& info) { return info.param.name; });

TEST(Dbrx, AFusedTensorOfAnotherShapeIsRefused) {
  auto store = open_weights(fixture("models/dbrx").string());
  auto spec = read_spec(store);
  for (BlockSpec& block : spec.blocks) {
    if (auto* gqa = std::get_if<GqaSpec>(&block.mixer)) gqa->kv_heads = 4;
  }
  EXPECT_THAT(
      message_of([&] { bind_weights(spec, store); }),
      HasSubstr("transformer.blocks.0.norm_attn_norm.attn.Wqkv.weight (layer 0, query projection) has the shape "
                "[128, 64], expected [192, 64]"));
}

TEST(Grok, AMissingNormIsRefused) {
  auto store = open_weights(fixture("models/grok-1").string());
  store.tensors.erase("transformer.decoder_layer.1.rms_norm_3.weight");
  EXPECT_THAT(message_of([&] { bind_weights(read_spec(store), store); }),
              HasSubstr("no tensor transformer.decoder_layer.1.rms_norm_3.weight or "));
}

// llama.cpp's quantiser gives a fused query, key and value one type of their own.
TEST(Dbrx, MixesAsTheUsualQuantiser) {
  const ModelSpec spec = published_shape("dbrx");
  const QuantMix mix = find_quant_mix("q4_k_m").value();
  for (const Role role : {Role::Query, Role::Key, Role::Value}) {
    EXPECT_EQ(mixed_type(mix, spec, {role, 10}, 6144), DType::Q5_K);
  }
  EXPECT_EQ(mixed_type(mix, spec, {Role::AttentionOutput, 10}, 6144), DType::Q4_K);
  EXPECT_EQ(mixed_type(mix, spec, {Role::ExpertUp, 10, 3}, 6144), DType::Q4_K);
  EXPECT_EQ(mixed_type(mix, spec, {Role::Output}, 6144), DType::Q6_K);
}

// The tied embedding is the output too, and gets its bits.
TEST(Grok, MixesAsTheUsualQuantiser) {
  const ModelSpec spec = published_shape("grok-1");
  const QuantMix mix = find_quant_mix("q4_k_m").value();
  EXPECT_EQ(mixed_type(mix, spec, {Role::Embedding}, 6144), DType::Q6_K);
  EXPECT_EQ(mixed_type(mix, spec, {Role::Value, 10}, 6144), DType::Q8_0);
  EXPECT_EQ(mixed_type(mix, spec, {Role::AttentionOutput, 10}, 6144), DType::Q5_K);
}

// The tensors that llama.cpp's converter makes of the same weights, but for the router's type.
TEST(Dbrx, GgufHasTheTensorsOfTheUsualConverter) {
  OSTRO_MODEL_OR_SKIP("dbrx.gguf");
  const std::string path = (temporary_folder() / "dbrx.gguf").string();
  write_checkpoint(*load_fixture("dbrx"), path, {});
  const auto written = open_weights(path), expected = open_weights(find_model("dbrx.gguf")->string());
  ASSERT_EQ(written.tensors.size(), expected.tensors.size());
  for (const auto& [name, tensor] : expected.tensors) {
    const TensorEntry& ours = written.tensors.at(name);
    EXPECT_EQ(ours.shape, tensor.shape) << name;
    std::vector<float> a(element_count(tensor.shape, name)), b = a;
    dequantize_row(tensor.dtype, tensor.bytes.data(), a);
    dequantize_row(ours.dtype, ours.bytes.data(), b);
    EXPECT_EQ(a, b) << name;
  }
  for (const auto& [key, value] : expected.gguf->values) {
    if (!key.starts_with("dbrx.")) continue;
    EXPECT_EQ(written.gguf->number(key), expected.gguf->number(key)) << key;
  }
}

}  // namespace
}  // namespace ostro::test
