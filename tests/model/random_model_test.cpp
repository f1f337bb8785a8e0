#include "model/random_model.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "model/checkpoint_writer.h"
#include "model/read_spec_published.h"
#include "support/support.h"

namespace ostro {
namespace {

ModelSpec small_shape(const std::string& name) {
  ModelSpec spec = published_shape(name, 2);
  spec.width = 256;
  spec.vocab = 400;
  spec.bos = 1;
  spec.eos = {2};
  for (auto& block : spec.blocks) {
    if (auto* gqa = std::get_if<GqaSpec>(&block.mixer)) {
      gqa->query_heads = 2;
      gqa->kv_heads = 1;
    } else if (auto* moe = std::get_if<MoeSpec>(&block.mixer)) {
      moe->expert.inner = 512;
    } else if (auto* dense = std::get_if<DenseSpec>(&block.mixer)) {
      dense->inner = 512;
    }
  }
  validate(spec, "test");
  return spec;
}

TEST(PublishedShape, HasThePublishedParameters) {
  EXPECT_EQ(published_shape("mixtral-8x7b").parameters(), 46'702'792'704);
  EXPECT_EQ(published_shape("mixtral-8x7b").active_parameters(), 12'879'925'248);
  EXPECT_EQ(published_shape("mixtral-8x22b").parameters(), 140'620'634'112);
  EXPECT_EQ(published_shape("mistral-7b").parameters(), 7'248'023'552);
  EXPECT_EQ(published_shape("grok-1").parameters(), 315'684'820'992);
  EXPECT_EQ(published_shape("grok-1").active_parameters(), 83'756'587'008);
  EXPECT_EQ(published_shape("dbrx").parameters(), 131'596'523'520);
  EXPECT_EQ(published_shape("dbrx").active_parameters(), 36'469'708'800);
  EXPECT_EQ(published_shape("qwen3-30b-a3b").parameters(), 30'532'122'624);
  EXPECT_NEAR(static_cast<double>(published_shape("openmoe-8b").parameters()), 11.86e9, 0.01e9);
  EXPECT_TRUE(std::holds_alternative<MoeSpec>(published_shape("openmoe-8b", 2).blocks[3].mixer));
  EXPECT_THROW(published_shape("mixtral-8x7b", 33), Error);
  EXPECT_THROW(published_shape("x"), Error);
}

class RandomModel : public testing::TestWithParam<const char*> {};

TEST_P(RandomModel, IsWrittenAndReadBack) {
  for (const std::string type : {"q4_k_m", "q8_0", "f16"}) {
    const auto mix = find_quant_mix(type);
    ASSERT_TRUE(mix.has_value());
    const auto made = random_model(small_shape(GetParam()), *mix, 1);
    uint64_t bytes = 0;
    std::vector<Matrix> matrices;
    visit_matrices(made->spec, made->weights, [&](const TensorId&, const Matrix& matrix) {
      bytes += static_cast<uint64_t>(matrix.rows * matrix.row_bytes);
      matrices.push_back(matrix);
    });
    EXPECT_EQ(bytes, random_model_bytes(made->spec, *mix));
    verify_finite(made->spec, made->weights, "FILE", 1);

    const std::string path = (test::temporary_folder() / "random.gguf").string();
    write_checkpoint(*made, path, {});
    const auto read = load_model(path);
    EXPECT_EQ(read->spec.parameters(), made->spec.parameters());
    size_t next = 0;
    visit_matrices(read->spec, read->weights, [&](const TensorId& id, const Matrix& matrix) {
      const Matrix& other = matrices.at(next++);
      ASSERT_EQ(matrix.dtype, other.dtype) << to_text(id);
      ASSERT_EQ(matrix.rows * matrix.row_bytes, other.rows * other.row_bytes) << to_text(id);
      EXPECT_EQ(std::memcmp(matrix.data, other.data, static_cast<size_t>(matrix.rows * matrix.row_bytes)), 0)
          << to_text(id);
    });
    EXPECT_EQ(next, matrices.size());
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, RandomModel,
                         testing::Values("mixtral-8x7b", "grok-1", "dbrx", "openmoe-8b", "qwen3-30b-a3b"));

}  // namespace
}  // namespace ostro
