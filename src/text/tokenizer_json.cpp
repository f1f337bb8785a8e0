// tokenizer.json: Hugging Face's description of a tokenizer as a chain of steps around a model; here BPE models, with
// the steps that occur around them. What is not known is refused, as leaving a step out would change ids.
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/error.h"
#include "text/base64.h"
#include "text/bpe.h"
#include "text/tokenizer_formats.h"

namespace ostro {
namespace {

using nlohmann::json;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw_error(ErrorKind::File, "{}: {}", where, what);
}

// A member of an object: null where it is absent.
const json& member(const json& object, const char* key) {
  static const json kNull;
  if (!object.is_object()) return kNull;
  const auto found = object.find(key);
  return found == object.end() ? kNull : *found;
}

bool flag(const json& object, const char* key, bool otherwise, const std::string& where) {
  const json& value = member(object, key);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) fail(where, fmt::format("{} is {}, expected true or false", key, value.type_name()));
  return value.get<bool>();
}

std::string text(const json& object, const char* key, const std::string& where) {
  const json& value = member(object, key);
  if (!value.is_string()) fail(where, fmt::format("{} is {}, expected a string", key, value.type_name()));
  return value.get<std::string>();
}

const json& list(const json& object, const char* key, const std::string& where) {
  const json& value = member(object, key);
  if (!value.is_array()) fail(where, fmt::format("{} is {}, expected an array", key, value.type_name()));
  return value;
}

// A token's id. Ids out of range are refused where they are used.
int64_t integer(const json& value, const std::string& where) {
  if (!value.is_number_integer()) fail(where, fmt::format("an id is {}, expected a whole number", value.type_name()));
  return value.is_number_unsigned() && value.get<uint64_t>() > INT32_MAX ? INT32_MAX : value.get<int64_t>();
}

Pattern pattern(const json& step, const std::string& where) {
  const json& given = member(step, "pattern");
  if (member(given, "String").is_string()) return {given["String"].get<std::string>(), std::nullopt};
  if (member(given, "Regex").is_string()) return {"", Regex(given["Regex"].get<std::string>(), true, where)};
  fail(where, "a pattern is neither a String nor a Regex");
}

SplitRule split_rule(const std::string& name, const std::string& where) {
  if (name == "Isolated") return SplitRule::Isolated;
  if (name == "Removed") return SplitRule::Removed;
  if (name == "MergedWithPrevious") return SplitRule::MergedWithPrevious;
  if (name == "MergedWithNext") return SplitRule::MergedWithNext;
  if (name == "Contiguous") return SplitRule::Contiguous;
  fail(where, fmt::format("split behavior {:?} is not known", name.substr(0, 80)));
}

using Normalizers = std::vector<std::unique_ptr<const Normalizer>>;
using PreTokenizers = std::vector<std::unique_ptr<const PreTokenizer>>;

// Nesting is bounded by that of the JSON itself.
void add_normalizers(const json& step, Normalizers& out, const std::string& where) {
  if (step.is_null()) return;
  const std::string type = text(step, "type", where + ": normalizer");
  if (type == "Sequence") {
    for (const json& part : list(step, "normalizers", where)) add_normalizers(part, out, where);
  } else if (type == "NFC") {
    out.push_back(unicode_normalizer(UnicodeForm::Nfc));
  } else if (type == "NFD") {
    out.push_back(unicode_normalizer(UnicodeForm::Nfd));
  } else if (type == "NFKC") {
    out.push_back(unicode_normalizer(UnicodeForm::Nfkc));
  } else if (type == "NFKD") {
    out.push_back(unicode_normalizer(UnicodeForm::Nfkd));
  } else if (type == "Lowercase") {
    out.push_back(lowercase_normalizer());
  } else if (type == "Strip") {
    out.push_back(strip_normalizer(flag(step, "strip_left", true, where), flag(step, "strip_right", true, where)));
  } else if (type == "Prepend") {
    out.push_back(prepend_normalizer(text(step, "prepend", where)));
  } else if (type == "Replace") {
    out.push_back(replace_normalizer(pattern(step, where), text(step, "content", where)));
  } else if (type == "ByteLevel") {
    out.push_back(byte_level_normalizer());
  } else {
    fail(where, fmt::format("normalizer {:?} is not supported", type.substr(0, 80)));
  }
}

