// Damaged and hostile tokenizer files give an Error(File), never a crash, a hang or a large allocation; ids that do not
// exist give an Error(Usage).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <ctime>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json_file.h"
#include "support/support.h"
#include "text/bpe.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_formats.h"

namespace ostro {
namespace {

using nlohmann::json;
using testing::HasSubstr;

template <typename Act>
std::string error_of(Act act, ErrorKind kind = ErrorKind::File) {
  try {
    act();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "no error";
}

// Protocol buffers, as far as a model needs them.
std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
  return out;
}
std::string number(int field, uint64_t value) { return varint(static_cast<uint64_t>(field) << 3) + varint(value); }
std::string bytes(int field, const std::string& value) {
  return varint(static_cast<uint64_t>(field) << 3 | 2) + varint(value.size()) + value;
}
std::string real(int field, float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  std::string out = varint(static_cast<uint64_t>(field) << 3 | 5);
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(bits >> (8 * i)));
  return out;
}
std::string piece(const std::string& text, float score, int type) {
  return bytes(1, bytes(1, text) + real(2, score) + number(3, static_cast<uint64_t>(type)));
}

const std::string kTrainer = bytes(2, number(3, 2));  // type bpe
const std::string kNormalizer = bytes(3, bytes(1, "identity") + number(3, 1) + number(4, 0));

std::string small_model() {
  return piece("<unk>", 0, 2) + piece("<s>", 0, 3) + piece("</s>", 0, 3) + piece("\u2581", -3, 1) + piece("a", -4, 1) +
         piece("b", -5, 1) + piece("ab", -1, 1) + piece("\u2581ab", -2, 1) + kTrainer + kNormalizer;
}

std::unique_ptr<Tokenizer> load_model(const std::string& model) {
  return make_sentencepiece_tokenizer(read_sentencepiece_model(std::as_bytes(std::span(model)), "m"), "m");
}
std::string model_error(const std::string& model) {
  return error_of([&] { load_model(model); });
}

TEST(HostileSentencePiece, EveryPrefixIsRefused) {
  const std::string model = small_model();
  EXPECT_EQ(load_model(model)->encode("ab ab"), (std::vector<int32_t>{7, 7}));
  for (size_t length = 0; length < model.size(); ++length) {
    EXPECT_NE(model_error(model.substr(0, length)), "no error") << length;
  }
}

TEST(HostileSentencePiece, EveryChangedByteIsReadOrRefused) {
  const std::string model = small_model();
  for (size_t at = 0; at < model.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = model;
      changed[at] = static_cast<char>(changed[at] ^ 1 << bit);
      try {
        const auto tokenizer = load_model(changed);
        tokenizer->decode(tokenizer->encode("abba <s>\xff", {.parse_special = true}));
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::File);
      }
    }
  }
}

TEST(HostileSentencePiece, Refused) {
  const std::string tail = kTrainer + kNormalizer;
  EXPECT_THAT(model_error(piece("<unk>", 0, 2) + piece("a", 0, 1) + piece("a", 0, 1) + tail),
              HasSubstr("are the same"));
  EXPECT_THAT(model_error(piece("<unk>", 0, 2) + piece("a", std::numeric_limits<float>::quiet_NaN(), 1) + tail),
              HasSubstr("score of piece 1 is nan"));
  EXPECT_THAT(model_error(piece("<unk>", 0, 2) + piece("", 0, 1) + tail), HasSubstr("piece 1 is empty"));
  EXPECT_THAT(model_error(piece("<unk>", 0, 2) + piece("\xff", 0, 1) + tail), HasSubstr("not UTF-8"));
  EXPECT_THAT(model_error(piece("<unk>", 0, 2) + piece("a", 0, 9) + tail), HasSubstr("type 9"));
  EXPECT_THAT(model_error(piece("<unk>", 0, 2) + piece("<0x00>", 0, 6) + tail), HasSubstr("expected 256"));
  EXPECT_THAT(model_error(piece("a", 0, 1) + tail), HasSubstr("no byte pieces and no unknown piece, expected either"));
  EXPECT_THAT(model_error(piece("<unk>", 0, 2) + piece(std::string(5000, 'a'), 0, 1) + tail), HasSubstr("5000 bytes"));
  EXPECT_THAT(model_error(piece("<unk>", 0, 2) + bytes(2, number(3, 3)) + kNormalizer), HasSubstr("type word"));
  EXPECT_THAT(model_error(piece("<unk>", 0, 2) + kTrainer + bytes(3, bytes(1, "nmt_nfkc") + bytes(2, "xyz"))),
              HasSubstr("a table of normalisation of 3 bytes"));
  // Lengths far beyond the file.
  EXPECT_THAT(model_error(varint(1 << 3 | 2) + varint(~uint64_t{0})), HasSubstr("bytes early"));
  EXPECT_THAT(model_error(varint(1 << 3 | 2) + std::string(11, '\xff')), HasSubstr("more than 10 bytes"));
  EXPECT_THAT(model_error(varint(1 << 3 | 3)), HasSubstr("wire type 3"));
}

