#include "cli/chat_session.h"

#include <algorithm>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/interrupt.h"
#include "cli/suggest.h"
#include "cli/terminal.h"
#include "engine/memory.h"
#include "text/reasoning.h"

namespace ostro {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kHelp =
    "/clear            begin a new conversation\n"
    "/system TEXT      set the system message; without TEXT, remove it\n"
    "/regenerate       another reply to the last message\n"
    "/save FILE        write the conversation as JSON\n"
    "/load FILE        go on with a saved conversation\n"
    "/stats            tokens, speed and memory\n"
    "/routing          the share of tokens each expert took part in\n"
    "/quit             leave; Ctrl-D does too\n"
    "A line that ends in \\ goes on in the next; \"\"\" begins and ends a block of lines. Ctrl-C stops a reply.\n";

const std::vector<std::string> kCommands = {"/help", "/clear", "/system",  "/regenerate", "/save",
                                            "/load", "/stats", "/routing", "/quit"};

std::string dump(const ordered_json& value, int indent = -1) {
  return value.dump(indent, ' ', false, ordered_json::error_handler_t::replace);
}

bool is_message(const ordered_json& value) {
  if (!value.is_object() || value.size() != 2 || !value.contains("role") || !value.contains("content")) return false;
  return value["role"].is_string() && value["content"].is_string();
}

// A reply as it comes, with a line before and after what the model thinks.
class ReplyText {
 public:
  explicit ReplyText(std::string_view prompt) : split_(prompt) {}

  void push(std::string_view text) { show(split_.push(text)); }
  void finish() { show(split_.flush()); }

 private:
  void show(const ReasoningSplit::Parts& parts) {
    if (!parts.reasoning.empty() && !thinking_) write_out("[thinking]\n");
    thinking_ = thinking_ || !parts.reasoning.empty();
    write_out(parts.reasoning);
    if (!parts.answer.empty() && thinking_ && !answering_) write_out("\n[answer]\n");
    answering_ = answering_ || !parts.answer.empty();
    write_out(parts.answer);
  }

  ReasoningSplit split_;
  bool thinking_ = false, answering_ = false;
};

}  // namespace

ChatSession::ChatSession(Engine& engine, std::unique_ptr<ChatFormat> format, const SamplingFlags& sampling)
    : engine_(engine), format_(std::move(format)), sampling_(sampling) {
  // One seed for the conversation, so that it can be had again.
  if (sampling_.seed < 0) sampling_.seed = static_cast<int64_t>(sampling_.request().sampling.seed);
}

void ChatSession::set_system(const std::string& text) { system_ = text; }

void ChatSession::say(const std::string& message) {
  messages_.push_back({{"role", "user"}, {"content", message}});
  try {
    reply();
  } catch (...) {
    messages_.erase(messages_.size() - 1);
    throw;
  }
}

void ChatSession::reply() {
  Conversation conversation;
  if (!system_.empty()) conversation.messages.push_back({{"role", "system"}, {"content", system_}});
  for (const auto& message : messages_) conversation.messages.push_back(message);
  Request request = sampling_.request();
  RenderedChat rendered = format_->render(conversation, engine_.tokenizer());
  request.prompt = std::move(rendered.ids);
  std::ranges::move(rendered.stops, std::back_inserter(request.stop));
  request.continues_text = false;
  request.stream = draws_++;
  ReplyText shown(rendered.text);
  if (!json_) request.on_text = [&shown](std::string_view text) { shown.push(text); };
  last_ = generate(engine_, std::move(request), &routing_);
  clear_interrupt();  // it ended the reply, not the conversation
  if (!json_) shown.finish();
  if (const DraftMeter* meter = engine_.draft_meter(); meter != nullptr && meter->off() && !told_off_) {
    report(meter->report());
    told_off_ = true;
  }
  // What was thought is not part of the conversation.
  const auto parts = split_reasoning(rendered.text, last_.text);
  ordered_json message = {{"role", "assistant"}, {"content", parts.answer}};
  messages_.push_back(message);
  if (!parts.reasoning.empty()) message["reasoning"] = parts.reasoning;
  write_out(json_ ? dump(message) + "\n" : last_.text.ends_with('\n') ? "\n" : "\n\n");
}