PrefixRule prefix_rule(const json& step, const std::string& where) {
  if (member(step, "prepend_scheme").is_null()) {  // files of before 2024
    return flag(step, "add_prefix_space", true, where) ? PrefixRule::Always : PrefixRule::Never;
  }
  const std::string scheme = text(step, "prepend_scheme", where);
  if (scheme == "always") return PrefixRule::Always;
  if (scheme == "first") return PrefixRule::First;
  if (scheme == "never") return PrefixRule::Never;
  fail(where, fmt::format("prepend_scheme {:?} is not known", scheme.substr(0, 80)));
}

void add_pre_tokenizers(const json& step, PreTokenizers& out, const std::string& where) {
  if (step.is_null()) return;
  const std::string type = text(step, "type", where + ": pre_tokenizer");
  const auto split = [&](const char* regex, SplitRule rule, bool invert = false) {
    out.push_back(split_pre_tokenizer({"", Regex(regex, true, where)}, rule, invert));
  };
  if (type == "Sequence") {
    for (const json& part : list(step, "pretokenizers", where)) add_pre_tokenizers(part, out, where);
  } else if (type == "Split") {
    out.push_back(split_pre_tokenizer(pattern(step, where), split_rule(text(step, "behavior", where), where),
                                      flag(step, "invert", false, where)));
  } else if (type == "ByteLevel") {
    out.push_back(
        byte_level_pre_tokenizer(flag(step, "add_prefix_space", true, where), flag(step, "use_regex", true, where)));
  } else if (type == "Metaspace") {
    out.push_back(metaspace_pre_tokenizer(text(step, "replacement", where), prefix_rule(step, where),
                                          flag(step, "split", true, where)));
  } else if (type == "Digits") {
    split(flag(step, "individual_digits", false, where) ? R"(\p{N})" : R"(\p{N}+)", SplitRule::Isolated);
  } else if (type == "Whitespace") {
    split(R"(\w+|[^\w\s]+)", SplitRule::Removed, true);
  } else if (type == "WhitespaceSplit") {
    split(R"(\s)", SplitRule::Removed);
  } else if (type == "Punctuation") {
    const bool given = !member(step, "behavior").is_null();
    split(R"([\p{P}!-/:-@\[-`{-~])", given ? split_rule(text(step, "behavior", where), where) : SplitRule::Isolated);
  } else if (type == "CharDelimiterSplit") {
    out.push_back(split_pre_tokenizer({text(step, "delimiter", where), std::nullopt}, SplitRule::Removed, false));
  } else {
    fail(where, fmt::format("pre_tokenizer {:?} is not supported", type.substr(0, 80)));
  }
}

void add_decoder(const json& step, BpeSpec& spec, const std::string& where) {
  using Kind = BpeDecodeStep::Kind;
  const std::string type = text(step, "type", where + ": decoder");
  if (type == "Sequence") {
    for (const json& part : list(step, "decoders", where)) add_decoder(part, spec, where);
  } else if (type == "ByteLevel") {
    spec.decoder.push_back({Kind::ByteLevel, "", ""});
  } else if (type == "ByteFallback") {
    spec.decoder.push_back({Kind::ByteFallback, "", ""});
    spec.decode_rules.broken = BrokenBytes::WholeRun;
  } else if (type == "Replace") {
    const Pattern from = pattern(step, where);
    if (from.regex) fail(where, "a decoder that replaces a Regex is not supported");
    spec.decoder.push_back({Kind::Replace, from.text, text(step, "content", where)});
  } else if (type == "Metaspace") {
    spec.decoder.push_back({Kind::Replace, text(step, "replacement", where), " "});
    if (prefix_rule(step, where) != PrefixRule::Never) {
      spec.decode_rules.leading = DecodeRules::LeadingSpace::FirstToken;
    }
  } else if (type == "Strip") {
    const int64_t start = integer(member(step, "start"), where), stop = integer(member(step, "stop"), where);
    if (text(step, "content", where) != " " || stop != 0 || start < 0) {
      fail(where, "a Strip decoder of anything but leading spaces is not supported");
    }
    spec.decode_rules.leading = DecodeRules::LeadingSpace::Text;
    spec.decode_rules.spaces = static_cast<int>(start);
  } else if (type != "Fuse") {
    fail(where, fmt::format("decoder {:?} is not supported", type.substr(0, 80)));
  }
}

