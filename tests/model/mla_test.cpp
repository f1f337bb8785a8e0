// Latent attention and multi-token prediction: the cache holds the latent alone, all layouts of the same weights say
// the same, and the module's logits are the reference's.
#include <algorithm>
#include <cmath>

#include "model/checkpoint_writer.h"
#include "model/random_model.h"
#include "model/read_spec.h"
#include "model/read_spec_published.h"
#include "model/support.h"

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
  EXPECT_NE(message_of([&] { bind_weights(spec, store); }).find("layer 3, attention norm is missing"),
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

}  // namespace
}  // namespace ostro::test
