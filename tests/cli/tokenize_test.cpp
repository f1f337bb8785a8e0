// `ostro tokenize` as its users call it: the program itself, on standard input.
#include "cli/support.h"

namespace ostro::test {
namespace {

using nlohmann::json;

Outcome tokenize(std::vector<std::string> flags, const std::string& input) {
  flags.insert(flags.begin(), "tokenize");
  return run_ostro(flags, input);
}

// A tokenizer.json of the committed set, in a folder of its own.
std::string small_tokenizer() {
  for (const std::string& line : read_lines(fixture("text/tokenizers.jsonl"))) {
    const json row = json::parse(line);
    if (row["name"] != "gpt2") continue;
    const auto path = temporary_folder() / "tokenizer.json";
    std::ofstream(path) << row["json"].dump();
    return path.string();
  }
  throw std::runtime_error("no tokenizer called gpt2 in the fixture");
}

TEST(TokenizeCommand, ThereAndBack) {
  const std::string file = small_tokenizer();
  const std::string text = "The quick brown fox\n  안녕 🦙\n";
  const Outcome there = tokenize({"-m", file}, text);
  EXPECT_EQ(there.exit_code, 0) << there.err;
  EXPECT_EQ(tokenize({"-m", file, "--decode"}, there.out).out, text);
  const json object = json::parse(tokenize({"-m", file, "--json"}, text).out);
  EXPECT_EQ(json::parse(tokenize({"-m", file, "--decode", "--json"}, object["ids"].dump()).out)["text"], text);
  EXPECT_EQ(tokenize({"-m", file}, "").out, "\n");
}

TEST(TokenizeCommand, Lines) {
  const std::string file = small_tokenizer();
  const Outcome answer = tokenize({"-m", file, "--jsonl"},
                                  "{\"text\": \"<s>a\"}\n{\"text\": \"<s>a\", \"special\": true}\n\n"
                                  "{\"text_b64\": \"YQ==\"}\n{\"ids\": [0, 66]}\n");
  ASSERT_EQ(answer.exit_code, 0) << answer.err;
  std::istringstream lines(answer.out);
  std::vector<json> got;
  for (std::string line; std::getline(lines, line);) got.push_back(json::parse(line));
  ASSERT_EQ(got.size(), 4u);
  EXPECT_GT(got[0]["ids"].size(), 2u);
  EXPECT_EQ(got[1]["ids"].size(), 2u);
  EXPECT_EQ(got[2]["ids"].size(), 1u);
  EXPECT_EQ(got[1]["ids"][1], got[2]["ids"][0]);
  EXPECT_EQ(got[3]["text"],
            "<s>" + json::parse(tokenize({"-m", file, "--decode", "--json"}, "66").out)["text"].get<std::string>());
}

TEST(TokenizeCommand, WrongInputIsOneLineAndACode) {
  const std::string file = small_tokenizer();
  const auto refused = [](const std::vector<std::string>& flags, const std::string& input, int code,
                          const std::string& says) { expect_refused(tokenize(flags, input), code, says); };
  refused({"-m", "/nonexistent"}, "a", 4, "/nonexistent");
  refused({"-m", file, "--decode"}, "100000", 1, "100000");
  refused({"-m", file, "--decode"}, "1 x", 1, "x");
  refused({"-m", file, "--jsonl"}, "{\"text\": 1}", 1, "line 1");
  refused({"-m", file, "--jsonl"}, "{", 2, "line 1");
  refused({"-m", file, "--specal"}, "a", 1, "--special");
}

}  // namespace
}  // namespace ostro::test