void ChatSession::regenerate() {
  if (messages_.empty()) throw_error(ErrorKind::Usage, "/regenerate: nothing was said yet");
  const ordered_json before = messages_.back();
  messages_.erase(messages_.size() - 1);
  try {
    reply();
  } catch (...) {
    messages_.push_back(before);
    throw;
  }
}

void ChatSession::clear() {
  messages_ = ordered_json::array();
  routing_.clear();
  last_ = {};
}

void ChatSession::save(const std::string& file) const {
  write_file_atomically(file, dump({{"system", system_}, {"messages", messages_}}, 2) + "\n");
}

void ChatSession::load(const std::string& file) {
  const auto saved = ordered_json::parse(read_text_file(file), nullptr, false);
  const bool object = saved.is_object() && saved.contains("messages") && saved["messages"].is_array();
  if (!object || !std::all_of(saved["messages"].begin(), saved["messages"].end(), is_message))
    throw_error(ErrorKind::File, "{}: not a saved conversation: expected {{\"messages\": [{{\"role\", \"content\"}}]}}",
                file);
  clear();
  system_ = saved.contains("system") && saved["system"].is_string() ? saved["system"].get<std::string>() : "";
  messages_ = saved["messages"];
}

std::string ChatSession::statistics() const {
  const int64_t used = last_.prompt_tokens + static_cast<int64_t>(last_.tokens.size());
  const std::string guesses =
      engine_.draft_meter() != nullptr ? "          " + engine_.draft_meter()->report() + "\n" : "";
  return fmt::format(
      "context   {} of {} tokens, {} messages\n"
      "prompt    {} tokens, of which {} were in the cache; {:.2f} tokens/s\n"
      "reply     {} tokens, {:.2f} tokens/s\n{}"
      "memory    {} at most, {} of it KV cache\n",
      used, engine_.options().context, messages_.size(), last_.prompt_tokens, last_.cached_tokens, last_.prompt_speed(),
      last_.tokens.size(), last_.decode_speed(), guesses, in_gigabytes(peak_memory()),
      in_gigabytes(engine_.cache().bytes_in_use()));
}

std::string ChatSession::routing() const {
  const bool sparse = std::ranges::any_of(
      engine_.spec().blocks, [](const BlockSpec& block) { return std::holds_alternative<MoeSpec>(block.mixer); });
  if (!sparse) return "This model is dense: it has no experts.\n";
  const std::string table = routing_.table();
  return table.empty() ? "No token went through experts yet.\n" : table;
}

bool ChatSession::command(const std::string& line) {
  const size_t space = line.find(' ');
  const std::string name = line.substr(0, space);
  std::string rest = space == std::string::npos ? "" : line.substr(space + 1);
  rest.erase(0, rest.find_first_not_of(' '));
  auto file = [&]() -> const std::string& {
    if (rest.empty()) throw_error(ErrorKind::Usage, "{}: expected the name of a file", name);
    return rest;
  };
  if (name == "/quit" || name == "/exit" || name == "/bye") return false;
  if (name == "/help") {
    write_out(kHelp);
  } else if (name == "/clear") {
    clear();
  } else if (name == "/system") {
    set_system(rest);
  } else if (name == "/regenerate") {
    regenerate();
  } else if (name == "/save") {
    save(file());
  } else if (name == "/load") {
    load(file());
  } else if (name == "/stats") {
    write_out(statistics());
  } else if (name == "/routing") {
    write_out(routing());
  } else {
    const std::string near = nearest_name(name, kCommands);
    throw_error(ErrorKind::Usage, "unknown command {}; {}", name,
                near.empty() ? "/help lists them" : "did you mean " + near + "?");
  }
  return true;
}

}  // namespace ostro
