// Models written in every layout: the tensors are the source's, byte for byte, and say the same; mixes of types; what
// is refused leaves nothing behind.
#include "model/checkpoint_writer.h"

#include <cmath>
#include <limits>

#include "model/support.h"
#include "model/upcycle.h"
#include "tensor/quant.h"

namespace ostro::test {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Model> load(const std::string& path) { return load_model(path); }

WriteOptions options_for(CheckpointFormat format, const std::string& mix = "") {
  WriteOptions options;
  options.format = format;
  if (!mix.empty()) options.mix = find_quant_mix(mix).value();
  options.threads = 2;
  return options;
}

std::string write(const Model& model, const fs::path& out, CheckpointFormat format, const std::string& mix = "") {
  EXPECT_TRUE(write_checkpoint(model, out.string(), options_for(format, mix)).complete);
  return out.string();
}

void expect_same_tensors(const WeightStore& a, const WeightStore& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) {
    SCOPED_TRACE(name);
    const auto found = b.tensors.find(name);
    ASSERT_NE(found, b.tensors.end());
    EXPECT_EQ(tensor.dtype, found->second.dtype);
    EXPECT_EQ(tensor.shape, found->second.shape);
    EXPECT_TRUE(std::ranges::equal(tensor.bytes, found->second.bytes));
  }
}

std::vector<float> logits(const Model& model, const std::vector<int32_t>& tokens) {
  KvCacheOptions cache;
  cache.context = static_cast<int64_t>(tokens.size());
  Runner runner(model, {}, cache);
  std::vector<float> out;
  runner.run(0, tokens, 0, static_cast<int64_t>(tokens.size()), out);
  return out;
}

// Sums in another order, as of the reordered pairs of RoPE or of two halves of the same.
void expect_close(const std::vector<float>& found, const std::vector<float>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  float largest = 0;
  for (size_t i = 0; i < found.size(); ++i) largest = std::max(largest, std::fabs(found[i] - expected[i]));
  EXPECT_LT(largest, 1e-3f);
}

const std::vector<int32_t> kPrompt = {1, 17, 42, 99, 5, 6, 7, 120, 33, 64, 65, 66};

bool has_native_layout(const Model& model) {
  return model.spec.family == "mistral" || model.spec.family == "mixtral" || model.spec.family == "llama";
}

class RoundTrip : public testing::TestWithParam<const char*> {};

TEST_P(RoundTrip, FolderToGgufToFolderToNativeToFolder) {
  const fs::path folder = temporary_folder();
  const auto source = load_fixture(GetParam());
  const auto gguf = load(write(*source, folder / "model.gguf", CheckpointFormat::Gguf));
  const auto hub = load(write(*gguf, folder / "hub", CheckpointFormat::HuggingFace));
  expect_same_tensors(source->store, hub->store);
  const std::vector<float> expected = logits(*source, kPrompt);
  expect_close(logits(*gguf, kPrompt), expected);
  EXPECT_EQ(logits(*hub, kPrompt), expected);
  if (!has_native_layout(*source)) {
    EXPECT_EQ(logits(*gguf, kPrompt), expected);  // the rows lie as they did
    return;
  }
  if (std::string(GetParam()) == "llama3") return;  // the native layout cannot say its RoPE
  const auto native = load(write(*hub, folder / "native", CheckpointFormat::Mistral));
  expect_close(logits(*native, kPrompt), expected);
  const auto again = load(write(*native, folder / "again", CheckpointFormat::HuggingFace));
  expect_same_tensors(source->store, again->store);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, RoundTrip,
                         testing::Values("mixtral", "mistral-full", "mistral-swa", "llama3", "dbrx", "grok-1"));

// The families that only have these two layouts. The GGUF of OpenMoE is ostro's own, and so is that of a Qwen3-MoE with
// dense layers between.
class FolderAndGguf : public testing::TestWithParam<const char*> {};

