// Chat formats: conversations to text and ids. Mistral's formats are built in and token-exact; everything else is the
// model's own Jinja template.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "formats/weight_store.h"
#include "text/tokenizer.h"

namespace ostro {

// A conversation in the OpenAI / Transformers form.
struct Conversation {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  nlohmann::ordered_json tools;  // null: none
  bool add_generation_prompt = true;
};

struct RenderedChat {
  std::string text;
  std::vector<int32_t> ids;  // empty where no tokenizer was given
  // What ends a reply, where the model writes it out as text.
  std::vector<std::string> stops = {};
};

class ChatFormat {
 public:
  virtual ~ChatFormat() = default;
  // Throws Error(Usage) with the class of the reference's exception first: "TemplateError: ...".
  virtual RenderedChat render(const Conversation& conversation, const Tokenizer* tokenizer) const = 0;
  virtual std::string name() const = 0;  // "mistral-v1", "jinja (tokenizer_config.json)"
};

std::vector<std::string> builtin_chat_format_names();  // "mistral-v1", ..., "chatml", "deepseek-v2", ...
// Throws Error(Usage) for other names.
std::unique_ptr<ChatFormat> builtin_chat_format(const std::string& name);
// `bos` / `eos`: values of bos_token and eos_token, undefined when nullopt.
std::unique_ptr<ChatFormat> jinja_chat_format(const std::string& source, const std::string& name,
                                              std::optional<std::string> bos, std::optional<std::string> eos);
// The format a checkpoint asks for: its own template (tokenizer_config.json, chat_template.jinja, GGUF metadata) or,
// for Mistral's own layouts and templates that are Mistral's, the built-in one. Null for a base model without any.
std::unique_ptr<ChatFormat> load_chat_format(const WeightStore& store, const Tokenizer* tokenizer);

}  // namespace ostro
