// Encoding takes n log n time, whatever the text: bounds in seconds that quadratic work would break by far.
#include <gtest/gtest.h>

#include <ctime>

#include "base/error.h"
#include "support/support.h"
#include "text/split_patterns.h"
#include "text/text_steps.h"
#include "text/tokenizer.h"

namespace ostro {
namespace {

// Not the clock on the wall: other work on the machine does not count.
double processor_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double seconds_to_encode(const Tokenizer& tokenizer, const std::string& text) {
  const double begin = processor_seconds();
  EXPECT_FALSE(tokenizer.encode(text).empty());
  return processor_seconds() - begin;
}

std::string repeated(const std::string& unit, size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += unit;
  return out;
}

class TokenizerSpeed : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerSpeed, LongRunsAndLongTexts) {
  OSTRO_SHARED_OR_SKIP(path, std::string("data/tokenizers/") + GetParam());
  OSTRO_SHARED_OR_SKIP(wikitext, "data/eval/wikitext-2");
  const auto tokenizer = load_tokenizer_file(path);
  for (const char* unit : {"a",  "A",  "Aa",      " ",      "\n",   "\t", " \n", "0",      "!",      "=",    "_",   "é",
                           "한", "中", "e\u0301", "\u0301", "🦙", "a ", "'",   "\u3000", "\u2581", "aB1 ", "\r\n"}) {
    EXPECT_LT(seconds_to_encode(*tokenizer, repeated(unit, 100000)), 5) << "'" << unit << "'";
    EXPECT_LT(seconds_to_encode(*tokenizer, repeated(unit, 100000) + "x"), 5) << "'" << unit << "' and a letter";
  }
  std::string text;
  for (const std::string& line : test::read_lines(wikitext / "valid.txt")) text += line + "\n";
  const double seconds = seconds_to_encode(*tokenizer, repeated(text, 10'000'000));
  EXPECT_LT(seconds, 20);
  RecordProperty("seconds_for_10_MB", std::to_string(seconds));
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerSpeed,
                         testing::Values("mistral-v3.model", "deepseek-v3/tokenizer.json", "cl100k_base.tiktoken",
                                         "llama.cpp-vocab/deepseek-llm.gguf"));

// Every named recipe over runs that have made such patterns slow elsewhere.
TEST(TokenizerSpeed, EverySplitPattern) {
  const std::vector<std::string> units = {"a",  "A",      " ",  "\n",  "0", "!",  "é",
                                          "中", "\u0301", "Aa", " \n", "'", "'s", "_"};
  int recipes = 0;
  for (const std::string_view name : split_recipe_names()) {
    const SplitRecipe recipe = split_recipe(name, "test");
    ++recipes;
    for (const std::string& unit : units) {
      const std::string text = repeated(unit, 100000) + "x";
      Words words{text, {{0, text.size()}}};
      const double begin = processor_seconds();
      for (const std::string& pattern : recipe.patterns) {
        split_pre_tokenizer({"", Regex(pattern, true, "test")}, SplitRule::Isolated, false)->apply(words, {});
      }
      EXPECT_LT(processor_seconds() - begin, 3) << name << " on '" << unit << "'";
      size_t end = 0;
      for (const TextSpan& span : words.spans) {
        EXPECT_EQ(span.begin, end);
        end = span.end;
      }
      EXPECT_EQ(end, text.size());
    }
  }
  EXPECT_GT(recipes, 40);
}

}  // namespace
}  // namespace ostro
