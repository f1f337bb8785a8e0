// Configurations of published models and of broken ones, each source: what is read, and the error that names the field.
#include "model/read_spec.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numbers>

#include "model/spec_overrides.h"
#include "model/support.h"

namespace ostro::test {
namespace {

using nlohmann::json;

WeightStore hugging_face(const json& config) {
  WeightStore store;
  store.format = CheckpointFormat::HuggingFace;
  store.path = store.folder = "folder";
  store.config = config;
  return store;
}

WeightStore native(const json& params) {
  WeightStore store = hugging_face(params);
  store.format = CheckpointFormat::Mistral;
  return store;
}

WeightStore gguf(std::map<std::string, GgufValue, std::less<>> values) {
  WeightStore store;
  store.format = CheckpointFormat::Gguf;
  store.path = "file.gguf";
  store.gguf.emplace();
  store.gguf->values = std::move(values);
  store.tensors["output.weight"] = {};
  return store;
}

json mistral_7b() {
  return json::parse(R"({"architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 4096,
    "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "sliding_window": 4096,
    "max_position_embeddings": 32768, "vocab_size": 32000, "bos_token_id": 1, "eos_token_id": 2,
    "initializer_range": 0.02, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true})");
}

json mixtral_8x7b() {
  json config = mistral_7b();
  config.merge_patch(json::parse(R"({"architectures": ["MixtralForCausalLM"], "model_type": "mixtral",
    "num_local_experts": 8, "num_experts_per_tok": 2, "router_aux_loss_coef": 0.02, "output_router_logits": false,
    "rope_theta": 1000000.0})"));
  config["sliding_window"] = nullptr;
  return config;
}

json llama_3() {
  return json::parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 2048,
    "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
    "head_dim": 64, "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "attention_bias": false,
    "mlp_bias": false, "max_position_embeddings": 131072, "vocab_size": 128256, "bos_token_id": 128000,
    "eos_token_id": [128001, 128008, 128009], "tie_word_embeddings": true, "pretraining_tp": 1,
    "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                     "original_max_position_embeddings": 8192, "rope_type": "llama3"}})");
}

std::map<std::string, GgufValue, std::less<>> mixtral_gguf() {
  return {{"general.architecture", std::string("llama")},
          {"llama.vocab_size", uint64_t{32000}},
          {"llama.context_length", uint64_t{32768}},
          {"llama.embedding_length", uint64_t{4096}},
          {"llama.block_count", uint64_t{32}},
          {"llama.feed_forward_length", uint64_t{14336}},
          {"llama.attention.head_count", uint64_t{32}},
          {"llama.attention.head_count_kv", uint64_t{8}},
          {"llama.attention.layer_norm_rms_epsilon", 1e-5},
          {"llama.rope.dimension_count", uint64_t{128}},
          {"llama.rope.freq_base", 1e6},
          {"llama.expert_count", uint64_t{8}},
          {"llama.expert_used_count", uint64_t{2}},
          {"tokenizer.ggml.bos_token_id", uint64_t{1}},
          {"tokenizer.ggml.eos_token_id", uint64_t{2}}};
}

GqaSpec attention(const ModelSpec& spec, size_t layer = 0) {
  return std::get<GqaSpec>(spec.blocks.at(2 * layer).mixer);
}

TEST(ReadSpec, PublishedModelsHaveTheirPublishedSizes) {
  const ModelSpec mistral = read_spec(hugging_face(mistral_7b()));
  EXPECT_EQ(mistral.parameters(), 7241732096);
  EXPECT_EQ(mistral.active_parameters(), 7241732096);
  EXPECT_EQ(attention(mistral).window, 4096);
  EXPECT_EQ(attention(mistral).head_dim, 128);
  EXPECT_EQ(attention(mistral).rope.pairing, RopePairing::HalfSplit);
  EXPECT_EQ(mistral.eos, std::vector<int32_t>{2});

  const ModelSpec mixtral = read_spec(hugging_face(mixtral_8x7b()));
  EXPECT_EQ(mixtral.parameters(), 46702792704);
  EXPECT_EQ(mixtral.active_parameters(), 12879925248);
  EXPECT_EQ(attention(mixtral).window, 0);
  EXPECT_TRUE(std::get<MoeSpec>(mixtral.blocks[1].mixer).router.renormalize);

  json larger = mixtral_8x7b();
  larger.merge_patch({{"hidden_size", 6144},
                      {"intermediate_size", 16384},
                      {"num_hidden_layers", 56},
                      {"num_attention_heads", 48},
                      {"vocab_size", 32768}});
  EXPECT_EQ(read_spec(hugging_face(larger)).parameters(), 140630071296);
  EXPECT_EQ(read_spec(hugging_face(larger)).active_parameters(), 39161468928);
}

