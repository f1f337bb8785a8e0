#include "text/export_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/mapped_file.h"
#include "formats/json_file.h"
#include "text/sentencepiece.h"
#include "text/split_patterns.h"
#include "text/text_steps.h"
#include "text/tokenizer_formats.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kMark = "\u2581";  // what SentencePiece puts for a space
constexpr float kAddedScore = -1000;          // of tokens beyond a SentencePiece model; they are never merged

struct Vocabulary {
  struct Token {
    std::string text;
    TokenKind kind = TokenKind::Unused;
    float score = 0;
  };
  bool sentencepiece = false;  // else byte-level BPE
  bool unigram = false;        // of SentencePiece
  std::string charsmap;        // of a unigram model: its table of normalisation
  bool remove_extra_whitespaces = false;
  std::vector<Token> tokens;  // by id
  std::vector<std::pair<std::string, std::string>> merges;
  std::string pre;  // name of the split recipe, for byte-level BPE
  bool add_space_prefix = true;
  int32_t bos = -1, eos = -1, unknown = -1, pad = -1;
  std::optional<bool> add_bos, add_eos;
  std::string chat_template;
};

// GGUF and SentencePiece number the kinds alike.
int64_t number_of(TokenKind kind) {
  switch (kind) {
    case TokenKind::Normal:
      return 1;
    case TokenKind::Unknown:
      return 2;
    case TokenKind::Control:
      return 3;
    case TokenKind::UserDefined:
      return 4;
    case TokenKind::Unused:
      return 5;
    case TokenKind::Byte:
      break;
  }
  return 6;
}

TokenKind kind_of(int64_t number) {
  constexpr TokenKind kKinds[] = {TokenKind::Normal,      TokenKind::Unknown, TokenKind::Control,
                                  TokenKind::UserDefined, TokenKind::Unused,  TokenKind::Byte};
  return number >= 1 && number <= 6 ? kKinds[number - 1] : TokenKind::Normal;
}

// ---- reading

std::string first_file(const WeightStore& store, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    std::error_code ignored;
    if (const fs::path path = fs::path(store.folder) / name; fs::is_regular_file(path, ignored)) return path.string();
  }
  return "";
}

nlohmann::json optional_json(const WeightStore& store, const char* name) {
  const std::string path = first_file(store, {name});
  return path.empty() ? nlohmann::json() : read_json_file(path);
}

Vocabulary vocabulary_of(const SentencePieceModel& model) {
  Vocabulary out;
  out.sentencepiece = true;
  for (const auto& piece : model.pieces) out.tokens.push_back({piece.text, piece.kind, piece.score});
  out.unigram = model.unigram;
  out.charsmap = model.charsmap;
  out.remove_extra_whitespaces = model.remove_extra_whitespaces;
  out.add_space_prefix = model.add_dummy_prefix;
  out.bos = model.bos;
  out.eos = model.eos;
  out.unknown = model.unknown;
  out.pad = model.pad;
  return out;
}

void set_token(Vocabulary& out, int64_t id, Vocabulary::Token token, const std::string& where) {
  constexpr int64_t kMost = 1 << 22;  // far more than any vocabulary
  if (id < 0 || id >= kMost)
    throw_error(ErrorKind::File, "{}: a token has the id {}, expected 0 to {}", where, id, kMost);
  if (static_cast<size_t>(id) >= out.tokens.size()) out.tokens.resize(static_cast<size_t>(id) + 1);
  out.tokens[static_cast<size_t>(id)] = std::move(token);
}

