// Mistral's instruct formats v1, v2 and v3, token for token as mistral-common writes them: its checks in serving mode,
// its joining of messages, its encoding. Contents are always encoded as text, so nothing a user writes becomes a
// control token.
#include <algorithm>
#include <array>
#include <set>

#include "base/error.h"
#include "text/chat_builtin.h"
#include "text/chat_json.h"
#include "text/chat_schema.h"
#include "text/jinja_value.h"

namespace ostro {

namespace {
using jinja::raise;
using nlohmann::ordered_json;

enum class Role { System, User, Assistant, Tool };
constexpr std::array<std::string_view, 4> kRoleNames{"system", "user", "assistant", "tool"};
std::string_view name_of(Role role) { return kRoleNames[static_cast<size_t>(role)]; }

struct ToolCall {
  std::string id = "null";  // the format's own word for no id
  std::string name;
  std::string arguments;  // JSON, or some text
};

struct Message {
  Role role = Role::User;
  std::string content;                 // text chunks joined
  bool has_content = false;            // as Python's truth of the content given
  std::set<std::string> other_chunks;  // classes of chunks that are not text
  std::vector<ToolCall> tool_calls;
  std::optional<std::string> tool_call_id, name;
  bool prefix = false;  // an unfinished reply that the model continues
};

// What stands between control tokens: pieces of text, each encoded on its own.
struct Piece {
  std::string control;  // the token's name; empty: text
  std::string text;
};

// --- reading ---

const ordered_json& member(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) raise("KeyError", fmt::format("'{}'", key));
  return *found;
}

const ordered_json* optional_member(const ordered_json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::string required_text(const ordered_json& object, const char* key, std::string_view what) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    raise("ValidationError", fmt::format("{}: {} should be a string", what, key));
  }
  return found->get<std::string>();
}

void read_chunk(const ordered_json& chunk, Message& message) {
  if (!chunk.is_object()) raise("AttributeError", "a content chunk should be an object");
  const ordered_json* type = optional_member(chunk, "type");
  if (type == nullptr) raise("ValueError", "Content chunk must have a type field.");
  const std::string name = type->is_string() ? type->get<std::string>() : type->dump();
  static const std::map<std::string, std::string> kClasses{{"image_url", "ImageURLChunk"},
                                                           {"image", "ImageChunk"},
                                                           {"input_audio", "AudioChunk"},
                                                           {"audio_url", "AudioURLChunk"},
                                                           {"thinking", "ThinkChunk"}};
  if (name == "text") {
    const std::string text = required_text(chunk, "text", "TextChunk");
    if (text.empty()) return;
    if (!message.content.empty()) message.content += "\n\n";
    message.content += text;
    return;
  }
  const auto known = kClasses.find(name);
  if (known == kClasses.end()) raise("ValueError", "'" + name + "' is not a valid ChunkTypes");
  const bool thinks = name == "thinking";
  const bool fits = message.role == Role::Assistant ? thinks
                    : message.role == Role::System  ? thinks || name == "input_audio"
                                                    : !thinks;
  if (!fits)
    raise("ValidationError", fmt::format("{} cannot be used in {} message.", known->second, name_of(message.role)));
  message.other_chunks.insert(known->second);
}

void read_content(const ordered_json& content, Message& message) {
  if (content.is_string()) {
    message.content = content.get<std::string>();
    message.has_content = !message.content.empty();
  } else if (content.is_array()) {
    for (const auto& chunk : content) read_chunk(chunk, message);
    message.has_content = !content.empty();
  } else if (!content.is_null()) {
    raise("ValueError", fmt::format("Unknown content type: {}", content.type_name()));
  } else if (message.role != Role::Assistant) {
    raise("ValidationError", fmt::format("{} message: content should be a string or a list", name_of(message.role)));
  }
}

ToolCall read_tool_call(const ordered_json& json) {
  ToolCall call;
  if (!json.is_object()) raise("ValidationError", "ToolCall: should be an object");
  if (json.contains("id")) call.id = required_text(json, "id", "ToolCall");
  if (json.contains("type") && json["type"] != "function")
    raise("ValidationError", "ToolCall: type should be 'function'");
  const ordered_json* function = optional_member(json, "function");
  if (function == nullptr || !function->is_object()) raise("ValidationError", "ToolCall: function is required");
  call.name = required_text(*function, "name", "FunctionCall");
  const auto arguments = function->find("arguments");
  if (arguments == function->end()) raise("ValidationError", "FunctionCall: arguments is required");
  if (arguments->is_string()) {
    call.arguments = arguments->get<std::string>();
  } else if (arguments->is_object()) {
    call.arguments = arguments->dump(-1, ' ', false, ordered_json::error_handler_t::replace);
  } else if (arguments->is_null()) {
    call.arguments = "{}";
  } else {
    raise("ValidationError", "FunctionCall: arguments should be a string");
  }
  return call;
}