TEST(ReadSpec, GgufSaysTheSame) {
  const ModelSpec spec = read_spec(gguf(mixtral_gguf()));
  EXPECT_EQ(spec.parameters(), 46702792704);
  EXPECT_EQ(attention(spec).rope.pairing, RopePairing::Interleaved);
  EXPECT_EQ(attention(spec).rope.theta, 1e6);
  EXPECT_FALSE(spec.tied_embeddings);
}

TEST(ReadSpec, NativeSaysTheSameInBothSpellings) {
  const ModelSpec later = read_spec(native(json::parse(R"({"dim": 4096, "n_layers": 32, "head_dim": 128,
    "hidden_dim": 14336, "n_heads": 32, "n_kv_heads": 8, "norm_eps": 1e-05, "vocab_size": 32000, "rope_theta": 1000000.0,
    "moe": {"num_experts": 8, "num_experts_per_tok": 2}})")));
  EXPECT_EQ(later.parameters(), 46702792704);
  const ModelSpec first = read_spec(native(json::parse(R"({"hidden_size": 4096, "intermediate_size": 14336,
    "rms_norm_eps": 1e-05, "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
    "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": "4096", "vocab_size": 32000})")));
  EXPECT_EQ(first.parameters(), 46702792704);
  EXPECT_EQ(attention(first).window, 0) << "the window of the first release is a leftover";
  EXPECT_EQ(attention(first).rope.theta, 1e6);
  EXPECT_EQ(first.notes.size(), 2u);
}

// The first 7B has a window and no rope_theta, later ones the other way round.
TEST(ReadSpec, NativeThetaFollowsTheWindow) {
  json params = json::parse(R"({"dim": 4096, "n_layers": 32, "head_dim": 128, "hidden_dim": 14336, "n_heads": 32,
    "n_kv_heads": 8, "norm_eps": 1e-05, "vocab_size": 32000, "sliding_window": 4096})");
  EXPECT_EQ(attention(read_spec(native(params))).rope.theta, 1e4);
  EXPECT_EQ(attention(read_spec(native(params))).window, 4096);
  params.erase("sliding_window");
  EXPECT_EQ(attention(read_spec(native(params))).rope.theta, 1e6);
  params["sliding_window"] = {1024, nullptr};
  EXPECT_EQ(attention(read_spec(native(params)), 0).window, 1024);
  EXPECT_EQ(attention(read_spec(native(params)), 1).window, 0);
  EXPECT_EQ(attention(read_spec(native(params)), 30).window, 1024);
}

TEST(ReadSpec, EosTokensOfBothFilesAreJoined) {
  WeightStore store = hugging_face(llama_3());
  store.generation_config = {{"eos_token_id", {128001, 7}}};
  const ModelSpec spec = read_spec(store);
  EXPECT_EQ(spec.eos, (std::vector<int32_t>{128001, 7, 128008, 128009}));
  EXPECT_TRUE(spec.tied_embeddings);
}

TEST(ReadSpec, RopeParametersOfNewerFiles) {
  json config = mistral_7b();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_theta", 1e6}, {"rope_type", "default"}};
  EXPECT_EQ(attention(read_spec(hugging_face(config))).rope.theta, 1e6);
  config["rope_theta"] = 1e4;
  EXPECT_EQ(message_of([&] { read_spec(hugging_face(config)); }),
            "folder/config.json: rope_theta is 10000.0, supported: 1000000 as in rope_parameters");
}

TEST(ReadSpec, MissingThetaIsTheFamilysDefaultAndNoted) {
  json config = mixtral_8x7b();
  config.erase("rope_theta");
  const ModelSpec spec = read_spec(hugging_face(config));
  EXPECT_EQ(attention(spec).rope.theta, 1e6);
  EXPECT_EQ(spec.notes.size(), 1u);
}

TEST(ReadSpec, WindowOfMixtralIsIgnoredAndNoted) {
  json config = mixtral_8x7b();
  config["sliding_window"] = 4096;
  const ModelSpec spec = read_spec(hugging_face(config));
  EXPECT_EQ(attention(spec).window, 0);
  EXPECT_EQ(spec.notes,
            std::vector<std::string>{"sliding_window 4096 is ignored: Mixtral was trained without a window"});
}

// Wavelengths 2 pi / f of up to 8192 / 4 are kept, beyond 8192 / 1 divided by 32.
TEST(ReadSpec, BandsOfRope) {
  const RopeSpec rope = attention(read_spec(hugging_face(llama_3()))).rope;
  for (size_t i = 0; i < rope.inverse_frequency.size(); ++i) {
    const double plain = std::pow(500000.0, -2.0 * static_cast<double>(i) / 64);
    const double wavelength = 2 * std::numbers::pi / plain;
    if (wavelength < 2048) {
      EXPECT_EQ(rope.inverse_frequency[i], plain);
    } else if (wavelength > 8192) {
      EXPECT_EQ(rope.inverse_frequency[i], plain / 32);
    } else {
      EXPECT_LT(rope.inverse_frequency[i], plain);
      EXPECT_GT(rope.inverse_frequency[i], plain / 32);
    }
  }
}

// Factor 40 over 4096 positions, 64 dimensions: values worked out from the paper's formula.
TEST(ReadSpec, YarnOfRope) {
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::Yarn;
  scaling.factor = 40;
  scaling.original_context = 4096;
  const auto f = make_rope(RopePairing::Interleaved, 64, 10000, scaling).inverse_frequency;
  EXPECT_NEAR(f[10], 5.623413252e-2, 1e-11);
  EXPECT_NEAR(f[11], 3.900692657e-2, 1e-11);
  EXPECT_NEAR(f[22], 1.778279410e-4, 1e-13);
  EXPECT_NEAR(f[23], 3.333803580e-5, 1e-14);
}

TEST(ReadSpec, RopeOfAnAbsurdHeadMakesNoLargeTable) {
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::Divisors;
  scaling.divisors.assign(1 << 12, 2.0);
  EXPECT_EQ(make_rope(RopePairing::HalfSplit, 1 << 13, 10000, scaling).inverse_frequency.size(), 2048u);
}

struct Refusal {
  const char* name;
  const char* patch;  // merged into a good configuration
  const char* message;
};
void PrintTo(const Refusal& r, std::ostream* out) { *out << r.name; }

class HuggingFaceRefusal : public testing::TestWithParam<Refusal> {};
TEST_P(HuggingFaceRefusal, NamesTheField) {
  json config = mistral_7b();
  const json patch = json::parse(GetParam().patch);
  if (patch.contains("num_local_experts")) config = mixtral_8x7b();
  config.update(patch);
  EXPECT_EQ(message_of([&] { read_spec(hugging_face(config)); }),
            std::string("folder/config.json: ") + GetParam().message);
}
INSTANTIATE_TEST_SUITE_P(
    Fields, HuggingFaceRefusal,
    testing::Values(
        Refusal{"contradiction", R"({"model_type": "mixtral"})",
                "model_type is \"mixtral\", supported: mistral, the type of MistralForCausalLM"},
        Refusal{"activation", R"({"hidden_act": "gelu"})", "hidden_act is \"gelu\", supported: silu, swish"},
        Refusal{"bias", R"({"attention_bias": true})", "attention_bias is true, supported: false"},
        Refusal{"router", R"({"norm_topk_prob": true})",
                "norm_topk_prob is true, supported: absent; ostro does not implement this field"},
        Refusal{"quantised", R"({"quantization_config": {"quant_method": "gptq"}})",
                "quantization_config is {\"quant_method\":\"gptq\"}, supported: absent; ostro does not implement this "
                "field"},
        Refusal{"scaling", R"({"rope_scaling": {"rope_type": "longrope", "factor": 4}})",
                "rope_scaling: rope_type is \"longrope\", supported: default, linear, llama3, yarn"},
        Refusal{"scaling_field", R"({"rope_scaling": {"type": "linear", "factor": 4, "beta_slow": 2}})",
                "rope_scaling: beta_slow is 2, supported: absent for the type linear"},
        Refusal{"missing", R"({"rms_norm_eps": null})", "rms_norm_eps is null, supported: a number"},
        Refusal{"type", R"({"hidden_size": "4096"})", "hidden_size is \"4096\", supported: a whole number"},
        Refusal{"fraction", R"({"num_hidden_layers": 31.5})", "num_hidden_layers is 31.5, supported: a whole number"},
        Refusal{"layers", R"({"num_hidden_layers": 1000000000})",
                "the number of layers is 1000000000, expected 1 to 4096"},
        Refusal{"negative", R"({"intermediate_size": -1})", "the feed-forward width is -1, expected 1 to 1048576"},
        Refusal{"heads", R"({"num_key_value_heads": 5})", "32 attention heads are not a multiple of 5 key-value heads"},
        Refusal{"head_dim", R"({"head_dim": 16777216})", "the head dimension is 16777216, expected 1 to 576"},
        Refusal{"wide_heads", R"({"head_dim": 1024})", "the head dimension is 1024, expected 1 to 576"},
        Refusal{"no_heads", R"({"num_attention_heads": 0})",
                "a width of 4096 does not divide into 0 heads, and no head dimension is given"},
        Refusal{"huge", R"({"hidden_size": 9007199254740993, "head_dim": 128})",
                "hidden_size is 9007199254740993, supported: a whole number"},
        Refusal{"epsilon", R"({"rms_norm_eps": 0})", "the epsilon of the norms is 0, expected a positive number"},
        Refusal{"theta", R"({"rope_theta": -1})", "the base of RoPE is -1, expected a positive number"},
        Refusal{"window", R"({"sliding_window": 0})", "sliding_window is 0, supported: a positive number or null"},
        Refusal{"eos", R"({"eos_token_id": 32000})", "an EOS token is 32000, outside the vocabulary of 32000"},
        Refusal{"top_k", R"({"num_local_experts": 8, "num_experts_per_tok": 9})",
                "the number of experts for each token is 9, expected 1 to 8"}),
    [](const auto& info) { return info.param.name; });

TEST(ReadSpec, OtherFamiliesAreRefused) {
  json config = mistral_7b();
  config["architectures"] = {"GemmaForCausalLM"};
  EXPECT_THAT(message_of([&] { read_spec(hugging_face(config)); }),
              testing::StartsWith("folder/config.json: architectures is [\"GemmaForCausalLM\"], supported: Mistral"));
  EXPECT_THAT(message_of([&] {
                read_spec(gguf({{"general.architecture", std::string("gemma")}}));
              }),
              testing::StartsWith("file.gguf: general.architecture is \"gemma\", supported: llama, "));
}

json openmoe_8b() {
  return json::parse(R"({"architectures": ["OpenMoeForCausalLM"], "model_type": "llama", "hidden_size": 2048,
    "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 24, "num_key_value_heads": 24,
    "head_dim": 128, "num_experts": 32, "moe_layer_interval": 6, "router_topk": 2,
    "router_capacity_factor_train": 1.25, "router_capacity_factor_eval": 2.0, "router_min_capacity": 4,
    "router_drop_tks": true, "router_noisy_policy": null, "hidden_act": "swiglu", "mlp_gated": true,
    "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "max_position_embeddings": 2048, "vocab_size": 256384,
    "tie_word_embeddings": false, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0})");
}

