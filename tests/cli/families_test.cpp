// The table of families in README.md, through the program: each model is described in the words of its papers,
// continues a text as its publishers' code does, and can be quantised and converted. (Logits:
// tests/model/reference_test.cpp.)
#include <gmock/gmock.h>

#include <algorithm>

#include "cli/support.h"
#include "formats/safetensors.h"

namespace ostro::test {
namespace {

using nlohmann::json;

struct Family {
  const char* model;      // a fixture's folder or file, committed or shared
  const char* reference;  // the folder with its reference
  const char* words;      // of `ostro inspect`
};
void PrintTo(const Family& family, std::ostream* out) { *out << family.model; }

constexpr const char* kSoftmax = "softmax over the logits of all 8 experts, the 2 largest kept, their weights divided";
constexpr const char* kWhole = "queries and keys normalised before the heads are split";
constexpr const char* kPerHead = "queries and keys normalised per head";
constexpr const char* kLatent = "a latent of 32 and a key of 16 cached, 81.2 % less than plain multi-head's";
constexpr const char* kGated = "a shared one 80 wide times a gate";
constexpr const char* kCapacity =
    "an expert takes 2 x 1 x tokens / 8 of a prompt, even and at least 4, and drops the rest";

constexpr const char* kClip = "queries, keys and values clipped at 2";
constexpr const char* kCap = "scores times 0.35, capped at 30";
constexpr const char* kSink = "an attention sink per head";

constexpr Family kFamilies[] = {
    {"mistral-swa", "mistral-swa", "window of 16 tokens"},
    {"mistral-full-native-pth", "mistral-full", "all earlier tokens"},
    {"mistral-full.gguf", "mistral-full", "all earlier tokens"},
    {"mixtral", "mixtral", kSoftmax},
    {"mixtral-native", "mixtral", kSoftmax},
    {"mixtral-native-stacked", "mixtral", kSoftmax},
    {"mixtral-per-expert.gguf", "mixtral", kSoftmax},
    {"mixtral.gguf", "mixtral", kSoftmax},
    {"llama3", "llama3", "over halves, long waves stretched x8 over 128 positions"},
    {"llama3.gguf", "llama3", "output tied to the embeddings"},
    {"llama-linear", "llama-linear", "over halves, stretched x4"},
    {"mistral-yarn", "mistral-yarn", "over halves, YaRN x4 over 48 positions"},
    {"dbrx", "dbrx", kClip},
    {"dbrx.gguf", "dbrx", kClip},
    {"grok-1", "grok-1", kCap},
    {"grok-1-hpcai", "grok-1", kCap},
    {"grok-1-original", "grok-1-original", "its output normed before it is added"},
    {"gpt-oss", "gpt-oss", kSink},
    {"gpt-oss-mxfp4", "gpt-oss-mxfp4", kSink},
    {"gpt-oss-mxfp4.gguf", "gpt-oss-mxfp4", kSink},
    {"deepseek-v2-lite", "deepseek-v2-lite", kLatent},
    {"deepseek-v2-lite.gguf", "deepseek-v2-lite", kLatent},
    {"deepseek-v2-lite-whole-kv-b.gguf", "deepseek-v2-lite", kLatent},
    {"deepseek-v2", "deepseek-v2", "in the 2 best of 4 groups (by their best)"},
    {"deepseek-v3", "deepseek-v3", "in the 2 best of 4 groups (by the sum of their two best)"},
    {"deepseek-v3-fp8", "deepseek-v3-fp8", "f8_e4m3"},
    {"deepseek-v3.gguf", "deepseek-v3", "chosen with a bias that the weights leave out"},
    {"olmoe", "olmoe", kWhole},
    {"olmoe.gguf", "olmoe", kWhole},
    {"openmoe", "openmoe", "SwiGLU as the gate of a gate"},
    {"openmoe-drop", "openmoe-drop", kCapacity},
    {"qwen2-moe", "qwen2-moe", kGated},
    {"qwen2-moe.gguf", "qwen2-moe", kGated},
    {"qwen3-moe", "qwen3-moe", kPerHead},
    {"qwen3-moe-all", "qwen3-moe-all", kPerHead},
    {"qwen3-moe-all.gguf", "qwen3-moe-all", kPerHead},
};

std::optional<std::filesystem::path> find_model(const std::string& name) {
  const auto own = std::filesystem::path(OSTRO_SOURCE_DIR) / "tests/fixtures/models" / name;
  if (std::filesystem::exists(own)) return own;
  for (const char* folder : {"models", "models-relatives", "models-grok-openmoe"}) {
    if (auto found = shared(std::string("fixtures/") + folder + "/" + name)) return found;
  }
  return std::nullopt;
}

std::vector<int32_t> reference_ids(const std::string& folder, const std::string& name) {
  const auto file = open_safetensors((*find_model(folder) / "reference.safetensors").string());
  const auto& bytes = file.tensors.at(name).bytes;
  std::vector<int32_t> ids(bytes.size() / sizeof(int32_t));
  std::memcpy(ids.data(), bytes.data(), bytes.size());
  return ids;
}

class FamilyTest : public testing::TestWithParam<Family> {
 protected:
  void SetUp() override {
    const auto found = find_model(GetParam().model);
    if (!found) GTEST_SKIP() << "no fixture " << GetParam().model << " (set OSTRO_SHARED)";
    model_ = found->string();
    prompt_ = fmt::format("{}", fmt::join(reference_ids(GetParam().reference, "tokens"), ","));
  }

