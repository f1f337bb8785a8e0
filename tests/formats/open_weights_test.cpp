// Which layout a path is read as, and what is said when it is none.
#include <sys/stat.h>

#include <filesystem>

#include "base/atomic_file.h"
#include "formats/gguf_writer.h"
#include "formats/json_file.h"
#include "formats/safetensors_writer.h"
#include "formats/support.h"
#include "formats/weight_store.h"
#include "formats/zip.h"
#include "support/support.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class OpenWeights : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder / name).string(); }
  void put(const std::string& name, const std::string& content) const { test::write_text(path(name), content); }

  // A safetensors file with tensors of one float each.
  void put_tensors(const std::string& name, const std::vector<std::string>& tensors) const {
    std::vector<SafetensorsPlan> plans;
    for (const auto& tensor : tensors) plans.push_back({tensor, "F32", {1}});
    SafetensorsWriter writer(path(name), plans);
    for (const auto& tensor : tensors) writer.write(tensor, test::bytes_of("1234"));
    writer.commit();
  }

  // A part of a split GGUF file: the writer leaves the keys out, so they are spelled "xplit" and renamed.
  void put_part(const std::string& name, int64_t number, int64_t count, const std::string& tensor) const {
    GgufMetadata metadata;
    metadata.values["xplit.no"] = number;
    metadata.values["xplit.count"] = count;
    metadata.values["xplit.tensors.count"] = int64_t{2};
    GgufWriter writer(path(name), metadata, {{tensor, DType::F32, {1}}});
    writer.write(tensor, test::bytes_of("1234"));
    writer.commit();
    std::string content = test::read_bytes(path(name));
    for (size_t at = 0; (at = content.find("xplit.")) != std::string::npos;) content[at] = 's';
    put(name, content);
  }

  std::string message() const { return message(folder.string()); }
  static std::string message(const std::string& named) {
    return test::error_of([&] { open_weights(named); });
  }

  const fs::path folder = test::temporary_folder();
};

TEST_F(OpenWeights, SaysWhatItLookedFor) {
  EXPECT_THAT(message(path("absent")), HasSubstr("no such file or folder"));
  EXPECT_THAT(message(), HasSubstr("looked for config.json with model.safetensors, params.json with"));
  put_tensors("model.safetensors", {"a"});
  EXPECT_THAT(message(), HasSubstr("model.safetensors is there, config.json is missing"));
  fs::remove(path("model.safetensors"));
  put("config.json", "{}");
  EXPECT_THAT(message(), HasSubstr("config.json is there, its weights are missing"));
  put("consolidated.00.pth", "");
  EXPECT_THAT(message(), HasSubstr("consolidated.00.pth is there, params.json is missing"));
}

TEST_F(OpenWeights, ReadsWhatTorchWrote) {
  const fs::path shards = test::fixture("models/mixtral-bin");
  const WeightStore store = open_weights(shards.string());
  EXPECT_EQ(store.format, CheckpointFormat::HuggingFace);
  EXPECT_EQ(store.files.size(), 2u);
  EXPECT_EQ(store.tensors.size(), 96u);
  EXPECT_EQ(open_weights((shards / "pytorch_model-00002-of-00002.bin").string()).tensors.size(), 96u);
  EXPECT_EQ(open_weights((test::fixture("models/mistral-full-bin") / "pytorch_model.bin").string()).files.size(), 1u);
  // Beside safetensors it is not looked at.
  put("config.json", "{}");
  put("pytorch_model.bin", "");
  put_tensors("model.safetensors", {"a"});
  EXPECT_EQ(open_weights(folder.string()).tensors.size(), 1u);
  fs::remove(path("model.safetensors"));
  EXPECT_THAT(message(), HasSubstr("pytorch_model.bin: not a torch zip file: it is empty"));
  fs::copy_file(shards / "pytorch_model.bin.index.json", path("pytorch_model.bin.index.json"));
  fs::remove(path("pytorch_model.bin"));
  EXPECT_THAT(message(), HasSubstr("2 of 2 parts are missing: pytorch_model-00001-of-00002.bin"));
}