// Ids that the template puts around a text.
void read_post_processor(const json& step, BpeSpec& spec, const std::string& where) {
  if (step.is_null()) return;
  const std::string type = text(step, "type", where + ": post_processor");
  if (type == "Sequence") {
    for (const json& part : list(step, "processors", where)) read_post_processor(part, spec, where);
    return;
  }
  if (type == "ByteLevel") return;  // moves offsets only
  if (type != "TemplateProcessing")
    fail(where, fmt::format("post_processor {:?} is not supported", type.substr(0, 80)));
  bool after_text = false;
  for (const json& part : list(step, "single", where)) {
    if (!member(part, "Sequence").is_null()) {
      after_text = true;
      continue;
    }
    const std::string name = text(member(part, "SpecialToken"), "id", where);
    const json& ids =
        list(member(member(step, "special_tokens"), name.c_str()), "ids", where + ": special token " + name);
    bool& adds = after_text ? spec.add_eos : spec.add_bos;
    if (ids.size() != 1 || adds) fail(where, "a template with several special tokens on one side is not supported");
    const int64_t id = integer(ids[0], where);
    const auto index = static_cast<size_t>(id);
    if (id < 0 || index >= spec.tokens.size() || spec.tokens[index].kind == TokenKind::Unused) {
      fail(where,
           fmt::format("the template's token {:?} has id {}, which is not in the vocabulary", name.substr(0, 80), id));
    }
    adds = true;
    (after_text ? spec.eos : spec.bos) = static_cast<int32_t>(id);
  }
}

// Markup that some files do not call special: users must not be able to write it.
bool is_markup(std::string_view token) {
  return token.size() > 2 &&
         ((token.front() == '<' && token.back() == '>') || (token.front() == '[' && token.back() == ']'));
}

void read_added_tokens(const json& root, BpeSpec& spec, size_t count, const std::string& where) {
  const json& added = member(root, "added_tokens");
  if (added.is_null()) return;
  for (const json& token : list(root, "added_tokens", where)) {
    const std::string content = text(token, "content", where + ": added token");
    if (content.empty()) fail(where, "an added token is empty");
    const int64_t id = integer(member(token, "id"), where + ": added token " + content.substr(0, 80));
    const bool special = flag(token, "special", false, where) || is_markup(content);
    set_token(spec, id, content, special ? TokenKind::Control : TokenKind::UserDefined, count, where);
    spec.added.push_back({content, static_cast<int32_t>(id), special, flag(token, "normalized", !special, where),
                          flag(token, "lstrip", false, where), flag(token, "rstrip", false, where),
                          flag(token, "single_word", false, where)});
  }
}

using Vocabulary = std::unordered_map<std::string_view, int32_t>;

void read_merges(const json& model, const Vocabulary& vocabulary, BpeSpec& spec, const std::string& where) {
  for (const json& merge : list(model, "merges", where)) {
    const size_t index = spec.merges.size();
    std::string left, right;
    if (merge.is_string()) {
      const std::string both = merge.get<std::string>();
      if (index == 0 && both.starts_with("#version")) continue;
      const size_t space = both.find(' ');
      if (space == both.npos || both.find(' ', space + 1) != both.npos) {
        fail(where, fmt::format("merge {} is {:?}, expected two tokens", index, both.substr(0, 80)));
      }
      left = both.substr(0, space), right = both.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      left = merge[0].get<std::string>(), right = merge[1].get<std::string>();
    } else {
      fail(where, fmt::format("merge {} is not two tokens", index));
    }
    const auto id_of = [&](const std::string& token) {
      const auto found = vocabulary.find(token);
      if (found == vocabulary.end()) {
        fail(where, fmt::format("merge {} needs a token {:?} that the vocabulary lacks", index, token.substr(0, 80)));
      }
      return found->second;
    };
    spec.merges.push_back({id_of(left), id_of(right), id_of(left + right), static_cast<int32_t>(index)});
  }
}

