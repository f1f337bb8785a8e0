// The vocabulary in a GGUF file's metadata: SentencePiece BPE ("llama") or unigram ("t5"), or byte-level BPE ("gpt2").
#include <unordered_map>

#include "base/error.h"
#include "text/bpe.h"
#include "text/sentencepiece.h"
#include "text/split_patterns.h"
#include "text/tokenizer_formats.h"

namespace ostro {
namespace {

TokenKind kind_of(int64_t type, size_t index, const std::string& where) {
  switch (type) {
    case 1:
      return TokenKind::Normal;
    case 2:
      return TokenKind::Unknown;
    case 3:
      return TokenKind::Control;
    case 4:
      return TokenKind::UserDefined;
    case 5:
      return TokenKind::Unused;
    case 6:
      return TokenKind::Byte;
    default:
      throw_error(ErrorKind::File, "{}: tokenizer.ggml.token_type of token {} is {}, expected 1 to 6", where, index,
                  type);
  }
}

struct Vocabulary {
  const std::vector<std::string>& tokens;
  std::vector<TokenKind> kinds;
};

Vocabulary read_vocabulary(const GgufMetadata& metadata, const std::string& where) {
  const auto* tokens = metadata.strings("tokenizer.ggml.tokens");
  if (tokens == nullptr || tokens->empty()) throw_error(ErrorKind::File, "{}: no tokenizer.ggml.tokens", where);
  Vocabulary out{*tokens, std::vector<TokenKind>(tokens->size(), TokenKind::Normal)};
  const auto types = metadata.integers("tokenizer.ggml.token_type");
  if (!types) return out;
  if (types->size() != tokens->size()) {
    throw_error(ErrorKind::File, "{}: {} tokens but {} token types", where, tokens->size(), types->size());
  }
  for (size_t i = 0; i < types->size(); ++i) out.kinds[i] = kind_of((*types)[i], i, where);
  return out;
}

int32_t special_id(const GgufMetadata& metadata, const char* name, size_t tokens, const std::string& where) {
  const auto id = metadata.integer(fmt::format("tokenizer.ggml.{}_token_id", name));
  // Some converters write 2^32 - 1 for "none".
  if (!id || *id == -1 || *id == 0xFFFFFFFF) return -1;
  if (*id < 0 || *id >= static_cast<int64_t>(tokens)) {
    throw_error(ErrorKind::File, "{}: tokenizer.ggml.{}_token_id is {}, expected 0 to {}", where, name, *id,
                tokens - 1);
  }
  return static_cast<int32_t>(*id);
}

std::unique_ptr<Tokenizer> sentencepiece(const GgufMetadata& metadata, bool unigram, const std::string& where) {
  const Vocabulary vocabulary = read_vocabulary(metadata, where);
  const size_t count = vocabulary.tokens.size();
  const auto scores = metadata.numbers("tokenizer.ggml.scores");
  if (!scores || scores->size() != count) {
    throw_error(ErrorKind::File, "{}: {} tokens but {} tokenizer.ggml.scores", where, count,
                scores ? scores->size() : size_t{0});
  }
  SentencePieceModel model;
  model.unigram = unigram;
  // Bytes, with or without a sign.
  for (const int64_t byte : metadata.integers("tokenizer.ggml.precompiled_charsmap").value_or(std::vector<int64_t>())) {
    model.charsmap.push_back(static_cast<char>(static_cast<uint8_t>(byte & 255)));
  }
  for (size_t i = 0; i < count; ++i) {
    model.pieces.push_back({vocabulary.tokens[i], static_cast<float>((*scores)[i]), vocabulary.kinds[i]});
    if (vocabulary.kinds[i] == TokenKind::Byte) model.byte_fallback = true;
  }
  model.add_dummy_prefix = metadata.boolean("tokenizer.ggml.add_space_prefix").value_or(true);
  model.remove_extra_whitespaces = metadata.boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(unigram);
  model.bos = special_id(metadata, "bos", count, where);
  model.eos = special_id(metadata, "eos", count, where);
  model.unknown = special_id(metadata, "unknown", count, where);
  model.pad = special_id(metadata, "padding", count, where);
  auto tokenizer = make_sentencepiece_tokenizer(std::move(model), where);
  tokenizer->add_bos = tokenizer->bos >= 0 && metadata.boolean("tokenizer.ggml.add_bos_token").value_or(true);
  tokenizer->add_eos = tokenizer->eos >= 0 && metadata.boolean("tokenizer.ggml.add_eos_token").value_or(false);
  return tokenizer;
}

std::vector<BpeMerge> read_merges(const GgufMetadata& metadata, const Vocabulary& vocabulary,
                                  const std::string& where) {
  const auto* lines = metadata.strings("tokenizer.ggml.merges");
  if (lines == nullptr) throw_error(ErrorKind::File, "{}: no tokenizer.ggml.merges", where);
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) ids.emplace(vocabulary.tokens[i], static_cast<int32_t>(i));
  std::vector<BpeMerge> merges;
  for (size_t rank = 0; rank < lines->size(); ++rank) {
    const std::string& line = (*lines)[rank];
    const size_t space = line.find(' ', 1);
    const auto id_of = [&](std::string_view text) {
      const auto found = ids.find(text);
      if (found == ids.end()) {
        throw_error(ErrorKind::File, "{}: merge {} ({:?}) needs a token {:?} that the vocabulary lacks", where, rank,
                    line.substr(0, 80), text.substr(0, 80));
      }
      return found->second;
    };
    if (space == line.npos) {
      throw_error(ErrorKind::File, "{}: merge {} is {:?}, expected two tokens", where, rank, line.substr(0, 80));
    }
    const std::string left = line.substr(0, space), right = line.substr(space + 1);
    merges.push_back({id_of(left), id_of(right), id_of(left + right), static_cast<int32_t>(rank)});
  }
  return merges;
}

std::unique_ptr<Tokenizer> byte_level(const GgufMetadata& metadata, const std::string& where) {
  const auto pre = metadata.text("tokenizer.ggml.pre");
  if (!pre) throw_error(ErrorKind::File, "{}: no tokenizer.ggml.pre, which says how text is cut into words", where);
  const SplitRecipe recipe = split_recipe(*pre, where);
  const Vocabulary vocabulary = read_vocabulary(metadata, where);
  const size_t count = vocabulary.tokens.size();
  BpeSpec spec;
  spec.name = fmt::format("byte-level BPE ({})", *pre);
  spec.merges = read_merges(metadata, vocabulary, where);
  for (size_t i = 0; i < count; ++i) {
    const std::string& text = vocabulary.tokens[i];
    const TokenKind kind = vocabulary.kinds[i];
    const auto id = static_cast<int32_t>(i);
    set_token(spec, id, text, kind, count, where);
    const bool special = kind == TokenKind::Control || kind == TokenKind::Unknown;
    if (special || kind == TokenKind::UserDefined) spec.added.push_back({text, id, special});
  }
  spec.ignore_merges = recipe.ignore_merges;
  for (const std::string& pattern : recipe.patterns) {
    spec.pre_tokenizers.push_back(split_pre_tokenizer({"", Regex(pattern, true, where)}, SplitRule::Isolated, false));
  }
  spec.pre_tokenizers.push_back(byte_level_pre_tokenizer(false, false));
  spec.decoder = {{BpeDecodeStep::Kind::ByteLevel, "", ""}};
  spec.bos = special_id(metadata, "bos", count, where);
  spec.eos = special_id(metadata, "eos", count, where);
  spec.unknown = special_id(metadata, "unknown", count, where);
  spec.pad = special_id(metadata, "padding", count, where);
  spec.add_bos = metadata.boolean("tokenizer.ggml.add_bos_token").value_or(recipe.add_bos);
  spec.add_eos = metadata.boolean("tokenizer.ggml.add_eos_token").value_or(false);
  return make_bpe_tokenizer(std::move(spec), where);
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_gguf(const GgufMetadata& metadata, const std::string& where) {
  const auto model = metadata.text("tokenizer.ggml.model");
  if (!model) throw_error(ErrorKind::File, "{}: no tokenizer.ggml.model: the file has no vocabulary", where);
  if (*model == "llama" || *model == "t5") return sentencepiece(metadata, *model == "t5", where);
  if (*model == "gpt2") return byte_level(metadata, where);
  throw_error(ErrorKind::File, "{}: tokenizer.ggml.model is {:?}, expected \"llama\", \"t5\" or \"gpt2\"", where,
              model->substr(0, 80));
}

}  // namespace ostro
