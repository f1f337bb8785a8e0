// `ostro template`: conversations to the text and ids that a model sees.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/terminal.h"
#include "formats/json_file.h"
#include "formats/weight_store.h"
#include "text/chat.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using OptionalText = std::optional<std::string>;

struct TemplateFlags {
  std::string model, format, jinja;
  bool jsonl = false, json = false;
};

// Where the text and the format come from: a model, a tokenizer, or neither.
class Formats {
 public:
  explicit Formats(const TemplateFlags& flags) {
    if (!flags.model.empty()) open(flags.model);
    if (!flags.format.empty()) {
      format_ = builtin_chat_format(flags.format);
    } else if (!flags.jinja.empty()) {
      source_ = read_text_file(flags.jinja);
      name_ = flags.jinja;
      jinja_chat_format(*source_, name_, std::nullopt, std::nullopt);  // a fault of syntax is found before any line
    } else if (flags.model.empty()) {
      throw_error(ErrorKind::Usage, "no chat format: give -m MODEL, --format NAME or --jinja FILE");
    } else {
      format_ = load_chat_format(store_, tokenizer_.get());
      if (format_ == nullptr) {
        throw_error(ErrorKind::Usage, "{} has no chat format: give --format NAME or --jinja FILE", flags.model);
      }
    }
  }

  const Tokenizer* tokenizer() const { return tokenizer_.get(); }

  // A template of --jinja sees the bos_token and eos_token of the line; without them, those of the tokenizer.
  const ChatFormat& format_for(const ordered_json& line) {
    if (format_ != nullptr) return *format_;
    const auto key = std::pair(token(line, "bos_token", tokenizer_ ? tokenizer_->bos : -1),
                               token(line, "eos_token", tokenizer_ ? tokenizer_->eos : -1));
    auto& made = templates_[key];
    if (made == nullptr) made = jinja_chat_format(*source_, name_, key.first, key.second);
    return *made;
  }

 private:
  void open(const std::string& path) {
    const fs::path file(path);
    std::error_code ignored;
    if (fs::is_directory(file, ignored) || file.extension() == ".gguf") {
      store_ = open_weights(path);
      tokenizer_ = load_tokenizer(store_);
      return;
    }
    tokenizer_ = load_tokenizer_file(path);
    store_.path = path;
    store_.folder = file.has_parent_path() ? file.parent_path().string() : ".";
  }

  OptionalText token(const ordered_json& line, const char* key, int32_t id) const {
    const auto found = line.find(key);
    if (found != line.end()) return found->is_string() ? OptionalText(found->get<std::string>()) : std::nullopt;
    if (tokenizer_ == nullptr || id < 0) return std::nullopt;
    return std::string(tokenizer_->token_text(id));
  }

  WeightStore store_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<ChatFormat> format_;
  OptionalText source_;  // of --jinja
  std::string name_;
  std::map<std::pair<OptionalText, OptionalText>, std::unique_ptr<ChatFormat>> templates_;
};

ordered_json parse(const std::string& text, const std::string& where) {
  try {
    ordered_json json = ordered_json::parse(text);
    if (json.is_array()) return {{"messages", std::move(json)}};
    if (json.is_object() && json.contains("messages")) return json;
  } catch (const nlohmann::json::exception& error) {
    throw_error(ErrorKind::Usage, "{}: not valid JSON: {}", where, json_reason(error));
  }
  throw_error(ErrorKind::Usage, "{}: expected an object with messages, or a list of messages", where);
}

RenderedChat render(Formats& formats, const ordered_json& line) {
  Conversation conversation;
  conversation.messages = line.at("messages");
  if (line.contains("tools")) conversation.tools = line["tools"];
  if (line.contains("add_generation_prompt") && line["add_generation_prompt"].is_boolean()) {
    conversation.add_generation_prompt = line["add_generation_prompt"].get<bool>();
  }
  return formats.format_for(line).render(conversation, formats.tokenizer());
}

void print(const ordered_json& out) {
  write_out(out.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n");
}

void print_result(const Formats& formats, const RenderedChat& chat) {
  ordered_json out = {{"text", chat.text}};
  if (formats.tokenizer() != nullptr) out["ids"] = chat.ids;
  print(out);
}

// What a format refuses begins with the class of the reference's exception.
void print_refusal(const std::string& message) {
  const size_t colon = message.find(": ");
  if (colon == std::string::npos) return print({{"error", message}});
  print({{"error", message.substr(0, colon)}, {"error_message", message.substr(colon + 2)}});
}

void run(const TemplateFlags& flags) {
  if (!flags.format.empty() && !flags.jinja.empty()) {
    throw_error(ErrorKind::Usage, "--format and --jinja: expected one of them, both were given");
  }
  Formats formats(flags);
  if (!flags.jsonl) {
    const std::string text{std::istreambuf_iterator<char>(std::cin), {}};
    const RenderedChat chat = render(formats, parse(text, "standard input"));
    return flags.json ? print_result(formats, chat) : write_out(chat.text);
  }
  std::string line;
  for (size_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const ordered_json conversation = parse(line, fmt::format("line {}", number));
    try {
      print_result(formats, render(formats, conversation));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::Usage) throw;
      print_refusal(error.what());
    }
  }
}

}  // namespace

void add_template(CLI::App& app) {
  auto* verb = app.add_subcommand("template", "Conversations to the text and ids that a model sees");
  auto flags = std::make_shared<TemplateFlags>();
  verb->add_option("-m,--model", flags->model,
                   "A model, or a tokenizer alone: .model, tokenizer.json, tekken.json, .tiktoken; without it no ids")
      ->type_name("PATH");
  add_choice(*verb, "--format", flags->format, builtin_chat_format_names(),
             "A built-in chat format instead of the model's");
  verb->add_option("--jinja", flags->jinja, "A Jinja template instead of the model's")->type_name("FILE");
  verb->add_flag("--jsonl", flags->jsonl,
                 "One conversation a line in, with messages (and tools, add_generation_prompt, bos_token, eos_token); "
                 "one object out, with text and ids, or error");
  verb->add_flag("--json", flags->json, "One JSON object instead of the text");
  verb->footer(
      "Standard input holds a list of messages, or an object with messages; the text is printed.\n"
      "Examples:\n"
      "  echo '[{\"role\": \"user\", \"content\": \"Hello\"}]' | ostro template -m model.gguf\n"
      "  ostro template -m tokenizer.model --format mistral-v3 --jsonl < conversations.jsonl\n"
      "  ostro template --jinja chat_template.jinja --jsonl < conversations.jsonl");
  verb->callback([flags] { run(*flags); });
}

}  // namespace ostro