TEST(ReadSpec, OpenMoe) {
  const ModelSpec spec = read_spec(hugging_face(openmoe_8b()));
  EXPECT_EQ(spec.family, "openmoe");
  EXPECT_EQ(spec.blocks.size(), 24u * 2 + 4);
  EXPECT_NEAR(static_cast<double>(spec.parameters()), 11.86e9, 0.01e9);  // 8.7 billion as the report counts
  EXPECT_EQ(attention(spec).scale, 1);
  EXPECT_TRUE(spec.whole_prompts());
  const auto& experts = spec.blocks[11];
  EXPECT_EQ(experts.layer, 5);
  EXPECT_EQ(std::get<MoeSpec>(experts.mixer).router.capacity->factor, 2);
  EXPECT_FALSE(std::get<MoeSpec>(experts.mixer).router.renormalize);
  EXPECT_TRUE(spec.blocks[12].extra);
  EXPECT_EQ(spec.blocks[13].layer, 6);

  // The first configurations had other names, and a chat model has token ids that are Llama's.
  json early = openmoe_8b();
  for (const auto& [later, name] :
       {std::pair("router_topk", "topk"), std::pair("mlp_gated", "gated"),
        std::pair("router_capacity_factor_eval", "capacity_factor_eval"),
        std::pair("router_capacity_factor_train", "capacity_factor_train"),
        std::pair("router_min_capacity", "min_capacity"), std::pair("router_drop_tks", "drop_tks")}) {
    early[name] = early[later];
    early.erase(later);
  }
  early["bos_token_id"] = 1;
  early["eos_token_id"] = 2;
  const ModelSpec same = read_spec(hugging_face(early));
  EXPECT_EQ(same.bos, 0);
  EXPECT_EQ(same.eos, std::vector<int32_t>{1});
  EXPECT_EQ(same.notes.size(), 1u);
  EXPECT_EQ(std::get<MoeSpec>(same.blocks[11].mixer).router.capacity->least, 4);
}

