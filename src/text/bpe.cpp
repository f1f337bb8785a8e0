#include "text/bpe.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/error.h"
#include "text/merges.h"
#include "text/token_matcher.h"
#include "text/word_cache.h"

namespace ostro {
namespace {

constexpr std::string_view kMark = "\u2581";

class BpeTokenizer final : public Tokenizer {
 public:
  BpeTokenizer(BpeSpec spec, const std::string& where);

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const override;
  TokenBytes token_bytes(int32_t id) const override;
  int32_t vocab_size() const override { return static_cast<int32_t>(spec_.tokens.size()); }
  std::string_view token_text(int32_t id) const override { return token(id).text; }
  TokenKind token_kind(int32_t id) const override { return token(id).kind; }
  std::optional<int32_t> find(std::string_view text) const override {
    const auto found = ids_.find(text);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  std::string describe() const override { return fmt::format("{}, {} tokens", spec_.name, ids_.size()); }
  DecodeRules decode_rules() const override { return spec_.decode_rules; }

 private:
  // Added tokens that are looked for in the text as it is, and in the normalised text.
  struct Matchers {
    TokenMatcher raw, normalized;
  };
  // The ids of one text, and what is needed while they come about.
  struct Encoding;

  const BpeSpec::Token& token(int32_t id) const {
    check_id(id);
    return spec_.tokens[static_cast<size_t>(id)];
  }
  void index_tokens(const std::string& where);
  void index_added(const std::string& where);
  std::string normalize(std::string text, const StretchPlace& place) const;
  template <typename Text, typename Token>
  void cut_at_added(std::string_view text, const TokenMatcher& matcher, Text on_text, Token on_token) const;
  void encode_valid(std::string_view text, const StretchPlace& place, Encoding& encoding) const;
  void encode_broken(std::string_view text, const StretchPlace& place, Encoding& encoding) const;
  void encode_words(std::string_view normalized, const StretchPlace& place, Encoding& encoding) const;
  void encode_word(std::string_view word, Encoding& encoding) const;
  int32_t symbol_of(char32_t code) const {
    if (code < low_symbols_.size()) return low_symbols_[code];
    const auto found = high_symbols_.find(code);
    return found == high_symbols_.end() ? -1 : found->second;
  }

  BpeSpec spec_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::unordered_map<std::string_view, int32_t> words_;  // tokens that text may become without asking for special ones
  std::array<int32_t, 0x400> low_symbols_{};             // by code point; -1 where no token is this one character
  std::unordered_map<char32_t, int32_t> high_symbols_;
  std::array<int32_t, 256> byte_ids_{};  // of <0xHH>; -1 where there is none
  MergeTable merges_;
  std::vector<const AddedToken*> added_;  // by id; null for other tokens
  Matchers plain_, special_;
};

struct BpeTokenizer::Encoding {
  Encoding(std::vector<int32_t>& output, const MergeTable& merges, const Matchers& added)
      : ids(output), merger(merges), matchers(added) {}
  std::vector<int32_t>& ids;
  Merger merger;
  const Matchers& matchers;
  std::vector<int32_t> row;
  size_t last_word = 0;  // where in `ids` the last word begins
};

BpeTokenizer::BpeTokenizer(BpeSpec spec, const std::string& where) : spec_(std::move(spec)) {
  index_tokens(where);
  index_added(where);
  for (const BpeMerge& merge : spec_.merges) merges_.add(merge.left, merge.right, {merge.rank, merge.merged});
  spec_.merges = {};
  const auto known = [&](int32_t id) { return id >= 0 && id < vocab_size() ? id : -1; };
  bos = known(spec_.bos), eos = known(spec_.eos), unknown = known(spec_.unknown), pad = known(spec_.pad);
  add_bos = spec_.add_bos && bos >= 0;
  add_eos = spec_.add_eos && eos >= 0;
}

void BpeTokenizer::index_tokens(const std::string& where) {
  low_symbols_.fill(-1);
  byte_ids_.fill(-1);
  for (size_t i = 0; i < spec_.tokens.size(); ++i) {
    const auto& [text, kind] = spec_.tokens[i];
    const auto id = static_cast<int32_t>(i);
    if (kind == TokenKind::Unused && text.empty()) continue;
    if (const auto [first, is_new] = ids_.emplace(text, id); !is_new) {
      throw_error(ErrorKind::File, "{}: tokens {} and {} are the same", where, first->second, id);
    }
    if (kind == TokenKind::Control || text.empty()) continue;
    words_.emplace(text, id);
    if (const Utf8Step step = utf8_step(text); step.valid && step.length == text.size()) {
      if (step.code < low_symbols_.size()) {
        low_symbols_[step.code] = id;
      } else {
        high_symbols_.emplace(step.code, id);
      }
    }
  }
  if (!spec_.byte_fallback) return;
  for (size_t byte = 0; byte < 256; ++byte) {
    if (const auto id = find(fmt::format("<0x{:02X}>", byte))) byte_ids_[byte] = *id;
  }
}

void BpeTokenizer::index_added(const std::string& where) {
  added_.resize(spec_.tokens.size());
  for (const AddedToken& added : spec_.added) {
    if (added.id < 0 || added.id >= vocab_size() || token(added.id).text != added.text) {
      throw_error(ErrorKind::File, "{}: the added token with id {} contradicts the vocabulary", where, added.id);
    }
    added_[static_cast<size_t>(added.id)] = &added;
    const std::string text = added.normalized ? normalize(added.text, {}) : added.text;
    const auto add = [&](Matchers& matchers) {
      (added.normalized ? matchers.normalized : matchers.raw).add(text, added.id);
    };
    add(special_);
    if (!added.special) add(plain_);
  }
}

std::string BpeTokenizer::normalize(std::string text, const StretchPlace& place) const {
  for (const auto& step : spec_.normalizers) text = step->apply(std::move(text), place);
  return text;
}

// The byte of "<0x0A>"; nullopt for every other text.
std::optional<uint8_t> byte_of_token(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  const size_t high = kDigits.find(text[3]), low = kDigits.find(text[4]);
  if (high == kDigits.npos || low == kDigits.npos) return std::nullopt;
  return static_cast<uint8_t>(high << 4 | low);
}

bool is_word_character(char32_t code) {
  // Letters, marks, numbers and connectors: what \w means in Rust's regex, the rarest classes aside.
  static const Regex pattern(R"(\w)", false, "word characters");
  std::string text;
  append_utf8(text, code);
  TextSpan match;
  return Regex::Search(pattern).next(text, 0, match);
}

bool ends_with_word(std::string_view text) {
  size_t at = text.size();
  while (at > 0 && (static_cast<uint8_t>(text[--at]) & 0xC0) == 0x80) {
  }
  return !text.empty() && is_word_character(utf8_step(text.substr(at)).code);
}

bool begins_with_word(std::string_view text) { return !text.empty() && is_word_character(utf8_step(text).code); }

size_t spaces_at_front(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && is_white_space(utf8_step(text.substr(at)).code)) at += utf8_step(text.substr(at)).length;
  return at;
}

// Where the spaces at the end of `text` begin, not before `from`.
size_t spaces_at_back(std::string_view text, size_t from) {
  size_t begin = text.size();
  while (begin > from) {
    size_t at = begin;
    while (at > from && (static_cast<uint8_t>(text[--at]) & 0xC0) == 0x80) {
    }
    if (!is_white_space(utf8_step(text.substr(at)).code)) break;
    begin = at;
  }
  return begin;
}

// Calls on_text(begin, end) and on_token(id) in the order of the text.
template <typename Text, typename Token>
void BpeTokenizer::cut_at_added(std::string_view text, const TokenMatcher& matcher, Text on_text,
                                Token on_token) const {
  size_t done = 0, from = 0;
  for (TokenMatcher::Match match; matcher.next(text, from, match);) {
    from = match.end;
    const AddedToken& added = *added_[static_cast<size_t>(match.id)];
    size_t begin = match.begin, end = match.end;
    if (added.whole_word && (ends_with_word(text.substr(0, begin)) || begins_with_word(text.substr(end)))) continue;
    if (added.takes_left && begin > done) begin = spaces_at_back(text.substr(0, begin), done);
    if (added.takes_right) end += spaces_at_front(text.substr(end));
    if (done < begin) on_text(done, begin);
    on_token(match.id);
    done = end;  // also where that is before spaces that the last token took: the reference reads those again
  }
  if (done < text.size()) on_text(done, text.size());
}

std::vector<int32_t> BpeTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  check_text_length(text);
  std::vector<int32_t> ids;
  std::string repaired;
  if (!spec_.keeps_broken_bytes && !is_utf8(text)) text = repaired = repaired_utf8(text, BrokenBytes::MaximalPart);
  Encoding encoding(ids, merges_, options.parse_special ? special_ : plain_);
  cut_at_added(
      text, encoding.matchers.raw,
      [&](size_t begin, size_t end) {
        const StretchPlace place{begin == 0, options.add_prefix && (begin == 0 || !options.prefix_first_only)};
        const std::string_view stretch = text.substr(begin, end - begin);
        if (spec_.keeps_broken_bytes && !is_utf8(stretch)) return encode_broken(stretch, place, encoding);
        encode_valid(stretch, place, encoding);
      },
      [&](int32_t id) { ids.push_back(id); });
  return ids;
}

void BpeTokenizer::encode_valid(std::string_view text, const StretchPlace& place, Encoding& encoding) const {
  const std::string storage = spec_.normalizers.empty() ? std::string() : normalize(std::string(text), place);
  const std::string_view normalized = spec_.normalizers.empty() ? text : std::string_view(storage);
  cut_at_added(
      normalized, encoding.matchers.normalized,
      [&](size_t begin, size_t end) {
        encode_words(normalized.substr(begin, end - begin), {place.first && begin == 0, place.add_prefix}, encoding);
      },
      [&](int32_t id) { encoding.ids.push_back(id); });
}

// As tiktoken does: the words before the first broken byte are encoded as ever, but for the last (and spaces before it,
// where it is of spaces); what is left is merged as one word.
void BpeTokenizer::encode_broken(std::string_view text, const StretchPlace& place, Encoding& encoding) const {
  size_t valid = 0;
  for (Utf8Step step; (step = utf8_step(text.substr(valid))).valid;) valid += step.length;
  const size_t first = encoding.ids.size();
  encoding.last_word = first;
  encode_valid(text.substr(0, valid), place, encoding);
  std::vector<int32_t>& ids = encoding.ids;
  const auto is_space = [&](int32_t id) {
    const std::string bytes = token_bytes(id).bytes;
    return bytes.find_first_not_of(" \n\t") == bytes.npos;
  };
  size_t last = encoding.last_word;
  if (last < ids.size() && is_space(ids[last])) {
    while (last > first && is_space(ids[last - 1])) --last;
  }
  std::string rest;
  for (size_t i = last; i < ids.size(); ++i) rest += token_bytes(ids[i]).bytes;
  ids.resize(last);
  rest += text.substr(valid);
  encode_word(to_byte_alphabet(rest), encoding);
}

void BpeTokenizer::encode_words(std::string_view normalized, const StretchPlace& place, Encoding& encoding) const {
  Words words{std::string(normalized), {{0, normalized.size()}}};
  for (const auto& step : spec_.pre_tokenizers) step->apply(words, place);
  WordCache cache(encoding.ids);
  for (const TextSpan& span : words.spans) {
    const auto word = std::string_view(words.text).substr(span.begin, span.end - span.begin);
    encoding.last_word = encoding.ids.size();
    if (word.empty() || cache.repeat(word)) continue;
    encode_word(word, encoding);
    cache.remember(word, encoding.last_word);
  }
}

void BpeTokenizer::encode_word(std::string_view word, Encoding& encoding) const {
  if (spec_.ignore_merges) {
    if (const auto whole = words_.find(word); whole != words_.end()) return encoding.ids.push_back(whole->second);
  }
  std::vector<int32_t>& row = encoding.row;
  row.clear();
  bool after_unknown = false;
  for (std::string_view rest = word; !rest.empty();) {
    const Utf8Step step = utf8_step(rest);
    const std::string_view character = rest.substr(0, step.length);
    rest.remove_prefix(step.length);
    const int32_t symbol = symbol_of(step.code);
    const auto has_byte = [&](char c) { return byte_ids_[static_cast<uint8_t>(c)] >= 0; };
    if (symbol >= 0) {
      row.push_back(symbol);
      after_unknown = false;
    } else if (spec_.byte_fallback && std::all_of(character.begin(), character.end(), has_byte)) {
      for (const char c : character) row.push_back(byte_ids_[static_cast<uint8_t>(c)]);
    } else if (unknown >= 0) {
      if (!after_unknown || !spec_.fuse_unknown) row.push_back(unknown);
      after_unknown = true;
    }
    // Without an unknown token the character is left out, as the reference does.
  }
  encoding.merger.merge(row);
  encoding.ids.insert(encoding.ids.end(), row.begin(), row.end());
}

TokenBytes BpeTokenizer::token_bytes(int32_t id) const {
  const auto& [text, kind] = token(id);
  TokenBytes out;
  out.bytes = text;
  out.marked_space = text.starts_with(kMark);
  if (added_[static_cast<size_t>(id)] != nullptr || kind == TokenKind::Control) return out;
  for (const BpeDecodeStep& step : spec_.decoder) {
    switch (step.kind) {
      case BpeDecodeStep::Kind::ByteLevel:
        if (auto bytes = from_byte_alphabet(out.bytes)) out.bytes = std::move(*bytes);
        break;
      case BpeDecodeStep::Kind::Replace:
        out.bytes = replaced(out.bytes, step.from, step.to);
        break;
      case BpeDecodeStep::Kind::ByteFallback:
        if (const auto byte = byte_of_token(out.bytes)) {
          out.bytes.assign(1, static_cast<char>(*byte));
          out.is_byte = true;
        }
        break;
    }
  }
  return out;
}

}  // namespace

