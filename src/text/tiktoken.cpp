// Vocabularies that are a list of byte strings in the order of their merges: tiktoken's files, and Tekken, which is
// such a list in JSON with its pattern and its special tokens.
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "text/base64.h"
#include "text/bpe.h"
#include "text/split_patterns.h"
#include "text/tokenizer_formats.h"

namespace ostro {
namespace {

using nlohmann::json;

constexpr size_t kLongestToken = 1024;  // bytes

// Fills tokens[rank]; refuses what is not a list of different byte strings without gaps that holds all 256 bytes.
class RankedTokens {
 public:
  explicit RankedTokens(const std::string& where) : where_(where) {}

  void add(std::string_view base64, int64_t rank) {
    auto bytes = from_base64(base64);
    if (!bytes || bytes->empty() || bytes->size() > kLongestToken) {
      throw_error(ErrorKind::File, "{}: token {} is {:?}, expected 1 to {} bytes in base64", where_, rank,
                  base64.substr(0, 80), kLongestToken);
    }
    if (rank != static_cast<int64_t>(tokens.size())) {
      throw_error(ErrorKind::File, "{}: a token has rank {}, expected {}", where_, rank, tokens.size());
    }
    if (bytes->size() == 1) single_bytes_ += 1;
    tokens.push_back(std::move(*bytes));
  }

  // Different tokens are checked where the tokenizer is made.
  void check() const {
    if (single_bytes_ == 256) return;
    throw_error(ErrorKind::File, "{}: {} tokens of one byte, expected all 256", where_, single_bytes_);
  }

  std::vector<std::string> tokens;

 private:
  const std::string& where_;
  int single_bytes_ = 0;
};

// Everything but the special tokens, which have ids of their own.
BpeSpec ranked_spec(const std::vector<std::string>& tokens, int32_t first_id, const std::string& pattern, size_t count,
                    const std::string& where) {
  BpeSpec spec;
  for (size_t i = 0; i < tokens.size(); ++i) {
    set_token(spec, first_id + static_cast<int64_t>(i), to_byte_alphabet(tokens[i]), TokenKind::Normal, count, where);
  }
  spec.merges = merges_of_ranks(tokens, first_id);
  spec.ignore_merges = true;
  spec.keeps_broken_bytes = true;
  spec.pre_tokenizers.push_back(split_pre_tokenizer({"", Regex(pattern, false, where)}, SplitRule::Isolated, false));
  spec.pre_tokenizers.push_back(byte_level_pre_tokenizer(false, false));
  spec.decoder = {{BpeDecodeStep::Kind::ByteLevel, "", ""}};
  return spec;
}

void add_special(BpeSpec& spec, std::string text, int64_t id, size_t count, const std::string& where) {
  set_token(spec, id, text, TokenKind::Control, count, where);
  spec.added.push_back({std::move(text), static_cast<int32_t>(id), true});
}

int64_t whole_number(const json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer() || found->get<int64_t>() < 0 ||
      found->get<int64_t>() > 1 << 24) {
    throw_error(ErrorKind::File, "{}: {} is not a whole number from 0 to 2^24", where, key);
  }
  return found->get<int64_t>();
}

std::string string_member(const json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) throw_error(ErrorKind::File, "{}: {} is not a string", where, key);
  return found->get<std::string>();
}

const json& object_member(const json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) throw_error(ErrorKind::File, "{}: no object {}", where, key);
  return *found;
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_tiktoken(std::string_view text, const std::string& where) {
  RankedTokens ranked(where);
  while (!text.empty()) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const size_t space = line.find(' ');
    int64_t rank = -1;
    if (space != line.npos) std::from_chars(line.data() + space + 1, line.data() + line.size(), rank);
    ranked.add(line.substr(0, space), rank);
  }
  ranked.check();
  // The file has neither a pattern nor special tokens; its size tells which vocabulary it is.
  constexpr size_t kCl100kTokens = 100256;
  const size_t count = ranked.tokens.size();
  if (count != kCl100kTokens) {
    throw_error(ErrorKind::File, "{}: a tiktoken file of {} tokens, expected cl100k_base with {}", where, count,
                kCl100kTokens);
  }
  BpeSpec spec = ranked_spec(ranked.tokens, 0, kCl100kPattern, count, where);
  spec.name = "tiktoken cl100k_base";
  // The five of cl100k_base, and three that a chat model was trained with on top (ids that GPT-4 does not use).
  add_special(spec, "<|endoftext|>", 100257, count, where);
  add_special(spec, "<|fim_prefix|>", 100258, count, where);
  add_special(spec, "<|fim_middle|>", 100259, count, where);
  add_special(spec, "<|fim_suffix|>", 100260, count, where);
  add_special(spec, "<|endofprompt|>", 100276, count, where);
  add_special(spec, "<|pad|>", 100277, count, where);
  add_special(spec, "<|im_start|>", 100278, count, where);
  add_special(spec, "<|im_end|>", 100279, count, where);
  spec.bos = spec.eos = spec.unknown = 100257;
  spec.pad = 100277;
  return make_bpe_tokenizer(std::move(spec), where);
}