// Tokens of tokenizer.json that stand beyond, or in gaps of, what is there.
void add_added_tokens(const nlohmann::json& root, Vocabulary& out, bool over_normal, const std::string& where) {
  if (!root.is_object() || !root.contains("added_tokens") || !root["added_tokens"].is_array()) return;
  for (const auto& token : root["added_tokens"]) {
    if (!token.is_object() || !token.contains("id") || !token["id"].is_number_integer() || !token.contains("content") ||
        !token["content"].is_string()) {
      throw_error(ErrorKind::File, "{}: an added token is not an object with id and content", where);
    }
    const auto id = token["id"].get<int64_t>();
    const bool there = id >= 0 && static_cast<size_t>(id) < out.tokens.size() &&
                       out.tokens[static_cast<size_t>(id)].kind != TokenKind::Unused;
    if (there && !over_normal) continue;
    const bool special = token.value("special", false);
    set_token(out, id,
              {token["content"].get<std::string>(), special ? TokenKind::Control : TokenKind::UserDefined, kAddedScore},
              where);
  }
}

// Some files have the line breaks of a pattern as they are, not as \r and \n.
std::string with_escaped_breaks(const std::string& pattern) {
  std::string out;
  for (const char c : pattern) {
    if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out.push_back(c);
    }
  }
  return out;
}