void read_reasoning(const ordered_json& json, Message& message) {
  const ordered_json* content = optional_member(json, "reasoning_content");
  const ordered_json* reasoning = optional_member(json, "reasoning");
  if (content == nullptr && reasoning == nullptr) return;
  if (content != nullptr && reasoning != nullptr && *content != *reasoning) {
    raise("ValueError", "`reasoning_content` and `reasoning` should be equal.");
  }
  if (!message.other_chunks.empty()) {
    raise("InvalidAssistantMessageException",
          "Message cannot have both thinking chunks in `content` and a top-level `reasoning` or `reasoning_content` "
          "field.");
  }
  message.other_chunks.insert("ThinkChunk");
  message.has_content = true;
}

Role read_role(const ordered_json& json) {
  const ordered_json* role = optional_member(json, "role");
  if (role != nullptr && role->is_string()) {
    const auto& name = role->get_ref<const std::string&>();
    if (name == "developer") return Role::System;
    const auto* const found = std::find(kRoleNames.begin(), kRoleNames.end(), name);
    if (found != kRoleNames.end()) return static_cast<Role>(found - kRoleNames.begin());
  }
  raise("ValueError", "Unknown message role: " + (role == nullptr     ? "None"
                                                  : role->is_string() ? role->get<std::string>()
                                                                      : role->dump()));
}

Message read_message(const ordered_json& json) {
  if (!json.is_object()) raise("AttributeError", "a message should be an object");
  Message message;
  message.role = read_role(json);
  if (message.role != Role::Assistant) {
    read_content(member(json, "content"), message);
    if (message.role == Role::Tool) {
      if (!member(json, "tool_call_id").is_null())
        message.tool_call_id = required_text(json, "tool_call_id", "ToolMessage");
      if (optional_member(json, "name") != nullptr) message.name = required_text(json, "name", "ToolMessage");
    }
    return message;
  }
  if (const ordered_json* calls = optional_member(json, "tool_calls")) {
    if (!calls->is_array()) raise("ValueError", fmt::format("tool_calls must be a list, got {}", calls->type_name()));
    for (const auto& call : *calls) message.tool_calls.push_back(read_tool_call(call));
  }
  if (const ordered_json* content = optional_member(json, "content")) read_content(*content, message);
  read_reasoning(json, message);
  return message;
}

struct Tool {
  std::string name, description;
  ordered_json parameters;
};

std::vector<Tool> read_tools(const ordered_json& json) {
  std::vector<Tool> tools;
  if (json.is_null()) return tools;
  if (!json.is_array()) raise("TypeError", "tools should be a list");
  for (const auto& entry : json) {
    if (!entry.is_object()) raise("ValidationError", "Tool: should be an object");
    if (entry.contains("type") && entry["type"] != "function")
      raise("ValidationError", "Tool: type should be 'function'");
    const ordered_json* function = optional_member(entry, "function");
    if (function == nullptr || !function->is_object()) raise("ValidationError", "Tool: function is required");
    Tool tool;
    tool.name = required_text(*function, "name", "Function");
    if (optional_member(*function, "description") != nullptr) {
      tool.description = required_text(*function, "description", "Function");
    }
    const ordered_json* parameters = optional_member(*function, "parameters");
    tool.parameters = parameters != nullptr ? *parameters : ordered_json::object();
    if (!tool.parameters.is_object()) raise("ValidationError", "Function: parameters should be an object");
    tools.push_back(std::move(tool));
  }
  return tools;
}

// --- checks ---

// ^[characters]{lowest,highest}$ of Python, whose $ also matches before a last line break.
bool is_name(std::string_view text, size_t lowest, size_t highest, bool with_marks) {
  if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
  return text.size() >= lowest && text.size() <= highest && std::all_of(text.begin(), text.end(), [&](char c) {
           return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
                  (with_marks && (c == '_' || c == '-'));
         });
}

void check_function_name(std::string_view name, std::string_view error) {
  if (is_name(name, 1, 64, true)) return;
  raise(error, fmt::format("Function name was {} but must be a-z, A-Z, 0-9, or contain underscores and dashes, with a "
                           "maximum length of 64.",
                           name));
}

void check_id(std::string_view id, std::string_view error) {
  if (is_name(id, 9, 9, false)) return;
  raise(error, fmt::format("Tool call id was {} but must be a-z, A-Z, 0-9, with a length of 9.", id));
}