TEST_P(FolderAndGguf, ThereAndBack) {
  OSTRO_MODEL_OR_SKIP(GetParam());
  const fs::path folder = temporary_folder();
  const auto source = load_fixture(GetParam());
  const auto gguf = load(write(*source, folder / "model.gguf", CheckpointFormat::Gguf));
  const auto hub = load(write(*gguf, folder / "hub", CheckpointFormat::HuggingFace));
  expect_same_tensors(source->store, hub->store);
  EXPECT_EQ(hub->spec.parameters(), source->spec.parameters());
  const std::vector<float> expected = logits(*source, kPrompt);
  EXPECT_EQ(logits(*gguf, kPrompt), expected);
  EXPECT_EQ(logits(*hub, kPrompt), expected);
  // Eight bits: the same model, less exactly; close calls of the router may fall otherwise.
  const auto quantized = load(write(*source, folder / "q8.gguf", CheckpointFormat::Gguf, "q8_0"));
  const std::vector<float> rounded = logits(*quantized, kPrompt);
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += std::pow(static_cast<double>(rounded[i] - expected[i]), 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  EXPECT_GT(error, 0);
  EXPECT_LT(std::sqrt(error / size), 0.25);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, FolderAndGguf,
                         testing::Values("olmoe", "qwen2-moe", "qwen3-moe", "qwen3-moe-all", "openmoe",
                                         "openmoe-drop"));

// Files that llama.cpp's converter made of the same weights.
class Converter : public testing::TestWithParam<const char*> {};

TEST_P(Converter, GgufHasTheTensorsOfTheUsualConverter) {
  OSTRO_MODEL_OR_SKIP(std::string(GetParam()) + ".gguf");
  const auto source = load_fixture(GetParam());
  const auto written = load(write(*source, temporary_folder() / "model.gguf", CheckpointFormat::Gguf));
  const auto expected = open_weights(find_model(std::string(GetParam()) + ".gguf")->string());
  expect_same_tensors(expected, written->store);
  const std::string architecture = expected.gguf->text("general.architecture").value();
  EXPECT_EQ(written->store.gguf->text("general.architecture"), architecture);
  EXPECT_EQ(written->store.gguf->text(architecture + ".rope.scaling.type"),
            expected.gguf->text(architecture + ".rope.scaling.type"));
  EXPECT_EQ(written->store.gguf->integer("general.file_type"), expected.gguf->integer("general.file_type"));
  for (const char* name :
       {"block_count", "embedding_length", "feed_forward_length", "attention.head_count", "attention.head_count_kv",
        "expert_count", "expert_used_count", "expert_feed_forward_length", "expert_shared_feed_forward_length"}) {
    const std::string key = architecture + "." + name;
    // The width of dense layers that a model has not is not kept.
    const bool unused = architecture.starts_with("qwen") && key.ends_with(".feed_forward_length");
    if (unused) continue;
    EXPECT_EQ(written->store.gguf->integer(key), expected.gguf->integer(key)) << key;
  }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, Converter,
                         testing::Values("mixtral", "mistral-full", "llama3", "llama-linear", "mistral-yarn",
                                         "qwen2-moe", "qwen3-moe-all"));

TEST(CheckpointWriter, OldAndNativeExpertLayoutsBecomeTheUsualOnes) {
  const fs::path folder = temporary_folder();
  const auto usual = open_weights(fixture("models/mixtral-native").string());
  for (const char* name : {"mixtral-native-stacked", "mixtral-sharded"}) {
    const auto written = load(write(*load_fixture(name), folder / name, CheckpointFormat::Mistral));
    expect_same_tensors(usual, written->store);
  }
  const auto old = load_fixture("mixtral-per-expert.gguf");
  const auto merged = load(write(*old, folder / "merged.gguf", CheckpointFormat::Gguf));
  EXPECT_TRUE(merged->store.tensors.contains("blk.0.ffn_down_exps.weight"));
  EXPECT_EQ(logits(*merged, kPrompt), logits(*old, kPrompt));
}

// Relative root mean square error of a matrix after a mix.
double relative_error(const Matrix& a, const Matrix& b) {
  double error = 0, total = 0;
  std::vector<float> x(static_cast<size_t>(a.cols)), y(x.size());
  for (int64_t r = 0; r < a.rows; ++r) {
    dequantize_row(a.dtype, a.row(r), x);
    dequantize_row(b.dtype, b.row(r), y);
    for (size_t i = 0; i < x.size(); ++i) {
      error += std::pow(static_cast<double>(x[i] - y[i]), 2);
      total += std::pow(static_cast<double>(x[i]), 2);
    }
  }
  return std::sqrt(error / total);
}

// Rows of 64 and 32 weights: K types give way to types with blocks of 32.
TEST(CheckpointWriter, EveryMixStaysNearTheSource) {
  const fs::path folder = temporary_folder();
  const auto source = load_fixture("mixtral.gguf");  // with rows in the order they are written
  for (const std::string& mix : quant_mix_names()) {
    SCOPED_TRACE(mix);
    const auto model = load(write(*source, folder / (mix + ".gguf"), CheckpointFormat::Gguf, mix));
    std::vector<Matrix> matrices;
    visit_matrices(source->spec, source->weights, [&](const TensorId&, const Matrix& m) { matrices.push_back(m); });
    size_t at = 0;
    visit_matrices(model->spec, model->weights, [&](const TensorId& id, const Matrix& matrix) {
      const int bits = 8 * info(matrix.dtype).bytes / info(matrix.dtype).block;
      EXPECT_LT(relative_error(matrices[at++], matrix), bits >= 8 ? 0.01 : bits >= 6 ? 0.05 : 0.15) << to_text(id);
      if (id.role == Role::Router) {
        EXPECT_EQ(matrix.dtype, DType::F32);
      }
    });
    EXPECT_EQ(model->store.gguf->integer("general.file_type"), find_quant_mix(mix)->file_type);
  }
}

ModelSpec published_shape(int64_t layers, int64_t experts) {
  ModelSpec spec;
  spec.family = experts == 0 ? "llama" : "mixtral";
  spec.width = 4096;
  spec.layers = layers;
  GqaSpec attention;
  attention.query_heads = 32;
  attention.kv_heads = 8;
  for (int64_t layer = 0; layer < layers; ++layer) {
    spec.blocks.push_back({layer, {}, attention});
    if (experts == 0) {
      spec.blocks.push_back({layer, {}, DenseSpec{14336}});
    } else {
      MoeSpec moe;
      moe.router.experts = experts;
      moe.expert.inner = 14336;
      spec.blocks.push_back({layer, {}, moe});
    }
  }
  return spec;
}

// The types in files that llama.cpp's quantiser makes of Mistral 7B and Mixtral 8x7B.
TEST(QuantMix, FollowsTheUsualRules) {
  const QuantMix medium = find_quant_mix("Q4_K_M").value();
  const ModelSpec sparse = published_shape(32, 8), dense = published_shape(32, 0);
  const auto type = [&](const ModelSpec& spec, Role role, int64_t layer, int64_t expert = -1, int64_t cols = 4096) {
    return mixed_type(medium, spec, {role, layer, expert}, cols);
  };
  for (const ModelSpec* spec : {&sparse, &dense}) {
    EXPECT_EQ(type(*spec, Role::Output, -1), DType::Q6_K);
    EXPECT_EQ(type(*spec, Role::Embedding, -1), DType::Q4_K);
    EXPECT_EQ(type(*spec, Role::Query, 0), DType::Q4_K);
    for (int64_t layer = 0; layer < 32; ++layer) {
      const bool more = layer < 4 || layer >= 28 || (layer - 4) % 3 == 2;
      const DType down = type(*spec, spec == &sparse ? Role::ExpertDown : Role::Down, layer);
      EXPECT_EQ(down, more ? DType::Q6_K : DType::Q4_K) << layer;
    }
  }
  EXPECT_EQ(type(sparse, Role::Value, 10), DType::Q8_0);
  EXPECT_EQ(type(sparse, Role::Key, 10), DType::Q8_0);
  EXPECT_EQ(type(sparse, Role::AttentionOutput, 10), DType::Q5_K);
  EXPECT_EQ(type(sparse, Role::Router, 10), DType::F32);
  EXPECT_EQ(type(dense, Role::Value, 6), DType::Q6_K);
  EXPECT_EQ(type(dense, Role::Value, 7), DType::Q4_K);
  EXPECT_EQ(type(dense, Role::Key, 10), DType::Q4_K);
  EXPECT_EQ(type(dense, Role::AttentionOutput, 10), DType::Q4_K);
  EXPECT_EQ(type(dense, Role::Gate, 10, -1, 576), DType::Q5_0);
  EXPECT_EQ(type(dense, Role::Gate, 10, -1, 100), DType::F16);
  const QuantMix small = find_quant_mix("q3_k_m").value();
  EXPECT_EQ(mixed_type(small, dense, {Role::Down, 0}, 14336), DType::Q5_K);
  EXPECT_EQ(mixed_type(small, dense, {Role::Down, 5}, 14336), DType::Q4_K);
  EXPECT_EQ(mixed_type(small, dense, {Role::Value, 1}, 4096), DType::Q5_K);
  EXPECT_EQ(mixed_type(small, dense, {Role::AttentionOutput, 9}, 4096), DType::Q4_K);
  EXPECT_EQ(find_quant_mix("q7_k"), std::nullopt);
}

TEST(Upcycle, SaysWhatTheDenseModelSays) {
  const fs::path folder = temporary_folder();
  const std::vector<float> expected = logits(*load_fixture("mistral-full"), kPrompt);
  UpcycleOptions options;
  options.experts = 4;
  options.router_std = 1;
  const auto sparse = upcycle(load_fixture("mistral-full"), options);
  EXPECT_TRUE(sparse->spec.notes.empty());
  for (const auto& path : {write(*sparse, folder / "sparse.gguf", CheckpointFormat::Gguf),
                           write(*sparse, folder / "sparse", CheckpointFormat::HuggingFace)}) {
    expect_close(logits(*load(path), kPrompt), expected);
  }
  EXPECT_THROW(upcycle(load_fixture("mixtral"), options), Error);
  options.top_k = 5;
  EXPECT_THROW(upcycle(load_fixture("mistral-full"), options), Error);
}

void expect_refused(const Model& model, const fs::path& out, const WriteOptions& options, const std::string& says) {
  try {
    write_checkpoint(model, out.string(), options);
    ADD_FAILURE() << "not refused: " << says;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
  }
}

TEST(CheckpointWriter, WhatIsRefusedLeavesNothingBehind) {
  const fs::path folder = temporary_folder();
  const auto source = load_fixture("mixtral");
  expect_refused(*source, folder / "a", options_for(CheckpointFormat::HuggingFace, "q4_0"), "f32, f16 and bf16");
  expect_refused(*source, folder, options_for(CheckpointFormat::Gguf), "expected the name of a GGUF file");
  expect_refused(*load_fixture("llama3"), folder / "b", options_for(CheckpointFormat::Mistral), "RoPE");

  // A weight that f16 cannot hold, and one that is no number, found in the middle of writing.
  for (const float bad : {1e6f, std::numeric_limits<float>::quiet_NaN()}) {
    auto broken = load_fixture("mixtral");
    std::vector<float> values(static_cast<size_t>(broken->weights.output.rows * broken->weights.output.cols), 0.5f);
    values.back() = bad;
    broken->weights.output = {reinterpret_cast<const std::byte*>(values.data()), DType::F32, broken->spec.vocab,
                              broken->spec.width, row_bytes(DType::F32, broken->spec.width)};
    const std::string says = std::isnan(bad) ? "not finite" : "range of f16";
    expect_refused(*broken, folder / "c.gguf", options_for(CheckpointFormat::Gguf, "f16"), says);
    expect_refused(*broken, folder / "d", options_for(CheckpointFormat::HuggingFace, "f16"), says);
  }

  WriteOptions stopped = options_for(CheckpointFormat::HuggingFace);
  stopped.progress = [](uint64_t done) { return done < 100000; };
  EXPECT_FALSE(write_checkpoint(*source, (folder / "e").string(), stopped).complete);
  EXPECT_TRUE(fs::is_empty(folder));

  const std::string written = write(*source, folder / "f", CheckpointFormat::HuggingFace);
  expect_refused(*source, written, options_for(CheckpointFormat::HuggingFace), "already holds");
  expect_refused(*load(written), written, options_for(CheckpointFormat::HuggingFace), "over itself");
}

}  // namespace
}  // namespace ostro::test
