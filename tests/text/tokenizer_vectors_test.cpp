// Ids and decodes of every vector of fixtures/text equal those of the reference libraries.
#include <gtest/gtest.h>

#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/atomic_file.h"
#include "support/support.h"
#include "text/base64.h"
#include "text/tokenizer.h"

namespace ostro {
namespace {

using nlohmann::json;

// All pieces of a streaming decode, each of which must be valid UTF-8.
std::string streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  StreamDecoder decoder(tokenizer);
  std::string text;
  const auto add = [&](const std::string& piece) {
    EXPECT_TRUE(is_utf8(piece)) << json(ids).dump();
    text += piece;
  };
  for (const int32_t id : ids) add(decoder.push(id));
  add(decoder.flush());
  return text;
}

struct Case {
  const char* vectors;
  const char* tokenizer;
};

class EveryVector : public testing::TestWithParam<Case> {};

TEST_P(EveryVector, Equal) {
  OSTRO_SHARED_OR_SKIP(vectors, std::string("fixtures/text/") + GetParam().vectors);
  OSTRO_SHARED_OR_SKIP(path, std::string("data/tokenizers/") + GetParam().tokenizer);
  const auto tokenizer = load_tokenizer_file(path);
  int ids_checked = 0, decodes_checked = 0, differing = 0;
  for (const std::string& line : test::read_lines(vectors)) {
    const json row = json::parse(line);
    const auto wanted = row.at("ids").get<std::vector<int32_t>>();
    if (row.contains("text") || row.contains("text_b64")) {
      const std::string text = row.contains("text") ? row["text"].get<std::string>()
                                                    : from_base64(row["text_b64"].get<std::string>()).value();
      EncodeOptions options;
      options.parse_special = row.value("special", false);
      options.prefix_first_only = row.value("prefix", "") == "first";
      const auto got = tokenizer->encode(text, options);
      ++ids_checked;
      if (got != wanted && ++differing <= 20) ADD_FAILURE() << line.substr(0, 600) << "\ngot " << json(got).dump();
      if (row.contains("text_b64") && tokenizer->decode_rules().broken == BrokenBytes::MaximalPart) {
        std::string bytes;
        for (const int32_t id : got) bytes += tokenizer->token_bytes(id).bytes;
        EXPECT_EQ(bytes, text);
      }
    }
    if (row.contains("decoded") && !row["decoded"].is_null()) {
      const auto decoded = row["decoded"].get<std::string>();
      ++decodes_checked;
      if ((tokenizer->decode(wanted) != decoded || streamed(*tokenizer, wanted) != decoded) && ++differing <= 20) {
        ADD_FAILURE() << line.substr(0, 600) << "\ngot " << tokenizer->decode(wanted);
      }
    }
  }
  EXPECT_GT(ids_checked, 500);
  EXPECT_GT(decodes_checked, 500);
  EXPECT_EQ(differing, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Tokenizer, EveryVector,
    testing::Values(Case{"mistral-v1.jsonl", "mistral-v1.model"}, Case{"mistral-v2.jsonl", "mistral-v2.model"},
                    Case{"mistral-v3.jsonl", "mistral-v3.model"}, Case{"grok-1.jsonl", "grok-1.model"},
                    Case{"deepseek-v3.jsonl", "deepseek-v3/tokenizer.json"}, Case{"dbrx.jsonl", "cl100k_base.tiktoken"},
                    Case{"gguf-llama-spm.jsonl", "llama.cpp-vocab/llama-spm.gguf"},
                    Case{"gguf-gpt-2.jsonl", "llama.cpp-vocab/gpt-2.gguf"},
                    Case{"gguf-deepseek-llm.jsonl", "llama.cpp-vocab/deepseek-llm.gguf"},
                    Case{"gguf-deepseek-coder.jsonl", "llama.cpp-vocab/deepseek-coder.gguf"}),
    [](const auto& info) {
      std::string name = info.param.vectors;
      name.resize(name.size() - 6);
      std::replace_if(
          name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
      return name;
    });

// The vectors beside llama.cpp's vocabularies: texts between marker lines, ids one text a line.
TEST(TokenizerVectors, OfVocabularyFiles) {
  OSTRO_SHARED_OR_SKIP(folder, "data/tokenizers/llama.cpp-vocab");
  const std::string marker = "\n__ggml_vocab_test__\n";
  for (const char* name : {"llama-spm", "gpt-2", "deepseek-llm", "deepseek-coder"}) {
    const auto tokenizer = load_tokenizer_file(folder / (std::string(name) + ".gguf"));
    std::string texts = read_text_file(folder / (std::string(name) + ".gguf.inp")) + marker;
    int checked = 0;
    for (const std::string& line : test::read_lines(folder / (std::string(name) + ".gguf.out"))) {
      const size_t end = texts.find(marker);
      ASSERT_NE(end, texts.npos) << name;
      std::istringstream numbers(line);
      const std::vector<int32_t> ids{std::istream_iterator<int32_t>(numbers), {}};
      EXPECT_EQ(tokenizer->encode(texts.substr(0, end)), ids) << name << ": " << texts.substr(0, end);
      texts.erase(0, end + marker.size());
      ++checked;
    }
    EXPECT_GT(checked, 40) << name;
  }
}

}  // namespace
}  // namespace ostro
