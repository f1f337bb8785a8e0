// Every checkpoint of the fixtures opens, with the tensors that the public readers find in it.
#include <fmt/ranges.h>

#include <filesystem>
#include <map>
#include <sstream>

#include "formats/safetensors.h"
#include "formats/support.h"
#include "formats/torch_file.h"
#include "formats/weight_store.h"
#include "support/support.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;

struct Digest {
  size_t tensors = 0;
  uint64_t hash = 0;
};

class Rows {
 public:
  void add(const std::string& name, std::string type, std::span<const int64_t> shape,
           std::span<const std::byte> bytes) {
    for (char& c : type) c = static_cast<char>(std::toupper(c));
    rows_[name] = fmt::format("{}\t{}\t{}\t{:016x}\n", name, type, fmt::join(shape, ","), test::hash(bytes));
  }
  Digest digest() const {
    std::string all;
    for (const auto& [name, row] : rows_) all += row;
    return {rows_.size(), test::hash(test::bytes_of(all))};
  }

 private:
  std::map<std::string, std::string> rows_;
};

Digest digest_of(const fs::path& path) {
  Rows rows;
  const MappedFile file(path.string());
  if (path.extension() == ".safetensors") {
    for (const auto& [name, tensor] : parse_safetensors(file.bytes(), path.string()).tensors) {
      rows.add(name, tensor.dtype, tensor.shape, tensor.bytes);
    }
  } else {
    const auto tensors = path.extension() == ".gguf" ? parse_gguf(file.bytes(), path.string()).tensors
                                                     : parse_torch_file(file.bytes(), path.string());
    for (const auto& tensor : tensors) {
      rows.add(tensor.name, std::string(info(tensor.dtype).name), tensor.shape, tensor.bytes);
    }
  }
  return rows.digest();
}

TEST(Checkpoints, HoldWhatPublicReadersFind) {
  OSTRO_SHARED_OR_SKIP(root, "fixtures");
  int compared = 0;
  for (const auto& line : test::read_lines(test::fixture("formats/checkpoints.tsv"))) {
    std::istringstream fields(line);
    std::string path, hash;
    size_t tensors = 0;
    ASSERT_TRUE(fields >> path >> tensors >> hash) << line;
    if (path.find("nvfp4.gguf") != std::string::npos) continue;  // a type that ostro does not have
    const Digest found = digest_of(root / path);
    EXPECT_EQ(found.tensors, tensors) << path;
    EXPECT_EQ(fmt::format("{:016x}", found.hash), hash) << path;
    ++compared;
  }
  EXPECT_GE(compared, 60);
}

void expect_same(const WeightStore& a, const WeightStore& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) {
    ASSERT_TRUE(b.tensors.contains(name)) << name;
    const TensorEntry& other = b.tensors.at(name);
    EXPECT_EQ(tensor.dtype, other.dtype) << name;
    EXPECT_EQ(tensor.shape, other.shape) << name;
    EXPECT_TRUE(std::ranges::equal(tensor.bytes, other.bytes)) << name;
  }
}

TEST(Checkpoints, OpenInEveryLayout) {
  OSTRO_SHARED_OR_SKIP(root, "fixtures/models");
  const auto open = [&](const char* name) { return open_weights((root / name).string()); };
  const WeightStore whole = open("mixtral");
  EXPECT_EQ(whole.format, CheckpointFormat::HuggingFace);
  EXPECT_EQ(whole.tensors.size(), 96u);
  EXPECT_EQ(whole.config.at("num_local_experts"), 8);
  expect_same(whole, open("mixtral-sharded"));
  expect_same(whole, open("mixtral-sharded/model-00002-of-00003.safetensors"));
  expect_same(whole, open("mixtral/config.json"));

  const WeightStore native = open("mixtral-native");
  EXPECT_EQ(native.format, CheckpointFormat::Mistral);
  EXPECT_TRUE(native.config.contains("moe"));
  EXPECT_EQ(native.tensors.size(), 96u);
  const WeightStore stacked = open("mixtral-native-stacked");
  EXPECT_EQ(stacked.files.size(), 8u);
  EXPECT_EQ(stacked.total_bytes(), native.total_bytes());
  EXPECT_EQ(open("mistral-full-native-pth/consolidated.00.pth").tensors.size(), 21u);

  const WeightStore gguf = open("mixtral.gguf");
  EXPECT_EQ(gguf.format, CheckpointFormat::Gguf);
  ASSERT_TRUE(gguf.gguf.has_value());
  EXPECT_EQ(gguf.gguf->text("general.architecture"), "llama");
  EXPECT_EQ(gguf.gguf->integer("llama.expert_count"), 8);
  ASSERT_NE(gguf.gguf->strings("tokenizer.ggml.tokens"), nullptr);
  EXPECT_EQ(gguf.tensors.at("blk.0.ffn_down_exps.weight").shape.front(), 8);
}

TEST(Checkpoints, OthersSayWhatTheyHold) {
  OSTRO_SHARED_OR_SKIP(root, "fixtures/models");
  const auto message = [&](const char* name) { return test::error_of([&] { open_weights((root / name).string()); }); };
  EXPECT_THAT(message("quant-blocks-nvfp4.gguf"), testing::HasSubstr("type number 40"));
}

}  // namespace
}  // namespace ostro