void check_order(const std::vector<Message>& messages) {
  static const std::array<std::set<Role>, 4> kNext{{
      {Role::User, Role::Assistant, Role::System},
      {Role::Assistant, Role::System, Role::User},
      {Role::Assistant, Role::User, Role::Tool},
      {Role::Assistant, Role::Tool, Role::User},
  }};
  for (size_t i = 1; i < messages.size(); ++i) {
    if (kNext[static_cast<size_t>(messages[i - 1].role)].count(messages[i].role) != 0) continue;
    raise("InvalidMessageStructureException", fmt::format("Unexpected role '{}' after role '{}'",
                                                          name_of(messages[i].role), name_of(messages[i - 1].role)));
  }
}

void check_results_follow_calls(const std::vector<Message>& messages) {
  const auto fail = [] {
    raise("InvalidMessageStructureException", "Not the same number of function calls and responses");
  };
  int64_t expected = 0;
  for (size_t i = 1; i < messages.size(); ++i) {  // the first message is not looked at
    if (messages[i].role == Role::Tool) --expected;
    if (messages[i].role != Role::Assistant) continue;
    if (expected != 0) fail();
    expected = static_cast<int64_t>(messages[i].tool_calls.size());
  }
  if (expected != 0) fail();
}

void check_structure(const std::vector<Message>& messages) {
  if (messages.empty()) raise("InvalidMessageStructureException", "Conversation must have at least one message");
  const Message& last = messages.back();
  if (messages.size() == 1) {
    if (last.role != Role::User && last.role != Role::System) {
      raise("InvalidMessageStructureException", "Conversation must start with a user message or system message");
    }
  } else if (last.role == Role::Assistant && !last.prefix) {
    raise("InvalidMessageStructureException",
          "Expected last role User or Tool (or Assistant with prefix) for serving but got assistant");
  }
  check_order(messages);
  check_results_follow_calls(messages);
}

void check_content(const Message& message, int version) {
  static constexpr std::array<std::string_view, 4> kErrors{
      "InvalidSystemPromptException", "InvalidUserMessageException", "InvalidAssistantMessageException",
      "InvalidToolMessageException"};
  std::vector<std::string> refused;
  for (const std::string& chunk : message.other_chunks) {
    const bool image = chunk == "ImageChunk" || chunk == "ImageURLChunk";
    if (!(version == 3 && message.role == Role::User && image)) refused.push_back("'" + chunk + "'");
  }
  if (!refused.empty()) {
    raise(kErrors[static_cast<size_t>(message.role)], fmt::format("Unexpected content chunk types in {} message: [{}]",
                                                                  name_of(message.role), fmt::join(refused, ", ")));
  }
  if (message.role == Role::Assistant) {
    if (message.has_content == !message.tool_calls.empty()) {
      raise("InvalidAssistantMessageException",
            "Assistant message must have either content or tool_calls, but not both.");
    }
    for (const ToolCall& call : message.tool_calls) {
      if (version == 3) {
        if (call.id == "null") raise("InvalidFunctionCallException", "Tool call id has to be defined in serving mode.");
        check_id(call.id, "InvalidFunctionCallException");
      }
      check_function_name(call.name, "InvalidFunctionCallException");
    }
  } else if (message.role == Role::Tool) {
    if (message.name) check_function_name(*message.name, "InvalidToolMessageException");
    if (version == 3) {
      if (!message.tool_call_id) raise("InvalidRequestException", "Tool call id has to be defined.");
      check_id(*message.tool_call_id, "InvalidToolMessageException");
    }
  }
}

void check_tools(const std::vector<Tool>& tools) {
  for (const Tool& tool : tools) {
    if (const std::string fault = schema_fault(tool.parameters); !fault.empty()) {
      raise("InvalidToolSchemaException", "Invalid tool schema: " + fault);
    }
    check_function_name(tool.name, "InvalidToolException");
  }
}

// --- joining ---

// Text that may be JSON, as a JSON value.
std::string as_json_value(const std::string& text) {
  if (text.empty()) return "{}";
  return rewrite_json(text).value_or(json_string(text));
}

// Messages of one role in a row become one, system texts leave the row; the first is always the user's.
std::vector<Message> join_messages(const std::vector<Message>& messages) {
  std::vector<Message> out;
  const Message* previous = nullptr;
  for (const Message& message : messages) {
    const bool continues = previous != nullptr && previous->role == message.role;
    previous = &message;
    if (message.role == Role::System) continue;
    if (!continues || message.role == Role::Tool) {
      out.push_back(message);
      continue;
    }
    Message& joined = out.back();
    if (!joined.content.empty() && !message.content.empty()) joined.content += "\n\n";
    joined.content += message.content;
    joined.other_chunks.insert(message.other_chunks.begin(), message.other_chunks.end());
    joined.tool_calls.insert(joined.tool_calls.end(), message.tool_calls.begin(), message.tool_calls.end());
    joined.prefix = joined.prefix || message.prefix;
  }
  if (out.empty() || out.front().role != Role::User) out.insert(out.begin(), Message{});
  return out;
}

