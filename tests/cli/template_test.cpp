// `ostro template` as its users call it: the program itself, on standard input.
#include "cli/support.h"

namespace ostro::test {
namespace {

using nlohmann::json;

Outcome run(std::vector<std::string> flags, const std::string& input) {
  flags.insert(flags.begin(), "template");
  return run_ostro(flags, input);
}

std::string template_file(const std::string& source) {
  const auto path = temporary_folder() / "chat_template.jinja";
  std::ofstream(path, std::ios::binary) << source;
  return path.string();
}

constexpr const char* kHello = R"([{"role": "user", "content": "Hello"}])";

TEST(TemplateCommand, BuiltInFormat) {
  EXPECT_EQ(run({"--format", "mistral-v3"}, kHello).out, "<s>[INST] Hello[/INST]");
  const json object = json::parse(run({"--format", "mistral-v1", "--json"}, kHello).out);
  EXPECT_EQ(object, json::parse(R"({"text": "<s> [INST] Hello [/INST]"})"));
}

TEST(TemplateCommand, LinesAndTheirErrors) {
  const std::string source = template_file(
      "{{ bos_token }}{% for m in messages %}{{ m.role + ':' + m.content }}{% endfor %}"
      "{% if add_generation_prompt %}>{% endif %}");
  const Outcome answer =
      run({"--jsonl", "--jinja", source}, std::string("{\"messages\": ") + kHello + ", \"bos_token\": \"<b>\"}\n\n" +
                                              "{\"messages\": " + kHello +
                                              ", \"add_generation_prompt\": false, \"bos_token\": null}\n" +
                                              R"({"messages": [{"role": "user", "content": null}]})" + "\n");
  ASSERT_EQ(answer.exit_code, 0) << answer.err;
  std::istringstream lines(answer.out);
  std::vector<json> out;
  for (std::string line; std::getline(lines, line);) out.push_back(json::parse(line));
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[0], json::parse(R"({"text": "<b>user:Hello>"})"));
  EXPECT_EQ(out[1], json::parse(R"({"text": "user:Hello"})"));
  EXPECT_EQ(out[2]["error"], "TypeError");
}

TEST(TemplateCommand, WrongInput) {
  const auto refused = [](const std::vector<std::string>& flags, const std::string& input, const std::string& message) {
    expect_refused(run(flags, input), 1, message);
  };
  refused({}, kHello, "no chat format");
  refused({"--format", "mistral-v4"}, kHello, "did you mean mistral-v1");
  refused({"--format", "mistral-v1", "--jinja", "x"}, kHello, "both were given");
  refused({"--format", "mistral-v1"}, "{", "standard input: not valid JSON: parse error at line 1");
  refused({"--format", "mistral-v1"}, "{}", "expected an object with messages");
  refused({"--format", "mistral-v1", "--jsonl"}, "\n{\"messages\"", "line 2");
  refused({"--format", "mistral-v1"}, "[]", "InvalidMessageStructureException");
  refused({"--jinja", template_file("{% if %}")}, kHello, "TemplateSyntaxError");
  EXPECT_EQ(run({"--jinja", "/no/such/file"}, kHello).exit_code, 4);
}

}  // namespace
}  // namespace ostro::test