void read_model(const json& root, BpeSpec& spec, const std::string& where) {
  const json& model = member(root, "model");
  if (!model.is_object()) fail(where, "no model: not a tokenizer.json");
  if (const json& type = member(model, "type"); !type.is_null() && type != "BPE") {
    fail(where, fmt::format("its model is {}, expected BPE or Unigram", type.dump().substr(0, 80)));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const json& value = member(model, key);
    if (!value.is_null() && value != "") fail(where, fmt::format("{} is not supported", key));
  }
  const json& dropout = member(model, "dropout");
  if (!dropout.is_null() && dropout != 0) fail(where, "dropout is set: it would make ids random");
  spec.ignore_merges = flag(model, "ignore_merges", false, where);
  spec.byte_fallback = flag(model, "byte_fallback", false, where);
  spec.fuse_unknown = flag(model, "fuse_unk", false, where);

  const json& vocab = member(model, "vocab");
  if (!vocab.is_object() || vocab.empty()) fail(where, "the model has no vocab");
  const json& added = member(root, "added_tokens");
  const size_t count = vocab.size() + (added.is_array() ? added.size() : 0);
  Vocabulary vocabulary;
  for (const auto& [token, value] : vocab.items()) {
    const int64_t id = integer(value, where);
    set_token(spec, id, token, TokenKind::Normal, count, where);
    vocabulary.emplace(token, static_cast<int32_t>(id));
  }
  const json& unknown = member(model, "unk_token");
  if (!unknown.is_null()) {
    const auto found = vocabulary.find(text(model, "unk_token", where));
    if (found == vocabulary.end())
      fail(where, fmt::format("unk_token {} is not in the vocab", unknown.dump().substr(0, 80)));
    spec.unknown = found->second;
  }
  read_merges(model, vocabulary, spec, where);
  read_added_tokens(root, spec, count, where);
  if (spec.unknown >= 0) spec.tokens[static_cast<size_t>(spec.unknown)].kind = TokenKind::Unknown;
}

// tokenizer_config.json: which tokens begin and end a text.
void apply_config(const json& config, Tokenizer& tokenizer, const std::string& where) {
  const auto id_of = [&](const char* key, int32_t otherwise) {
    const json& given = member(config, key);
    const json& name = given.is_object() ? member(given, "content") : given;
    if (!name.is_string()) return otherwise;
    return tokenizer.find(name.get_ref<const std::string&>()).value_or(otherwise);
  };
  tokenizer.bos = id_of("bos_token", tokenizer.bos);
  tokenizer.eos = id_of("eos_token", tokenizer.eos);
  tokenizer.pad = id_of("pad_token", tokenizer.pad);
  tokenizer.unknown = id_of("unk_token", tokenizer.unknown);
  tokenizer.add_bos = tokenizer.bos >= 0 && flag(config, "add_bos_token", tokenizer.add_bos, where);
  tokenizer.add_eos = tokenizer.eos >= 0 && flag(config, "add_eos_token", tokenizer.add_eos, where);
}

// The normaliser of a unigram model: a table, and what makes one space of several.
void read_unigram_normalizer(const json& step, SentencePieceModel& model, const std::string& where) {
  if (step.is_null()) return;
  const std::string type = text(step, "type", where + ": normalizer");
  if (type == "Sequence") {
    for (const json& part : list(step, "normalizers", where)) read_unigram_normalizer(part, model, where);
  } else if (type == "Precompiled") {
    const auto table = from_base64(text(step, "precompiled_charsmap", where));
    if (!table) fail(where, "precompiled_charsmap is not base64");
    model.charsmap = *table;
  } else if (type == "Replace" && member(member(step, "pattern"), "Regex") == " {2,}") {
    model.remove_extra_whitespaces = true;
  } else if (type != "Strip") {
    fail(where, fmt::format("normalizer {:?} is not supported before a unigram model", type.substr(0, 80)));
  }
}

void read_unigram_words(const json& step, SentencePieceModel& model, const std::string& where) {
  if (step.is_null()) return;
  const std::string type = text(step, "type", where + ": pre_tokenizer");
  if (type == "Sequence") {
    for (const json& part : list(step, "pretokenizers", where)) read_unigram_words(part, model, where);
  } else if (type == "Metaspace") {
    model.add_dummy_prefix = prefix_rule(step, where) != PrefixRule::Never;
  } else if (type == "WhitespaceSplit") {
    model.remove_extra_whitespaces = true;
  } else {
    fail(where, fmt::format("pre_tokenizer {:?} is not supported before a unigram model", type.substr(0, 80)));
  }
}

