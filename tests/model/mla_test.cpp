// Latent attention and multi-token prediction: the cache holds the latent alone, all layouts of the same weights say
// the same, and the module's logits are the reference's.
#include <algorithm>
#include <cmath>

#include "base/half.h"
#include "model/checkpoint_writer.h"
#include "model/random_model.h"
#include "model/read_spec.h"
#include "model/read_spec_published.h"
#include "model/support.h"
#include "tensor/quant.h"

namespace ostro::test {
namespace {

namespace fs = std::filesystem;

double largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double most = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  return most;
}

// Root mean square of the differences, relative to that of the values.
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double squares = 0, errors = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    squares += static_cast<double>(b[i]) * b[i];
    errors += std::pow(static_cast<double>(a[i] - b[i]), 2);
  }
  return std::sqrt(errors / squares);
}

std::vector<float> logits_of(const Model& model, const std::vector<int32_t>& tokens, BackendOptions options = {},
                             DType cache = DType::F16) {
  Runner runner(model, options, cache_of(cache));
  std::vector<float> logits;
  runner.run(0, tokens, 0, static_cast<int64_t>(tokens.size()), logits);
  return logits;
}

// Runs the decoder in chunks and the module of multi-token prediction behind it.
std::vector<float> mtp_logits(const Model& model, const std::vector<int32_t>& tokens, bool normed, int64_t chunk,
                              RoutingObserver* observer = nullptr) {
  Runner runner(model, {2, Compute::F32}, cache_of(DType::F32));
  std::vector<float> ignored, logits;
  const auto length = static_cast<int64_t>(tokens.size());
  for (int64_t first = 0; first < length - 1; first += chunk) {
    const int64_t count = std::min(chunk, length - 1 - first);
    runner.run(0, tokens, first, count, ignored);
    Batch batch;
    add_rows(batch, 0, tokens, first, count);
    std::copy_n(tokens.begin() + first + 1, count, batch.tokens.begin());
    ForwardHooks hooks;
    hooks.routing = observer;
    const Rows states = runner.decoder.states(runner.acts, normed);
    const auto values = runner.decoder.forward_mtp(batch, states, runner.cache, runner.acts, hooks).values();
    logits.insert(logits.end(), values.begin(), values.end());
  }
  return logits;
}

class MtpRouting : public RoutingObserver {
 public:
  explicit MtpRouting(const Reference& reference) : reference_(reference) {}
  void on_route(const BlockSpec&, const Batch&, const Routing& routing) override {
    ++calls;
    EXPECT_EQ(routing.expert, reference_.integers("mtp.routing.expert"));
    EXPECT_LT(largest_difference(std::vector<float>(routing.weight.begin(), routing.weight.end()),
                                 reference_.floats("mtp.routing.weight")),
              1e-5);
    EXPECT_LT(largest_difference(routing.score, reference_.floats("mtp.routing.score")), 1e-5);
  }
  int calls = 0;

 private:
  const Reference& reference_;
};

TEST(MultiTokenPrediction, AgreesWithTheReferenceInBothConventions) {
  const Reference reference("deepseek-v3");
  const auto model = load_model(fixture("models/deepseek-v3").string());
  ASSERT_EQ(model->spec.mtp_blocks, 2u);
  const auto tokens = reference.integers("tokens");
  MtpRouting routing(reference);
  EXPECT_LT(largest_difference(mtp_logits(*model, tokens, true, 256, &routing), reference.floats("mtp.logits")),
            4 * reference.logit_error);
  EXPECT_EQ(routing.calls, 1);
  EXPECT_LT(largest_difference(mtp_logits(*model, tokens, false, 256), reference.floats("mtp.unnormed.logits")),
            4 * reference.logit_error);
}

TEST(MultiTokenPrediction, ChunksChangeNothing) {
  const auto model = load_model(fixture("models/deepseek-v3").string());
  const auto tokens = Reference("deepseek-v3").integers("tokens");
  const auto expected = mtp_logits(*model, tokens, true, 256);
  for (const int64_t chunk : {1, 7, 33}) EXPECT_EQ(mtp_logits(*model, tokens, true, chunk), expected) << chunk;
}

