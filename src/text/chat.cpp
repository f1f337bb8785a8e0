// Chat formats that are templates, and which format a checkpoint asks for.
#include "text/chat.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "formats/json_file.h"
#include "text/jinja.h"
#include "text/token_matcher.h"

namespace ostro {

namespace {
namespace fs = std::filesystem;
using nlohmann::ordered_json;

// Older names of a message's reasoning also stand under the newer ones, as Transformers arranges before rendering.
ordered_json with_reasoning_names(const ordered_json& message) {
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

// Ids of a rendered text. The template's special tokens become their ids; what looks like one in the data stays text.
std::vector<int32_t> encode_rendered(const jinja::Text& text, const Tokenizer& tokenizer) {
  EncodeOptions options;
  options.parse_special = true;
  options.prefix_first_only = true;
  TokenMatcher special;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const TokenKind kind = tokenizer.token_kind(id);
    if (kind == TokenKind::Control || kind == TokenKind::Unknown) special.add(tokenizer.token_text(id), id);
  }
  bool lookalike = false;
  std::vector<TokenMatcher::Match> cuts;
  for (size_t at = 0; at < text.size();) {
    TokenMatcher::Match match;
    if (!special.next(text.view(), at, match)) break;
    bool from_data = false;
    for (size_t i = match.begin; i < match.end; ++i) from_data = from_data || text.from_data(i);
    lookalike = lookalike || from_data;
    if (!from_data) cuts.push_back(match);
    at = from_data ? match.begin + 1 : match.end;
  }
  if (!lookalike) return tokenizer.encode(text.view(), options);
  options.parse_special = false;
  std::vector<int32_t> ids;
  cuts.push_back({text.size(), text.size(), -1});
  size_t begin = 0;
  for (const TokenMatcher::Match& cut : cuts) {
    options.add_prefix = begin == 0;
    if (cut.begin > begin) {
      const auto stretch = tokenizer.encode(text.view().substr(begin, cut.begin - begin), options);
      ids.insert(ids.end(), stretch.begin(), stretch.end());
    }
    if (cut.id >= 0) ids.push_back(cut.id);
    begin = cut.end;
  }
  return ids;
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
    if (tokenizer != nullptr) out.ids = encode_rendered(text, *tokenizer);
    return out;
  }

 private:
  jinja::Template template_;
  std::string name_;
  std::optional<std::string> bos_, eos_;
};

// A checkpoint with a template of its own for conversations with tools.
class ToolUseChatFormat : public ChatFormat {
 public:
  ToolUseChatFormat(std::unique_ptr<ChatFormat> plain, std::unique_ptr<ChatFormat> with_tools)
      : plain_(std::move(plain)), with_tools_(std::move(with_tools)) {}
  std::string name() const override { return plain_->name(); }
  RenderedChat render(const Conversation& conversation, const Tokenizer* tokenizer) const override {
    return (conversation.tools.is_null() ? plain_ : with_tools_)->render(conversation, tokenizer);
  }

 private:
  std::unique_ptr<ChatFormat> plain_, with_tools_;
};

// --- what a checkpoint holds ---

struct Templates {
  std::string plain, with_tools;  // empty: none
  std::string where;
  std::optional<std::string> bos, eos;
};

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

nlohmann::json read_object(const fs::path& path) {
  if (!is_file(path)) return nullptr;
  nlohmann::json json = read_json_file(path.string());
  if (!json.is_object()) throw_error(ErrorKind::File, "{}: expected a JSON object", path.string());
  return json;
}

// "<s>" or {"content": "<s>", ...}.
std::optional<std::string> special_token(const nlohmann::json& config, const char* key) {
  if (!config.is_object() || !config.contains(key)) return std::nullopt;
  const nlohmann::json& value = config.at(key);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string()) return value["content"];
  return std::nullopt;
}

// A template, or a list of {"name", "template"}.
void take_templates(const nlohmann::json& value, const std::string& where, Templates& out) {
  const auto text = [&](const nlohmann::json& json) {
    if (!json.is_string()) throw_error(ErrorKind::File, "{}: chat_template: expected a string", where);
    return json.get<std::string>();
  };
  if (value.is_null()) return;
  out.where = where;
  if (!value.is_array()) {
    out.plain = text(value);
    return;
  }
  for (const auto& entry : value) {
    if (!entry.is_object() || !entry.contains("name") || !entry.contains("template")) {
      throw_error(ErrorKind::File, "{}: chat_template: expected objects with name and template", where);
    }
    if (entry["name"] == "default") out.plain = text(entry["template"]);
    if (entry["name"] == "tool_use") out.with_tools = text(entry["template"]);
  }
}

