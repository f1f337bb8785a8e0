// SentencePiece, encoding and decoding. A unigram model is segmented by unigram.cpp. In BPE the order of merges is by
// score (higher first, then leftmost).
//
// The reference merges the whole text as one row of symbols. A merge across a place needs a piece that holds the two
// characters on both sides of it next to each other, so the text may be cut wherever no piece holds such a pair: the
// ids are the same, each stretch is short (a word, as a rule), and repeated stretches are looked up.
#include "text/sentencepiece.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "base/error.h"
#include "text/charsmap.h"
#include "text/merges.h"
#include "text/token_matcher.h"
#include "text/unigram.h"
#include "text/word_cache.h"

namespace ostro {
namespace {

constexpr std::string_view kMark = "\u2581";  // stands for a space

constexpr size_t kLongestPiece = 1024;  // bytes; ways to cut a piece in two take quadratic time

// Text can become pieces of these kinds by merging.
bool mergeable(TokenKind kind) {
  return kind == TokenKind::Normal || kind == TokenKind::UserDefined || kind == TokenKind::Unused;
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(SentencePieceModel model, const std::string& where) : model_(std::move(model)) {
    index_pieces(where);
    if (!model_.charsmap.empty()) charsmap_.emplace(model_.charsmap, where);
    if (model_.unigram) {
      unigram_.emplace(model_.pieces);
    } else {
      index_symbols();
      index_merges();
    }
    bos = special_id(model_.bos), eos = special_id(model_.eos), pad = special_id(model_.pad);
    unknown = special_id(model_.unknown);
    add_bos = bos >= 0;
  }

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const override;
  TokenBytes token_bytes(int32_t id) const override;
  int32_t vocab_size() const override { return static_cast<int32_t>(model_.pieces.size()); }
  std::string_view token_text(int32_t id) const override { return piece(id).text; }
  TokenKind token_kind(int32_t id) const override { return piece(id).kind; }
  std::optional<int32_t> find(std::string_view text) const override {
    const auto found = ids_.find(text);
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }
  std::string describe() const override {
    return fmt::format("SentencePiece {}, {} pieces{}", unigram_ ? "unigram" : "BPE", vocab_size(),
                       has_bytes_ ? ", byte fallback" : "");
  }
  DecodeRules decode_rules() const override {
    using LeadingSpace = DecodeRules::LeadingSpace;
    return {model_.remove_extra_whitespaces ? LeadingSpace::EveryMark
            : model_.add_dummy_prefix       ? LeadingSpace::FirstMark
                                            : LeadingSpace::Keep,
            1, BrokenBytes::EachByte};
  }

 private:
  const SentencePieceModel::Piece& piece(int32_t id) const {
    check_id(id);
    return model_.pieces[static_cast<size_t>(id)];
  }
  int32_t special_id(int32_t id) const { return id >= 0 && id < vocab_size() ? id : -1; }

  void index_pieces(const std::string& where);
  void index_symbols();
  void index_merges();
  std::string_view normalized_front(std::string_view& text) const;
  std::string normalized(std::string_view text, bool prefix) const;
  void encode_unigram(std::string_view text, std::vector<int32_t>& ids) const;
  void encode_stretch(std::string_view text, bool prefix, std::vector<int32_t>& ids) const;
  size_t stretch_end(std::string_view text, size_t begin) const;
  void emit(std::vector<int32_t>& row, std::string_view text, const Merger::Origins& origins,
            std::vector<int32_t>& ids) const;

  SentencePieceModel model_;
  std::unordered_map<std::string_view, int32_t> ids_;
  std::array<int32_t, 256> byte_ids_{};
  std::unordered_map<int32_t, uint8_t> byte_values_;
  bool has_bytes_ = false, has_unused_ = false;
  TokenMatcher user_defined_;  // matched in the normalised text
  TokenMatcher special_;       // control and unknown pieces, when asked for

  std::optional<CharsMap> charsmap_;
  std::optional<Unigram> unigram_;

  // BPE. Symbols are what merges work on: the pieces that text can become, by id, and behind them the characters that
  // only occur inside pieces.
  std::unordered_map<std::string, int32_t> extra_symbols_;
  std::unordered_map<std::string_view, int32_t> symbols_;
  std::unordered_set<uint64_t> neighbours_;  // pairs of characters that stand side by side in some piece
  MergeTable merges_;
};

uint64_t pair_of(char32_t left, char32_t right) { return uint64_t{left} << 32 | right; }

size_t character_length(std::string_view text) { return utf8_step(text).length; }

void SentencePieceTokenizer::index_pieces(const std::string& where) {
  size_t bytes = 0;
  for (size_t i = 0; i < model_.pieces.size(); ++i) {
    const auto& piece = model_.pieces[i];
    const auto id = static_cast<int32_t>(i);
    if (piece.text.empty()) throw_error(ErrorKind::File, "{}: piece {} is empty", where, id);
    if (mergeable(piece.kind) && piece.text.size() > kLongestPiece) {
      throw_error(ErrorKind::File, "{}: piece {} has {} bytes, expected at most {}", where, id, piece.text.size(),
                  kLongestPiece);
    }
    if (!is_utf8(piece.text)) throw_error(ErrorKind::File, "{}: piece {} is not UTF-8", where, id);
    if (!std::isfinite(piece.score))
      throw_error(ErrorKind::File, "{}: the score of piece {} is {}", where, id, piece.score);
    if (const auto [first, is_new] = ids_.emplace(piece.text, id); !is_new) {
      throw_error(ErrorKind::File, "{}: pieces {} and {} are the same", where, first->second, id);
    }
    if (piece.kind == TokenKind::UserDefined) user_defined_.add(piece.text, id);
    if (piece.kind == TokenKind::Control || piece.kind == TokenKind::Unknown) special_.add(piece.text, id);
    if (piece.kind == TokenKind::Byte) ++bytes;
    if (piece.kind == TokenKind::Unused) has_unused_ = true;
    if (piece.kind == TokenKind::Unknown && model_.unknown < 0) model_.unknown = id;
  }
  if (bytes != 0 || model_.byte_fallback) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const std::string name = fmt::format("<0x{:02X}>", byte);
      const auto found = ids_.find(name);
      if (bytes != 256 || found == ids_.end() || token_kind(found->second) != TokenKind::Byte) {
        throw_error(ErrorKind::File, "{}: {} byte pieces, expected 256, <0x00> to <0xFF>", where, bytes);
      }
      byte_ids_[byte] = found->second;
      byte_values_[found->second] = static_cast<uint8_t>(byte);
    }
    has_bytes_ = model_.byte_fallback;
  }
  if (!has_bytes_ && special_id(model_.unknown) < 0) {
    throw_error(ErrorKind::File, "{}: no byte pieces and no unknown piece, expected either", where);
  }
}