// A table with one rule, from "x" to "ab": the unit of the root, of x, of the value.
std::string small_table() {
  std::vector<uint32_t> units(256);
  units[0] = 1u << 10;                           // children at 1 ^ byte
  units[1 ^ 'x'] = 'x' | 1u << 8 | 0x11u << 10;  // the value at 1 ^ 'x' ^ 0x11
  units[1 ^ 'x' ^ 0x11] = 1u << 31;
  std::string out;
  const auto put = [&](uint32_t value) {
    for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
  };
  put(static_cast<uint32_t>(4 * units.size()));
  for (const uint32_t unit : units) put(unit);
  return out + std::string("ab\0", 3);
}

std::string unigram_model(float score = -2, const std::string& table = small_table()) {
  return piece("<unk>", 0, 2) + piece("\u2581", -3, 1) + piece("a", -4, 1) + piece("b", -5, 1) + piece("ab", score, 1) +
         bytes(2, number(3, 1)) + bytes(3, bytes(2, table) + number(3, 0) + number(4, 0));
}

TEST(HostileUnigram, DamagedModelsAreReadOrRefused) {
  const std::string model = unigram_model();
  EXPECT_EQ(load_model(model)->encode("abxb"), (std::vector<int32_t>{4, 4, 3}));
  for (size_t length = 0; length < model.size(); ++length) {
    EXPECT_NE(model_error(model.substr(0, length)), "no error") << length;
  }
  for (size_t at = 0; at < model.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = model;
      changed[at] = static_cast<char>(changed[at] ^ 1 << bit);
      try {
        const auto tokenizer = load_model(changed);
        tokenizer->decode(tokenizer->encode("xabba <s>\xff", {.parse_special = true}));
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::File);
      }
    }
  }
}

TEST(HostileUnigram, Refused) {
  EXPECT_THAT(model_error(unigram_model(std::numeric_limits<float>::quiet_NaN())),
              HasSubstr("score of piece 4 is nan"));
  EXPECT_THAT(model_error(unigram_model(-std::numeric_limits<float>::infinity())),
              HasSubstr("score of piece 4 is -inf"));
  EXPECT_THAT(model_error(unigram_model(-2, small_table().substr(0, 900))), HasSubstr("with a trie of 1024"));
  EXPECT_THAT(model_error(unigram_model(-2, small_table() + "c")), HasSubstr("does not end with a zero byte"));
}

// 100,000 equal letters, and a text that a rule reads ahead in: time that grows with the length alone.
TEST(HostileUnigram, LongRunsTakeLinearTime) {
  std::string pieces = piece("<unk>", 0, 2);
  for (size_t length = 1; length <= 512; length *= 2) {
    pieces += piece(std::string(length, 'a'), -static_cast<float>(length), 1);
  }
  const auto tokenizer =
      load_model(pieces + bytes(2, number(3, 1)) + bytes(3, bytes(2, small_table()) + number(3, 0) + number(4, 0)));
  const auto seconds = [&](size_t count) {
    const std::string text(count, 'a');
    const std::clock_t begin = std::clock();
    EXPECT_FALSE(tokenizer->encode(text).empty());
    return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  };
  seconds(1000);
  EXPECT_LT(seconds(100'000), 5);
}

json small_json() {
  return json::parse(R"({"added_tokens": [{"id": 5, "content": "<s>", "special": true}], "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true}, "post_processor": null,
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "\u0120": 2, "ab": 3, "\u0120ab": 4}, "merges": ["a b", "\u0120 ab"]}})");
}
std::string json_error(const json& root) {
  return error_of([&] { tokenizer_from_json(root, json(), "t"); });
}

TEST(HostileTokenizerJson, EveryPrefixIsRefused) {
  const std::string text = small_json().dump();
  const auto load = [](const std::string& content) {
    return tokenizer_from_json(parse_json(content, "t"), json(), "t");
  };
  EXPECT_EQ(load(text)->encode("ab ab"), (std::vector<int32_t>{3, 4}));
  for (size_t length = 0; length < text.size(); ++length) {
    EXPECT_NE(error_of([&] { load(text.substr(0, length)); }), "no error") << length;
  }
}