  std::string model_, prompt_;
};

TEST_P(FamilyTest, IsDescribed) {
  const auto outcome = run_ostro({"inspect", model_});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::HasSubstr(GetParam().words));
}

TEST_P(FamilyTest, ContinuesAsThePublishersCodeDoes) {
  const auto outcome = run_ostro({"run", "-m", model_, "--tokens", prompt_, "-n", "24", "--temp", "0", "--ignore-eos",
                                  "--compute", "f32", "-ctk", "f32", "-ctv", "f32", "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.json()["tokens"].get<std::vector<int32_t>>(), reference_ids(GetParam().reference, "greedy"));
}

TEST_P(FamilyTest, IsQuantised) {
  const std::string file = (temporary_folder() / "model.gguf").string();
  const auto written = run_ostro({"quantize", model_, file, "--type", "q8_0"});
  ASSERT_EQ(written.exit_code, 0) << written.err;
  const auto outcome =
      run_ostro({"run", "-m", file, "--tokens", prompt_, "-n", "8", "--temp", "0", "--ignore-eos", "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.json()["tokens"].size(), 8u);
}

// In GGUF and in a folder it is the same model. What the publisher holds in 8 bits needs float32 for that.
TEST_P(FamilyTest, IsConverted) {
  const std::string name = GetParam().model;
  const bool is_narrow = name == "deepseek-v3-fp8" || name == "grok-1-original";
  for (const std::string to : {"gguf", "hf"}) {
    const std::string out = (temporary_folder() / ("model." + to)).string();
    std::vector<std::string> arguments = {"convert", model_, out, "--to", to};
    if (is_narrow) arguments.insert(arguments.end(), {"--type", "f32"});
    const auto written = run_ostro(arguments);
    ASSERT_EQ(written.exit_code, 0) << written.err;
    const auto outcome = run_ostro({"run", "-m", out, "--tokens", prompt_, "-n", "24", "--temp", "0", "--ignore-eos",
                                    "--compute", "f32", "-ctk", "f32", "-ctv", "f32", "--json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.json()["tokens"].get<std::vector<int32_t>>(), reference_ids(GetParam().reference, "greedy"))
        << to;
  }
}

// What a model's files say of RoPE, said by flags instead.
TEST(RopeFlags, SayWhatTheFilesSay) {
  struct Flags {
    const char* model;
    std::vector<std::string> flags;
  };
  for (const auto& [name, flags] :
       {Flags{"mistral-yarn", {"--rope-scaling", "yarn", "--rope-scale", "4", "--yarn-orig-ctx", "48"}},
        Flags{"llama-linear", {"--rope-scaling", "linear", "--rope-scale", "4"}},
        Flags{"llama-linear", {"--rope-scale", "4"}}}) {
    const auto folder = temporary_folder() / "model";
    std::filesystem::copy(model(name), folder, std::filesystem::copy_options::recursive);
    json config = json::parse(slurp(folder / "config.json"));
    config.erase("rope_scaling");
    spit(folder / "config.json", config.dump());
    const auto logits = [&](const std::string& path, const std::vector<std::string>& more) {
      const std::string file = (temporary_folder() / "logits.safetensors").string();
      std::vector<std::string> arguments = {"logits", "-m", path, "--tokens", "1,5,17,99,200,3,4,5", "-o", file};
      arguments.insert(arguments.end(), more.begin(), more.end());
      const auto outcome = run_ostro(arguments);
      EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
      return slurp(file);
    };
    const std::string expected = logits(model(name), {});
    EXPECT_EQ(logits(folder.string(), flags), expected) << name;
    EXPECT_NE(logits(folder.string(), {}), expected) << name;
    EXPECT_EQ(logits(model(name), {"--rope-scaling", "none"}), logits(folder.string(), {})) << name;
    EXPECT_NE(logits(folder.string(), {"--rope-freq-base", "20000"}), logits(folder.string(), {})) << name;
  }
  expect_refused(run_ostro({"run", "-m", model("mixtral"), "-p", "a", "--yarn-orig-ctx", "48"}), 1,
                 "--yarn-orig-ctx goes with --rope-scaling yarn");
}

// The pairs that found their expert full, in one piece and with -ub 5, which such a model overrides; none without it.
TEST(Capacity, DroppedChoicesAreWritten) {
  const std::string path = model("openmoe-drop"), file = (temporary_folder() / "logits.safetensors").string();
  const std::string prompt = fmt::format("{}", fmt::join(reference_ids("openmoe-drop", "tokens"), ","));
  const auto ids = [&](const std::string& name) {
    const auto written = open_safetensors(file);
    const auto& bytes = written.tensors.at(name).bytes;
    std::vector<int32_t> values(bytes.size() / sizeof(int32_t));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  };
  for (const std::string ubatch : {"512", "5"}) {
    const auto outcome = run_ostro(
        {"logits", "-m", path, "--tokens", prompt, "-o", file, "--routing", "-ub", ubatch, "--compute", "f32"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    for (const std::string layer : {"1", "3"}) {
      const auto dropped = ids("routing." + layer + ".dropped"), expert = ids("routing." + layer + ".expert");
      std::vector<std::pair<int32_t, int32_t>> found, expected;
      for (size_t i = 0; i < dropped.size(); ++i) {
        if (dropped[i] != 0) found.emplace_back(static_cast<int32_t>(i / 2), expert[i]);
      }
      const auto flat = reference_ids("openmoe-drop", "routing." + layer + ".dropped");
      for (size_t i = 0; i < flat.size(); i += 2) expected.emplace_back(flat[i], flat[i + 1]);
      std::ranges::sort(found);
      std::ranges::sort(expected);
      EXPECT_EQ(found, expected) << "layer " << layer;
    }
  }
  run_ostro({"logits", "-m", path, "--tokens", prompt, "-o", file, "--routing", "--no-capacity"});
  EXPECT_FALSE(open_safetensors(file).tensors.contains("routing.1.dropped"));
}

INSTANTIATE_TEST_SUITE_P(All, FamilyTest, testing::ValuesIn(kFamilies), [](const auto& info) {
  std::string name = info.param.model;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
});

}  // namespace
}  // namespace ostro::test