// The patterns of a chain of pre-tokenizers that all isolate what they match; nullopt for another chain.
bool collect_patterns(const nlohmann::json& step, std::vector<std::string>& out) {
  const std::string type = step.is_object() ? step.value("type", "") : "";
  if (type == "Sequence" && step.contains("pretokenizers")) {
    return std::ranges::all_of(step["pretokenizers"], [&](const auto& part) { return collect_patterns(part, out); });
  }
  if (type == "Split") {
    const auto pattern = step.find("pattern");
    if (step.value("behavior", "") != "Isolated" || step.value("invert", false) || pattern == step.end() ||
        !pattern->contains("Regex") || !(*pattern)["Regex"].is_string()) {
      return false;
    }
    out.push_back(with_escaped_breaks((*pattern)["Regex"].get_ref<const std::string&>()));
    return true;
  }
  if (type == "Digits") {
    out.push_back(step.value("individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)");
    return true;
  }
  if (type != "ByteLevel" || step.value("add_prefix_space", true)) return false;
  if (step.value("use_regex", true)) out.push_back(kGpt2Pattern);
  return true;
}

std::string split_name_of(const nlohmann::json& root, const std::string& where, std::vector<std::string>& notes) {
  std::vector<std::string> patterns;
  if (!root.contains("pre_tokenizer") || !collect_patterns(root["pre_tokenizer"], patterns)) patterns.clear();
  const bool ignore_merges = root["model"].value("ignore_merges", false);
  const auto name = patterns.empty() ? std::nullopt : split_name(patterns, ignore_merges);
  if (!name) throw_error(ErrorKind::File, "{}: its way of cutting text into words has no name in GGUF", where);
  const nlohmann::json normalizer = root.value("normalizer", nlohmann::json());
  const bool empty = normalizer.is_null() || (normalizer.contains("normalizers") && normalizer["normalizers"].empty());
  if (!empty) notes.push_back(fmt::format("{}: GGUF has no place for its normalizer; it is left out", where));
  return *name;
}

void read_merges(const nlohmann::json& model, Vocabulary& out, const std::string& where) {
  if (!model.contains("merges") || !model["merges"].is_array()) return;
  for (const auto& merge : model["merges"]) {
    if (merge.is_string()) {
      const auto& text = merge.get_ref<const std::string&>();
      const size_t space = text.find(' ', 1);
      if (space == text.npos) throw_error(ErrorKind::File, "{}: a merge is not two tokens", where);
      out.merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      out.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      throw_error(ErrorKind::File, "{}: a merge is not two tokens", where);
    }
  }
}

// BPE with byte fallback is SentencePiece's, written by rank: the earlier a merge, the higher the score of its result.
void scores_of_merges(Vocabulary& out) {
  std::unordered_map<std::string, float> score;
  for (size_t rank = 0; rank < out.merges.size(); ++rank) {
    score.emplace(out.merges[rank].first + out.merges[rank].second, -static_cast<float>(rank));
  }
  const auto lowest = -static_cast<float>(out.merges.size());
  for (auto& token : out.tokens) {
    if (token.kind != TokenKind::Normal) continue;
    const auto found = score.find(token.text);
    token.score = found == score.end() ? lowest : found->second;
    const bool byte = token.text.size() == 6 && token.text.starts_with("<0x") && token.text.ends_with(">");
    if (byte) token.kind = TokenKind::Byte;
  }
}

Vocabulary vocabulary_of_json(const nlohmann::json& root, const std::string& where, std::vector<std::string>& notes) {
  if (!root.is_object() || !root.contains("model") || !root["model"].is_object() || !root["model"].contains("vocab") ||
      !root["model"]["vocab"].is_object()) {
    throw_error(ErrorKind::File, "{}: no BPE vocabulary, expected a tokenizer.json", where);
  }
  const nlohmann::json& model = root["model"];
  Vocabulary out;
  for (const auto& [text, id] : model["vocab"].items()) {
    if (!id.is_number_integer()) throw_error(ErrorKind::File, "{}: an id is not a whole number", where);
    set_token(out, id.get<int64_t>(), {text, TokenKind::Normal, 0}, where);
  }
  add_added_tokens(root, out, true, where);
  read_merges(model, out, where);
  out.sentencepiece = model.value("byte_fallback", false);
  if (!out.sentencepiece) {
    out.pre = split_name_of(root, where, notes);
    return out;
  }
  if (model.contains("unk_token") && model["unk_token"].is_string()) {
    const auto& name = model["unk_token"].get_ref<const std::string&>();
    const auto found = std::ranges::find(out.tokens, name, &Vocabulary::Token::text);
    if (found != out.tokens.end()) {
      found->kind = TokenKind::Unknown;
      out.unknown = static_cast<int32_t>(found - out.tokens.begin());
    }
  }
  scores_of_merges(out);
  return out;
}

std::string read_chat_template(const WeightStore& store, const nlohmann::json& config) {
  if (const std::string path = first_file(store, {"chat_template.jinja"}); !path.empty()) return read_text_file(path);
  if (!config.is_object() || !config.contains("chat_template")) return "";
  const nlohmann::json& given = config["chat_template"];
  if (given.is_string()) return given.get<std::string>();
  if (!given.is_array()) return "";
  for (const auto& one : given) {
    if (one.is_object() && one.value("name", "") == "default") return one.value("template", "");
  }
  return "";
}

// tokenizer_config.json: special tokens by name, and what is put around a text.
void apply_config(const nlohmann::json& config, Vocabulary& out) {
  if (!config.is_object()) return;
  const auto id_of = [&](const char* key, int32_t otherwise) {
    if (!config.contains(key)) return otherwise;
    const nlohmann::json& value =
        config[key].is_object() ? config[key].value("content", nlohmann::json()) : config[key];
    if (!value.is_string()) return otherwise;
    const auto found = std::ranges::find(out.tokens, value.get_ref<const std::string&>(), &Vocabulary::Token::text);
    return found == out.tokens.end() ? otherwise : static_cast<int32_t>(found - out.tokens.begin());
  };
  out.bos = id_of("bos_token", out.bos);
  out.eos = id_of("eos_token", out.eos);
  out.unknown = id_of("unk_token", out.unknown);
  out.pad = id_of("pad_token", out.pad);
  for (const auto& [key, flag] : {std::pair("add_bos_token", &out.add_bos), std::pair("add_eos_token", &out.add_eos)}) {
    if (config.contains(key) && config[key].is_boolean()) *flag = config[key].get<bool>();
  }
}

// What a template of tokenizer.json puts before and after a text, where tokenizer_config.json does not say.
void apply_post_processor(const nlohmann::json& step, Vocabulary& out) {
  if (!step.is_object()) return;
  if (step.value("type", "") == "Sequence" && step.contains("processors")) {
    for (const auto& part : step["processors"]) apply_post_processor(part, out);
  }
  if (step.value("type", "") != "TemplateProcessing" || !step.contains("single")) return;
  bool after_text = false, before = false, after = false;
  for (const auto& part : step["single"]) {
    if (part.contains("Sequence")) after_text = true;
    if (part.contains("SpecialToken")) (after_text ? after : before) = true;
  }
  if (!out.add_bos) out.add_bos = before;
  if (!out.add_eos) out.add_eos = after;
}

// The tokenizer of a folder; nullopt where there is none.
std::optional<Vocabulary> read_folder(const WeightStore& store, std::vector<std::string>& notes) {
  const std::string model = first_file(
      store, {"tokenizer.model", "spiece.model", "tokenizer.model.v3", "tokenizer.model.v2", "tokenizer.model.v1"});
  const std::string json = first_file(store, {"tokenizer.json"});
  const nlohmann::json root = json.empty() ? nlohmann::json() : read_json_file(json, 256u << 20);
  const nlohmann::json config = optional_json(store, "tokenizer_config.json");
  Vocabulary out;
  if (!model.empty()) {
    const MappedFile file(model);
    out = vocabulary_of(read_sentencepiece_model(file.bytes(), model));
    add_added_tokens(root, out, false, json);
  } else if (!json.empty()) {
    const bool unigram = root.is_object() && root.contains("model") && root["model"].is_object() &&
                         root["model"].value("type", nlohmann::json()) == "Unigram";
    out = unigram ? vocabulary_of(unigram_model_from_json(root, json)) : vocabulary_of_json(root, json, notes);
  } else {
    return std::nullopt;
  }
  apply_config(config, out);
  if (root.is_object() && root.contains("post_processor")) apply_post_processor(root["post_processor"], out);
  out.chat_template = read_chat_template(store, config);
  return out;
}

std::optional<Vocabulary> read_gguf_vocabulary(const WeightStore& store) {
  const GgufMetadata& metadata = *store.gguf;
  const auto model = metadata.text("tokenizer.ggml.model");
  const auto* tokens = metadata.strings("tokenizer.ggml.tokens");
  if (!model || tokens == nullptr) return std::nullopt;
  if (*model != "llama" && *model != "t5" && *model != "gpt2") {
    throw_error(ErrorKind::File, "{}: tokenizer.ggml.model is {:?}, expected \"llama\", \"t5\" or \"gpt2\"", store.path,
                model->substr(0, 80));
  }
  Vocabulary out;
  out.unigram = *model == "t5";
  out.sentencepiece = *model == "llama" || out.unigram;
  out.remove_extra_whitespaces = metadata.boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(out.unigram);
  for (const int64_t byte : metadata.integers("tokenizer.ggml.precompiled_charsmap").value_or(std::vector<int64_t>())) {
    out.charsmap.push_back(static_cast<char>(static_cast<uint8_t>(byte & 255)));
  }
  const auto types = metadata.integers("tokenizer.ggml.token_type");
  const auto scores = metadata.numbers("tokenizer.ggml.scores");
  for (size_t i = 0; i < tokens->size(); ++i) {
    const bool typed = types && i < types->size(), scored = scores && i < scores->size();
    out.tokens.push_back({(*tokens)[i], typed ? kind_of((*types)[i]) : TokenKind::Normal,
                          scored ? static_cast<float>((*scores)[i]) : 0});
  }
  if (const auto* merges = metadata.strings("tokenizer.ggml.merges")) {
    for (const std::string& merge : *merges) {
      const size_t space = merge.find(' ', 1);
      if (space == merge.npos) throw_error(ErrorKind::File, "{}: a merge is not two tokens", store.path);
      out.merges.emplace_back(merge.substr(0, space), merge.substr(space + 1));
    }
  }
  out.pre = metadata.text("tokenizer.ggml.pre").value_or("default");
  out.add_space_prefix = metadata.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  const auto id_of = [&](const char* name) {
    const auto id = metadata.integer(fmt::format("tokenizer.ggml.{}_token_id", name));
    return id && *id >= 0 && *id < static_cast<int64_t>(tokens->size()) ? static_cast<int32_t>(*id) : -1;
  };
  out.bos = id_of("bos");
  out.eos = id_of("eos");
  out.unknown = id_of("unknown");
  out.pad = id_of("padding");
  out.add_bos = metadata.boolean("tokenizer.ggml.add_bos_token");
  out.add_eos = metadata.boolean("tokenizer.ggml.add_eos_token");
  if (!out.add_bos) {
    out.add_bos = out.bos >= 0 && (out.sentencepiece || split_recipe(out.pre, store.path).add_bos);
  }
  out.chat_template = metadata.text("tokenizer.chat_template").value_or("");
  return out;
}

// ---- writing

// Every way in which a piece is two others, best score first: what SentencePiece's merging does, as a list.
std::vector<std::pair<std::string, std::string>> merges_of_scores(const Vocabulary& vocabulary) {
  std::unordered_map<std::string_view, size_t> ids;
  const auto& tokens = vocabulary.tokens;
  const auto merges_apply = [](TokenKind kind) { return kind == TokenKind::Normal || kind == TokenKind::UserDefined; };
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (merges_apply(tokens[i].kind)) ids.emplace(tokens[i].text, i);
  }
  struct Merge {
    float score;
    size_t left, right;
  };
  std::vector<Merge> found;
  for (const auto& token : tokens) {
    if (!merges_apply(token.kind)) continue;
    const std::string_view text = token.text;
    for (size_t cut = 1; cut < text.size(); ++cut) {
      const auto left = ids.find(text.substr(0, cut)), right = ids.find(text.substr(cut));
      if (left != ids.end() && right != ids.end()) found.push_back({token.score, left->second, right->second});
    }
  }
  std::ranges::stable_sort(found, [](const Merge& a, const Merge& b) {
    return a.score != b.score ? a.score > b.score : std::pair(a.left, a.right) < std::pair(b.left, b.right);
  });
  std::vector<std::pair<std::string, std::string>> out;
  for (const Merge& merge : found) out.emplace_back(tokens[merge.left].text, tokens[merge.right].text);
  return out;
}

