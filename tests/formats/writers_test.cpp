// The writers: byte for byte what the public ones write, and nothing under the final name before commit().
#include <algorithm>
#include <filesystem>
#include <map>

#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "formats/json_file.h"
#include "formats/safetensors.h"
#include "formats/safetensors_writer.h"
#include "formats/support.h"
#include "formats/weight_store.h"
#include "support/support.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;

std::vector<GgufTensorPlan> plans_of(const std::vector<TensorEntry>& tensors) {
  std::vector<GgufTensorPlan> plans;
  for (const auto& tensor : tensors) plans.push_back({tensor.name, tensor.dtype, tensor.shape});
  return plans;
}

TEST(GgufWriter, WritesWhatThePublicWriterDoes) {
  const fs::path source = test::fixture("formats/small.gguf");
  const MappedFile file(source.string());
  const GgufFile parsed = parse_gguf(file.bytes(), "small.gguf");
  const fs::path folder = test::temporary_folder();
  const fs::path target = folder / "out.gguf";
  GgufWriter writer(target.string(), parsed.metadata, plans_of(parsed.tensors));
  for (const auto& tensor : parsed.tensors) {
    writer.write(tensor.name, tensor.bytes.first(1));  // in pieces
    writer.write(tensor.name, tensor.bytes.subspan(1));
  }
  EXPECT_FALSE(fs::exists(target));
  writer.commit();
  EXPECT_EQ(test::read_bytes(target), test::read_bytes(source));
}

TEST(GgufWriter, ChoosesTheTypesThatReadersExpect) {
  GgufMetadata metadata;
  metadata.values["a.count"] = int64_t{7};
  metadata.values["a.negative"] = int64_t{-7};
  metadata.values["a.large"] = uint64_t{1} << 40;
  metadata.values["a.real"] = 1e-5;
  metadata.values["a.kinds"] = GgufArray(std::vector<int64_t>{1, 2});
  metadata.values["a.wide"] = GgufArray(std::vector<int64_t>{1, int64_t{1} << 40});
  metadata.values["a.noted"] = int64_t{3};
  metadata.types["a.noted"] = GgufType::I16;
  metadata.values["a.noted too small"] = int64_t{300};
  metadata.types["a.noted too small"] = GgufType::I8;
  metadata.values["a.noted otherwise"] = 0.5;
  metadata.types["a.noted otherwise"] = GgufType::U32;
  metadata.values["split.count"] = int64_t{3};
  const std::string path = test::temporary_folder() / "out.gguf";
  GgufWriter writer(path, metadata, {});
  writer.commit();

  const MappedFile file(path);
  const GgufMetadata read = parse_gguf(file.bytes(), path).metadata;
  const std::map<std::string, GgufType, std::less<>> expected = {
      {"a.count", GgufType::U32}, {"a.negative", GgufType::I32},        {"a.large", GgufType::U64},
      {"a.real", GgufType::F32},  {"a.kinds", GgufType::I32},           {"a.wide", GgufType::I64},
      {"a.noted", GgufType::I16}, {"a.noted too small", GgufType::U32}, {"a.noted otherwise", GgufType::F32},
  };
  EXPECT_EQ(read.types, expected);
  EXPECT_EQ(read.integer("a.negative"), -7);
  EXPECT_EQ(read.integer("a.noted too small"), 300);
  EXPECT_EQ(read.integers("a.wide"), (std::vector<int64_t>{1, int64_t{1} << 40}));
}

TEST(GgufWriter, RefusesWhatGgufCannotHold) {
  const std::string path = test::temporary_folder() / "out.gguf";
  const auto message = [&](std::vector<int64_t> shape) {
    return test::error_of([&] { GgufWriter(path, {}, {{"w", DType::Q8_0, std::move(shape)}}); });
  };
  EXPECT_THAT(message({}), testing::HasSubstr("0 dimensions"));
  EXPECT_THAT(message({1, 1, 1, 1, 32}), testing::HasSubstr("5 dimensions"));
  EXPECT_THAT(message({2, 33}), testing::HasSubstr("multiple of 32"));
  EXPECT_THAT(message({0, 32}), testing::HasSubstr("empty"));
  EXPECT_THAT(message({int64_t{1} << 40, int64_t{1} << 40}), testing::HasSubstr("overflows"));
  EXPECT_FALSE(fs::exists(path));
}

TEST(SafetensorsWriter, WritesWhatThePublicWriterDoes) {
  const fs::path source = test::fixture("formats/small.safetensors");
  const SafetensorsFile file = open_safetensors(source.string());
  std::vector<std::pair<std::string, SafetensorsTensor>> tensors(file.tensors.begin(), file.tensors.end());
  std::ranges::sort(tensors, {}, [](const auto& pair) { return pair.second.bytes.data(); });
  std::vector<SafetensorsPlan> plans;
  for (const auto& [name, tensor] : tensors) plans.push_back({name, tensor.dtype, tensor.shape});
  const fs::path target = test::temporary_folder() / "out.safetensors";
  SafetensorsWriter writer(target.string(), plans);
  for (const auto& [name, tensor] : tensors) writer.write(name, tensor.bytes);
  EXPECT_FALSE(fs::exists(target));
  writer.commit();
  EXPECT_EQ(test::read_bytes(target), test::read_bytes(source));
}