std::string join_system(const std::vector<Message>& messages) {
  std::string out;
  bool first = true;
  for (const Message& message : messages) {
    if (message.role != Role::System || !message.has_content) continue;
    if (!first) out += "\n\n";
    first = false;
    out += message.content;
  }
  return out;
}

// --- formats ---

class MistralFormat : public ChatFormat {
 public:
  explicit MistralFormat(int version) : version_(version) {}
  std::string name() const override { return fmt::format("mistral-v{}", version_); }

  RenderedChat render(const Conversation& conversation, const Tokenizer* tokenizer) const override {
    const std::vector<Piece> pieces = pieces_of(conversation);
    RenderedChat out;
    for (const Piece& piece : pieces) append_text(piece, out.text);
    if (tokenizer != nullptr) {
      for (const Piece& piece : pieces) append_ids(piece, *tokenizer, out.ids);
    }
    return out;
  }

 private:
  std::vector<Piece> pieces_of(const Conversation& conversation) const {
    if (!conversation.messages.is_array()) raise("TypeError", "messages must be a list");
    std::vector<Message> given;
    for (const auto& message : conversation.messages) given.push_back(read_message(message));
    if (!given.empty() && given.back().role == Role::Assistant)
      given.back().prefix = !conversation.add_generation_prompt;
    const std::vector<Tool> tools = read_tools(conversation.tools);
    check_structure(given);
    for (const Message& message : given) check_content(message, version_);
    check_tools(tools);
    const std::string system = join_system(given);
    const std::vector<Message> messages = join_messages(given);
    return version_ == 1 ? pieces_v1(messages, system) : pieces_v2(messages, system, tools);
  }

  static std::vector<Piece> pieces_v1(const std::vector<Message>& messages, const std::string& system) {
    std::vector<Piece> out{{"<s>", ""}};
    for (size_t i = 0; i < messages.size(); ++i) {
      const Message& message = messages[i];
      if (message.role == Role::Tool || !message.tool_calls.empty()) {
        raise("TokenizerException", "Tools not implemented for tokenizer V1");
      }
      if (message.role == Role::User) {
        const std::string before = i == 0 && !system.empty() ? system + "\n\n" : "";
        out.push_back({"", "[INST] " + before + message.content + " [/INST]"});
      } else {
        if (message.content.empty()) raise("TokenizerException", " // None");
        out.push_back({"", message.content});
        if (!message.prefix) out.push_back({"</s>", ""});
      }
    }
    return out;
  }

  std::vector<Piece> pieces_v2(const std::vector<Message>& messages, const std::string& system,
                               const std::vector<Tool>& tools) const {
    size_t last_user = 0;
    for (size_t i = 0; i < messages.size(); ++i) {
      if (messages[i].role == Role::User) last_user = i;
    }
    if (version_ == 2) check_single_results(messages, last_user);
    std::vector<Piece> out{{"<s>", ""}};
    for (size_t i = 0; i < messages.size(); ++i) {
      const Message& message = messages[i];
      const bool dropped = version_ == 2 && i < last_user;  // tool traffic before the last user message
      switch (message.role) {
        case Role::User:
          user(message, i == last_user ? system : "", i == last_user ? tools : std::vector<Tool>(), out);
          break;
        case Role::Tool:
          if (!dropped) result(message, out);
          break;
        default:
          if (message.tool_calls.empty() || !dropped) assistant(message, out);
      }
    }
    return out;
  }

  static void check_single_results(const std::vector<Message>& messages, size_t last_user) {
    bool calls = false;
    int results = 0;
    for (size_t i = last_user; i < messages.size(); ++i) {
      if (messages[i].role != Role::Tool) {
        calls = !messages[i].tool_calls.empty();
        results = 0;
      } else if (calls && ++results > 1) {
        raise("UnsupportedTokenizerFeatureException",
              "Tokenizer v2 does not support multiple tool results for one assistant turn.");
      }
    }
  }

