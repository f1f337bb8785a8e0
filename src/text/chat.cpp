// Chat formats that are templates, and which format a checkpoint asks for.
#include "text/chat.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/error.h"
#include "text/jinja.h"

namespace ostro {

namespace {
using nlohmann::ordered_json;

// Older names of a message's reasoning also stand under the newer ones, as Transformers arranges before rendering.
ordered_json with_reasoning_names(const ordered_json& message) {
  if (!message.is_object()) return message;
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    const auto found = message.find(name);
    if (found == message.end() || found->is_null()) continue;
    ordered_json out = {{"thinking", *found}};
    for (const auto& [key, value] : message.items()) out[key] = value;
    out["reasoning_content"] = *found;
    return out;
  }
  return message;
}

class JinjaChatFormat : public ChatFormat {
 public:
  JinjaChatFormat(const std::string& source, std::string name, std::optional<std::string> bos,
                  std::optional<std::string> eos)
      : template_(source), name_(std::move(name)), bos_(std::move(bos)), eos_(std::move(eos)) {}

  std::string name() const override { return name_; }

  RenderedChat render(const Conversation& conversation, const Tokenizer* tokenizer) const override {
    if (!conversation.messages.is_array()) jinja::raise("TypeError", "messages must be a list");
    ordered_json messages = ordered_json::array();
    for (const auto& message : conversation.messages) {
      if (!message.is_object()) jinja::raise("TypeError", "Chat messages should be dicts");
      messages.push_back(with_reasoning_names(message));
    }
    std::map<std::string, jinja::Value, std::less<>> variables;
    variables["messages"] = jinja::Value::from_json(messages);
    variables["tools"] = jinja::Value::from_json(conversation.tools);
    variables["documents"] = jinja::Value();
    variables["add_generation_prompt"] = conversation.add_generation_prompt;
    if (bos_) variables["bos_token"] = jinja::Value(*bos_);
    if (eos_) variables["eos_token"] = jinja::Value(*eos_);
    const jinja::Text text = template_.render(std::move(variables));
    RenderedChat out{text.bytes(), {}};
    if (tokenizer != nullptr) out.ids = encode(text, *tokenizer);
    return out;
  }

 private:
  static std::vector<int32_t> encode(const jinja::Text& text, const Tokenizer& tokenizer) {
    EncodeOptions options;
    options.parse_special = true;
    options.prefix_first_only = true;
    return tokenizer.encode(text.view(), options);
  }

  jinja::Template template_;
  std::string name_;
  std::optional<std::string> bos_, eos_;
};
}  // namespace

std::unique_ptr<ChatFormat> jinja_chat_format(const std::string& source, const std::string& name,
                                              std::optional<std::string> bos, std::optional<std::string> eos) {
  return std::make_unique<JinjaChatFormat>(source, name, std::move(bos), std::move(eos));
}

}  // namespace ostro
