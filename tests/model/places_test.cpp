// What the weights of a model take, known before it is taken: tensors read in place, and copies of those that lie
// transposed or in other blocks, instead of them.
#include <regex>

#include "model/checkpoint_writer.h"
#include "model/support.h"

namespace ostro::test {
namespace {

constexpr const char* kNone = "^$";

struct Case {
  const char* model;
  const char* copied;  // the names of tensors that are wholly copied, as a regular expression
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.model; }

class PlacesTest : public testing::TestWithParam<Case> {};

TEST_P(PlacesTest, EachWeightIsHeldOnce) {
  OSTRO_MODEL_OR_SKIP(GetParam().model);
  const auto model = bind_model(find_model(GetParam().model)->string());
  const Weights& weights = model->weights;
  const std::regex copied(GetParam().copied);
  uint64_t in_place = 0, copies = 0, count = 0;
  for (const auto& [name, tensor] : model->store.tensors) {
    const bool is_copied = std::regex_search(name, copied);
    (is_copied ? copies : in_place) += tensor.bytes.size();
    count += is_copied ? 1 : 0;
    const auto same = [&bytes = tensor.bytes](std::span<const std::byte> place) {
      return place.data() == bytes.data();
    };
    EXPECT_EQ(std::ranges::any_of(weights.in_place, same), !is_copied) << name;
  }
  EXPECT_EQ(count > 0, std::string(GetParam().copied) != kNone);
  EXPECT_EQ(weights.reordered.bytes(), copies);
  EXPECT_EQ(weights.bytes, in_place + copies);
}

INSTANTIATE_TEST_SUITE_P(All, PlacesTest,
                         testing::Values(Case{"mixtral", kNone}, Case{"mixtral-native-stacked", "block_sparse_moe.w2$"},
                                         Case{"dbrx", "mlp.w2$"}, Case{"openmoe-drop", "mlp.experts.w"},
                                         Case{"gpt-oss", "experts.*_proj$"}, Case{"gpt-oss-mxfp4", "_blocks$"},
                                         Case{"grok-1", kNone}),
                         [](const auto& info) {
                           std::string name = info.param.model;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

// Keys' halves of latent projections are needed transposed, their values' as they lie: the tensor stays.
TEST(Places, HalvesOfATensorAreHeldBesideIt) {
  OSTRO_MODEL_OR_SKIP("deepseek-v2-lite");
  const auto model = bind_model(find_model("deepseek-v2-lite")->string());
  uint64_t keys = 0;
  visit_matrices(model->spec, model->weights, [&](const TensorId& id, const Matrix& matrix) {
    if (id.role == Role::KeyUp) keys += static_cast<uint64_t>(matrix.rows * matrix.row_bytes);
  });
  EXPECT_GT(keys, 0u);
  EXPECT_EQ(model->weights.bytes, model->store.total_bytes() + keys);
}

// The pickles' 8-bit integers become blocks: 34 bytes for 32 of them.
TEST(Places, PickledIntegersAreCountedAsTheBlocksTheyBecome) {
  OSTRO_MODEL_OR_SKIP("grok-1-original");
  const auto model = bind_model(find_model("grok-1-original")->string());
  uint64_t blocks = 0;
  for (const auto& [name, tensor] : model->store.tensors) {
    if (tensor.dtype == DType::Q8_0) blocks += tensor.bytes.size();
  }
  EXPECT_GT(blocks, 0u);
  EXPECT_GE(model->weights.reordered.bytes(), blocks);  // and the routers', transposed
  EXPECT_EQ(model->weights.bytes, model->store.total_bytes());
}

// A program that goes through the weights once holds the copies of one layer at most, and writes what it would have
// written of a model in memory.
TEST(Places, ConvertingMakesCopiesAsItGoes) {
  for (const char* name : {"dbrx", "openmoe-drop", "gpt-oss", "gpt-oss-mxfp4", "grok-1-original", "deepseek-v2-lite"}) {
    OSTRO_MODEL_OR_SKIP(name);
    const auto folder = temporary_folder();
    const auto write = [&](const Model& model, const char* file) {
      const std::string path = (folder / file).string();
      EXPECT_TRUE(write_checkpoint(model, path, {}).complete);
      std::ifstream in(path, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(in), {});
    };
    const auto planned = bind_model(find_model(name)->string());
    EXPECT_TRUE(write(*planned, "planned.gguf") == write(*load_fixture(name), "loaded.gguf")) << name;
    verify_finite(planned->spec, planned->weights, "FILE", 2);
  }
}

}  // namespace
}  // namespace ostro::test