TEST_F(OpenWeights, FindsDamagedTensorsByTheirChecksums) {
  const WeightStore sound = open_weights(test::fixture("models/mistral-full-bin").string());
  uint64_t read = 0;
  verify_checksums(sound, [&](uint64_t bytes) { read = bytes; });
  EXPECT_GT(read, sound.total_bytes());
  EXPECT_LE(read, checked_bytes(sound));
  const MappedFile& file = *sound.files.at(0);
  std::string content = test::read_bytes(file.path());
  const auto tensor = parse_stored_zip(file.bytes(), file.path()).at("pytorch_model/data/7").bytes;
  content[static_cast<size_t>(&tensor[100] - file.bytes().data())] ^= 1;
  put("config.json", "{}");
  put("pytorch_model.bin", content);
  const WeightStore damaged = open_weights(folder.string());
  EXPECT_THAT(test::error_of([&] { verify_checksums(damaged); }),
              HasSubstr("member 'pytorch_model/data/7' is damaged: its CRC-32 is"));
  EXPECT_EQ(checked_bytes(open_weights(test::fixture("models/mixtral").string())), 0u);
}

TEST_F(OpenWeights, RefusesWhatIsNoModel) {
  put("empty", "");
  EXPECT_THAT(message(path("empty")), HasSubstr("it is empty"));
  put("pointer.gguf", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  EXPECT_THAT(message(path("pointer.gguf")), HasSubstr("git lfs pull"));
  put("page.gguf", "<!DOCTYPE html><html>Not found</html>");
  EXPECT_THAT(message(path("page.gguf")), HasSubstr("an HTML page"));
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  EXPECT_THAT(message(path("pipe")), HasSubstr("neither a regular file nor a folder"));
  EXPECT_THAT(message("/dev/zero"), HasSubstr("neither a regular file nor a folder"));
  put("config.json", "{}");
  fs::rename(path("pipe"), path("model.safetensors"));
  EXPECT_THAT(message(), HasSubstr("expected a regular file"));
}

TEST_F(OpenWeights, ReadsTheLayoutThatIsNamed) {
  put("config.json", R"({"from":"config"})");
  put("params.json", R"({"from":"params"})");
  put_tensors("model.safetensors", {"a"});
  put_tensors("consolidated.safetensors", {"b"});
  const WeightStore store = open_weights(folder.string());
  EXPECT_EQ(store.format, CheckpointFormat::HuggingFace);
  EXPECT_EQ(store.config["from"], "config");
  EXPECT_EQ(store.folder, folder.string());
  EXPECT_EQ(open_weights(path("model.safetensors")).config["from"], "config");
  for (const char* name : {"consolidated.safetensors", "params.json"}) {
    EXPECT_EQ(open_weights(path(name)).format, CheckpointFormat::Mistral) << name;
  }
  put_tensors("other.safetensors", {"c"});
  EXPECT_THAT(message(path("other.safetensors")), HasSubstr("not a file of the model in its folder"));
  // Weights of the one layout alone, beside the other's config.
  fs::remove(path("model.safetensors"));
  EXPECT_EQ(open_weights(folder.string()).format, CheckpointFormat::Mistral);
}

TEST_F(OpenWeights, ReadsGenerationConfig) {
  put("config.json", "{}");
  put_tensors("model.safetensors", {"a"});
  EXPECT_TRUE(open_weights(folder.string()).generation_config.is_null());
  put("generation_config.json", R"({"eos_token_id":2})");
  EXPECT_EQ(open_weights(folder.string()).generation_config["eos_token_id"], 2);
}

TEST_F(OpenWeights, ReadsJsonStrictly) {
  put_tensors("model.safetensors", {"a"});
  put("config.json", "");
  EXPECT_THAT(message(), HasSubstr("config.json: not valid JSON"));
  put("config.json", R"({"a":{"b":1,"b":2}})");
  EXPECT_THAT(message(), HasSubstr("key 'b' appears twice in one object"));
  put("config.json", R"({"a":1} // comment)");
  EXPECT_THAT(message(), HasSubstr("not valid JSON"));
  put("config.json", std::string(100'000, '['));
  EXPECT_THAT(message(), HasSubstr("nested deeper than 64 levels"));
  put("config.json", "{\"a\":\"\n\"}");
  EXPECT_THAT(message(), HasSubstr("not valid JSON"));
  put("config.json", "\"" + std::string(20u << 20, 'x') + "\"");
  EXPECT_THAT(message(), HasSubstr("20971522 bytes, at most 16777216"));
  EXPECT_EQ(parse_json(R"([{"a":1},{"a":1}])", "x").size(), 2u);  // the same key in two objects
}

TEST_F(OpenWeights, PutsShardsTogether) {
  put("config.json", "{}");
  put_tensors("model-00001-of-00003.safetensors", {"a"});
  put_tensors("model-00003-of-00003.safetensors", {"c"});
  EXPECT_THAT(message(), HasSubstr("1 of 3 parts are missing: model-00002-of-00003.safetensors"));
  put_tensors("model-00002-of-00003.safetensors", {"b"});
  EXPECT_EQ(open_weights(folder.string()).tensors.size(), 3u);
  put_tensors("model-00002-of-00003.safetensors", {"a"});
  EXPECT_THAT(message(), HasSubstr("tensor 'a' is in both"));
}

TEST_F(OpenWeights, HoldsShardsToTheirIndex) {
  put("config.json", "{}");
  put_tensors("one.safetensors", {"a", "b"});
  put_tensors("two.safetensors", {"c"});
  const auto index = [&](const std::string& map) {
    put("model.safetensors.index.json", "{\"weight_map\":" + map + "}");
  };
  index(R"({"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"})");
  EXPECT_EQ(open_weights(folder.string()).tensors.size(), 3u);
  index(R"({"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors","d":"two.safetensors"})");
  EXPECT_THAT(message(), HasSubstr("not in the shard that it names: 'b', 'd'"));
  index(R"({"a":"one.safetensors","c":"three.safetensors"})");
  EXPECT_THAT(message(), HasSubstr("1 of 2 parts are missing: three.safetensors"));
  index(R"({"a":"../one.safetensors"})");
  EXPECT_THAT(message(), HasSubstr("'../one.safetensors' is not a file of the same folder"));
  index(R"({"a":"model.safetensors.index.json"})");  // names itself
  EXPECT_THAT(message(), HasSubstr("header of"));
  index(R"({"a":".."})");
  EXPECT_THAT(message(), HasSubstr(".."));
  index(R"({"a":1})");
  EXPECT_THAT(message(), HasSubstr("'a' maps to no string"));
  index(R"({"a":"one.safetensors","a":"two.safetensors"})");
  EXPECT_THAT(message(), HasSubstr("key 'a' appears twice"));
  index("{}");
  EXPECT_THAT(message(), HasSubstr("'weight_map' is empty"));
  index("[]");
  EXPECT_THAT(message(), HasSubstr("no object 'weight_map'"));
}

TEST_F(OpenWeights, PutsSplitGgufTogether) {
  put_part("m-00001-of-00002.gguf", 0, 2, "a");
  EXPECT_THAT(message(), HasSubstr("1 of 2 parts are missing: m-00002-of-00002.gguf"));
  put_part("m-00002-of-00002.gguf", 1, 2, "b");
  for (const std::string& named : {folder.string(), path("m-00001-of-00002.gguf"), path("m-00002-of-00002.gguf")}) {
    const WeightStore store = open_weights(named);
    EXPECT_EQ(store.tensors.size(), 2u);
    EXPECT_EQ(store.files.size(), 2u);
    EXPECT_EQ(store.gguf->integer("split.no"), 0);
  }
  put_part("m-00002-of-00002.gguf", 1, 2, "a");
  EXPECT_THAT(message(), HasSubstr("tensor 'a' is in both"));
  put_part("m-00002-of-00002.gguf", 0, 2, "b");
  EXPECT_THAT(message(), HasSubstr("its keys say part 1 of 2 (split.no + 1, split.count), its name part 2 of 2"));
  put_part("m-00002-of-00002.gguf", 1, 3, "b");
  EXPECT_THAT(message(), HasSubstr("its keys say part 2 of 3"));
  fs::rename(path("m-00001-of-00002.gguf"), path("alone.gguf"));
  EXPECT_THAT(message(path("alone.gguf")), HasSubstr("its keys say part 1 of 2"));
  EXPECT_THAT(message(), HasSubstr("several GGUF models, name one: alone.gguf, m-00002-of-00002.gguf"));
  put("m-00003-of-00002.gguf", "");
  EXPECT_THAT(message(path("m-00003-of-00002.gguf")), HasSubstr("there is no part 3 of 2"));
}

TEST_F(OpenWeights, NoticesAMissingTorchPart) {
  put("params.json", "{}");
  fs::copy_file(test::fixture("formats/small.pth"), path("consolidated.00.pth"));
  EXPECT_EQ(open_weights(folder.string()).tensors.size(), 4u);
  fs::copy_file(test::fixture("formats/small.pth"), path("consolidated.02.pth"));
  EXPECT_THAT(message(), HasSubstr("1 of 3 parts are missing: consolidated.01.pth"));
  fs::rename(path("consolidated.02.pth"), path("consolidated.01.pth"));
  EXPECT_THAT(message(), HasSubstr("tensor 'brain' is in both"));
}

// A header of odd length puts every tensor at an odd address; what is handed out is aligned all the same.
TEST_F(OpenWeights, AlignsTensors) {
  put("config.json", "{}");
  const std::string header = R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  for (size_t spaces = 0; spaces < 8; ++spaces) {
    const std::string text = header + std::string(spaces, ' ');
    put("model.safetensors", test::le<uint64_t>(text.size()) + text + "abcdefgh");
    const WeightStore store = open_weights(folder.string());
    const auto bytes = store.tensors.at("w").bytes;
    EXPECT_EQ(reinterpret_cast<uintptr_t>(bytes.data()) % 4, 0u);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), "abcdefgh");
    EXPECT_EQ(store.copies.size(), text.size() % 4 == 0 ? 0u : 1u);
  }
}

TEST(GgufMetadata, ConvertsOnlyWhatFits) {
  const MappedFile file(test::fixture("formats/small.gguf").string());
  const GgufMetadata metadata = parse_gguf(file.bytes(), "small.gguf").metadata;
  EXPECT_EQ(metadata.integer("test.i8"), -128);
  EXPECT_EQ(metadata.integer("test.i64"), INT64_MIN);
  EXPECT_EQ(metadata.integer("test.u32"), 0xffffffff);
  EXPECT_EQ(metadata.integer("absent"), std::nullopt);
  EXPECT_EQ(metadata.number("test.f32"), 1e-5f);
  EXPECT_EQ(metadata.number("test.f64"), 0.1);
  EXPECT_EQ(metadata.number("test.u16"), 65535.0);
  EXPECT_EQ(metadata.boolean("test.bool"), true);
  EXPECT_EQ(metadata.text("test.text"), "one line\nand another");
  EXPECT_EQ(metadata.integers("test.list.i32"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(metadata.numbers("test.list.f32"), (std::vector<double>{0.5, -1.5}));
  EXPECT_EQ(metadata.numbers("test.list.i32"), (std::vector<double>{1, -2, 3}));
  ASSERT_NE(metadata.strings("test.list.text"), nullptr);
  EXPECT_EQ(metadata.strings("test.list.text")->size(), 3u);
  EXPECT_EQ(metadata.strings("absent"), nullptr);
  const auto message = [](auto act) { return test::error_of(act); };
  EXPECT_THAT(message([&] { metadata.integer("test.u64"); }), HasSubstr("18446744073709551615 is out of range"));
  EXPECT_THAT(message([&] { metadata.integer("test.f32"); }),
              HasSubstr("small.gguf: key 'test.f32' is a float, expected"));
  EXPECT_THAT(message([&] { metadata.integer("test.bool"); }), HasSubstr("is a boolean, expected an integer"));
  EXPECT_THAT(message([&] { metadata.number("test.text"); }), HasSubstr("is a string, expected a number"));
  EXPECT_THAT(message([&] { metadata.boolean("test.u8"); }), HasSubstr("is an unsigned integer, expected a boolean"));
  EXPECT_THAT(message([&] { metadata.text("test.list.text"); }), HasSubstr("an array of strings, expected a string"));
  EXPECT_THAT(message([&] { metadata.strings("test.list.truth"); }), HasSubstr("an array of booleans, expected"));
  EXPECT_THAT(message([&] { metadata.integers("test.list.f32"); }), HasSubstr("an array of floats, expected"));
}

}  // namespace
}  // namespace ostro
