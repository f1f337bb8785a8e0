#include "cli/support.h"
#include "formats/safetensors.h"

namespace ostro::test {
namespace {

std::vector<int32_t> integers(const std::filesystem::path& file, const std::string& name) {
  const auto stored = open_safetensors(file.string());
  const auto& tensor = stored.tensors.at(name);
  std::vector<int32_t> values(tensor.bytes.size() / sizeof(int32_t));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

std::string listed(const std::vector<int32_t>& ids) { return fmt::format("{}", fmt::join(ids, ",")); }

TEST(Run, ChoosesTheTokensOfTheReference) {
  for (const std::string name : {"mixtral", "mistral-swa"}) {
    const auto reference = fixture("models/" + name + "/reference.safetensors");
    const auto outcome = run_ostro({"run", "-m", model(name), "--tokens", listed(integers(reference, "tokens")), "-n",
                                    "24", "--temp", "0", "--ignore-eos", "-t", "1", "--compute", "f32", "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.json()["tokens"], nlohmann::json(integers(reference, "greedy"))) << name;
  }
}

TEST(Run, PrintsJson) {
  const auto outcome = run_ostro(
      {"run", "-m", model("mixtral.gguf"), "-p", "abc", "-n", "6", "--seed", "5", "-t", "1", "--ignore-eos", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = outcome.json();
  EXPECT_EQ(json["tokens"].size(), 6u);
  EXPECT_TRUE(json["text"].is_string());
  EXPECT_EQ(json["seed"], 5);
  EXPECT_EQ(json["finish"], "length");
  EXPECT_GT(json["timings"]["prompt_tokens"], 3);
  EXPECT_EQ(json["timings"]["decode_tokens"], 6);
  EXPECT_GT(json["timings"]["decode_tokens_per_second"], 0);
  EXPECT_GT(json["timings"]["peak_memory_bytes"], 1 << 20);
}

TEST(Run, RepeatsWithASeed) {
  auto tokens = [](const std::string& seed, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"run",    "-m", model("mixtral"), "--tokens", "1,5,9,33,7,8,9", "-n", "20",
                                          "--seed", seed, "--ignore-eos",   "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_ostro(arguments).json()["tokens"];
  };
  const auto first = tokens("7", {"-t", "1"});
  EXPECT_EQ(first.size(), 20u);
  EXPECT_EQ(first, tokens("7", {"-t", "1"}));
  // Neither threads nor the chunks of the prompt change a bit.
  EXPECT_EQ(first, tokens("7", {"-t", "2", "-ub", "3"}));
  EXPECT_NE(first, tokens("8", {"-t", "1"}));
}

TEST(Run, TakesThePromptFromWhereverItIs) {
  const auto file = temporary_folder() / "prompt";
  spit(file, "some text\n");
  const std::vector<std::string> common = {"run", "-m", model("mixtral.gguf"), "-n", "5", "--temp", "0", "-t", "1"};
  auto with = [&](std::vector<std::string> more, const std::string& input) {
    more.insert(more.begin(), common.begin(), common.end());
    const auto outcome = run_ostro(more, input);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_NE(outcome.err.find("tokens/s"), std::string::npos);
    return outcome.out;
  };
  const std::string text = with({"-p", "some text"}, "");
  EXPECT_NE(text, "");
  EXPECT_EQ(with({"-f", file.string()}, ""), text);
  EXPECT_EQ(with({}, "some text\n"), text);
  EXPECT_EQ(with({"-f", "-"}, "some text"), text);
  EXPECT_NE(with({"-p", "another"}, ""), text);
}

TEST(Run, StopsBeforeAStopString) {
  const std::vector<std::string> common = {"run", "-m", model("mixtral.gguf"), "-p",    "x", "-n", "30", "--temp", "0",
                                           "-t",  "1",  "--ignore-eos",        "--json"};
  const std::string whole = run_ostro(common).json()["text"];
  ASSERT_GT(whole.size(), 12u);
  const std::string stop = whole.substr(8, 3);
  auto arguments = common;
  arguments.insert(arguments.end(), {"--stop", stop});
  const auto json = run_ostro(arguments).json();
  EXPECT_EQ(json["text"], whole.substr(0, whole.find(stop)));
  EXPECT_EQ(json["finish"], "stop");
}

TEST(Run, TakesTheDefaultModel) {
  const auto none = run_ostro({"run", "-p", "x"}, "", {"XDG_CACHE_HOME=/nowhere"});
  expect_refused(none, 1, "scripts/quickstart");
  const auto named = run_ostro({"run", "-p", "x", "-n", "1", "-t", "1"}, "", {"OSTRO_MODEL=" + model("mixtral.gguf")});
  EXPECT_EQ(named.exit_code, 0) << named.err;
}

TEST(Run, SaysWhenTheOutputIsFull) {
  if (!std::filesystem::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const std::string command = std::string(OSTRO_BINARY_DIR) + "/ostro version 2>/dev/null >/dev/full";
  const int status = std::system(command.c_str());
  EXPECT_EQ(WEXITSTATUS(status), 4);
}

}  // namespace
}  // namespace ostro::test