Templates templates_of_folder(const fs::path& folder) {
  Templates out;
  const nlohmann::json config = read_object(folder / "tokenizer_config.json");
  const nlohmann::json map = read_object(folder / "special_tokens_map.json");
  out.bos = special_token(config, "bos_token");
  out.eos = special_token(config, "eos_token");
  if (!out.bos) out.bos = special_token(map, "bos_token");
  if (!out.eos) out.eos = special_token(map, "eos_token");
  if (config.is_object() && config.contains("chat_template")) {
    take_templates(config["chat_template"], "tokenizer_config.json", out);
  }
  const nlohmann::json own = read_object(folder / "chat_template.json");
  if (own.is_object() && own.contains("chat_template")) take_templates(own["chat_template"], "chat_template.json", out);
  if (is_file(folder / "chat_template.jinja")) {  // the newest place; the others stay for older readers
    out.plain = read_text_file(folder / "chat_template.jinja");
    out.where = "chat_template.jinja";
    const fs::path with_tools = folder / "additional_chat_templates" / "tool_use.jinja";
    out.with_tools = is_file(with_tools) ? read_text_file(with_tools) : "";
  }
  return out;
}

Templates templates_of_gguf(const GgufMetadata& metadata) {
  Templates out;
  out.where = "tokenizer.chat_template";
  out.plain = metadata.text("tokenizer.chat_template").value_or("");
  out.with_tools = metadata.text("tokenizer.chat_template.tool_use").value_or("");
  return out;
}

// --- Mistral's own ---

// The built-in format that fits a tokenizer; null where it is not one of Mistral's SentencePiece vocabularies.
std::unique_ptr<ChatFormat> builtin_for(const Tokenizer& tokenizer) {
  if (!tokenizer.find("\u2581[") || !tokenizer.find("\u2581]")) return nullptr;
  if (!tokenizer.find("[INST]")) return builtin_chat_format("mistral-v1");
  return builtin_chat_format(tokenizer.find("[PREFIX]") ? "mistral-v3" : "mistral-v2");
}

std::string without_spaces(std::string text) {
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  return text;
}

// Whether a template writes a plain conversation as the built-in format does, spaces aside: those are where the
// published templates differ from the tokens that the models were trained on.
bool says_the_same(const ChatFormat& given, const ChatFormat& builtin) {
  Conversation probe;
  probe.messages = {{{"role", "user"}, {"content", "one"}},
                    {{"role", "assistant"}, {"content", "two"}},
                    {{"role", "user"}, {"content", "three"}}};
  try {
    return without_spaces(given.render(probe, nullptr).text) == without_spaces(builtin.render(probe, nullptr).text);
  } catch (const Error&) {
    return false;
  }
}

std::optional<std::string> piece(const Tokenizer& tokenizer, int32_t id) {
  return id >= 0 && id < tokenizer.vocab_size() ? std::optional<std::string>(tokenizer.token_text(id)) : std::nullopt;
}
}  // namespace

std::unique_ptr<ChatFormat> jinja_chat_format(const std::string& source, const std::string& name,
                                              std::optional<std::string> bos, std::optional<std::string> eos) {
  return std::make_unique<JinjaChatFormat>(source, name, std::move(bos), std::move(eos));
}

std::unique_ptr<ChatFormat> load_chat_format(const WeightStore& store, const Tokenizer* tokenizer) {
  if (!store.gguf && store.format != CheckpointFormat::HuggingFace) {
    return tokenizer != nullptr ? builtin_for(*tokenizer) : nullptr;
  }
  Templates templates = store.gguf ? templates_of_gguf(*store.gguf) : templates_of_folder(store.folder);
  if (templates.plain.empty()) return nullptr;
  if (tokenizer != nullptr && !templates.bos) templates.bos = piece(*tokenizer, tokenizer->bos);
  if (tokenizer != nullptr && !templates.eos) templates.eos = piece(*tokenizer, tokenizer->eos);
  const auto make = [&](const std::string& source) {
    try {
      return jinja_chat_format(source, "jinja (" + templates.where + ")", templates.bos, templates.eos);
    } catch (const Error& error) {
      throw_error(ErrorKind::File, "{}: {}: {}", store.path, templates.where, error.what());
    }
  };
  auto format = make(templates.plain);
  if (tokenizer != nullptr) {
    auto builtin = builtin_for(*tokenizer);
    if (builtin != nullptr && says_the_same(*format, *builtin)) return builtin;
  }
  if (templates.with_tools.empty()) return format;
  return std::make_unique<ToolUseChatFormat>(std::move(format), make(templates.with_tools));
}

}  // namespace ostro