TEST(MultiTokenPrediction, AnnouncedButAbsentIsAnError) {
  auto store = open_weights(fixture("models/deepseek-v3").string());
  std::erase_if(store.tensors, [](const auto& entry) { return entry.first.starts_with("model.layers.3."); });
  const ModelSpec spec = read_spec(store);
  EXPECT_NE(message_of([&] { bind_weights(spec, store); })
                .find("the configuration announces multi-token prediction, but there is no layer 3, projection of "
                      "embedding and hidden state: no tensor model.layers.3.eh_proj.weight"),
            std::string::npos);
}

TEST(GroupedRouting, WhatContradictsItselfIsNamed) {
  for (const auto& [patch, message] : std::vector<std::pair<const char*, const char*>>{
           {R"({"n_group": 3})", "16 experts do not divide into 3 groups"},
           {R"({"topk_group": 5})", "the number of expert groups kept is 5, expected 1 to 4"},
           {R"({"num_experts_per_tok": 12})", "12 experts for each token, but 2 groups of 4 have only 8"},
           {R"({"num_experts_per_tok": 99})", "the number of experts for each token is 99, expected 1 to 16"},
           {R"({"scoring_func": "tanh"})", "scoring_func is \"tanh\", supported: sigmoid"},
           {R"({"topk_method": "other"})", "topk_method is \"other\", supported: noaux_tc"},
           {R"({"num_nextn_predict_layers": 2})", "2 layers of multi-token prediction, supported: 0, 1"}}) {
    auto store = open_weights(fixture("models/deepseek-v3").string());
    store.folder = "folder";
    store.config.merge_patch(nlohmann::json::parse(patch));
    EXPECT_EQ(message_of([&] { read_spec(store); }), std::string("folder/config.json: ") + message);
  }
}

// Whatever a router needs beside its matrix.
TEST(GroupedRouting, AMissingBiasIsNamed) {
  auto store = open_weights(fixture("models/deepseek-v3").string());
  ASSERT_EQ(store.tensors.erase("model.layers.1.mlp.gate.e_score_correction_bias"), 1u);
  EXPECT_NE(message_of([&] { bind_weights(read_spec(store), store); }).find(" (layer 1, selection bias)"),
            std::string::npos);
}

// The published sizes: 576 values a token and layer, where plain multi-head attention caches a key and a value a head.
TEST(LatentCache, HoldsTheLatentAndOneKey) {
  const ModelSpec lite = published_shape("deepseek-v2-lite"), third = published_shape("deepseek-v3");
  EXPECT_EQ(KvCache::bytes_per_token(lite, DType::F16, DType::F16), 27u * 576 * 2);
  EXPECT_EQ(KvCache::bytes_per_token(third, DType::F16, DType::F16), 61u * 576 * 2);
  EXPECT_EQ(KvCache::bytes_per_token(third, DType::Q8_0, DType::Q8_0), 61u * 18 * 34);
  KvCache cache(lite, {4096, 512, 1, DType::F16, DType::F16});
  EXPECT_EQ(cache.capacity_bytes(), 4096u * 27 * 576 * 2);
}

TEST(LatentAttention, PublishedScalesAndSizes) {
  const auto scale = [](const char* name) { return std::get<MlaSpec>(published_shape(name).blocks[0].mixer).scale; };
  EXPECT_NEAR(scale("deepseek-v2"), 0.1147213868, 1e-8);
  EXPECT_NEAR(scale("deepseek-v2-lite"), 0.1147213868, 1e-8);
  EXPECT_NEAR(scale("deepseek-v3"), 0.1352337788, 1e-8);
  EXPECT_EQ(std::get<MlaSpec>(published_shape("deepseek-v3").blocks[0].mixer).rope.magnitude, 1);
  EXPECT_EQ(published_shape("deepseek-v2-lite").parameters(), 15706484224);
  EXPECT_EQ(published_shape("deepseek-v2").parameters(), 235741434880);
  EXPECT_EQ(published_shape("deepseek-v3").parameters(), 671026419200);
}

