// `ostro run`: continues a text.
#include <CLI/CLI.hpp>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "engine/memory.h"
#include "text/chat.h"
#include "text/reasoning.h"

namespace ostro {
namespace {

struct RunFlags {
  ModelFlags model;
  SamplingFlags sampling;
  std::optional<std::string> prompt, file, tokens, system;
  bool escape = false, parse_special = false, chat = false, json = false;
};

// \n, \t, \r, \", \', \\ as in C; other backslashes stay.
std::string unescape(std::string_view text) {
  static constexpr std::string_view kNames = "ntr\"'\\", kValues = "\n\t\r\"'\\";
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t found = text[i] == '\\' && i + 1 < text.size() ? kNames.find(text[i + 1]) : std::string_view::npos;
    if (found != std::string_view::npos) ++i;
    out += found != std::string_view::npos ? kValues[found] : text[i];
  }
  return out;
}

// A file that ends in a line break is a text that does not.
std::string without_last_newline(std::string text) {
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

std::string prompt_text(const RunFlags& flags) {
  if (flags.prompt) return flags.escape ? unescape(*flags.prompt) : *flags.prompt;
  if (flags.file && *flags.file != "-") return without_last_newline(read_text_file(*flags.file));
  if (!flags.file && stdin_is_terminal())
    throw_error(ErrorKind::Usage, "no prompt: give -p TEXT, -f FILE, --tokens IDS or text on standard input");
  return without_last_newline({std::istreambuf_iterator<char>(std::cin), {}});
}

RenderedChat chat_prompt(const Engine& engine, const RunFlags& flags, const std::string& text) {
  const auto format = load_chat_format(engine.model().store, engine.tokenizer());
  if (!format || engine.tokenizer() == nullptr)
    throw_error(ErrorKind::Usage, "--chat: {} has no chat format", engine.model().store.path);
  Conversation conversation;
  if (flags.system) conversation.messages.push_back({{"role", "system"}, {"content", *flags.system}});
  conversation.messages.push_back({{"role", "user"}, {"content", text}});
  return format->render(conversation, engine.tokenizer());
}

void check_flags(const RunFlags& flags) {
  const int sources = flags.prompt.has_value() + flags.file.has_value() + flags.tokens.has_value();
  if (sources > 1) throw_error(ErrorKind::Usage, "-p, -f and --tokens: expected one of them, {} were given", sources);
  if (flags.chat && flags.tokens) throw_error(ErrorKind::Usage, "--chat formats a text: it cannot take --tokens");
  if (flags.system && !flags.chat) throw_error(ErrorKind::Usage, "--system needs --chat");
}

nlohmann::ordered_json timings(const Engine& engine, const Result& result) {
  return {{"load_seconds", engine.load_seconds()},
          {"prompt_tokens", result.prompt_tokens},
          {"prompt_seconds", result.prompt_seconds},
          {"prompt_tokens_per_second", result.prompt_speed()},
          {"decode_tokens", result.tokens.size()},
          {"decode_seconds", result.decode_seconds},
          {"decode_tokens_per_second", result.decode_speed()},
          {"peak_memory_bytes", peak_memory()}};
}

nlohmann::ordered_json guesses(const DraftMeter& meter) {
  const auto steps = [](const DraftMeter::Steps& s) -> nlohmann::ordered_json {
    const auto count = static_cast<double>(std::max<int64_t>(1, s.steps));
    return {{"steps", s.steps}, {"tokens", s.tokens}, {"seconds", s.seconds}, {"experts_per_layer", s.experts / count}};
  };
  return {{"guessed", meter.guesses()},      {"right", meter.right()}, {"with_guesses", steps(meter.guessed())},
          {"without", steps(meter.plain())}, {"gain", meter.gain()},   {"switched_off", meter.off()}};
}

// `chat_prompt`: the prompt's text where it was a message to a chat model; then reasoning is told from the answer.
void print_json(const Engine& engine, const Result& result, uint64_t seed,
                const std::optional<std::string>& chat_prompt) {
  nlohmann::ordered_json out = {{"tokens", result.tokens},
                                {"text", result.text},
                                {"finish", to_text(result.finish)},
                                {"seed", seed},
                                {"timings", timings(engine, result)}};
  if (chat_prompt) {
    const auto parts = split_reasoning(*chat_prompt, result.text);
    out["reasoning"] = parts.reasoning;
    out["answer"] = parts.answer;
  }
  if (engine.draft_meter() != nullptr) out["guesses"] = guesses(*engine.draft_meter());
  write_out(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void print_timings(const Engine& engine, const Result& result) {
  std::string line = fmt::format("\nload {:.2f} s | prompt {} tokens, {:.2f} tokens/s", engine.load_seconds(),
                                 result.prompt_tokens, result.prompt_speed());
  if (result.tokens.size() > 1)
    line += fmt::format(" | decode {} tokens, {:.2f} tokens/s", result.tokens.size(), result.decode_speed());
  line += fmt::format(" | memory {}\n", in_gigabytes(peak_memory()));
  if (engine.draft_meter() != nullptr) line += engine.draft_meter()->report() + "\n";
  std::fputs(line.c_str(), stderr);
}

void run(const RunFlags& flags) {
  check_flags(flags);
  Request request = flags.sampling.request();
  // What can be refused without the model is, before it is loaded.
  const std::string text = flags.tokens ? "" : prompt_text(flags);
  if (flags.tokens) {
    for (const int64_t id : parse_integers("--tokens", *flags.tokens, 0, INT32_MAX))
      request.prompt.push_back(static_cast<int32_t>(id));
  }
  auto engine = open_engine(flags.model);
  std::optional<std::string> chat_text;
  if (flags.chat) {
    RenderedChat rendered = chat_prompt(*engine, flags, text);
    request.prompt = std::move(rendered.ids);
    std::ranges::move(rendered.stops, std::back_inserter(request.stop));
    request.continues_text = false;
    chat_text = std::move(rendered.text);
  } else if (!flags.tokens) {
    request.prompt = engine->encode_prompt(text, flags.parse_special);
  }
  if (!flags.json) request.on_text = write_out;
  const Result result = generate(*engine, request);
  if (flags.json) return print_json(*engine, result, request.sampling.seed, chat_text);
  if (!result.text.ends_with('\n')) write_out("\n");
  print_timings(*engine, result);
}

}  // namespace

void add_run(CLI::App& app) {
  auto* verb = app.add_subcommand("run", "Continue a text");
  auto flags = std::make_shared<RunFlags>();
  const std::string group = "Prompt";
  verb->add_option("-p,--prompt", flags->prompt, "The text to continue")->type_name("TEXT")->group(group);
  verb->add_option("-f,--file", flags->file, "The same from a file; -: standard input, as without any of these")
      ->type_name("FILE")
      ->group(group);
  verb->add_option("--tokens", flags->tokens, "Token ids, taken as they are (no BOS is added)")
      ->type_name("N,...")
      ->group(group);
  verb->add_flag("-e,--escape", flags->escape, "Read \\n, \\t and the like in -p as in C")->group(group);
  verb->add_flag("--parse-special", flags->parse_special, "Names of special tokens in the prompt become these tokens")
      ->group(group);
  verb->add_flag("--chat", flags->chat, "The prompt is a message to a chat model, in its own format")->group(group);
  verb->add_option("--system", flags->system, "With --chat: a system message before it")
      ->type_name("TEXT")
      ->group(group);
  add_sampling_flags(*verb, flags->sampling);
  add_model_flags(*verb, flags->model);
  add_draft_flags(*verb, flags->model);
  verb->add_flag(
          "--json", flags->json,
          "One JSON object at the end: tokens, text, finish, seed, timings; with --chat also reasoning and answer")
      ->group("Output");
  verb->footer(
      "Examples:\n"
      "  ostro run -m model.gguf -p \"The mistral is a wind that\" -n 64\n"
      "  ostro run -m model.gguf -f question.txt --chat --temp 0\n"
      "  echo \"1 1 2 3 5 8\" | ostro run -m model.gguf -n 16 --json");
  verb->callback([flags] { run(*flags); });
}

}  // namespace ostro
