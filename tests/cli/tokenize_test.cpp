// `ostro tokenize` as its users call it: the program itself, on standard input.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "support/support.h"

namespace ostro {
namespace {

using nlohmann::json;

struct Outcome {
  int code = 0;
  std::string out, err;
};

Outcome tokenize(const std::string& flags, const std::string& input) {
  const auto folder = test::temporary_folder();
  const auto path = [&](const char* name) { return (folder / name).string(); };
  std::ofstream(path("in"), std::ios::binary) << input;
  const std::string command = std::string(OSTRO_BINARY_DIR) + "/ostro tokenize " + flags + " < " + path("in") + " > " +
                              path("out") + " 2> " + path("err");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_text_file(path("out")), read_text_file(path("err"))};
}

// A tokenizer.json of the committed set, in a folder of its own.
std::string small_tokenizer() {
  for (const std::string& line : test::read_lines(test::fixture("text/tokenizers.jsonl"))) {
    const json row = json::parse(line);
    if (row["name"] != "gpt2") continue;
    const auto path = test::temporary_folder() / "tokenizer.json";
    std::ofstream(path) << row["json"].dump();
    return path.string();
  }
  throw std::runtime_error("no tokenizer called gpt2 in the fixture");
}

TEST(TokenizeCommand, ThereAndBack) {
  const std::string model = "-m " + small_tokenizer();
  const std::string text = "The quick brown fox\n  안녕 🦙\n";
  const Outcome there = tokenize(model, text);
  EXPECT_EQ(there.code, 0) << there.err;
  EXPECT_EQ(tokenize(model + " --decode", there.out).out, text);
  const json object = json::parse(tokenize(model + " --json", text).out);
  EXPECT_EQ(json::parse(tokenize(model + " --decode --json", object["ids"].dump()).out)["text"], text);
  EXPECT_EQ(tokenize(model, "").out, "\n");
}

TEST(TokenizeCommand, Lines) {
  const std::string model = "-m " + small_tokenizer();
  const Outcome answer = tokenize(model + " --jsonl",
                                  "{\"text\": \"<s>a\"}\n{\"text\": \"<s>a\", \"special\": true}\n\n"
                                  "{\"text_b64\": \"YQ==\"}\n{\"ids\": [0, 66]}\n");
  ASSERT_EQ(answer.code, 0) << answer.err;
  std::istringstream lines(answer.out);
  std::vector<json> got;
  for (std::string line; std::getline(lines, line);) got.push_back(json::parse(line));
  ASSERT_EQ(got.size(), 4u);
  EXPECT_GT(got[0]["ids"].size(), 2u);
  EXPECT_EQ(got[1]["ids"].size(), 2u);
  EXPECT_EQ(got[2]["ids"].size(), 1u);
  EXPECT_EQ(got[1]["ids"][1], got[2]["ids"][0]);
  EXPECT_EQ(got[3]["text"],
            "<s>" + json::parse(tokenize(model + " --decode --json", "66").out)["text"].get<std::string>());
}

TEST(TokenizeCommand, WrongInputIsOneLineAndACode) {
  const std::string model = "-m " + small_tokenizer();
  const auto refused = [&](const std::string& flags, const std::string& input, int code, const std::string& says) {
    const Outcome outcome = tokenize(flags, input);
    EXPECT_EQ(outcome.code, code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_NE(outcome.err.find(says), std::string::npos) << outcome.err;
  };
  refused("-m /nonexistent", "a", 4, "/nonexistent");
  refused(model + " --decode", "100000", 1, "100000");
  refused(model + " --decode", "1 x", 1, "x");
  refused(model + " --jsonl", "{\"text\": 1}", 1, "line 1");
  refused(model + " --jsonl", "{", 2, "line 1");
  refused(model + " --specal", "a", 1, "--special");
}

}  // namespace
}  // namespace ostro
