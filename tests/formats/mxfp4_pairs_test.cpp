// MXFP4 in two tensors of bytes, as safetensors hold it: values as the format defines them, in whatever shards the two
// lie, and what is said of a tensor of bytes that is no half of a pair.
#include <cmath>
#include <filesystem>

#include "formats/safetensors_writer.h"
#include "formats/support.h"
#include "formats/weight_store.h"
#include "support/support.h"
#include "tensor/quant.h"

namespace ostro {
namespace {

using testing::HasSubstr;

struct Bytes {
  std::string name;
  std::vector<int64_t> shape;
  std::string content;
};

void put(const std::filesystem::path& file, const std::vector<Bytes>& tensors) {
  std::vector<SafetensorsPlan> plans;
  for (const Bytes& tensor : tensors) plans.push_back({tensor.name, "U8", tensor.shape});
  SafetensorsWriter writer(file.string(), plans);
  for (const Bytes& tensor : tensors) writer.write(tensor.name, test::bytes_of(tensor.content));
  writer.commit();
}

std::string counting(size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += static_cast<char>(i * 29 + 7);
  return out;
}

TEST(Mxfp4Pairs, AreOneTensorOfThatType) {
  const auto folder = test::temporary_folder();
  test::write_text((folder / "config.json").string(), "{}");
  const std::string blocks = counting(2 * 3 * 2 * 16), scales = "\x7f\x80\x7e\x81\x7d\x82\x7f\x80\x7e\x81\x7d\x82";
  // The scales in the shard before.
  put(folder / "model-00001-of-00002.safetensors", {{"w_scales", {2, 3, 2}, scales}});
  put(folder / "model-00002-of-00002.safetensors", {{"w_blocks", {2, 3, 2, 16}, blocks}});
  WeightStore store = open_weights(folder.string());
  ThreadTeam team(2);
  store.reordered.make_all(team);
  ASSERT_EQ(store.tensors.size(), 1u);
  const TensorEntry& tensor = store.tensors.at("w_blocks");
  EXPECT_EQ(tensor.dtype, DType::MXFP4);
  EXPECT_EQ(tensor.shape, (std::vector<int64_t>{2, 3, 64}));
  std::vector<float> values(2 * 3 * 64);
  dequantize_row(tensor.dtype, tensor.bytes.data(), values);
  constexpr float kE2m1[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  for (size_t i = 0; i < values.size(); ++i) {
    const auto packed = static_cast<uint8_t>(blocks[i / 2]);
    const int code = packed >> (i % 2 == 0 ? 0 : 4) & 15;
    const float magnitude = std::ldexp(kE2m1[code & 7], static_cast<uint8_t>(scales[i / 32]) - 127);
    ASSERT_EQ(values[i], (code & 8) != 0 ? -magnitude : magnitude) << i;
  }
}

TEST(Mxfp4Pairs, HalvesAndShapesThatDoNotFitAreNamed) {
  const auto message = [](const std::vector<Bytes>& tensors) {
    const auto folder = test::temporary_folder();
    test::write_text((folder / "config.json").string(), "{}");
    put(folder / "model.safetensors", tensors);
    return test::error_of([&] { open_weights(folder.string()); });
  };
  const std::string lone = "has dtype U8, expected F32, F16, BF16, or MXFP4 as a pair of blocks and scales";
  EXPECT_THAT(message({{"w", {4}, "abcd"}}), HasSubstr(lone));
  EXPECT_THAT(message({{"w_scales", {4}, "abcd"}}), HasSubstr(lone));
  EXPECT_THAT(message({{"w_blocks", {1, 1, 16}, counting(16)}}), HasSubstr(lone));
  EXPECT_THAT(message({{"_blocks", {4}, "abcd"}, {"w_scales", {4}, "abcd"}}), HasSubstr(lone));
  EXPECT_THAT(
      message({{"w_blocks", {1, 1, 16}, counting(16)}, {"w_scales", {1, 2}, "ab"}}),
      HasSubstr("tensor 'w_blocks' has the shape [1, 1, 16], its scales [1, 2], expected the scales' and 16 more"));
  EXPECT_THAT(message({{"w_blocks", {1, 1, 8}, counting(8)}, {"w_scales", {1, 1}, "a"}}), HasSubstr("16 more"));
}

}  // namespace
}  // namespace ostro