// The same weights in GGUF, with kv_b whole or split, give the same bits.
TEST(LatentAttention, AllLayoutsGiveTheSameBits) {
  for (const char* name : {"deepseek-v2-lite", "deepseek-v3"}) {
    OSTRO_MODEL_OR_SKIP(name);
    const auto tokens = Reference(name).integers("tokens");
    const auto expected = logits_of(*load_fixture(name), tokens);
    for (const std::string suffix : {".gguf", "-whole-kv-b.gguf"}) {
      if (!find_model(name + suffix)) continue;
      const auto other = load_fixture(name + suffix);
      EXPECT_EQ(logits_of(*other, tokens), expected) << name << suffix;
    }
  }
}

// One fork of llama.cpp stores the heads of k_b and v_b as rows of one matrix, beside kv_b.
TEST(LatentAttention, StackedHeadsBesideTheWholeMatrix) {
  OSTRO_MODEL_OR_SKIP("deepseek-v2-lite.gguf");
  const auto whole = open_weights(find_model("deepseek-v2-lite-whole-kv-b.gguf")->string());
  auto split = load_fixture("deepseek-v2-lite.gguf");
  auto store = open_weights(find_model("deepseek-v2-lite.gguf")->string());
  for (auto& [name, tensor] : store.tensors) {
    if (!name.ends_with("attn_k_b.weight") && !name.ends_with("attn_v_b.weight")) continue;
    tensor.shape = {tensor.shape[0] * tensor.shape[1], tensor.shape[2]};
  }
  for (const auto& [name, tensor] : whole.tensors) {
    if (name.ends_with("attn_kv_b.weight")) store.tensors[name] = tensor;
  }
  Model stacked;
  stacked.spec = read_spec(store);
  stacked.weights = bind_weights(stacked.spec, store);
  const auto tokens = Reference("deepseek-v2-lite").integers("tokens");
  EXPECT_EQ(logits_of(stacked, tokens), logits_of(*split, tokens));
}

TEST(LatentAttention, Q8CacheIsNear) {
  const auto model = random_model(published_shape("deepseek-v2-lite", 2), *find_quant_mix("q4_0"), 1, nullptr);
  const std::vector<int32_t> tokens = {5, 99, 1234, 777, 31, 8, 8, 4096, 17, 2};
  const auto exact = logits_of(*model, tokens, {2, Compute::Auto}, DType::F32);
  const auto rounded = logits_of(*model, tokens, {2, Compute::Auto}, DType::Q8_0);
  EXPECT_LT(relative_error(rounded, exact), 0.15);
  EXPECT_GT(relative_error(rounded, exact), 0);
}

TEST(LatentAttention, CacheTypesThatDoNotFitAreRefused) {
  const auto model = load_model(fixture("models/deepseek-v3").string());
  EXPECT_NE(message_of([&] { KvCache(model->spec, cache_of(DType::Q8_0)); }).find("use f16"), std::string::npos);
}

class LatentRoundTrip : public testing::TestWithParam<const char*> {};