TEST(ShardedSafetensorsWriter, ShardsAndIndexAppearTogether) {
  const fs::path folder = test::temporary_folder();
  const std::string ten(40, 'x');  // ten floats
  std::vector<SafetensorsPlan> plans;
  for (const char* name : {"a", "b", "c", "d", "e"}) plans.push_back({name, "F32", {2, 5}});
  plans.push_back({"nothing", "F32", {0, 5}});
  ShardedSafetensorsWriter writer(folder, "model", plans, 80);
  for (const char* name : {"a", "b", "c", "d", "e"}) writer.write(name, test::bytes_of(ten));
  for (const auto& entry : fs::directory_iterator(folder)) EXPECT_NE(entry.path().extension(), ".safetensors");
  writer.commit();
  write_file_atomically(folder / "config.json", "{}");

  const auto index = read_json_file(folder / "model.safetensors.index.json");
  EXPECT_EQ(index["metadata"]["total_size"], 200);
  EXPECT_EQ(index["weight_map"]["c"], "model-00002-of-00003.safetensors");
  const WeightStore store = open_weights(folder);
  EXPECT_EQ(store.files.size(), 3u);
  EXPECT_EQ(store.tensors.size(), 6u);
  EXPECT_EQ(store.tensors.at("e").shape, (std::vector<int64_t>{2, 5}));
  EXPECT_EQ(store.total_bytes(), 200u);
}

TEST(ShardedSafetensorsWriter, OneFileWhenAllFits) {
  const fs::path folder = test::temporary_folder();
  ShardedSafetensorsWriter writer(folder, "consolidated", {{"a", "BF16", {2}}}, 80);
  writer.write("a", test::bytes_of("abcd"));
  writer.commit();
  write_file_atomically(folder / "params.json", "{}");
  EXPECT_EQ(open_weights(folder).format, CheckpointFormat::Mistral);
  EXPECT_FALSE(fs::exists(folder / "consolidated.safetensors.index.json"));
}

TEST(ShardedSafetensorsWriter, LeavesNothingWithoutCommit) {
  const fs::path folder = test::temporary_folder();
  {
    ShardedSafetensorsWriter writer(folder, "model", {{"a", "BF16", {2}}, {"b", "BF16", {2}}}, 4);
    writer.write("a", test::bytes_of("abcd"));
  }
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST(Writers, CopyEveryModelOfTheFixtures) {
  OSTRO_SHARED_OR_SKIP(root, "fixtures/models");
  int copied = 0;
  for (const char* name : {"mixtral", "deepseek-v3", "mixtral.gguf", "quant-blocks.gguf", "mixtral-per-expert.gguf"}) {
    const WeightStore source = open_weights((root / name).string());
    const fs::path folder = test::temporary_folder();
    std::string path = folder;
    if (source.gguf) {
      path = folder / "copy.gguf";
      std::vector<TensorEntry> tensors;
      for (const auto& [key, tensor] : source.tensors) tensors.push_back(tensor);
      GgufWriter writer(path, *source.gguf, plans_of(tensors));
      for (const auto& tensor : tensors) writer.write(tensor.name, tensor.bytes);
      writer.commit();
    } else {
      std::vector<SafetensorsPlan> plans;
      for (const auto& [key, tensor] : source.tensors)
        plans.push_back({key, safetensors_dtype(tensor.dtype), tensor.shape});
      ShardedSafetensorsWriter writer(folder, "model", plans, 100'000);
      for (const auto& [key, tensor] : source.tensors) writer.write(key, tensor.bytes);
      writer.commit();
      write_file_atomically(folder / "config.json", source.config.dump());
    }
    const WeightStore copy = open_weights(path);
    ASSERT_EQ(copy.tensors.size(), source.tensors.size()) << name;
    for (const auto& [key, tensor] : source.tensors) {
      const TensorEntry& other = copy.tensors.at(key);
      EXPECT_EQ(other.dtype, tensor.dtype) << key;
      EXPECT_EQ(other.shape, tensor.shape) << key;
      EXPECT_TRUE(std::ranges::equal(other.bytes, tensor.bytes)) << key;
    }
    if (source.gguf) {
      EXPECT_EQ(copy.gguf->values, source.gguf->values) << name;
      EXPECT_EQ(copy.gguf->types, source.gguf->types) << name;
    }
    ++copied;
  }
  EXPECT_EQ(copied, 5);
}

}  // namespace
}  // namespace ostro