bool is_control(TokenKind kind) { return kind == TokenKind::Control || kind == TokenKind::Unknown; }
bool is_added(TokenKind kind) { return is_control(kind) || kind == TokenKind::UserDefined; }

Json added_tokens(const Vocabulary& vocabulary) {
  Json out = Json::array();
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const auto& token = vocabulary.tokens[i];
    if (!is_added(token.kind)) continue;
    out.push_back({{"id", i},
                   {"content", token.text},
                   {"single_word", false},
                   {"lstrip", false},
                   {"rstrip", false},
                   {"normalized", false},
                   {"special", is_control(token.kind)}});
  }
  return out;
}

Json post_processor(const Vocabulary& vocabulary) {
  const bool before = vocabulary.add_bos.value_or(false) && vocabulary.bos >= 0;
  const bool after = vocabulary.add_eos.value_or(false) && vocabulary.eos >= 0;
  if (!before && !after) return nullptr;
  Json specials = Json::object(), single = Json::array(), pair = Json::array();
  const auto special = [&](int32_t id, int type) -> Json {
    const std::string& text = vocabulary.tokens[static_cast<size_t>(id)].text;
    specials[text] = {{"id", text}, {"ids", {id}}, {"tokens", {text}}};
    return {{"SpecialToken", {{"id", text}, {"type_id", type}}}};
  };
  for (const auto& [name, type] : {std::pair("A", 0), std::pair("B", 1)}) {
    for (Json* list : {&single, &pair}) {
      if (list == &single && type == 1) continue;
      if (before) list->push_back(special(vocabulary.bos, type));
      list->push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
      if (after) list->push_back(special(vocabulary.eos, type));
    }
  }
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", specials}};
}

