// Built-in formats beside Mistral's, for files that come without their template: DeepSeek's and ChatML as templates,
// and OpenMoE's, whose marks are plain text.
#include <array>
#include <string_view>

#include "base/error.h"
#include "text/chat_builtin.h"
#include "text/jinja_value.h"

namespace ostro {
namespace {

using nlohmann::ordered_json;

struct BuiltinTemplate {
  std::string_view name, source;
};

#define BEGIN "<｜begin▁of▁sentence｜>"
#define END "<｜end▁of▁sentence｜>"
// All system messages first, then the turns, nothing between them.
#define DEEPSEEK_TURNS(ANSWER, PROMPT)                                                                               \
  "{% if tools %}{{ raise_exception('this format has no tools; the model\\'s own template may') }}{% endif %}" BEGIN \
  "{% set ns = namespace(later=false) %}"                                                                            \
  "{% for m in messages %}{% if m.role == 'system' %}{% if ns.later %}{{ '\\n\\n' }}{% endif %}{{ m.content }}"      \
  "{% set ns.later = true %}{% endif %}{% endfor %}"                                                                 \
  "{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"                                      \
  "{% elif m.role == 'assistant' %}<｜Assistant｜>{{ " ANSWER " }}" END                                              \
  "{% endif %}{% endfor %}"                                                                                          \
  "{% if add_generation_prompt %}" PROMPT "{% endif %}"

constexpr std::array kTemplates = {
    BuiltinTemplate{"chatml",
                    "{% for m in messages %}<|im_start|>{{ m.role }}{{ '\\n' }}{{ m.content }}<|im_end|>{{ '\\n' }}"
                    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant{{ '\\n' }}{% endif %}"},
    BuiltinTemplate{"deepseek-v2", "{% if tools %}{{ raise_exception('this format has no tools') }}{% endif %}" BEGIN
                                   "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{{ '\\n\\n' }}"
                                   "{% elif m.role == 'user' %}User: {{ m.content }}{{ '\\n\\n' }}"
                                   "{% elif m.role == 'assistant' %}Assistant: {{ m.content }}" END
                                   "{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"},
    BuiltinTemplate{"deepseek-v3", DEEPSEEK_TURNS("m.content", "<｜Assistant｜>")},
    // What was thought is not shown again; an answer begins with thinking.
    BuiltinTemplate{"deepseek-r1",
                    DEEPSEEK_TURNS("m.content.split('</think>')[-1]", "<｜Assistant｜><think>{{ '\\n' }}")},
};

// "<<SYS>>\n{system}\n<</SYS>>\n\n<s>[INST] {user} [/INST]" after the start token. All of it is text: the vocabulary
// has no such tokens, and even the </s> that ends an answer is written out by the model.
class OpenMoeFormat final : public ChatFormat {
 public:
  std::string name() const override { return "openmoe"; }

  RenderedChat render(const Conversation& conversation, const Tokenizer* tokenizer) const override {
    if (!conversation.tools.is_null()) jinja::raise("TemplateError", "this format has no tools");
    if (!conversation.messages.is_array()) jinja::raise("TypeError", "messages must be a list");
    std::string text;
    for (const ordered_json& message : conversation.messages) {
      if (!message.is_object() || !message.contains("content") || !message["content"].is_string()) {
        jinja::raise("TypeError", "messages must have a role and a text");
      }
      const auto content = message["content"].get<std::string>(), role = message.value("role", "");
      if (role == "system" && text.empty()) {
        text = "<<SYS>>\n" + content + "\n<</SYS>>\n\n";
      } else if (role == "user") {
        text += "<s>[INST] " + content + " [/INST]";
      } else if (role == "assistant") {
        text += " " + content + " </s>";
      } else {
        jinja::raise("TemplateError", "expected a system message first, then those of user and assistant");
      }
    }
    RenderedChat out{std::string(kStart) + text, {}, {"</s>"}};
    if (tokenizer == nullptr) return out;
    const auto start = tokenizer->find(kStart);
    if (!start)
      throw_error(ErrorKind::File, "the tokenizer has no token {}, which the chat format openmoe needs", kStart);
    out.ids = {*start};
    const auto ids = tokenizer->encode(text);
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    return out;
  }

 private:
  static constexpr const char* kStart = "<pad>";
};

}  // namespace

std::vector<std::string> template_format_names() {
  std::vector<std::string> names;
  for (const BuiltinTemplate& built_in : kTemplates) names.emplace_back(built_in.name);
  names.push_back(OpenMoeFormat().name());
  return names;
}

std::unique_ptr<ChatFormat> template_format(const std::string& name) {
  if (auto format = std::make_unique<OpenMoeFormat>(); format->name() == name) return format;
  for (const BuiltinTemplate& built_in : kTemplates) {
    if (built_in.name == name) return jinja_chat_format(std::string(built_in.source), name, std::nullopt, std::nullopt);
  }
  return nullptr;
}

}  // namespace ostro
