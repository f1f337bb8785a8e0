// gpt-oss: both layouts of MXFP4 are one, what configurations say, how broken ones are refused.
#include <gmock/gmock.h>

#include "model/checkpoint_writer.h"
#include "model/read_spec.h"
#include "model/support.h"
#include "tensor/quant.h"

namespace ostro::test {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::vector<float> logits_of(const Model& model) {
  const std::vector<int32_t> tokens = {3, 17, 42, 99, 5, 6, 7, 120, 33, 64, 65, 66, 12, 200, 31, 8, 9, 77, 101};
  Runner runner(model, {2, Compute::Auto}, cache_of(DType::F16));
  std::vector<float> logits;
  runner.run(0, tokens, 0, std::ssize(tokens), logits);
  return logits;
}

void expect_same_weights(const Model& a, const Model& b) {
  std::vector<Matrix> matrices;
  std::vector<std::vector<float>> vectors;
  visit_matrices(a.spec, a.weights, [&](const TensorId&, const Matrix& matrix) { matrices.push_back(matrix); });
  visit_vectors(a.spec, a.weights,
                [&](const TensorId&, std::span<const float> v) { vectors.emplace_back(v.begin(), v.end()); });
  size_t at = 0;
  visit_matrices(b.spec, b.weights, [&](const TensorId& id, const Matrix& matrix) {
    const Matrix& other = matrices.at(at++);
    ASSERT_EQ(matrix.rows, other.rows);
    std::vector<float> x(static_cast<size_t>(matrix.cols)), y = x;
    for (int64_t row = 0; row < matrix.rows; ++row) {
      dequantize_row(matrix.dtype, matrix.row(row), x);
      dequantize_row(other.dtype, other.row(row), y);
      ASSERT_EQ(x, y) << to_text(id) << ", row " << row;
    }
  });
  at = 0;
  visit_vectors(b.spec, b.weights, [&](const TensorId& id, std::span<const float> values) {
    ASSERT_TRUE(std::ranges::equal(values, vectors.at(at++))) << to_text(id);
  });
  EXPECT_EQ(at, vectors.size());
}

TEST(GptOss, BothLayoutsOfMxfp4AreTheSameModel) {
  OSTRO_MODEL_OR_SKIP("gpt-oss-mxfp4");
  const auto folder = load_fixture("gpt-oss-mxfp4"), file = load_fixture("gpt-oss-mxfp4.gguf");
  expect_same_weights(*folder, *file);
  EXPECT_EQ(logits_of(*folder), logits_of(*file));
}

TEST(GptOss, BecomesAGgufThatSaysTheSame) {
  for (const char* name : {"gpt-oss-mxfp4", "gpt-oss", "gpt-oss-mxfp4.gguf"}) {
    OSTRO_MODEL_OR_SKIP(name);
    const auto source = load_fixture(name);
    const std::string path = (temporary_folder() / "model.gguf").string();
    ASSERT_TRUE(write_checkpoint(*source, path, {}).complete);
    const auto written = load_model(path);
    EXPECT_EQ(written->spec.parameters(), source->spec.parameters());
    expect_same_weights(*source, *written);
    EXPECT_EQ(logits_of(*written), logits_of(*source));
  }
}

// MXFP4 in pairs, as it was published, or floats.
TEST(GptOss, BecomesAFolderThatSaysTheSame) {
  for (const char* name : {"gpt-oss-mxfp4", "gpt-oss", "gpt-oss-mxfp4.gguf"}) {
    OSTRO_MODEL_OR_SKIP(name);
    const auto source = load_fixture(name);
    const std::string path = (temporary_folder() / "hub").string();
    WriteOptions options;
    options.format = CheckpointFormat::HuggingFace;
    ASSERT_TRUE(write_checkpoint(*source, path, options).complete);
    const auto written = load_model(path);
    expect_same_weights(*source, *written);
    EXPECT_EQ(logits_of(*written), logits_of(*source));
  }
}

// The tensors and the configuration that the publisher's program reads, byte for byte those of the folder it wrote.
TEST(GptOss, AFolderIsWrittenAsThePublisherWritesIt) {
  for (const char* name : {"gpt-oss-mxfp4", "gpt-oss"}) {
    OSTRO_MODEL_OR_SKIP(name);
    const auto folder = temporary_folder() / "hub";
    WriteOptions options;
    options.format = CheckpointFormat::HuggingFace;
    ASSERT_TRUE(write_checkpoint(*load_fixture(name), folder.string(), options).complete);
    const auto expected = open_safetensors((*find_model(name) / "model.safetensors").string());
    const auto written = open_safetensors((folder / "model.safetensors").string());
    EXPECT_EQ(written.tensors.size(), expected.tensors.size());
    for (const auto& [tensor_name, tensor] : expected.tensors) {
      ASSERT_TRUE(written.tensors.contains(tensor_name)) << tensor_name;
      const SafetensorsTensor& own = written.tensors.at(tensor_name);
      EXPECT_EQ(own.dtype, tensor.dtype) << tensor_name;
      EXPECT_EQ(own.shape, tensor.shape) << tensor_name;
      EXPECT_TRUE(std::ranges::equal(own.bytes, tensor.bytes)) << tensor_name;
    }
    std::ifstream published(*find_model(name) / "config.json"), ours(folder / "config.json");
    const json theirs = json::parse(published), config = json::parse(ours);
    for (const char* key : {"quantization_config", "layer_types", "sliding_window", "rope_theta", "num_local_experts",
                            "num_experts_per_tok", "intermediate_size", "max_position_embeddings", "head_dim"}) {
      EXPECT_EQ(config.value(key, json()), theirs.value(key, json())) << key;
    }
  }
}

// llama.cpp truncates the ramp of YaRN; the reference has the logits of that too, and they are not ours.
TEST(GptOss, TheRampIsNotTruncated) {
  OSTRO_MODEL_OR_SKIP("gpt-oss-mxfp4.gguf");
  const auto model = load_fixture("gpt-oss-mxfp4.gguf");
  EXPECT_FALSE(std::get<GqaSpec>(model->spec.blocks.at(0).mixer).rope.scaling.truncate);
  EXPECT_EQ(std::get<GqaSpec>(model->spec.blocks.at(0).mixer).window, 16);
  EXPECT_EQ(std::get<GqaSpec>(model->spec.blocks.at(2).mixer).window, 0);
}

struct Refusal {
  const char* name;
  const char* patch;
  const char* message;  // after "folder/config.json: "
};
void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.name; }