TEST(HostileTokenizerJson, AnyMemberOfAnyOtherType) {
  const json good = small_json();
  const std::vector<json> values = {nullptr,
                                    true,
                                    -1,
                                    1e300,
                                    4294967296,
                                    "x",
                                    json::array(),
                                    json::object(),
                                    json::array({json::array()}),
                                    json::array({nullptr, 1})};
  int refused = 0;
  const json flat = good.flatten();
  for (const auto& [pointer, unused] : flat.items()) {
    for (json::json_pointer at(pointer); !at.empty(); at.pop_back()) {
      for (const json& value : values) {
        json changed = good;
        changed[at] = value;
        try {
          const auto tokenizer = tokenizer_from_json(changed, json(), "t");
          tokenizer->decode(tokenizer->encode("abc <s>", {.parse_special = true}));
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::File) << changed.dump();
          ++refused;
        }
      }
    }
  }
  EXPECT_GT(refused, 100);
}

TEST(HostileTokenizerJson, Refused) {
  const auto with = [](const char* pointer, const json& value) {
    json root = small_json();
    root[json::json_pointer(pointer)] = value;
    return json_error(root);
  };
  EXPECT_THAT(with("/model/merges/0", "a c"), HasSubstr("merge 0 needs a token"));
  EXPECT_THAT(with("/model/merges/1", json::array({"b", "a"})), HasSubstr("needs a token \"ba\""));
  EXPECT_THAT(with("/model/merges/1", "a"), HasSubstr("expected two tokens"));
  EXPECT_THAT(with("/model/vocab/a", 1), HasSubstr("two tokens have id 1"));
  EXPECT_THAT(with("/model/vocab/a", 2147483647), HasSubstr("has id 2147483647"));
  EXPECT_THAT(with("/model/vocab/a", -1), HasSubstr("has id -1"));
  EXPECT_THAT(with("/model/type", "WordPiece"), HasSubstr("expected BPE or Unigram"));
  EXPECT_THAT(with("/model", json::parse(R"({"type": "Unigram", "vocab": [["a", "b"]]})")),
              HasSubstr("piece 0 is not a text and a score"));
  EXPECT_THAT(with("/model", json::parse(R"({"type": "Unigram", "vocab": [["a", -1]], "unk_id": 1})")),
              HasSubstr("unk_id is 1, expected the index of a piece"));
  EXPECT_THAT(with("/model", json::parse(R"({"type": "Unigram", "vocab": [["a", -1]], "unk_id": 0})")),
              HasSubstr("the added token \"<s>\" has id 5, expected 0 to 1"));
  json scores = small_json();
  scores["model"] = json::parse(R"({"type": "Unigram", "vocab": [["a", -1e60], ["b", 0]], "unk_id": 1})");
  scores["added_tokens"] = scores["pre_tokenizer"] = nullptr;
  EXPECT_THAT(json_error(scores), HasSubstr("the score of piece 0 is -inf"));
  EXPECT_THAT(with("/model/dropout", 0.1), HasSubstr("dropout"));
  EXPECT_THAT(with("/model/continuing_subword_prefix", "##"), HasSubstr("continuing_subword_prefix"));
  EXPECT_THAT(with("/normalizer", {{"type", "Precompiled"}}), HasSubstr("Precompiled"));
  EXPECT_THAT(with("/pre_tokenizer", {{"type", "Split"}, {"pattern", {{"Regex", "("}}}, {"behavior", "Isolated"}}),
              HasSubstr("cannot use the split pattern"));
  EXPECT_THAT(with("/pre_tokenizer",
                   {{"type", "Split"}, {"pattern", {{"Regex", R"([\p{L}&&[^a]])"}}}, {"behavior", "Isolated"}}),
              HasSubstr("&&"));
  EXPECT_THAT(with("/decoder", nullptr), HasSubstr("no decoder"));
  EXPECT_THAT(with("/added_tokens/0/content", ""), HasSubstr("added token is empty"));
  EXPECT_THAT(with("/added_tokens/0/id", 0), HasSubstr("two tokens have id 0"));
  EXPECT_THAT(with("/post_processor", {{"type", "TemplateProcessing"},
                                       {"single", {{{"SpecialToken", {{"id", "<x>"}}}}}},
                                       {"special_tokens", json::object()}}),
              HasSubstr("<x>"));
}

TEST(HostileTokenizerJson, DeepNesting) {
  const std::string path = (test::temporary_folder() / "tokenizer.json").string();
  for (const size_t depth : {65u, 1000u, 1000000u}) {
    std::ofstream(path, std::ios::trunc) << R"({"normalizer":)" << std::string(depth, '[') << std::string(depth, ']')
                                         << "}";
    EXPECT_THAT(error_of([&] { load_tokenizer_file(path); }), HasSubstr("deeper than 64"));
  }
}

