// Small tokenizers with every kind of step, against what Hugging Face's tokenizers and sentencepiece make of the same
// texts (make_tokenizer_vectors.py, make_unigram_vectors.py).
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/support.h"
#include "text/base64.h"
#include "text/sentencepiece.h"
#include "text/tokenizer_formats.h"

namespace ostro {
namespace {

using nlohmann::json;

std::unique_ptr<Tokenizer> load(const json& row) {
  const std::string name = row["name"].get<std::string>();
  if (row.contains("json")) return tokenizer_from_json(row["json"], json(), name);
  const std::string model = from_base64(row["model_b64"].get<std::string>()).value();
  return make_sentencepiece_tokenizer(read_sentencepiece_model(std::as_bytes(std::span(model)), name), name);
}

struct Vectors {
  const char* file;
  int tokenizers, cases;
};

class TokenizerReference : public testing::TestWithParam<Vectors> {};

TEST_P(TokenizerReference, SmallTokenizers) {
  int tokenizers = 0, checked = 0, differing = 0;
  for (const std::string& line : test::read_lines(test::fixture(GetParam().file))) {
    const json row = json::parse(line);
    const auto tokenizer = load(row);
    ++tokenizers;
    for (const json& one : row["cases"]) {
      const auto ids = one["ids"].get<std::vector<int32_t>>();
      ++checked;
      if (one.contains("text")) {
        EncodeOptions options;
        options.parse_special = one.value("special", false);
        const auto got = tokenizer->encode(one["text"].get<std::string>(), options);
        if (got != ids && ++differing < 30) ADD_FAILURE() << row["name"] << " " << one.dump() << "\ngot " << json(got);
      }
      if (!one.contains("decoded")) continue;
      std::string streamed;
      StreamDecoder decoder(*tokenizer);
      for (const int32_t id : ids) {
        const std::string piece = decoder.push(id);
        EXPECT_TRUE(is_utf8(piece));
        streamed += piece;
      }
      streamed += decoder.flush();
      const std::string decoded = tokenizer->decode(ids);
      EXPECT_EQ(streamed, decoded);
      if (decoded != one["decoded"].get<std::string>() && ++differing < 30) {
        ADD_FAILURE() << row["name"] << " " << one.dump() << "\ngot " << decoded;
      }
    }
  }
  EXPECT_EQ(differing, 0);
  EXPECT_GE(tokenizers, GetParam().tokenizers);
  EXPECT_GE(checked, GetParam().cases);
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerReference,
                         testing::Values(Vectors{"text/tokenizers.jsonl", 40, 2000},
                                         Vectors{"text/unigram.jsonl", 10, 2900}),
                         [](const auto& info) { return info.index == 0 ? "Bpe" : "Unigram"; });

}  // namespace
}  // namespace ostro