TEST(ReadSpec, OpenMoeRefusals) {
  const auto message = [](const char* patch) {
    json config = openmoe_8b();
    config.update(json::parse(patch));
    return message_of([&] { read_spec(hugging_face(config)); }).substr(sizeof("folder/config.json: ") - 1);
  };
  EXPECT_EQ(message(R"({"hidden_act": "silu"})"), "hidden_act is \"silu\", supported: swiglu");
  EXPECT_EQ(message(R"({"mlp_gated": false})"), "mlp_gated is false, supported: true");
  EXPECT_EQ(message(R"({"moe_layer_interval": 0})"), "experts stand in every 0th layer, expected a positive number");
  EXPECT_EQ(message(R"({"router_topk": 3})"), "a token has 3 experts, expected 1 or 2");
  EXPECT_EQ(message(R"({"num_experts": 1})"), "the number of experts for each token is 2, expected 1 to 1");
  EXPECT_EQ(message(R"({"router_capacity_factor_eval": -1})"),
            "the capacity factor of the experts is -1, expected 0 to 1e6");
  EXPECT_EQ(message(R"({"router_min_capacity": 0})"), "the least capacity of an expert is 0, expected 1 to 2147483648");
  EXPECT_EQ(message(R"({"num_attention_heads": 24, "head_dim": 127})"),
            "the head dimension is 127, expected an even number");
}