  static void user(const Message& message, const std::string& system, const std::vector<Tool>& tools,
                   std::vector<Piece>& out) {
    if (!message.other_chunks.empty()) raise("AssertionError", "Make sure to define a image encoder at init");
    if (!tools.empty()) {
      std::string list;
      for (const Tool& tool : tools) {
        const std::string parameters = tool.parameters.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
        list +=
            fmt::format(R"({}{{"type": "function", "function": {{"name": {}, "description": {}, "parameters": {}}}}})",
                        list.empty() ? "" : ", ", json_string(tool.name), json_string(tool.description),
                        rewrite_json(parameters).value_or("{}"));
      }
      out.push_back({"[AVAILABLE_TOOLS]", ""});
      out.push_back({"", "[" + list + "]"});
      out.push_back({"[/AVAILABLE_TOOLS]", ""});
    }
    out.push_back({"[INST]", ""});
    out.push_back({"", (system.empty() ? "" : system + "\n\n") + message.content});
    out.push_back({"[/INST]", ""});
  }

  void assistant(const Message& message, std::vector<Piece>& out) const {
    if (!message.tool_calls.empty() && !message.content.empty()) {
      raise("ValueError", "Cannot have tool calls and content defined in the same assistant message");
    }
    if (!message.tool_calls.empty()) {
      std::string list;
      for (const ToolCall& call : message.tool_calls) {
        list += fmt::format(R"({}{{"name": {}, "arguments": {})", list.empty() ? "" : ", ", json_string(call.name),
                            as_json_value(call.arguments));
        if (version_ == 3 && !call.id.empty() && call.id != "null") list += ", \"id\": " + json_string(call.id);
        list += "}";
      }
      out.push_back({"[TOOL_CALLS]", ""});
      out.push_back({"", "[" + list + "]"});
    } else {
      if (message.content.empty()) raise("TokenizerException", "Invalid assistant message: " + message.content);
      const size_t end = message.content.find_last_not_of(' ');
      out.push_back({"", end == std::string::npos ? "" : message.content.substr(0, end + 1)});
    }
    if (!message.prefix) out.push_back({"</s>", ""});
  }

  void result(const Message& message, std::vector<Piece>& out) const {
    const std::string content = as_json_value(message.content);
    out.push_back({"[TOOL_RESULTS]", ""});
    if (version_ == 3) {
      out.push_back(
          {"", fmt::format(R"({{"content": {}, "call_id": {}}})", content, json_string(*message.tool_call_id))});
    } else {
      const std::string name = message.name ? json_string(*message.name) : "null";
      out.push_back({"", fmt::format(R"([{{"name": {}, "content": {}}}])", name, content)});
    }
    out.push_back({"[/TOOL_RESULTS]", ""});
  }

  // The ids printed: every piece of text with the space of its dummy prefix, word marks (U+2581) as spaces.
  static void append_text(const Piece& piece, std::string& out) {
    out += piece.control;
    if (piece.text.empty()) return;
    out += ' ';
    constexpr std::string_view kMark = "\u2581";
    for (size_t at = 0; at < piece.text.size();) {
      const size_t mark = std::min(piece.text.find(kMark, at), piece.text.size());
      out.append(piece.text, at, mark - at);
      at = mark;
      if (mark < piece.text.size()) {
        out += ' ';
        at += kMark.size();
      }
    }
  }

  void append_ids(const Piece& piece, const Tokenizer& tokenizer, std::vector<int32_t>& ids) const {
    if (piece.control.empty()) {
      const std::vector<int32_t> text = tokenizer.encode(piece.text);
      ids.insert(ids.end(), text.begin(), text.end());
      return;
    }
    const auto id = piece.control == "<s>"    ? std::optional<int32_t>(tokenizer.bos)
                    : piece.control == "</s>" ? std::optional<int32_t>(tokenizer.eos)
                                              : tokenizer.find(piece.control);
    if (!id || *id < 0) {
      throw_error(ErrorKind::File, "the tokenizer has no token {}, which the chat format {} needs", piece.control,
                  name());
    }
    ids.push_back(*id);
  }

  int version_;
};
}  // namespace

std::vector<std::string> builtin_chat_format_names() {
  std::vector<std::string> names;
  for (int version = 1; version <= 3; ++version) names.push_back(MistralFormat(version).name());
  std::ranges::copy(template_format_names(), std::back_inserter(names));
  return names;
}

std::unique_ptr<ChatFormat> builtin_chat_format(const std::string& name) {
  for (int version = 1; version <= 3; ++version) {
    auto format = std::make_unique<MistralFormat>(version);
    if (format->name() == name) return format;
  }
  if (auto format = template_format(name)) return format;
  throw_error(ErrorKind::Usage, "unknown chat format '{}', expected one of {}", name,
              fmt::join(builtin_chat_format_names(), ", "));
}

}  // namespace ostro
