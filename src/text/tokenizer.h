// Tokenizers: text to ids and back. Special tokens are parsed only when the caller asks, so user text never becomes
// control tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/weight_store.h"
#include "text/utf8.h"

namespace ostro {

enum class TokenKind : uint8_t { Normal, Unknown, Control, UserDefined, Unused, Byte };

struct EncodeOptions {
  bool parse_special = false;  // control and other special tokens in the text become their ids
  bool add_prefix = true;  // SentencePiece: a dummy prefix before the text (and before each stretch after a special)
  // With parse_special: only a stretch at the very start of the text gets the prefix (Transformers legacy=false).
  bool prefix_first_only = false;
};

// What one id stands for in the middle of a text.
struct TokenBytes {
  std::string bytes;
  bool is_byte = false;       // a byte token: one byte of a character that is spelled in a run of such tokens
  bool marked_space = false;  // the space at its front stands for a word mark (U+2581)
};

// What a decode does at its front and with bytes that are not UTF-8; the reference libraries differ.
struct DecodeRules {
  enum class LeadingSpace {
    Keep,
    FirstMark,   // the first piece of text loses the space of its mark (SentencePiece's dummy prefix)
    EveryMark,   // so do all pieces until some text has come (SentencePiece, remove_extra_whitespaces)
    FirstToken,  // the first token loses every space at its front (Hugging Face's Metaspace)
    Text,        // the text loses up to `spaces` spaces (Hugging Face's Strip)
  };
  LeadingSpace leading = LeadingSpace::Keep;
  int spaces = 1;
  BrokenBytes broken = BrokenBytes::MaximalPart;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Ids without BOS or EOS. Bytes that are not UTF-8 are encoded as the reference library of the format does.
  virtual std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  // Special tokens by name or as nothing, as the reference library prints them. Throws Error(Usage) for other ids than
  // 0 to vocab_size() - 1; so does all below that takes an id.
  virtual TokenBytes token_bytes(int32_t id) const = 0;
  // The whole decode, valid UTF-8 (broken bytes as U+FFFD).
  std::string decode(std::span<const int32_t> ids) const;

  virtual int32_t vocab_size() const = 0;  // the largest id and one; ids without a token are TokenKind::Unused
  virtual std::string_view token_text(int32_t id) const = 0;  // the piece as the file spells it
  virtual TokenKind token_kind(int32_t id) const = 0;
  virtual std::optional<int32_t> find(std::string_view piece) const = 0;
  virtual std::string describe() const = 0;  // "SentencePiece BPE, 32000 pieces, byte fallback"
  virtual DecodeRules decode_rules() const = 0;

  int32_t bos = -1, eos = -1, unknown = -1, pad = -1;
  bool add_bos = false, add_eos = false;  // what the files ask for when plain text is encoded

 protected:
  void check_id(int32_t id) const;
  static void check_text_length(std::string_view text);  // Error(Usage) where the ids might not fit an int32
};

// Decodes ids one at a time. Each piece is valid UTF-8 by itself; all pieces and the final flush join to decode().
class StreamDecoder {
 public:
  // With `skip_control`, control tokens print nothing (decode() prints them where the reference library does).
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_control = false)
      : tokenizer_(tokenizer), rules_(tokenizer.decode_rules()), skip_control_(skip_control) {}
  std::string push(int32_t id);
  std::string flush();

 private:
  std::string drain(bool at_end);
  void drop_leading_space(TokenBytes& token);
  std::string without_leading_space(std::string text);

  const Tokenizer& tokenizer_;
  DecodeRules rules_;
  bool skip_control_;
  std::string pending_;   // bytes that may be the beginning of a character, or a run of byte tokens
  bool started_ = false;  // the leading space is dealt with
  int dropped_ = 0;
};

// From a file: *.model (SentencePiece), tokenizer.json, *.tiktoken (cl100k), tekken.json, *.gguf. Throws Error(File).
std::unique_ptr<Tokenizer> load_tokenizer_file(const std::string& path);
// The tokenizer of a checkpoint: GGUF metadata, or tokenizer.json / tokenizer.model* / tekken.json in its folder.
// Null when there is none.
std::unique_ptr<Tokenizer> load_tokenizer(const WeightStore& store);
// Of a tokenizer file, a folder that holds one (weights or not), or a file of weights. Never null: Error(File).
std::unique_ptr<Tokenizer> open_tokenizer(const std::string& path);

}  // namespace ostro
