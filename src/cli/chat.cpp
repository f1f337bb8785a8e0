// `ostro chat`: a conversation at the terminal, or through a pipe.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/chat_session.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/line_reader.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"

namespace ostro {
namespace {

struct ChatFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::string system, format;
  bool json = false;
};

std::unique_ptr<ChatFormat> chat_format(const Engine& engine, const std::string& wanted) {
  const Tokenizer* tokenizer = engine.tokenizer();
  if (tokenizer == nullptr)
    throw_error(ErrorKind::File, "{}: no tokenizer beside the model", engine.model().store.path);
  if (!wanted.empty() && std::filesystem::exists(wanted)) {
    auto token = [&](int32_t id) {
      return id < 0 ? std::nullopt : std::optional<std::string>(tokenizer->token_text(id));
    };
    return jinja_chat_format(read_text_file(wanted), wanted, token(tokenizer->bos), token(tokenizer->eos));
  }
  if (!wanted.empty()) return builtin_chat_format(wanted);
  auto format = load_chat_format(engine.model().store, tokenizer);
  if (!format)
    throw_error(ErrorKind::Usage, "{} has no chat format (a base model?): give --chat-template, or use ostro run",
                engine.model().store.path);
  return format;
}

void banner(const Engine& engine, const ChatFormat& format) {
  std::fputs(fmt::format("{}: {}, context {} tokens, {}. /help lists commands.\n", engine.model().store.path,
                         engine.backend().name(), engine.options().context, format.name())
                 .c_str(),
             stderr);
}

// One message or command. Returns false when the conversation is over.
bool turn(ChatSession& session, const std::string& message) {
  if (message.empty()) return true;
  try {
    if (message.front() == '/' && message.find('\n') == std::string::npos) return session.command(message);
    session.say(message);
  } catch (const Error& error) {
    // A model that went wrong is the end; a person who did may try again.
    if (error.kind() == ErrorKind::File && message.front() != '/') throw;
    report(error.what());
  }
  return true;
}

void chat(const ChatFlags& flags) {
  auto engine = open_engine(flags.model);
  auto format = chat_format(*engine, flags.format);
  if (stdin_is_terminal()) banner(*engine, *format);
  ChatSession session(*engine, std::move(format), flags.sampling);
  session.set_system(flags.system);
  session.reply_in_json(flags.json);
  LineReader reader(history_path());
  std::string message;
  for (bool asked_to_quit = false;;) {
    const auto outcome = read_message(reader, message);
    if (outcome == LineReader::Outcome::End) break;
    if (outcome == LineReader::Outcome::Interrupted) {
      clear_interrupt();
      if (asked_to_quit || !stdin_is_terminal()) break;
      std::fputs("\nCtrl-C again or Ctrl-D leaves.\n", stderr);
      asked_to_quit = true;
      continue;
    }
    asked_to_quit = false;
    if (!turn(session, message)) break;
  }
}

}  // namespace

void add_chat(CLI::App& app) {
  auto* verb = app.add_subcommand("chat", "Talk with a model");
  auto flags = std::make_shared<ChatFlags>();
  verb->add_option("--system", flags->system, "The system message")->type_name("TEXT")->group("Conversation");
  verb->add_option("--chat-template", flags->format, "A built-in format by name, or a file with a Jinja template")
      ->type_name("NAME|FILE")
      ->group("Conversation");
  add_sampling_flags(*verb, flags->sampling);
  add_model_flags(*verb, flags->model);
  add_draft_flags(*verb, flags->model);
  verb->add_flag("--json", flags->json,
                 "Each reply as one JSON object a line: role, content, and reasoning where there is some")
      ->group("Output");
  verb->footer(
      "Inside: /help /clear /system /regenerate /save /load /stats /routing /quit. Ctrl-C stops a reply.\n"
      "Examples:\n"
      "  ostro chat -m model.gguf --system \"Answer in one sentence.\"\n"
      "  printf 'Who are you?\\n/stats\\n' | ostro chat -m model.gguf --temp 0");
  verb->callback([flags] { chat(*flags); });
}

}  // namespace ostro
