// What surrounds a vocabulary: which file of a folder is read, who adds BOS, Tekken's ids, what a stream leaves out.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "support/support.h"
#include "text/base64.h"
#include "text/tokenizer_formats.h"

namespace ostro {
namespace {

using nlohmann::json;

void write(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
}

json small_json() {
  return json::parse(R"({
    "added_tokens": [{"id": 5, "content": "<s>", "special": true}, {"id": 6, "content": "</s>", "special": true},
                     {"id": 7, "content": "<think>", "special": false}, {"id": 8, "content": "zz", "special": false}],
    "normalizer": null, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "decoder": {"type": "ByteLevel"},
    "post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [5], "tokens": ["<s>"]}}},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "\u0120": 2, "ab": 3, "\u0120ab": 4}, "merges": ["a b", "\u0120 ab"]}})");
}

using Ids = std::vector<int32_t>;

TEST(TokenizerLoad, TemplateAndConfig) {
  const auto tokenizer = tokenizer_from_json(small_json(), json(), "t");
  EXPECT_EQ(tokenizer->bos, 5);
  EXPECT_TRUE(tokenizer->add_bos);
  EXPECT_FALSE(tokenizer->add_eos);
  EXPECT_EQ(tokenizer->eos, -1);
  const json config = {{"bos_token", {{"content", "<s>"}}}, {"eos_token", "</s>"}, {"add_bos_token", false}};
  const auto configured = tokenizer_from_json(small_json(), config, "t");
  EXPECT_EQ(configured->bos, 5);
  EXPECT_EQ(configured->eos, 6);
  EXPECT_FALSE(configured->add_bos);
}

TEST(TokenizerLoad, UserTextNeverBecomesMarkup) {
  const auto tokenizer = tokenizer_from_json(small_json(), json(), "t");
  EXPECT_EQ(tokenizer->token_kind(5), TokenKind::Control);
  EXPECT_EQ(tokenizer->token_kind(7), TokenKind::Control);
  EXPECT_EQ(tokenizer->token_kind(8), TokenKind::UserDefined);
  EXPECT_EQ(tokenizer->encode("<s>ab<think>"), Ids{3});  // the other characters are not in this vocabulary
  EXPECT_EQ(tokenizer->encode("<s>ab<think>", {.parse_special = true}), (Ids{5, 3, 7}));
  EXPECT_EQ(tokenizer->encode("abzz"), (Ids{3, 8}));
}

TEST(TokenizerLoad, StreamWithoutControlTokens) {
  const auto tokenizer = tokenizer_from_json(small_json(), json(), "t");
  StreamDecoder decoder(*tokenizer, true);
  EXPECT_EQ(decoder.push(5) + decoder.push(3) + decoder.push(4) + decoder.push(6) + decoder.flush(), "ab ab");
  EXPECT_EQ(tokenizer->decode(Ids{5, 3, 4, 6}), "<s>ab ab</s>");
}

TEST(TokenizerLoad, ModelBeforeJsonUnlessTokensWereAdded) {
  OSTRO_SHARED_OR_SKIP(model, "data/tokenizers/mistral-v1.model");
  const auto folder = test::temporary_folder();
  std::filesystem::copy_file(model, folder / "tokenizer.model");
  json root = small_json();
  write(folder / "tokenizer.json", root.dump());
  EXPECT_EQ(open_tokenizer(folder.string())->vocab_size(), 32000);
  root["model"]["vocab"].clear();
  root["model"]["merges"].clear();
  for (int id = 0; id < 32000; ++id) root["model"]["vocab"]["t" + std::to_string(id)] = id;
  root["added_tokens"] = json::array({{{"id", 32000}, {"content", "<|im_start|>"}, {"special", true}}});
  root["post_processor"] = nullptr;
  write(folder / "tokenizer.json", root.dump());
  EXPECT_EQ(open_tokenizer(folder.string())->vocab_size(), 32001);
  write(folder / "tokenizer_config.json", R"({"bos_token": "<|im_start|>", "add_bos_token": true})");
  EXPECT_EQ(open_tokenizer(folder.string())->bos, 32000);
  EXPECT_TRUE(open_tokenizer(folder.string())->add_bos);
}

std::string to_base64(const std::string& bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<uint8_t>(c);
    for (held += 8; held >= 6; held -= 6) out += kDigits[bits >> (held - 6) & 63];
  }
  if (held > 0) out += kDigits[bits << (6 - held) & 63];
  while (out.size() % 4 != 0) out += '=';
  return out;
}

json small_tekken() {
  json vocab = json::array();
  const auto add = [&](const std::string& bytes) {
    vocab.push_back({{"rank", vocab.size()}, {"token_bytes", to_base64(bytes)}, {"token_str", nullptr}});
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  for (const char* token : {"bc", "ab", "abc", "\xea\xb0", "\xea\xb0\x80"}) add(token);
  add("left out");
  return {{"config",
           {{"pattern", R"(\p{L}+|\s+|[^\s\p{L}]+)"},
            {"default_vocab_size", 10 + 256 + 5},
            {"default_num_special_tokens", 10}}},
          {"vocab", vocab}};
}

TEST(TokenizerLoad, Tekken) {
  const auto tokenizer = tokenizer_from_tekken(small_tekken(), "t");
  EXPECT_EQ(tokenizer->vocab_size(), 271);
  EXPECT_EQ(tokenizer->bos, 1);
  EXPECT_EQ(tokenizer->eos, 2);
  EXPECT_EQ(tokenizer->find("[INST]"), 3);
  EXPECT_EQ(tokenizer->encode("abcbc\uac00"), (Ids{10 + 258, 10 + 256, 10 + 260}));  // bc goes first, then a + bc
  EXPECT_EQ(tokenizer->encode("</s>", {.parse_special = true}), Ids{2});
  EXPECT_EQ(tokenizer->encode("</s>").size(), 4u);
  // Broken bytes keep their values.
  const std::string broken = "abc \xff\xea\xb0 abc\xea";
  std::string back;
  for (const int32_t id : tokenizer->encode(broken)) back += tokenizer->token_bytes(id).bytes;
  EXPECT_EQ(back, broken);
  json root = small_tekken();
  root["special_tokens"] = json::array({{{"rank", 4}, {"token_str", "[X]"}, {"is_control", true}}});
  EXPECT_EQ(tokenizer_from_tekken(root, "t")->find("[X]"), 4);
  EXPECT_EQ(tokenizer_from_tekken(root, "t")->find("<SPECIAL_3>"), 3);
}

TEST(TokenizerLoad, Base64) {
  for (size_t length = 0; length < 40; ++length) {
    std::string bytes;
    for (size_t i = 0; i < length; ++i) bytes.push_back(static_cast<char>(i * 37 + length));
    EXPECT_EQ(from_base64(to_base64(bytes)), bytes);
  }
  EXPECT_FALSE(from_base64("a b="));
  EXPECT_FALSE(from_base64("abcde"));
}

TEST(TokenizerLoad, PrefixOptions) {
  json root = small_json();
  root["model"] = json::parse(
      R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "▁": 2, "ab": 3, "▁ab": 4}, "merges": ["a b", "▁ ab"]})");
  root["normalizer"] = {{"type", "Sequence"},
                        {"normalizers",
                         {{{"type", "Prepend"}, {"prepend", "▁"}},
                          {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}};
  root["pre_tokenizer"] = nullptr;
  const auto tokenizer = tokenizer_from_json(root, json(), "t");
  EXPECT_EQ(tokenizer->encode("ab ab"), (Ids{4, 4}));
  EXPECT_EQ(tokenizer->encode("ab ab", {.add_prefix = false}), (Ids{3, 4}));
  EXPECT_EQ(tokenizer->encode("ab<s>ab", {.parse_special = true}), (Ids{4, 5, 4}));
  EXPECT_EQ(tokenizer->encode("ab<s>ab", {.parse_special = true, .prefix_first_only = true}), (Ids{4, 5, 3}));
}

}  // namespace
}  // namespace ostro