std::unique_ptr<Tokenizer> tokenizer_from_tekken(const json& root, const std::string& where) {
  // Files of before special tokens were listed in them.
  constexpr const char* kFirstSpecial[] = {"<unk>",
                                           "<s>",
                                           "</s>",
                                           "[INST]",
                                           "[/INST]",
                                           "[AVAILABLE_TOOLS]",
                                           "[/AVAILABLE_TOOLS]",
                                           "[TOOL_RESULTS]",
                                           "[/TOOL_RESULTS]",
                                           "[TOOL_CALLS]",
                                           "[IMG]",
                                           "<pad>",
                                           "[IMG_BREAK]",
                                           "[IMG_END]",
                                           "[PREFIX]",
                                           "[MIDDLE]",
                                           "[SUFFIX]",
                                           "[SYSTEM_PROMPT]",
                                           "[/SYSTEM_PROMPT]",
                                           "[TOOL_CONTENT]"};
  const json& config = object_member(root, "config", where);
  const int64_t size = whole_number(config, "default_vocab_size", where);
  const int64_t special = whole_number(config, "default_num_special_tokens", where);
  const auto vocab = root.find("vocab");
  if (vocab == root.end() || !vocab->is_array()) throw_error(ErrorKind::File, "{}: vocab is not an array", where);
  if (size <= special || static_cast<uint64_t>(size - special) > vocab->size() || special > size / 2 + 65536) {
    throw_error(ErrorKind::File, "{}: a vocabulary of {} tokens, {} of them special, out of {} listed ones", where,
                size, special, vocab->size());
  }
  RankedTokens ranked(where);
  for (int64_t i = 0; i < size - special; ++i) {
    const json& token = (*vocab)[static_cast<size_t>(i)];
    if (!token.is_object()) throw_error(ErrorKind::File, "{}: token {} is not an object", where, i);
    ranked.add(string_member(token, "token_bytes", where), whole_number(token, "rank", where));
  }
  ranked.check();
  const auto count = static_cast<size_t>(size);
  BpeSpec spec =
      ranked_spec(ranked.tokens, static_cast<int32_t>(special), string_member(config, "pattern", where), count, where);
  spec.name = "Tekken";

  std::vector<std::string> names(static_cast<size_t>(special));
  if (const auto listed = root.find("special_tokens"); listed != root.end() && listed->is_array()) {
    for (const json& token : *listed) {
      const auto rank = static_cast<size_t>(token.is_object() ? whole_number(token, "rank", where) : special);
      if (rank >= names.size() || !names[rank].empty()) {
        throw_error(ErrorKind::File, "{}: a special token has rank {}, taken or not below {}", where, rank, special);
      }
      names[rank] = string_member(token, "token_str", where);
    }
  } else {
    for (size_t i = 0; i < std::min(names.size(), std::size(kFirstSpecial)); ++i) names[i] = kFirstSpecial[i];
  }
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i].empty()) names[i] = fmt::format("<SPECIAL_{}>", i);
    add_special(spec, names[i], static_cast<int64_t>(i), count, where);
    if (names[i] == "<unk>") spec.unknown = static_cast<int32_t>(i);
    if (names[i] == "<s>") spec.bos = static_cast<int32_t>(i);
    if (names[i] == "</s>") spec.eos = static_cast<int32_t>(i);
    if (names[i] == "<pad>") spec.pad = static_cast<int32_t>(i);
  }
  spec.add_bos = true;
  return make_bpe_tokenizer(std::move(spec), where);
}

}  // namespace ostro