void SentencePieceTokenizer::index_symbols() {
  for (size_t i = 0; i < model_.pieces.size(); ++i) {
    if (mergeable(model_.pieces[i].kind)) symbols_.emplace(model_.pieces[i].text, static_cast<int32_t>(i));
  }
  for (const auto& piece : model_.pieces) {
    if (!mergeable(piece.kind)) continue;
    char32_t previous = 0;
    for (std::string_view rest = piece.text; !rest.empty(); rest.remove_prefix(character_length(rest))) {
      const Utf8Step step = utf8_step(rest);
      if (rest.size() != piece.text.size()) neighbours_.insert(pair_of(previous, step.code));
      previous = step.code;
      const std::string_view character = rest.substr(0, step.length);
      if (symbols_.contains(character)) continue;
      const int32_t symbol = vocab_size() + static_cast<int32_t>(extra_symbols_.size());
      symbols_.emplace(extra_symbols_.emplace(character, symbol).first->first, symbol);
    }
  }
}

void SentencePieceTokenizer::index_merges() {
  std::vector<float> scores;
  for (const auto& piece : model_.pieces) scores.push_back(piece.score);
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  for (size_t i = 0; i < model_.pieces.size(); ++i) {
    const auto& piece = model_.pieces[i];
    if (!mergeable(piece.kind)) continue;
    const auto rank = std::lower_bound(scores.begin(), scores.end(), piece.score, std::greater<>()) - scores.begin();
    const std::string_view text = piece.text;
    for (size_t cut = character_length(text); cut < text.size(); cut += character_length(text.substr(cut))) {
      const auto left = symbols_.find(text.substr(0, cut));
      if (left == symbols_.end()) continue;
      const auto right = symbols_.find(text.substr(cut));
      if (right == symbols_.end()) continue;
      merges_.add(left->second, right->second, {static_cast<int32_t>(rank), static_cast<int32_t>(i)});
    }
  }
}

