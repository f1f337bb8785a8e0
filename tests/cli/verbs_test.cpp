// logits, inspect, bench, version, chat and convert on tiny models.
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <set>

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
  spit(folder / "ids", fmt::format("{}\n", fmt::join(values<int32_t>(reference, "tokens"), " ")));
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

// A limit on the size of files stands for the full disk.
TEST(Convert, AFullDiskLeavesNothing) {
  const auto folder = temporary_folder();
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &usual), 0);
  const rlimit small{20'000, usual.rlim_max};
  for (const std::string format : {"gguf", "hf", "mistral"}) {
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto outcome = run_ostro({"convert", model("mixtral"), (folder / "out").string(), "--to", format});
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &usual), 0);
    expect_refused(outcome, 4, "cannot write");
    EXPECT_TRUE(std::filesystem::is_empty(folder)) << format;
  }
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

TEST(Bench, SaysWhichKernelsRanAndWhatTheMachineCouldDo) {
  const auto outcome = run_ostro(
      {"bench", "-m", model("mixtral.gguf"), "-p", "16", "-n", "4", "-B", "1,2", "-t", "1", "-r", "1", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = outcome.json();
  const auto& results = json["results"];
  std::set<std::string> arithmetics;
  for (const auto& kernel : json["kernels"]) arithmetics.insert(kernel["arithmetic"]);
  for (const auto& result : results) {
    for (const std::string name : {"operations_per_token", "peak_operations_per_second"}) {
      std::set<std::string> names;
      for (const auto& [arithmetic, value] : result[name].items()) names.insert(arithmetic);
      EXPECT_EQ(names, arithmetics) << name;
    }
    EXPECT_GT(result["peak_share"], 0);
    EXPECT_LT(result["peak_share"], 1);
  }
  // A token meets the same weights whatever its batch, but for the logits, which of a prompt only the last row has.
  EXPECT_EQ(results[1]["operations_per_token"], results[2]["operations_per_token"]);
  const auto sum = [](const auto& result) {
    double operations = 0;
    for (const auto& [arithmetic, value] : result["operations_per_token"].items())
      operations += value.template get<double>();
    return operations;
  };
  EXPECT_LT(sum(results[0]), sum(results[1]));
  // Two for each weight but those of the embeddings, which are looked up, and of the norms.
  EXPECT_LT(sum(results[1]), 2 * json["active_parameters"].get<double>());

  const auto exact =
      run_ostro({"bench", "-m", model("mixtral.gguf"), "-p", "4", "-n", "0", "-t", "1", "-r", "1", "--compute", "f32"});
  EXPECT_NE(exact.out.find("float32 products at most"), std::string::npos) << exact.out;
}

TEST(Bench, StartsBehindOtherTokens) {
  const auto outcome = run_ostro({"bench", "-m", model("mixtral.gguf"), "-p", "8", "-n", "4", "-B", "2", "-d", "0,40",
                                  "-t", "1", "-r", "2", "--same-token", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto results = outcome.json()["results"];
  std::vector<std::string> tests;
  for (const auto& result : results) tests.push_back(result["test"]);
  EXPECT_EQ(tests, (std::vector<std::string>{"pp8", "tg4@2", "pp8 d40", "tg4@2 d40"}));
  // With one token everywhere only the keys and values that are read differ.
  EXPECT_GT(results[3]["bytes_per_token"], results[1]["bytes_per_token"]);
}

TEST(Bench, ChangesTheExpertsOfAShape) {
  const auto parameters = [](const std::string& experts, const std::string& width) {
    const auto outcome = run_ostro(
        {"bench", "--shape",        "mixtral-8x7b", "--layers", "1", "--type", "q4_0", "--experts", experts, "--top-k",
         "2",     "--expert-width", width,          "-p",       "0", "-n",     "1",    "-t",        "1",     "-r",
         "1",     "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.json();
  };
  const auto few = parameters("4", "64"), many = parameters("8", "64"), wide = parameters("4", "128");
  const int64_t width = 4096, expert = 3 * 64 * width;
  EXPECT_EQ(many["parameters"].get<int64_t>() - few["parameters"].get<int64_t>(), 4 * (expert + width));
  EXPECT_EQ(many["active_parameters"].get<int64_t>() - few["active_parameters"].get<int64_t>(), 4 * width);
  EXPECT_EQ(wide["active_parameters"].get<int64_t>() - few["active_parameters"].get<int64_t>(), 2 * expert);
}

TEST(Bench, ChangesTheWindowOfAShape) {
  const auto bytes = [](const std::string& window) {
    const auto outcome = run_ostro({"bench", "--shape", "mistral-7b", "--layers", "1", "--type", "q4_0", "--window",
                                    window, "-p", "0", "-n", "1", "-d", "100", "-r", "1", "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.json()["results"][0]["bytes_per_token"].get<int64_t>();
  };
  EXPECT_GT(bytes("0"), bytes("32"));
  const auto file = run_ostro({"bench", "-m", model("mixtral"), "--window", "64"});
  EXPECT_EQ(file.exit_code, 1);
  EXPECT_NE(file.err.find("--shape"), std::string::npos) << file.err;
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
  Outcome chat(const std::string& input, std::vector<std::string> more = {}, const std::string& of = "mixtral.gguf") {
    std::vector<std::string> arguments = {
        "chat", "-m", model(of), "--chat-template", (folder_ / "format").string(), "-n", "6", "--temp",
        "0",    "-t", "1",       "--ignore-eos"};
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

TEST_F(Chat, SaysThatADenseModelRoutesNothing) {
  const auto dense = chat("one\n/routing\n", {}, "mistral-full.gguf");
  EXPECT_NE(dense.out.find("no experts"), std::string::npos) << dense.out << dense.err;
  EXPECT_NE(chat("/routing\n").out.find("No token"), std::string::npos);
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