void set_token(BpeSpec& spec, int64_t id, std::string text, TokenKind kind, size_t count, const std::string& where) {
  // Ids may have gaps, but no file may make us hold a table that it does not fill.
  const auto limit = static_cast<int64_t>(2 * count + 65536);
  if (id < 0 || id >= limit) {
    throw_error(ErrorKind::File, "{}: a token has id {}, expected 0 to {} with {} tokens", where, id, limit - 1, count);
  }
  const auto index = static_cast<size_t>(id);
  if (spec.tokens.size() <= index) spec.tokens.resize(index + 1);
  BpeSpec::Token& token = spec.tokens[index];
  if (token.kind != TokenKind::Unused && token.text != text) {
    throw_error(ErrorKind::File, "{}: two tokens have id {}", where, id);
  }
  token = {std::move(text), kind};
}

std::vector<BpeMerge> merges_of_ranks(const std::vector<std::string>& tokens, int32_t first_id) {
  std::unordered_map<std::string_view, int32_t> ids;
  for (size_t i = 0; i < tokens.size(); ++i) ids.emplace(tokens[i], static_cast<int32_t>(i));
  std::vector<BpeMerge> merges;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::string_view token = tokens[i];
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = ids.find(token.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(token.substr(cut));
      if (right == ids.end()) continue;
      const auto rank = static_cast<int32_t>(i);
      merges.push_back({first_id + left->second, first_id + right->second, first_id + rank, rank});
    }
  }
  return merges;
}

std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeSpec spec, const std::string& where) {
  return std::make_unique<BpeTokenizer>(std::move(spec), where);
}

}  // namespace ostro
