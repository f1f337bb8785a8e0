// Published chat templates render as Transformers renders them.
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "support/support.h"
#include "text/chat.h"

namespace ostro {
namespace {

using nlohmann::ordered_json;

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<std::string> optional_text(const ordered_json& value) {
  return value.is_string() ? std::optional<std::string>(value.get<std::string>()) : std::nullopt;
}

TEST(ChatJinja, PublishedTemplatesRenderAsTransformers) {
  OSTRO_SHARED_OR_SKIP(folder, "fixtures/text");
  size_t lines = 0;
  for (const std::string& line : test::read_lines(folder / "jinja.jsonl")) {
    const ordered_json vector = ordered_json::parse(line);
    const auto name = vector["template"].get<std::string>();
    SCOPED_TRACE(name + " " + vector["name"].get<std::string>());
    Conversation conversation{vector["messages"], vector["tools"], vector["add_generation_prompt"].get<bool>()};
    const auto format = jinja_chat_format(read_file(folder / "templates" / (name + ".jinja")), name,
                                          optional_text(vector["bos_token"]), optional_text(vector["eos_token"]));
    ++lines;
    try {
      const std::string text = format->render(conversation, nullptr).text;
      ASSERT_TRUE(vector["error"].is_null()) << "expected " << vector["error"] << ", got: " << text;
      EXPECT_EQ(text, vector["text"].get<std::string>());
    } catch (const Error& error) {
      ASSERT_FALSE(vector["error"].is_null()) << error.what();
      const std::string expected =
          vector["error"].get<std::string>() + ": " + vector["error_message"].get<std::string>();
      EXPECT_EQ(std::string(error.what()), expected);
    }
  }
  EXPECT_EQ(lines, 520u);
}

}  // namespace
}  // namespace ostro
