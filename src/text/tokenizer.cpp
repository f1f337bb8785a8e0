// Decoding: the part of it that is the same for every tokenizer.
#include "text/tokenizer.h"

#include "base/error.h"

namespace ostro {

void Tokenizer::check_id(int32_t id) const {
  if (id < 0 || id >= vocab_size()) {
    throw_error(ErrorKind::Usage, "token id {} is not in the vocabulary: expected 0 to {}", id, vocab_size() - 1);
  }
}

void Tokenizer::check_text_length(std::string_view text) {
  constexpr size_t kLongestText = size_t{1} << 29;
  if (text.size() <= kLongestText) return;
  throw_error(ErrorKind::Usage, "a text of {} bytes is too long to tokenize: at most {}", text.size(), kLongestText);
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  StreamDecoder decoder(*this);
  std::string text;
  for (const int32_t id : ids) text += decoder.push(id);
  return text + decoder.flush();
}

std::string StreamDecoder::push(int32_t id) {
  TokenBytes token = tokenizer_.token_bytes(id);
  if (skip_control_ && tokenizer_.token_kind(id) == TokenKind::Control) token = {};
  // Byte-level tokens join freely; with byte fallback only neighbouring byte tokens do.
  const bool joins = rules_.broken == BrokenBytes::MaximalPart || token.is_byte;
  std::string text;
  if (!joins) text = drain(true);
  drop_leading_space(token);
  if (joins) {
    pending_ += token.bytes;
    text += drain(false);
  } else {
    text += repaired_utf8(token.bytes, BrokenBytes::EachByte);
  }
  return without_leading_space(std::move(text));
}

std::string StreamDecoder::flush() { return without_leading_space(drain(true)); }

// Takes from `pending_` what is decided: whole characters, and bytes that can no longer become one.
std::string StreamDecoder::drain(bool at_end) {
  std::string text;
  if (rules_.broken == BrokenBytes::WholeRun) {
    if (!at_end) return text;
    text = repaired_utf8(pending_, BrokenBytes::WholeRun);
    pending_.clear();
    return text;
  }
  size_t decided = 0;
  for (std::string_view rest = pending_; !rest.empty(); rest.remove_prefix(utf8_step(rest).length)) {
    const Utf8Step step = utf8_step(rest);
    if (step.cut && !at_end) break;
    decided += step.length;
  }
  text = repaired_utf8(std::string_view(pending_).substr(0, decided), rules_.broken);
  pending_.erase(0, decided);
  return text;
}

void StreamDecoder::drop_leading_space(TokenBytes& token) {
  using LeadingSpace = DecodeRules::LeadingSpace;
  if (started_ || rules_.leading == LeadingSpace::Text) return;
  if (rules_.leading == LeadingSpace::FirstToken) {
    if (token.marked_space) token.bytes.erase(0, token.bytes.find_first_not_of(' '));
    started_ = true;
    return;
  }
  const bool drops = token.marked_space && rules_.leading != LeadingSpace::Keep;
  if (drops) token.bytes.erase(0, 1);
  started_ = !token.bytes.empty() || (drops && rules_.leading == LeadingSpace::FirstMark);
}

std::string StreamDecoder::without_leading_space(std::string text) {
  if (started_ || rules_.leading != DecodeRules::LeadingSpace::Text) return text;
  size_t front = 0;
  while (front < text.size() && text[front] == ' ' && dropped_ < rules_.spaces) ++front, ++dropped_;
  started_ = front < text.size() || dropped_ == rules_.spaces;
  return text.substr(front);
}

}  // namespace ostro