json qwen3_moe() {
  return json::parse(R"({"architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048,
    "intermediate_size": 6144, "moe_intermediate_size": 768, "num_hidden_layers": 48, "num_attention_heads": 32,
    "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": true,
    "decoder_sparse_step": 1, "mlp_only_layers": [], "hidden_act": "silu", "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
    "attention_bias": false, "sliding_window": null, "use_sliding_window": false, "max_window_layers": 48,
    "max_position_embeddings": 40960, "vocab_size": 151936, "tie_word_embeddings": false, "bos_token_id": 151643,
    "eos_token_id": 151645})");
}

TEST(ReadSpec, Qwen3MoeHasItsPublishedSize) {
  const ModelSpec spec = read_spec(hugging_face(qwen3_moe()));
  EXPECT_EQ(spec.parameters(), 30532122624);
  EXPECT_NEAR(static_cast<double>(spec.active_parameters()), 3.35e9, 0.01e9);
  EXPECT_EQ(attention(spec).query_key_norm, QueryKeyNorm::PerHead);
}

TEST(ReadSpec, QwenRefusals) {
  const auto message = [](const char* patch) {
    json config = qwen3_moe();
    config.update(json::parse(patch));
    return message_of([&] { read_spec(hugging_face(config)); }).substr(sizeof("folder/config.json: ") - 1);
  };
  EXPECT_EQ(message(R"({"use_sliding_window": true})"), "use_sliding_window is true, supported: false");
  EXPECT_EQ(message(R"({"decoder_sparse_step": 0})"), "decoder_sparse_step is 0, supported: 1 to the 48 layers");
  EXPECT_EQ(message(R"({"mlp_only_layers": [48]})"), "mlp_only_layers is [48], supported: layers from 0 to 47");
  EXPECT_EQ(message(R"({"mlp_only_layers": 3})"), "mlp_only_layers is 3, supported: a list of layers");
  EXPECT_EQ(message(R"({"num_experts_per_tok": 129})"),
            "the number of experts for each token is 129, expected 1 to 128");
  EXPECT_EQ(message(R"({"attention_bias": true})"), "attention_bias is true, supported: false");
}

