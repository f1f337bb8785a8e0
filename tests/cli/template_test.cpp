// `ostro template` as its users call it: the program itself, on standard input.
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

Outcome run(const std::string& flags, const std::string& input) {
  const auto folder = test::temporary_folder();
  const auto path = [&](const char* name) { return (folder / name).string(); };
  std::ofstream(path("in"), std::ios::binary) << input;
  const std::string command = std::string(OSTRO_BINARY_DIR) + "/ostro template " + flags + " < " + path("in") + " > " +
                              path("out") + " 2> " + path("err");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_text_file(path("out")), read_text_file(path("err"))};
}

std::string template_file(const std::string& source) {
  const auto path = test::temporary_folder() / "chat_template.jinja";
  std::ofstream(path, std::ios::binary) << source;
  return path.string();
}

constexpr const char* kHello = R"([{"role": "user", "content": "Hello"}])";

TEST(TemplateCommand, BuiltInFormat) {
  EXPECT_EQ(run("--format mistral-v3", kHello).out, "<s>[INST] Hello[/INST]");
  const json object = json::parse(run("--format mistral-v1 --json", kHello).out);
  EXPECT_EQ(object, json::parse(R"({"text": "<s> [INST] Hello [/INST]"})"));
}

TEST(TemplateCommand, LinesAndTheirErrors) {
  const std::string source = template_file(
      "{{ bos_token }}{% for m in messages %}{{ m.role + ':' + m.content }}{% endfor %}"
      "{% if add_generation_prompt %}>{% endif %}");
  const Outcome answer =
      run("--jsonl --jinja " + source, std::string("{\"messages\": ") + kHello + ", \"bos_token\": \"<b>\"}\n\n" +
                                           "{\"messages\": " + kHello +
                                           ", \"add_generation_prompt\": false, \"bos_token\": null}\n" +
                                           R"({"messages": [{"role": "user", "content": null}]})" + "\n");
  ASSERT_EQ(answer.code, 0) << answer.err;
  std::istringstream lines(answer.out);
  std::vector<json> out;
  for (std::string line; std::getline(lines, line);) out.push_back(json::parse(line));
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0], json::parse(R"({"text": "<b>user:Hello>"})"));
  EXPECT_EQ(out[1], json::parse(R"({"text": "user:Hello"})"));
  EXPECT_EQ(out[2]["error"], "TypeError");
}

TEST(TemplateCommand, WrongInput) {
  const auto refused = [](const std::string& flags, const std::string& input, const std::string& message) {
    const Outcome outcome = run(flags, input);
    EXPECT_EQ(outcome.code, 1) << flags;
    EXPECT_EQ(outcome.out, "") << flags;
    EXPECT_NE(outcome.err.find(message), std::string::npos) << outcome.err;
  };
  refused("", kHello, "no chat format");
  refused("--format mistral-v4", kHello, "did you mean mistral-v1");
  refused("--format mistral-v1 --jinja x", kHello, "both were given");
  refused("--format mistral-v1", "{", "not JSON");
  refused("--format mistral-v1", "{}", "expected an object with messages");
  refused("--format mistral-v1 --jsonl", "\n{\"messages\"", "line 2");
  refused("--format mistral-v1", "[]", "InvalidMessageStructureException");
  refused("--jinja " + template_file("{% if %}"), kHello, "TemplateSyntaxError");
  EXPECT_EQ(run("--jinja /no/such/file", kHello).code, 4);
}

}  // namespace
}  // namespace ostro