TEST(HostileTokenizer, IdsThatDoNotExist) {
  const auto tokenizer = tokenizer_from_json(small_json(), json(), "t");
  for (const int32_t id : {-1, 6, 1000, INT32_MAX, INT32_MIN}) {
    const std::vector<int32_t> ids = {0, id};
    EXPECT_THAT(error_of([&] { tokenizer->decode(ids); }, ErrorKind::Usage), HasSubstr("not in the vocabulary"));
    EXPECT_NE(error_of([&] { tokenizer->token_text(id); }, ErrorKind::Usage), "no error");
    EXPECT_NE(error_of([&] { tokenizer->token_kind(id); }, ErrorKind::Usage), "no error");
  }
}

TEST(HostileTokenizer, PatternsThatBacktrackForever) {
  json root = small_json();
  root["pre_tokenizer"] = {{"type", "Split"}, {"pattern", {{"Regex", "(a+)+$"}}}, {"behavior", "Isolated"}};
  const auto tokenizer = tokenizer_from_json(root, json(), "t");
  EXPECT_THAT(error_of([&] { tokenizer->encode(std::string(100, 'a') + "b"); }, ErrorKind::Usage),
              HasSubstr("gave up"));
}

TEST(HostileTokenizer, FilesOfOtherKinds) {
  const auto folder = test::temporary_folder();
  const auto refused = [&](const std::string& name, const std::string& content) {
    std::ofstream(folder / name, std::ios::binary) << content;
    return error_of([&] { load_tokenizer_file((folder / name).string()); });
  };
  EXPECT_THAT(refused("empty", ""), HasSubstr("expected a tokenizer"));
  EXPECT_THAT(refused("page.model", "<!DOCTYPE html><html></html>"), HasSubstr("HTML"));
  EXPECT_THAT(refused("x.json", "{}"), HasSubstr("no model"));
  EXPECT_THAT(refused("x.tiktoken", "YQ== 0\nYg== 1\n"), HasSubstr("all 256"));
  EXPECT_THAT(refused("y.tiktoken", "YQ== 0\nYg== 7\n"), HasSubstr("rank 7, expected 1"));
  EXPECT_THAT(refused("z.tiktoken", "YQ== 0\n!!! 1\n"), HasSubstr("base64"));
  EXPECT_THAT(refused("tekken.json", R"({"config": {}, "vocab": []})"), HasSubstr("default_vocab_size"));
}

TEST(HostileTokenizer, GgufVocabularies) {
  const auto metadata = [](const std::string& pre) {
    GgufMetadata out;
    out.values["tokenizer.ggml.model"] = std::string("gpt2");
    out.values["tokenizer.ggml.pre"] = pre;
    out.values["tokenizer.ggml.tokens"] = GgufArray(std::vector<std::string>{"a", "b", "ab"});
    out.values["tokenizer.ggml.merges"] = GgufArray(std::vector<std::string>{"a b"});
    return out;
  };
  const auto refused = [](const GgufMetadata& given) { return error_of([&] { tokenizer_from_gguf(given, "g"); }); };
  EXPECT_EQ(tokenizer_from_gguf(metadata("gpt-2"), "g")->encode("ab"), std::vector<int32_t>{2});
  EXPECT_THAT(refused(metadata("gpt-9")), HasSubstr("gpt-9"));
  GgufMetadata changed = metadata("gpt-2");
  changed.values.erase("tokenizer.ggml.pre");
  EXPECT_THAT(refused(changed), HasSubstr("no tokenizer.ggml.pre"));
  changed = metadata("gpt-2");
  changed.values["tokenizer.ggml.merges"] = GgufArray(std::vector<std::string>{"a c"});
  EXPECT_THAT(refused(changed), HasSubstr("merge 0"));
  changed.values["tokenizer.ggml.merges"] = GgufArray(std::vector<std::string>{""});
  EXPECT_THAT(refused(changed), HasSubstr("merge 0"));
  changed = metadata("gpt-2");
  changed.values["tokenizer.ggml.token_type"] = GgufArray(std::vector<int64_t>{1, 1});
  EXPECT_THAT(refused(changed), HasSubstr("2 token types"));
  changed.values["tokenizer.ggml.token_type"] = GgufArray(std::vector<int64_t>{1, 1, 7});
  EXPECT_THAT(refused(changed), HasSubstr("is 7"));
  changed = metadata("gpt-2");
  changed.values["tokenizer.ggml.bos_token_id"] = uint64_t{3};
  EXPECT_THAT(refused(changed), HasSubstr("bos_token_id is 3"));
  changed = metadata("gpt-2");
  changed.values["tokenizer.ggml.model"] = std::string("bert");
  EXPECT_THAT(refused(changed), HasSubstr("\"bert\", expected \"llama\""));
}

}  // namespace
}  // namespace ostro