TEST(Overrides, ChangeRopeAsTheFlagsSay) {
  ModelSpec spec = read_spec(hugging_face(mixtral_8x7b()));
  SpecOverrides overrides;
  overrides.scaling = RopeScaling::Kind::Yarn;
  overrides.factor = 4;
  apply_overrides(spec, overrides);
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::Yarn;
  scaling.factor = 4;
  scaling.original_context = 32768;
  scaling.magnitude = 1 + 0.1 * std::log(4.0);
  const RopeSpec expected = make_rope(RopePairing::HalfSplit, 128, 1e6, scaling);
  EXPECT_EQ(attention(spec).rope.inverse_frequency, expected.inverse_frequency);
  EXPECT_EQ(attention(spec).rope.magnitude, expected.magnitude);
  EXPECT_EQ(spec.context, 131072);

  spec = read_spec(hugging_face(mixtral_8x7b()));
  apply_overrides(spec, {.scaling = std::nullopt, .factor = 2, .original_context = std::nullopt, .theta = 1e4});
  EXPECT_EQ(attention(spec).rope.inverse_frequency[0], 0.5);
  EXPECT_NEAR(attention(spec).rope.inverse_frequency[32], 0.005, 1e-9);
  EXPECT_EQ(spec.context, 65536);

  spec = read_spec(hugging_face(llama_3()));
  apply_overrides(spec, {.scaling = RopeScaling::Kind::None, .factor = {}, .original_context = {}, .theta = {}});
  EXPECT_EQ(attention(spec).rope.inverse_frequency, make_rope(RopePairing::HalfSplit, 64, 5e5).inverse_frequency);

  spec = read_spec(hugging_face(mixtral_8x7b()));
  EXPECT_EQ(
      message_of([&] { apply_overrides(spec, {.scaling = {}, .factor = {}, .original_context = 4096, .theta = {}}); }),
      "--yarn-orig-ctx goes with --rope-scaling yarn");
}

TEST(ReadSpec, FieldsNobodyKnowsAreNoted) {
  json config = mistral_7b();
  config["auto_map"] = {{"AutoModel", "code.py"}};
  config["mirror_of"] = "x";
  EXPECT_EQ(read_spec(hugging_face(config)).notes,
            (std::vector<std::string>{"folder/config.json: auto_map is not used",
                                      "folder/config.json: mirror_of is not used"}));
}

TEST(ReadSpec, GgufRefusals) {
  const auto message = [](const std::string& key, const GgufValue& value) {
    auto values = mixtral_gguf();
    values[key] = value;
    return message_of([&] { read_spec(gguf(values)); });
  };
  EXPECT_EQ(message("llama.expert_gating_func", uint64_t{2}),
            "file.gguf: llama.expert_gating_func is 2, supported: 1 (softmax)");
  EXPECT_EQ(message("llama.expert_group_count", uint64_t{4}),
            "file.gguf: llama.expert_group_count is not a field that ostro implements for this architecture");
  EXPECT_EQ(message("llama.rope.scaling.type", std::string("longrope")),
            "file.gguf: llama.rope.scaling.type is longrope, supported: none, linear, yarn");
  EXPECT_EQ(message("llama.attention.value_length", uint64_t{64}),
            "file.gguf: llama.attention.value_length is 64, supported: the same as the keys' 128");
  EXPECT_EQ(message("tokenizer.ggml.bos_token_id", uint64_t{1} << 40),
            "file.gguf: tokenizer.ggml.bos_token_id is 1099511627776, outside the vocabulary of 32000");
  EXPECT_EQ(message("llama.rope.freq_base", std::nan("")),
            "file.gguf: the base of RoPE is nan, expected a positive number");
  auto values = mixtral_gguf();
  values.erase("llama.block_count");
  EXPECT_EQ(message_of([&] { read_spec(gguf(values)); }),
            "file.gguf: llama.block_count is missing, supported: a whole number");
}

TEST(ReadSpec, NativeRefusals) {
  json params =
      json::parse(R"({"dim": 64, "n_layers": 2, "head_dim": 16, "hidden_dim": 32, "n_heads": 4, "n_kv_heads": 2,
    "norm_eps": 1e-05, "vocab_size": 288, "lora": {"rank": 8}})");
  EXPECT_EQ(message_of([&] { read_spec(native(params)); }),
            "folder/params.json: lora is {\"rank\":8}, supported: absent; ostro does not implement this field");
  EXPECT_EQ(message_of([&] { read_spec(native(json::array())); }), "folder/params.json: expected an object, found []");
}

}  // namespace
}  // namespace ostro::test