// Takes what is normalised together off the front of a text: a user-defined piece, which stays as it is, the longest
// stretch that the table has a rule for, or a character; a byte that is no UTF-8 becomes U+FFFD.
std::string_view SentencePieceTokenizer::normalized_front(std::string_view& text) const {
  TokenMatcher::Match match;
  size_t length = 0;
  std::string_view out;
  if (user_defined_.match_at(text, 0, match)) {
    length = match.end;
    out = text.substr(0, length);
  } else if (const auto rule = charsmap_ ? charsmap_->longest(text) : CharsMap::Rule(); rule.length > 0) {
    length = rule.length;
    out = rule.replacement;
  } else {
    const Utf8Step step = utf8_step(text);
    length = step.valid ? step.length : 1;
    out = step.valid ? text.substr(0, length) : kReplacement;
  }
  text.remove_prefix(length);
  return out;
}

// The reference's rules; spaces become U+2581.
std::string SentencePieceTokenizer::normalized(std::string_view text, bool prefix) const {
  const std::string_view space = model_.escape_whitespaces ? kMark : " ";
  const bool collapse = model_.remove_extra_whitespaces;
  while (collapse && !text.empty()) {
    std::string_view rest = text;
    if (normalized_front(rest) != " ") break;
    text = rest;
  }
  std::string out;
  if (text.empty()) return out;
  out.reserve(text.size() + text.size() / 2);
  if (prefix) out += space;
  bool after_space = collapse;
  while (!text.empty()) {
    std::string_view part = normalized_front(text);
    if (after_space) part.remove_prefix(std::min(part.size(), part.find_first_not_of(' ')));
    for (const char c : part) {
      if (c == ' ') {
        out += space;
      } else {
        out += c;
      }
    }
    if (!part.empty()) after_space = collapse && part.back() == ' ';
  }
  if (collapse) {
    while (out.ends_with(space)) out.erase(out.size() - space.size());
  }
  return out;
}

// From `begin` to the next place where nothing merges across, or where a user-defined piece begins.
size_t SentencePieceTokenizer::stretch_end(std::string_view text, size_t begin) const {
  Utf8Step step = utf8_step(text.substr(begin));
  size_t at = begin + step.length;
  while (at < text.size()) {
    const char32_t previous = step.code;
    step = utf8_step(text.substr(at));
    TokenMatcher::Match match;
    if (!neighbours_.contains(pair_of(previous, step.code)) || user_defined_.match_at(text, at, match)) break;
    at += step.length;
  }
  return at;
}

// A row of merged symbols as ids; `text` is what they spell.
void SentencePieceTokenizer::emit(std::vector<int32_t>& row, std::string_view text, const Merger::Origins& origins,
                                  std::vector<int32_t>& ids) const {
  std::reverse(row.begin(), row.end());
  while (!row.empty()) {
    const int32_t symbol = row.back();
    row.pop_back();
    const bool is_piece = symbol >= 0 && symbol < vocab_size();
    if (is_piece && piece(symbol).kind == TokenKind::Unused) {
      // An unused piece is undone into the pair it was made of.
      if (const auto origin = origins.find(symbol); origin != origins.end()) {
        row.push_back(origin->second.second);
        row.push_back(origin->second.first);
        continue;
      }
    }
    const size_t length = is_piece ? piece(symbol).text.size() : character_length(text);
    if (is_piece) {
      ids.push_back(symbol);
    } else if (has_bytes_) {
      for (const char c : text.substr(0, length)) ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
    } else {
      ids.push_back(unknown);
    }
    text.remove_prefix(length);
  }
}