void read_unigram_pieces(const json& model, SentencePieceModel& out, const std::string& where) {
  out.byte_fallback = flag(model, "byte_fallback", false, where);
  for (const json& piece : list(model, "vocab", where)) {
    if (!piece.is_array() || piece.size() != 2 || !piece[0].is_string() || !piece[1].is_number()) {
      fail(where, fmt::format("piece {} is not a text and a score", out.pieces.size()));
    }
    const auto spelled = piece[0].get<std::string>();
    const bool byte = out.byte_fallback && spelled.size() == 6 && spelled.starts_with("<0x") && spelled.back() == '>';
    out.pieces.push_back({spelled, piece[1].get<float>(), byte ? TokenKind::Byte : TokenKind::Normal});
  }
  const json& unknown = member(model, "unk_id");
  if (unknown.is_null()) return;
  const int64_t id = integer(unknown, where);
  if (id < 0 || id >= std::ssize(out.pieces))
    fail(where, fmt::format("unk_id is {}, expected the index of a piece", id));
  out.unknown = static_cast<int32_t>(id);
  out.pieces[static_cast<size_t>(id)].kind = TokenKind::Unknown;
}

// A token that stands beyond the pieces must be the next one.
void read_unigram_added(const json& root, SentencePieceModel& out, const std::string& where) {
  if (member(root, "added_tokens").is_null()) return;
  for (const json& token : list(root, "added_tokens", where)) {
    const std::string content = text(token, "content", where + ": added token");
    const int64_t id = integer(member(token, "id"), where);
    const bool special = flag(token, "special", false, where) || is_markup(content);
    if (id < 0 || id > std::ssize(out.pieces)) {
      fail(where, fmt::format("the added token {:?} has id {}, expected 0 to {}", content.substr(0, 80), id,
                              out.pieces.size()));
    }
    if (id == std::ssize(out.pieces)) out.pieces.push_back({content, 0, TokenKind::Normal});
    auto& piece = out.pieces[static_cast<size_t>(id)];
    if (piece.text != content) {
      fail(where, fmt::format("the added token {:?} has the id of {:?}", content.substr(0, 80), piece.text));
    }
    if (piece.kind != TokenKind::Unknown) piece.kind = special ? TokenKind::Control : TokenKind::UserDefined;
  }
}

// As SentencePiece itself would segment: the files are made from its models.
std::unique_ptr<Tokenizer> unigram_from_json(const json& root, const json& config, const std::string& where) {
  auto tokenizer = make_sentencepiece_tokenizer(unigram_model_from_json(root, where), where);
  tokenizer->add_eos = tokenizer->eos >= 0;
  apply_config(config, *tokenizer, where);
  return tokenizer;
}

}  // namespace

SentencePieceModel unigram_model_from_json(const json& root, const std::string& where) {
  SentencePieceModel model;
  model.unigram = true;
  read_unigram_pieces(member(root, "model"), model, where);
  read_unigram_added(root, model, where);
  read_unigram_normalizer(member(root, "normalizer"), model, where);
  model.add_dummy_prefix = false;
  read_unigram_words(member(root, "pre_tokenizer"), model, where);
  // The tokens that its template puts around a text.
  BpeSpec around;
  for (size_t i = 0; i < model.pieces.size(); ++i) {
    set_token(around, static_cast<int64_t>(i), model.pieces[i].text, TokenKind::Normal, model.pieces.size(), where);
  }
  read_post_processor(member(root, "post_processor"), around, where);
  model.bos = around.bos;
  model.eos = around.eos;
  return model;
}

std::unique_ptr<Tokenizer> tokenizer_from_json(const json& root, const json& config, const std::string& where) {
  if (!root.is_object()) fail(where, "not an object, expected a tokenizer.json");
  if (member(member(root, "model"), "type") == "Unigram") return unigram_from_json(root, config, where);
  BpeSpec spec;
  read_model(root, spec, where);
  add_normalizers(member(root, "normalizer"), spec.normalizers, where);
  add_pre_tokenizers(member(root, "pre_tokenizer"), spec.pre_tokenizers, where);
  if (member(root, "decoder").is_null()) fail(where, "no decoder: it does not say how ids become text");
  add_decoder(root["decoder"], spec, where);
  read_post_processor(member(root, "post_processor"), spec, where);
  spec.name = spec.byte_fallback ? "BPE with byte fallback" : "byte-level BPE";
  auto tokenizer = make_bpe_tokenizer(std::move(spec), where);
  apply_config(config, *tokenizer, where);
  return tokenizer;
}

}  // namespace ostro