Json replace_step(std::string_view from, std::string_view to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

void sentencepiece_steps(const Vocabulary& vocabulary, Json& root) {
  Json normalizers = Json::array();
  if (vocabulary.add_space_prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", kMark}});
  normalizers.push_back(replace_step(" ", kMark));
  root["normalizer"] = {{"type", "Sequence"}, {"normalizers", normalizers}};
  root["pre_tokenizer"] = nullptr;
  root["post_processor"] = post_processor(vocabulary);
  Json decoders = {replace_step(kMark, " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}};
  if (vocabulary.add_space_prefix) {
    decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  root["decoder"] = {{"type", "Sequence"}, {"decoders", decoders}};
}

void byte_level_steps(const Vocabulary& vocabulary, const SplitRecipe& recipe, Json& root) {
  Json steps = Json::array();
  for (const std::string& pattern : recipe.patterns) {
    steps.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  const auto byte_level = [](bool prefix, bool regex) -> Json {
    return {{"type", "ByteLevel"}, {"add_prefix_space", prefix}, {"trim_offsets", true}, {"use_regex", regex}};
  };
  steps.push_back(byte_level(false, false));
  root["normalizer"] = nullptr;
  root["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", steps}};
  root["post_processor"] = post_processor(vocabulary);
  root["decoder"] = byte_level(true, true);
}

// All ids up to the last that is not an added token. Those after it stand among the added ones alone; readers number
// them from here on, and take the ids of the others from the model.
size_t tokens_of_the_model(const Vocabulary& vocabulary) {
  size_t count = vocabulary.tokens.size();
  while (count > 0 && is_added(vocabulary.tokens[count - 1].kind)) --count;
  return count;
}

std::string tokenizer_json(const Vocabulary& vocabulary, const std::string& where) {
  Json root = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  root["added_tokens"] = added_tokens(vocabulary);
  const bool pieces = vocabulary.sentencepiece;
  const SplitRecipe recipe = pieces ? SplitRecipe{} : split_recipe(vocabulary.pre, where);
  if (pieces) {
    sentencepiece_steps(vocabulary, root);
  } else {
    byte_level_steps(vocabulary, recipe, root);
  }
  // Straight into the list behind an ordered object, whose own insert searches all of it; a token may stand only once.
  Json::object_t vocab;
  Json merges = Json::array();
  std::unordered_set<std::string_view> seen;
  const size_t own = pieces ? vocabulary.tokens.size() : tokens_of_the_model(vocabulary);
  for (size_t i = 0; i < own; ++i) {
    const std::string& text = vocabulary.tokens[i].text;
    if (seen.insert(text).second) static_cast<Json::object_t::Container&>(vocab).emplace_back(text, i);
  }
  for (const auto& [left, right] : pieces ? merges_of_scores(vocabulary) : vocabulary.merges) {
    merges.push_back({left, right});
  }
  const bool has_unknown = pieces && vocabulary.unknown >= 0;
  root["model"] = {{"type", "BPE"},
                   {"dropout", nullptr},
                   {"unk_token", has_unknown ? Json(vocabulary.tokens[static_cast<size_t>(vocabulary.unknown)].text)
                                             : Json(nullptr)},
                   {"continuing_subword_prefix", nullptr},
                   {"end_of_word_suffix", nullptr},
                   {"fuse_unk", pieces},
                   {"byte_fallback", pieces},
                   {"ignore_merges", recipe.ignore_merges},
                   {"vocab", std::move(vocab)},
                   {"merges", std::move(merges)}};
  return root.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string tokenizer_config(const Vocabulary& vocabulary) {
  const auto name = [&](int32_t id) {
    return id < 0 ? Json(nullptr) : Json(vocabulary.tokens[static_cast<size_t>(id)].text);
  };
  Json config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"bos_token", name(vocabulary.bos)},
                 {"eos_token", name(vocabulary.eos)},
                 {"unk_token", name(vocabulary.unknown)},
                 {"pad_token", name(vocabulary.pad)},
                 {"add_bos_token", vocabulary.add_bos.value_or(false)},
                 {"add_eos_token", vocabulary.add_eos.value_or(false)},
                 {"clean_up_tokenization_spaces", false}};
  if (!vocabulary.chat_template.empty()) config["chat_template"] = vocabulary.chat_template;
  return config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Protocol buffers: a field's number and wire type, then its value.
class WireWriter {
 public:
  std::string bytes;

  void integer(int field, int64_t value) {
    varint(static_cast<uint64_t>(field) << 3);
    varint(static_cast<uint64_t>(value));
  }
  void real(int field, float value) {
    varint(static_cast<uint64_t>(field) << 3 | 5);
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int i = 0; i < 4; ++i) bytes.push_back(static_cast<char>(bits >> (8 * i) & 255));
  }
  void text(int field, std::string_view value) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(value.size());
    bytes += value;
  }

 private:
  void varint(uint64_t value) {
    for (; value >= 128; value >>= 7) bytes.push_back(static_cast<char>((value & 127) | 128));
    bytes.push_back(static_cast<char>(value));
  }
};

// Field numbers are those of SentencePiece's sentencepiece_model.proto.
std::string sentencepiece_file(const Vocabulary& vocabulary) {
  constexpr int64_t kUnigram = 1, kBpe = 2;
  WireWriter file, trainer, normalizer;
  bool bytes = false;
  for (const auto& token : vocabulary.tokens) {
    bytes = bytes || token.kind == TokenKind::Byte;
    WireWriter piece;
    piece.text(1, token.text);
    piece.real(2, token.score);
    piece.integer(3, number_of(token.kind));
    file.text(1, piece.bytes);
  }
  trainer.integer(3, vocabulary.unigram ? kUnigram : kBpe);
  trainer.integer(4, static_cast<int64_t>(vocabulary.tokens.size()));
  trainer.integer(35, bytes ? 1 : 0);
  trainer.integer(40, vocabulary.unknown);
  trainer.integer(41, vocabulary.bos);
  trainer.integer(42, vocabulary.eos);
  trainer.integer(43, vocabulary.pad);
  normalizer.text(1, vocabulary.charsmap.empty() ? "identity" : "user_defined");
  if (!vocabulary.charsmap.empty()) normalizer.text(2, vocabulary.charsmap);
  normalizer.integer(3, vocabulary.add_space_prefix ? 1 : 0);
  normalizer.integer(4, vocabulary.remove_extra_whitespaces ? 1 : 0);
  normalizer.integer(5, 1);  // spaces become marks
  file.text(2, trainer.bytes);
  file.text(3, normalizer.bytes);
  return file.bytes;
}

}  // namespace

void describe_tokenizer(const WeightStore& store, int64_t vocab, GgufMetadata& metadata,
                        std::vector<std::string>& notes) {
  CHECK(!store.gguf);
  auto found = read_folder(store, notes);
  if (!found) {
    notes.push_back(
        fmt::format("{} has no tokenizer.model and no tokenizer.json: the file gets no tokenizer", store.folder));
    return;
  }
  Vocabulary& vocabulary = *found;
  if (static_cast<int64_t>(vocabulary.tokens.size()) > vocab) {
    throw_error(ErrorKind::File, "{}: its tokenizer has {} tokens, expected at most the model's {}", store.folder,
                vocabulary.tokens.size(), vocab);
  }
  vocabulary.tokens.resize(static_cast<size_t>(vocab));
  std::vector<std::string> tokens;
  std::vector<double> scores;
  std::vector<int64_t> types;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const auto& token = vocabulary.tokens[i];
    const bool gap = token.kind == TokenKind::Unused && token.text.empty();
    tokens.push_back(gap ? fmt::format("[PAD{}]", i) : token.text);
    scores.push_back(gap ? -10000 : static_cast<double>(token.score));
    types.push_back(number_of(token.kind));
  }
  const auto put = [&](const char* key, GgufValue value) { metadata.values.emplace(key, std::move(value)); };
  const auto put_id = [&](const char* key, int32_t id) {
    if (id >= 0) put(key, int64_t{id});
  };
  put("tokenizer.ggml.model", std::string(vocabulary.unigram ? "t5" : vocabulary.sentencepiece ? "llama" : "gpt2"));
  if (vocabulary.unigram) put("tokenizer.ggml.remove_extra_whitespaces", vocabulary.remove_extra_whitespaces);
  if (!vocabulary.charsmap.empty()) {
    std::vector<uint64_t> bytes;
    for (const char c : vocabulary.charsmap) bytes.push_back(static_cast<uint8_t>(c));
    metadata.types["tokenizer.ggml.precompiled_charsmap"] = GgufType::U8;
    put("tokenizer.ggml.precompiled_charsmap", GgufArray(std::move(bytes)));
  }
  put("tokenizer.ggml.pre", vocabulary.sentencepiece ? std::string("default") : vocabulary.pre);
  put("tokenizer.ggml.tokens", GgufArray(std::move(tokens)));
  put("tokenizer.ggml.token_type", GgufArray(std::move(types)));
  if (vocabulary.sentencepiece) {
    put("tokenizer.ggml.scores", GgufArray(std::move(scores)));
    put("tokenizer.ggml.add_space_prefix", vocabulary.add_space_prefix);
  } else {
    std::vector<std::string> merges;
    for (const auto& [left, right] : vocabulary.merges) merges.push_back(left + " " + right);
    put("tokenizer.ggml.merges", GgufArray(std::move(merges)));
  }
  put_id("tokenizer.ggml.bos_token_id", vocabulary.bos);
  put_id("tokenizer.ggml.eos_token_id", vocabulary.eos);
  put_id("tokenizer.ggml.unknown_token_id", vocabulary.unknown);
  put_id("tokenizer.ggml.padding_token_id", vocabulary.pad);
  put("tokenizer.ggml.add_bos_token", vocabulary.add_bos.value_or(vocabulary.sentencepiece && vocabulary.bos >= 0));
  put("tokenizer.ggml.add_eos_token", vocabulary.add_eos.value_or(false));
  if (!vocabulary.chat_template.empty()) put("tokenizer.chat_template", vocabulary.chat_template);
}

std::map<std::string, std::string> tokenizer_files(const WeightStore& store, CheckpointFormat format,
                                                   std::vector<std::string>& notes) {
  std::map<std::string, std::string> files;
  const bool for_transformers = format == CheckpointFormat::HuggingFace;
  const auto write = [&](const Vocabulary& vocabulary) {
    if (vocabulary.unigram) {
      files["spiece.model"] = sentencepiece_file(vocabulary);
    } else if (!for_transformers && vocabulary.sentencepiece) {
      files["tokenizer.model"] = sentencepiece_file(vocabulary);
    } else {
      files["tokenizer.json"] = tokenizer_json(vocabulary, store.path);
      files.emplace("tokenizer_config.json", tokenizer_config(vocabulary));
    }
  };
  if (store.gguf) {
    if (const auto vocabulary = read_gguf_vocabulary(store)) write(*vocabulary);
  } else {
    for (const char* name :
         {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
          "chat_template.jinja", "tokenizer.model", "spiece.model", "tokenizer.model.v1", "tokenizer.model.v2",
          "tokenizer.model.v3", "tekken.json", "cl100k_base.tiktoken", "vocab.json", "merges.txt"}) {
      if (const std::string path = first_file(store, {name}); !path.empty()) files[name] = read_text_file(path);
    }
    if (for_transformers && !files.contains("tokenizer.json")) {
      if (const auto vocabulary = read_folder(store, notes); vocabulary && !vocabulary->unigram) write(*vocabulary);
    }
  }
  if (files.empty()) notes.push_back(fmt::format("{} has no tokenizer: the folder gets none", store.path));
  return files;
}

}  // namespace ostro