class GptOssRefusal : public testing::TestWithParam<Refusal> {};

TEST_P(GptOssRefusal, NamesTheField) {
  OSTRO_MODEL_OR_SKIP("gpt-oss");
  WeightStore store = open_weights(find_model("gpt-oss")->string());
  store.folder = "folder";
  store.config.merge_patch(json::parse(GetParam().patch));
  EXPECT_EQ(message_of([&] { read_spec(store); }), std::string("folder/config.json: ") + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Fields, GptOssRefusal,
    testing::Values(Refusal{"limit", R"({"swiglu_limit": 5})", "swiglu_limit is 5, supported: 7"},
                    Refusal{"bias", R"({"attention_bias": false})", "attention_bias is false, supported: true"},
                    Refusal{"layer_type",
                            R"({"layer_types": ["chunked_attention", "full_attention", "full_attention"]})",
                            "layer_types is [\"chunked_attention\",\"full_attention\",\"full_attention\"], supported: "
                            "sliding_attention, full_attention"},
                    Refusal{"layers", R"({"layer_types": ["full_attention"]})",
                            "layer_types is [\"full_attention\"], supported: a list of 3 types"},
                    Refusal{"chosen", R"({"experts_per_token": 2})", "experts_per_token is 2, supported: 3"},
                    Refusal{"too_many", R"({"experts_per_token": 9, "num_experts_per_tok": 9})",
                            "the number of experts for each token is 9, expected 1 to 8"},
                    Refusal{"quantization", R"({"quantization_config": {"quant_method": "gptq"}})",
                            "quantization_config: quant_method is \"gptq\", supported: mxfp4"}),
    [](const auto& info) { return info.param.name; });

TEST(GptOss, MissingTensorsAreNamed) {
  OSTRO_MODEL_OR_SKIP("gpt-oss");
  for (const auto& [tensor, message] : std::vector<std::pair<std::string, std::string>>{
           {"model.layers.1.self_attn.sinks", "[4] (layer 1, attention sinks)"},
           {"model.layers.0.mlp.router.bias", "[8] (layer 0, router bias)"},
           {"model.layers.2.mlp.experts.down_proj_bias", "[8, 144] (layer 2, down bias of the experts)"}}) {
    WeightStore store = open_weights(find_model("gpt-oss")->string());
    ASSERT_EQ(store.tensors.erase(tensor), 1u);
    EXPECT_THAT(message_of([&] { bind_weights(read_spec(store), store); }),
                HasSubstr("no tensor " + tensor + " " + message));
  }
}

}  // namespace
}  // namespace ostro::test
