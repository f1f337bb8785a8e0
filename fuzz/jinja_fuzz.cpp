// Any bytes as a template: an answer or an Error, within the bounds.
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "text/jinja.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto kMessages = nlohmann::ordered_json::parse(
      R"([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "héllo <|x|> 1"},
          {"role": "assistant", "content": null, "tool_calls": [{"name": "f", "arguments": {"a": [1, 2.5, true]}}]}])");
  try {
    const ostro::jinja::Template source(std::string_view(reinterpret_cast<const char*>(data), size));
    std::map<std::string, ostro::jinja::Value, std::less<>> variables;
    variables["messages"] = ostro::jinja::Value::from_json(kMessages);
    variables["tools"] = ostro::jinja::Value();
    variables["bos_token"] = ostro::jinja::Value("<s>");
    ostro::jinja::Limits limits;
    limits.steps = 20'000;
    limits.bytes = 1 << 20;
    source.render(std::move(variables), limits);
  } catch (const ostro::Error&) {
  }
  return 0;
}
