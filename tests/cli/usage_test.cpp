// Wrong input on the command line: one line that says what would have been right, and the exit code.
#include "cli/suggest.h"
#include "cli/support.h"
#include "formats/weight_store.h"

namespace ostro::test {
namespace {

TEST(Usage, RefusesFlagsThatMakeNoSense) {
  struct Case {
    std::vector<std::string> arguments;
    std::string part;
  };
  const std::string m = model("mixtral.gguf");
  const Case cases[] = {
      {{"run", "-m", m, "-p", "x", "-n", "-5"}, "--n-predict -5: expected a whole number from -1 to"},
      {{"run", "-m", m, "-p", "x", "--temp", "nan"}, "--temp nan: expected a number from 0 to 100"},
      {{"run", "-m", m, "-p", "x", "--temp", "-1"}, "--temp -1"},
      {{"run", "-m", m, "-p", "x", "--temp", "0.5x"}, "--temp 0.5x"},
      {{"run", "-m", m, "-p", "x", "--top-p", "1.5"}, "--top-p 1.5: expected a number from 0 to 1"},
      {{"run", "-m", m, "-p", "x", "--top-k", "99999999999999999999"}, "--top-k"},
      {{"run", "-m", m, "-p", "x", "-t", "0"}, "--threads 0"},
      {{"run", "-m", m, "-p", "x", "-ctk", "q3"}, "-cache-type-k q3: expected one of f32, f16, bf16, q8_0"},
      {{"run", "-m", m, "-p", "x", "--compute", "f23"}, "did you mean f32?"},
      {{"run", "-m", m, "--tokens", "1,2,x"}, "--tokens x"},
      {{"run", "-m", m, "--tokens", "1,288"}, "expected an id from 0 to 287"},
      {{"run", "-m", m, "--tokens", "1,-3"}, "--tokens -3"},
      {{"run", "-m", m, "-p", "x", "--tokens", "1"}, "expected one of them"},
      {{"run", "-m", m, "-p", "x", "--tmep", "1"}, "unknown flag --tmep of run; did you mean --temp?"},
      {{"run", "-m", m, "-p", "x", "--min_p=0.1"}, "did you mean --min-p?"},
      {{"run", "-m"}, "-m"},
      {{"rnu", "-m", m}, "unknown command 'rnu'; did you mean run?"},
      {{"frobnicate"}, "unknown command 'frobnicate'"},
      {{"--model", m, "run"}, "unknown flag --model before the command"},
      {{"inspect"}, "model"},
      {{"logits", "-m", m, "--tokens", "1,2"}, "-o"},
      {{"run", "-m", m, "--tokens", "1,2,3,4,5", "-c", "4"}, "the prompt has 5 tokens, the context holds 4"},
      {{"run", "-m", model("mixtral"), "--tokens", ""}, "--tokens"},
      {{"run", "-m", m, "-p", "x", "--chat"}, "no chat format"},
      {{"bench", "-m", m, "-p", "0", "-n", "0"}, "nothing to measure"},
      {{"bench", "--shape", "mixtral-8x7"}, "did you mean mixtral-8x7b?"},
      {{"bench", "--shape", "mixtral-8x7b", "--layers", "99"}, "32 layers"},
      {{"bench", "-m", m, "--experts", "4"}, "need --shape"},
      {{"chat", "-m", m}, "no chat format"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(c.arguments, " ")));
    expect_refused(run_ostro(c.arguments), 1, c.part);
  }
}

TEST(Usage, NamesAForcedInstructionSetThatIsNotThere) {
  expect_refused(run_ostro({"run", "-m", model("mixtral"), "--tokens", "1"}, "", {"OSTRO_ISA=avx1024"}), 1, "avx1024");
}

TEST(Usage, TellsBadFilesApart) {
  const auto folder = temporary_folder();
  const auto file = [&](const std::string& name, const std::string& content) {
    spit(folder / name, content);
    return (folder / name).string();
  };
  const std::string good = slurp(model("mixtral.gguf"));
  std::filesystem::create_directory(folder / "no-config");
  expect_refused(run_ostro({"inspect", (folder / "no-config").string()}), 2, "config.json");
  expect_refused(run_ostro({"inspect", file("empty.gguf", "")}), 2, "empty.gguf");
  expect_refused(run_ostro({"inspect", file("magic.gguf", "XXXX" + good.substr(4))}), 2, "magic.gguf");
  expect_refused(run_ostro({"run", "-m", file("short.gguf", good.substr(0, good.size() / 2)), "-p", "x"}), 2,
                 "short.gguf");
  expect_refused(run_ostro({"run", "-m", (folder / "missing.gguf").string(), "-p", "x"}), 4, "missing.gguf");
  expect_refused(run_ostro({"run", "-m", model("mixtral.gguf"), "-f", (folder / "missing.txt").string()}), 4,
                 "missing.txt");
  expect_refused(run_ostro({"run", "-m", model("mixtral"), "-p", "x"}), 2, "no tokenizer");
}

// A copy of a model with NaN as the first value of a tensor (BF16 or F32: the upper bytes decide).
std::string with_nan(const std::string& tensor, const std::filesystem::path& to) {
  const WeightStore store = open_weights(model("mixtral.gguf"));
  const TensorEntry& entry = store.tensors.at(tensor);
  std::string bytes = slurp(model("mixtral.gguf"));
  const auto at = static_cast<size_t>(entry.bytes.data() - store.files.at(0)->bytes().data());
  for (int i = 0; i < row_bytes(entry.dtype, 1); ++i) bytes[at + static_cast<size_t>(i)] = '\xff';
  spit(to, bytes);
  return to.string();
}

TEST(Usage, NamesWhereNumbersAreNotFinite) {
  const auto folder = temporary_folder();
  const std::string norm = with_nan("blk.1.ffn_norm.weight", folder / "norm.gguf");
  expect_refused(run_ostro({"run", "-m", norm, "-p", "x", "-n", "2"}), 2, "blk.1.ffn_norm.weight");
  const std::string matrix = with_nan("blk.1.attn_v.weight", folder / "matrix.gguf");
  expect_refused(run_ostro({"inspect", matrix, "--verify"}), 2, "layer 1");
  expect_refused(run_ostro({"run", "-m", matrix, "-p", "x", "-n", "2", "--json"}), 2, "layer 1");
}

TEST(Usage, SaysHowMuchMemoryIsMissing) {
  const auto outcome = run_ostro({"run", "-m", model("mixtral"), "--tokens", "1,2", "-c", "2147483648"});
  expect_refused(outcome, 3, "GB of KV cache");
}

TEST(Usage, WritesNothingWhenItFails) {
  const auto folder = temporary_folder();
  const std::string out = (folder / "out.safetensors").string();
  expect_refused(run_ostro({"logits", "-m", model("mixtral"), "--tokens", "1,999", "-o", out}), 1, "999");
  expect_refused(run_ostro({"logits", "-m", model("mixtral"), "--tokens", "1", "-o", (folder / "no/x").string()}), 4,
                 "no/x");
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

TEST(Usage, HelpIsGroupedAndHasExamples) {
  const auto help = run_ostro({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  for (const std::string verb : {"run", "chat", "logits", "inspect", "bench", "version"}) {
    EXPECT_NE(help.out.find("  " + verb + " "), std::string::npos);
    const auto outcome = run_ostro({verb, "--help"});
    EXPECT_EQ(outcome.exit_code, 0);
    EXPECT_EQ(outcome.err, "");
    EXPECT_NE(outcome.out.find("Usage: ostro " + verb), std::string::npos);
    if (verb == "version") continue;
    EXPECT_NE(outcome.out.find("Examples:\n  ostro " + verb), std::string::npos) << verb;
  }
  const auto bare = run_ostro({});
  EXPECT_EQ(bare.exit_code, 1);
  EXPECT_EQ(bare.out, "");
}

TEST(Usage, OneDashFlagsAreShownAsTheyAreTyped) {
  const auto help = run_ostro({"run", "--help"});
  EXPECT_NE(help.out.find("-ctk, --cache-type-k"), std::string::npos);
  EXPECT_EQ(help.out.find("--ctk"), std::string::npos);
  const auto outcome = run_ostro({"run", "-m", model("mixtral"), "--tokens", "1,2", "-n", "2", "-ctk", "bf16", "-ctv",
                                  "f32", "-ub", "1", "-t", "1", "--json"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST(Suggest, CountsInsertionsDeletionsReplacementsAndSwaps) {
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("abc", "abc"), 0u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("tmep", "temp"), 1u);
  EXPECT_EQ(nearest_name("verison", {"run", "version", "convert"}), "version");
  EXPECT_EQ(nearest_name("xyz", {"run", "version"}), "");
  EXPECT_EQ(nearest_name("-Z", {"-h", "-m"}), "");
  EXPECT_EQ(nearest_name("-M", {"-h", "-m"}), "-m");
}

}  // namespace
}  // namespace ostro::test