void SentencePieceTokenizer::encode_unigram(std::string_view text, std::vector<int32_t>& ids) const {
  std::vector<Unigram::Segment> segments;
  unigram_->segment(text, segments);
  for (const auto& segment : segments) {
    if (segment.piece >= 0) {
      ids.push_back(segment.piece);
    } else if (has_bytes_) {
      for (const char c : segment.text) ids.push_back(byte_ids_[static_cast<uint8_t>(c)]);
    } else {
      ids.push_back(unknown);
    }
  }
}

void SentencePieceTokenizer::encode_stretch(std::string_view raw, bool prefix, std::vector<int32_t>& ids) const {
  const std::string storage = normalized(raw, prefix && model_.add_dummy_prefix);
  const std::string_view text = storage;
  const size_t first_id = ids.size();
  WordCache cache(ids);
  Merger merger(merges_);
  Merger::Origins origins;
  if (has_unused_) merger.origins = &origins;
  std::vector<int32_t> row;
  if (unigram_) encode_unigram(text, ids);
  for (size_t begin = unigram_ ? text.size() : 0; begin < text.size();) {
    if (TokenMatcher::Match match; user_defined_.match_at(text, begin, match)) {
      ids.push_back(match.id);
      begin = match.end;
      continue;
    }
    const std::string_view stretch = text.substr(begin, stretch_end(text, begin) - begin);
    begin += stretch.size();
    if (cache.repeat(stretch)) continue;
    row.clear();
    for (std::string_view rest = stretch; !rest.empty(); rest.remove_prefix(character_length(rest))) {
      const auto symbol = symbols_.find(rest.substr(0, character_length(rest)));
      row.push_back(symbol == symbols_.end() ? -1 : symbol->second);
    }
    merger.merge(row);
    const size_t first = ids.size();
    emit(row, stretch, origins, ids);
    cache.remember(stretch, first);
  }
  if (has_bytes_) return;
  // Unknown characters in a row are one piece.
  const auto both_unknown = [&](int32_t a, int32_t b) { return a == unknown && b == unknown; };
  ids.erase(std::unique(ids.begin() + static_cast<ptrdiff_t>(first_id), ids.end(), both_unknown), ids.end());
}

std::vector<int32_t> SentencePieceTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  check_text_length(text);
  std::vector<int32_t> ids;
  for (size_t begin = 0; begin < text.size();) {
    TokenMatcher::Match match{text.size(), text.size(), -1};
    if (options.parse_special) special_.next(text, begin, match);
    const bool prefix = options.add_prefix && (begin == 0 || !options.prefix_first_only);
    if (match.begin > begin) encode_stretch(text.substr(begin, match.begin - begin), prefix, ids);
    if (match.id >= 0) ids.push_back(match.id);
    begin = match.end;
  }
  return ids;
}

TokenBytes SentencePieceTokenizer::token_bytes(int32_t id) const {
  const auto& [text, score, kind] = piece(id);
  TokenBytes out;
  if (kind == TokenKind::Control) return out;
  if (kind == TokenKind::Unknown) {
    out.bytes = model_.unknown_surface;
  } else if (kind == TokenKind::Byte) {
    out.is_byte = true;
    out.bytes.push_back(static_cast<char>(byte_values_.at(id)));
  } else {
    out.marked_space = text.starts_with(kMark);
    out.bytes = replaced(text, kMark, " ");
  }
  return out;
}

}  // namespace

std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(SentencePieceModel model, const std::string& where) {
  return std::make_unique<SentencePieceTokenizer>(std::move(model), where);
}

}  // namespace ostro
