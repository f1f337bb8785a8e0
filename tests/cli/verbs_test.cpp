// logits, inspect, bench, version and chat on tiny models.
#include <cmath>

#include "cli/support.h"
#include "formats/safetensors.h"

namespace ostro::test {
namespace {

template <typename T>
std::vector<T> values(const SafetensorsFile& file, const std::string& name) {
  const auto& tensor = file.tensors.at(name);
  std::vector<T> out(tensor.bytes.size() / sizeof(T));
  std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
  return out;
}

TEST(Logits, WritesTheTensorsOfTheFixtures) {
  const auto reference = open_safetensors(fixture("models/mixtral/reference.safetensors").string());
  const auto folder = temporary_folder();
  const std::string out = (folder / "out.safetensors").string();
  spit(folder / "ids", fmt::format("{}\n", fmt::join(values<int32_t>(reference, "tokens"), ", ")));
  const auto outcome =
      run_ostro({"logits", "-m", model("mixtral"), "--tokens", "@" + (folder / "ids").string(), "-o", out, "--routing",
                 "--hidden", "--compute", "f32", "-ctk", "f32", "-ctv", "f32", "-ub", "20", "-t", "1"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto written = open_safetensors(out);
  for (const auto& [name, tensor] : reference.tensors) {
    if (name == "tokens" || name == "greedy") continue;
    ASSERT_TRUE(written.tensors.contains(name)) << name;
    EXPECT_EQ(written.tensors.at(name).dtype, tensor.dtype) << name;
    EXPECT_EQ(written.tensors.at(name).shape, tensor.shape) << name;
    if (tensor.dtype == "I32") {
      EXPECT_EQ(values<int32_t>(written, name), values<int32_t>(reference, name)) << name;
      continue;
    }
    const auto found = values<float>(written, name), expected = values<float>(reference, name);
    double square = 0, worst = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      square += static_cast<double>(expected[i]) * expected[i];
      worst = std::max(worst, std::abs(static_cast<double>(found[i]) - expected[i]));
    }
    EXPECT_LT(worst, 1e-4 * std::sqrt(square / static_cast<double>(expected.size()))) << name;
  }
  EXPECT_EQ(written.tensors.size(), reference.tensors.size() - 2);
}

TEST(Inspect, TellsTheModel) {
  const auto outcome = run_ostro({"inspect", model("mixtral"), "--json", "--tensors", "--verify"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = outcome.json();
  EXPECT_EQ(json["layers"], 3);
  EXPECT_EQ(json["vocab"], 288);
  EXPECT_EQ(json["structure"][0]["blocks"][1]["experts"], 8);
  EXPECT_EQ(json["structure"][0]["blocks"][1]["top_k"], 2);
  EXPECT_EQ(json["structure"][0]["last_layer"], 2);
  EXPECT_EQ(json["finite"], true);
  EXPECT_EQ(json["checksums"], nullptr);
  EXPECT_GT(json["parameters"], json["active_parameters"]);
  uint64_t bytes = 0;
  for (const auto& tensor : json["tensors"]) bytes += tensor["bytes"].get<uint64_t>();
  EXPECT_EQ(json["bytes"], bytes);
  EXPECT_EQ(json["tokenizer"], nullptr);

  const auto torch = run_ostro({"inspect", model("mixtral-bin"), "--verify"});
  EXPECT_NE(torch.out.find("verified    all weights are finite, all checksums fit\n"), std::string::npos) << torch.out;
  const auto text = run_ostro({"inspect", model("mistral-swa")});
  EXPECT_NE(text.out.find("window of 16 tokens"), std::string::npos) << text.out;
}

TEST(Bench, MeasuresWhatItWasAsked) {
  const auto outcome = run_ostro(
      {"bench", "-m", model("mixtral.gguf"), "-p", "8,16", "-n", "4", "-B", "1,2", "-t", "1", "-r", "3", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = outcome.json();
  std::vector<std::string> tests;
  for (const auto& result : json["results"]) {
    tests.push_back(result["test"]);
    EXPECT_EQ(result["samples"].size(), 3u);
    EXPECT_GT(result["tokens_per_second"], 0);
    EXPECT_LE(result["min"], result["tokens_per_second"]);
    EXPECT_GE(result["max"], result["tokens_per_second"]);
    EXPECT_GT(result["bytes_per_token"], 0);
    // More rows at once read the weights less often.
    EXPECT_LE(result["bytes_per_token"], json["bytes"]);
  }
  EXPECT_EQ(tests, (std::vector<std::string>{"pp8", "pp16", "tg4", "tg4@2"}));
  EXPECT_GT(json["results"][0]["bytes_per_token"], json["results"][1]["bytes_per_token"]);

  const auto table = run_ostro({"bench", "-m", model("mixtral.gguf"), "-p", "4", "-n", "0", "-t", "1", "-r", "1"});
  EXPECT_NE(table.out.find("| pp4 "), std::string::npos) << table.out;
}

TEST(Version, ListsWhatIsUsed) {
  const auto json = run_ostro({"version", "--json"}).json();
  EXPECT_TRUE(json["libraries"].contains("fmt"));
  bool used = false;
  for (const auto& set : json["instruction_sets"]) used = used || set["name"] == json["instruction_set"];
  EXPECT_TRUE(used);
  const auto forced = run_ostro({"version", "--json"}, "", {"OSTRO_ISA=portable"}).json();
  EXPECT_EQ(forced["instruction_set"], "portable");
}

class Chat : public ::testing::Test {
 protected:
  void SetUp() override {
    spit(folder_ / "format",
         "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}{% if add_generation_prompt %}a:{% endif "
         "%}");
  }
  Outcome chat(const std::string& input, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments = {
        "chat", "-m", model("mixtral.gguf"), "--chat-template", (folder_ / "format").string(), "-n", "6", "--temp", "0",
        "-t",   "1",  "--ignore-eos"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_ostro(arguments, input);
  }
  const std::filesystem::path folder_ = temporary_folder();
};

TEST_F(Chat, KeepsTheConversationAndItsCache) {
  const auto saved = (folder_ / "saved.json").string();
  const auto outcome = chat("one\ntwo\n/stats\n/routing\n/save " + saved + "\n", {"--system", "be brief"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("4 messages"), std::string::npos) << outcome.out;
  EXPECT_EQ(outcome.out.find("which 0 were in the cache"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("layer  expert"), std::string::npos) << outcome.out;
  const auto json = nlohmann::json::parse(slurp(saved));
  EXPECT_EQ(json["system"], "be brief");
  ASSERT_EQ(json["messages"].size(), 4u);
  EXPECT_EQ(json["messages"][2]["content"], "two");
  EXPECT_EQ(json["messages"][3]["role"], "assistant");

  // A loaded conversation goes on as the saved one would have.
  const auto on = chat("/load " + saved + "\nthree\n", {"--json"});
  const auto whole = chat("one\ntwo\nthree\n", {"--system", "be brief", "--json"});
  EXPECT_EQ(on.out, whole.out.substr(whole.out.size() - on.out.size()));
  EXPECT_NE(on.out, "");
}

TEST_F(Chat, RegeneratesAndClears) {
  const auto greedy = chat("one\n/regenerate\n", {"--json"});
  const std::string line = greedy.out.substr(0, greedy.out.find('\n') + 1);
  EXPECT_EQ(greedy.out, line + line);  // greedy: the same reply
  const auto cleared = chat("one\n/clear\none\n", {"--json"});
  EXPECT_EQ(cleared.out, line + line);
  const auto drawn = chat("one\n/regenerate\n", {"--json", "--temp", "2", "--seed", "3"});
  const size_t end = drawn.out.find('\n') + 1;
  EXPECT_NE(drawn.out.substr(0, end), drawn.out.substr(end));
}

TEST_F(Chat, ReadsMessagesOfSeveralLines) {
  const auto saved = (folder_ / "saved.json").string();
  const auto outcome = chat("first\\\nsecond\n\"\"\"\na\n/b\n\"\"\"\n/save " + saved + "\n");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto messages = nlohmann::json::parse(slurp(saved))["messages"];
  ASSERT_EQ(messages.size(), 4u);
  EXPECT_EQ(messages[0]["content"], "first\nsecond");
  EXPECT_EQ(messages[2]["content"], "a\n/b");
}

TEST_F(Chat, GoesOnAfterAMistake) {
  const auto outcome = chat("/regenrate\n/load /nowhere\n/save\nhello\n/quit\nnever\n", {"--json"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_NE(outcome.err.find("did you mean /regenerate?"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("/nowhere"), std::string::npos);
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 1);
  // Longer than the context: said, and the conversation stays as it was.
  const auto full = chat("hello\n" + std::string(200, 'x') + "\nhello\n", {"--json", "-c", "100"});
  EXPECT_EQ(full.exit_code, 0);
  EXPECT_NE(full.err.find("the context holds 100"), std::string::npos) << full.err;
  EXPECT_EQ(std::count(full.out.begin(), full.out.end(), '\n'), 2);
}

}  // namespace
}  // namespace ostro::test
