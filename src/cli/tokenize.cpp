// `ostro tokenize`: text to token ids and back.
#include <CLI/CLI.hpp>
#include <iostream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "formats/json_file.h"
#include "text/base64.h"
#include "text/tokenizer.h"

namespace ostro {
namespace {

struct TokenizeFlags {
  std::string model;
  bool special = false, decode = false, jsonl = false, json = false;
};

std::string read_stdin() { return {std::istreambuf_iterator<char>(std::cin), {}}; }

std::string as_line(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

std::vector<int32_t> ids_of(const nlohmann::json& row, const std::string& where) {
  std::vector<int32_t> ids;
  for (const nlohmann::json& id : row) {
    if (!id.is_number_integer() || (id.is_number_unsigned() && id.get<uint64_t>() > INT32_MAX) || id < 0) {
      throw_error(ErrorKind::Usage, "{}: ids holds {}, expected token ids", where, id.dump().substr(0, 80));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

nlohmann::ordered_json answer(const Tokenizer& tokenizer, const nlohmann::json& row, const TokenizeFlags& flags,
                              const std::string& where) {
  const auto has = [&](const char* key, nlohmann::json::value_t type) {
    return row.is_object() && row.contains(key) && row[key].type() == type;
  };
  using Type = nlohmann::json::value_t;
  EncodeOptions options;
  options.parse_special = has("special", Type::boolean) ? row["special"].get<bool>() : flags.special;
  if (has("prefix", Type::string)) options.prefix_first_only = row["prefix"] == "first";
  if (has("text", Type::string)) return {{"ids", tokenizer.encode(row["text"].get<std::string>(), options)}};
  if (has("text_b64", Type::string)) {
    const auto bytes = from_base64(row["text_b64"].get_ref<const std::string&>());
    if (!bytes) throw_error(ErrorKind::Usage, "{}: text_b64 is not base64", where);
    return {{"ids", tokenizer.encode(*bytes, options)}};
  }
  if (has("ids", Type::array)) return {{"text", tokenizer.decode(ids_of(row["ids"], where))}};
  throw_error(ErrorKind::Usage, "{}: expected an object with text, text_b64 or ids", where);
}

void tokenize_lines(const Tokenizer& tokenizer, const TokenizeFlags& flags) {
  std::string line;
  for (size_t number = 1; std::getline(std::cin, line); ++number) {
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::string where = fmt::format("line {}", number);
    write_out(as_line(answer(tokenizer, parse_json(line, where), flags, where)));
  }
}

void tokenize(const TokenizeFlags& flags) {
  const auto tokenizer = open_tokenizer(model_path(flags.model));
  if (flags.jsonl) return tokenize_lines(*tokenizer, flags);
  if (flags.decode) {
    const std::string text = tokenizer->decode(parse_ids("token id", read_stdin()));
    return write_out(flags.json ? as_line({{"text", text}}) : text);
  }
  EncodeOptions options;
  options.parse_special = flags.special;
  const std::vector<int32_t> ids = tokenizer->encode(read_stdin(), options);
  write_out(flags.json ? as_line({{"ids", ids}}) : fmt::format("{}\n", fmt::join(ids, " ")));
}

}  // namespace

void add_tokenize(CLI::App& app) {
  auto* verb = app.add_subcommand("tokenize", "Text to token ids, and back");
  auto flags = std::make_shared<TokenizeFlags>();
  verb->add_option("-m,--model", flags->model,
                   "A model, or a tokenizer alone: .model, tokenizer.json, tekken.json, .tiktoken")
      ->type_name("PATH");
  verb->add_flag("--special", flags->special, "Names of special tokens in the text become these tokens");
  verb->add_flag("--decode", flags->decode, "Standard input holds ids; print their text");
  verb->add_flag(
      "--jsonl", flags->jsonl,
      "One JSON object a line in, with text, text_b64 or ids (and special: true); one out, with ids or text");
  verb->add_flag("--json", flags->json, "One JSON object instead of plain output");
  verb->footer(
      "The whole of standard input is the text, its last line break included; no BOS is added.\n"
      "Examples:\n"
      "  printf 'Hello world' | ostro tokenize -m tokenizer.json\n"
      "  echo 22557 1526 | ostro tokenize -m tokenizer.model --decode\n"
      "  ostro tokenize -m model.gguf --jsonl < texts.jsonl");
  verb->callback([flags] { tokenize(*flags); });
}

}  // namespace ostro