TEST_P(LatentRoundTrip, FolderToGgufToFolder) {
  OSTRO_MODEL_OR_SKIP(GetParam());
  const fs::path folder = temporary_folder();
  const auto source = load_fixture(GetParam());
  const auto tokens = Reference(GetParam()).integers("tokens");
  const auto expected = logits_of(*source, tokens);
  WriteOptions options;
  options.threads = 2;
  options.format = CheckpointFormat::Gguf;
  ASSERT_TRUE(write_checkpoint(*source, (folder / "model.gguf").string(), options).complete);
  const auto gguf = load_model((folder / "model.gguf").string());
  EXPECT_EQ(logits_of(*gguf, tokens), expected);
  EXPECT_EQ(gguf->spec.mtp_blocks, source->spec.mtp_blocks);

  // What a converter of the usual kind made of the same weights, where we have it.
  if (const auto made = find_model(std::string(GetParam()) + ".gguf")) {
    const auto usual = open_weights(made->string());
    for (const auto& [name, tensor] : usual.tensors) {
      ASSERT_TRUE(gguf->store.tensors.contains(name)) << name;
      const TensorEntry& own = gguf->store.tensors.at(name);
      EXPECT_EQ(own.shape, tensor.shape) << name;
      EXPECT_EQ(own.dtype, tensor.dtype) << name;
      EXPECT_TRUE(std::ranges::equal(own.bytes, tensor.bytes)) << name;
    }
    for (const auto& [key, value] : usual.gguf->values) {
      if (!key.starts_with("deepseek2.") || key == "deepseek2.block_count") continue;
      EXPECT_TRUE(gguf->store.gguf->values.contains(key)) << key;
      const GgufMetadata& own = *gguf->store.gguf;
      if (std::holds_alternative<std::string>(value)) {
        EXPECT_EQ(own.text(key), usual.gguf->text(key)) << key;
      } else if (std::holds_alternative<bool>(value)) {
        EXPECT_EQ(own.boolean(key), usual.gguf->boolean(key)) << key;
      } else {
        EXPECT_NEAR(own.number(key).value(), usual.gguf->number(key).value(), 1e-6) << key;
      }
    }
  }

  options.format = CheckpointFormat::HuggingFace;
  ASSERT_TRUE(write_checkpoint(*gguf, (folder / "hub").string(), options).complete);
  const auto hub = load_model((folder / "hub").string());
  EXPECT_EQ(logits_of(*hub, tokens), expected);
  ASSERT_EQ(hub->store.tensors.size(), source->store.tensors.size());
  for (const auto& [name, tensor] : source->store.tensors) {
    ASSERT_TRUE(hub->store.tensors.contains(name)) << name;
    EXPECT_EQ(hub->store.tensors.at(name).dtype, tensor.dtype) << name;
    EXPECT_TRUE(std::ranges::equal(hub->store.tensors.at(name).bytes, tensor.bytes)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, LatentRoundTrip, testing::Values("deepseek-v2-lite", "deepseek-v2", "deepseek-v3"));

TEST(LatentQuantised, WholeAndSplitFilesRun) {
  OSTRO_MODEL_OR_SKIP("deepseek-v2-lite-whole-kv-b.gguf");
  const auto tokens = Reference("deepseek-v2-lite").integers("tokens");
  const fs::path folder = temporary_folder();
  WriteOptions options;
  options.threads = 2;
  options.mix = find_quant_mix("q8_0");
  const auto source = load_fixture("deepseek-v2-lite-whole-kv-b.gguf");
  ASSERT_TRUE(write_checkpoint(*source, (folder / "q8.gguf").string(), options).complete);
  const auto quantised = load_model((folder / "q8.gguf").string());
  EXPECT_LT(relative_error(logits_of(*quantised, tokens), logits_of(*source, tokens)), 0.2);
}

class Fp8 : public testing::Test {
 protected:
  static constexpr const char* kWeight = "model.layers.1.self_attn.kv_b_proj.weight";
  void SetUp() override {
    OSTRO_MODEL_OR_SKIP("deepseek-v3-fp8");
    store_ = open_weights(find_model("deepseek-v3-fp8")->string());
    spec_ = read_spec(store_);
  }

  WeightStore store_;
  ModelSpec spec_;
  std::string scales_ = std::string(kWeight) + "_scale_inv";

  std::string refusal() {
    return message_of([&] { bind_weights(spec_, store_); });
  }
};

TEST_F(Fp8, WeightsStayEightBitsWide) {
  const Weights weights = bind_weights(spec_, store_);
  int64_t matrices = 0;
  visit_matrices(spec_, weights, [&](const TensorId& id, const Matrix& matrix) {
    const bool kept_wide = id.role == Role::Embedding || id.role == Role::Output || id.role == Role::Router;
    // The keys' half of kv_b is needed transposed, and here its squares begin inside it.
    if (!kept_wide && id.role != Role::KeyUp) {
      EXPECT_EQ(matrix.dtype, DType::F8_E4M3) << to_text(id);
      EXPECT_EQ(matrix.row_bytes, matrix.cols);
      ++matrices;
    }
  });
  EXPECT_GT(matrices, 30);
}

TEST_F(Fp8, ScalesThatAreMissingOrMisshapedAreErrors) {
  const TensorEntry scales = store_.tensors.at(scales_);
  store_.tensors.erase(scales_);
  EXPECT_NE(refusal().find("without a tensor " + scales_ + " of its scales"), std::string::npos);
  store_.tensors[scales_] = scales;
  store_.tensors[scales_].shape = {1, 2};
  EXPECT_NE(refusal().find("is f32 [1, 2], expected f32 [2, 1], a scale for each 128 x 128"), std::string::npos);
  store_.tensors[scales_] = scales;
  store_.tensors[scales_].dtype = DType::BF16;
  EXPECT_NE(refusal().find("is bf16 [2, 1], expected f32 [2, 1]"), std::string::npos);
  const std::vector<float> bad = {1, INFINITY};
  store_.tensors[scales_] = scales;
  store_.tensors[scales_].bytes = std::as_bytes(std::span(bad));
  EXPECT_NE(refusal().find("holds inf at 1, expected finite numbers"), std::string::npos);
}

TEST_F(Fp8, CodesThatAreNotNumbersAreFound) {
  TensorEntry& tensor = store_.tensors.at("model.layers.0.mlp.up_proj.weight");
  std::vector<std::byte> codes(tensor.bytes.begin(), tensor.bytes.end());
  codes[161] = std::byte{0xff};
  tensor.bytes = codes;
  const Weights weights = bind_weights(spec_, store_);
  EXPECT_NE(message_of([&] { verify_finite(spec_, weights, "FILE", 2); }).find("layer 0, up projection: row 1 holds"),
            std::string::npos);
}

TEST_F(Fp8, OtherQuantisationsAreRefused) {
  store_.config["quantization_config"]["weight_block_size"] = {64, 64};
  EXPECT_NE(message_of([&] { read_spec(store_); }).find("weight_block_size is [64,64], supported: [128, 128]"),
            std::string::npos);
  store_.config["quantization_config"] = {{"quant_method", "awq"}};
  EXPECT_NE(message_of([&] { read_spec(store_); }).find("quant_method"), std::string::npos);
}

// To GGUF and to a folder as BF16, as the publisher's own script converts.
TEST_F(Fp8, ConvertsToBf16) {
  const fs::path folder = temporary_folder();
  const auto source = load_fixture("deepseek-v3-fp8");
  const auto values_of = [](const Model& model) {
    std::map<std::string, std::vector<float>> out;
    visit_matrices(model.spec, model.weights, [&](const TensorId& id, const Matrix& matrix) {
      std::vector<float>& all = out[to_text(id)];
      for (int64_t r = 0; r < matrix.rows; ++r) {
        std::vector<float> row(static_cast<size_t>(matrix.cols));
        dequantize_row(matrix, r, row);
        all.insert(all.end(), row.begin(), row.end());
      }
    });
    return out;
  };
  auto expected = values_of(*source);
  for (auto& [name, values] : expected) {
    for (float& value : values) value = bf16_to_f32(f32_to_bf16(value));
  }
  WriteOptions options;
  options.threads = 2;
  for (const bool gguf : {true, false}) {
    options.format = gguf ? CheckpointFormat::Gguf : CheckpointFormat::HuggingFace;
    const std::string out = (folder / (gguf ? "model.gguf" : "hub")).string();
    ASSERT_TRUE(write_checkpoint(*source, out, options).complete);
    const auto written = load_model(out);
    for (const auto& [name, tensor] : written->store.tensors) {
      EXPECT_TRUE(tensor.dtype == DType::BF16 || tensor.dtype == DType::F32) << name;
    }
    EXPECT_EQ(values_of(*written), expected);
  }
}

// A head's keys and values that fill whole squares, as in the published models: the transposed half keeps its codes.
TEST(Fp8Squares, WholeSquaresAreTransposedAsTheyAre) {
  OSTRO_MODEL_OR_SKIP("deepseek-v3-fp8");
  WeightStore store = open_weights(find_model("deepseek-v3-fp8")->string());
  const std::map<std::string, int> sizes = {{"qk_nope_head_dim", 128},
                                            {"v_head_dim", 128},
                                            {"num_attention_heads", 2},
                                            {"num_key_value_heads", 2},
                                            {"kv_lora_rank", 160}};
  for (const auto& [key, value] : sizes) {
    store.config[key] = value;
  }
  const ModelSpec spec = read_spec(store);
  std::vector<std::vector<std::byte>> codes;
  std::vector<std::vector<float>> scales;
  const auto replace = [&](const std::string& name, std::vector<int64_t> shape, DType type) {
    auto& bytes = codes.emplace_back(
        static_cast<size_t>(shape.back() * (shape.size() > 1 ? shape[0] : 1) * (type == DType::F8_E4M3 ? 1 : 2)));
    for (size_t i = 0; i < bytes.size(); ++i)
      bytes[i] = static_cast<std::byte>(type == DType::F8_E4M3 ? i * 7 % 120 : 0x3f);
    store.tensors[name] = {name, type, shape, bytes, "file"};
    if (type != DType::F8_E4M3) return;
    auto& grid = scales.emplace_back();
    const int64_t rows = (shape[0] + 127) / 128, cols = (shape[1] + 127) / 128;
    for (int64_t i = 0; i < rows * cols; ++i) grid.push_back(1 + 0.5f * static_cast<float>(i));
    store.tensors[name + "_scale_inv"] = {
        name + "_scale_inv", DType::F32, {rows, cols}, std::as_bytes(std::span(grid)), "file"};
  };
  for (const char* layer : {"0", "1"}) {
    const std::string prefix = std::string("model.layers.") + layer + ".self_attn.";
    replace(prefix + "q_b_proj.weight", {2 * 144, 144}, DType::F8_E4M3);
    replace(prefix + "kv_a_proj_with_mqa.weight", {176, 160}, DType::F8_E4M3);
    replace(prefix + "kv_a_layernorm.weight", {160}, DType::BF16);
    replace(prefix + "kv_b_proj.weight", {512, 160}, DType::F8_E4M3);
    replace(prefix + "o_proj.weight", {160, 256}, DType::F8_E4M3);
  }
  Weights weights = bind_weights(spec, store);
  ThreadTeam team(2);
  weights.reordered.make_all(team);
  const auto& mla = std::get<MlaWeights>(weights.blocks[0].mixer);
  const TensorEntry& whole = store.tensors.at("model.layers.0.self_attn.kv_b_proj.weight");
  Matrix source{whole.bytes.data(), DType::F8_E4M3, 512, 160, 160};
  source.scales = reinterpret_cast<const float*>(store.tensors.at(whole.name + "_scale_inv").bytes.data());
  source.scale_stride = 2;
  std::vector<float> row(160), column(128);
  for (size_t head = 0; head < 2; ++head) {
    ASSERT_EQ(mla.key_up[head].dtype, DType::F8_E4M3);
    for (int64_t r = 0; r < 128; ++r) {
      dequantize_row(source, static_cast<int64_t>(head) * 256 + r, row);
      for (int64_t c : {0, 127, 128, 159}) {
        dequantize_row(mla.key_up[head], c, column);
        ASSERT_EQ(column[static_cast<size_t>(r)], row[static_cast<size_t>(c)]);
      }
    }
  }
}

// What the cache of the published models takes beside one with a key and a value for each head.
TEST(LatentCache, IsAFewPercentOfPlainMultiHeads) {
  for (const auto& [shape, plain_values, saved] : {std::tuple{"deepseek-v2-lite", int64_t{16 * (192 + 128)}, 88.75},
                                                   {"deepseek-v2", 128 * (192 + 128), 98.59},
                                                   {"deepseek-v3", 128 * (192 + 128), 98.59}}) {
    const ModelSpec spec = published_shape(shape, 2);
    const auto latent = static_cast<double>(KvCache::bytes_per_token(spec, DType::F16, DType::F16));
    EXPECT_EQ(latent, 2 * (512 + 64) * 2) << shape;
    EXPECT_NEAR(100 * (1 - latent / static_cast<double>(2 * plain_values * 2)), saved, 0.01) << shape;
  }
}

}  // namespace
}  // namespace ostro::test
