// Tokenizers: text to ids and back. Special tokens are parsed only when the caller asks, so user text never becomes
// control tokens.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/weight_store.h"

namespace ostro {

enum class TokenKind : uint8_t { Normal, Unknown, Control, UserDefined, Unused, Byte };

struct EncodeOptions {
  bool parse_special = false;  // control and other special tokens in the text become their ids
  bool add_prefix = true;  // SentencePiece: a dummy prefix before the text (and before each stretch after a special)
  // With parse_special: only a stretch at the very start of the text gets the prefix (Transformers legacy=false).
  bool prefix_first_only = false;
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Ids without BOS or EOS. Bytes that are not UTF-8 are encoded as the reference library of the format does.
  virtual std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options = {}) const = 0;
  // The raw bytes one id stands for when decoded in the middle of a text (SentencePiece: with its space; special
  // tokens: by name or nothing, as the reference library does).
  virtual std::string token_bytes(int32_t id) const = 0;
  // The whole decode, valid UTF-8 (broken bytes as U+FFFD).
  std::string decode(std::span<const int32_t> ids) const;

  virtual int32_t vocab_size() const = 0;
  virtual std::string_view token_text(int32_t id) const = 0;  // the piece as the file spells it
  virtual TokenKind token_kind(int32_t id) const = 0;
  virtual std::optional<int32_t> find(std::string_view piece) const = 0;
  virtual std::string describe() const = 0;  // "SentencePiece BPE, 32000 pieces, byte fallback"
  // True where a decode drops one leading space (SentencePiece's dummy prefix).
  virtual bool strips_first_space() const { return false; }
  // How broken bytes are replaced differs: true = every byte of an invalid run (ByteFallback), false = as Unicode
  // recommends (one U+FFFD per maximal invalid part). See decode_stream.cpp.
  virtual bool replaces_each_byte() const { return false; }

  int32_t bos = -1, eos = -1, unknown = -1, pad = -1;
  bool add_bos = false, add_eos = false;  // what the files ask for when plain text is encoded
};

// Decodes ids one at a time. Each piece is valid UTF-8 by itself; all pieces and the final flush join to decode().
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  std::string push(int32_t id);
  std::string flush();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
  bool first_ = true;
};

// From a file: *.model (SentencePiece), tokenizer.json, *.tiktoken (cl100k), tekken.json, *.gguf. Throws Error(File).
std::unique_ptr<Tokenizer> load_tokenizer_file(const std::string& path);
// The tokenizer of a checkpoint: GGUF metadata, or tokenizer.json / tokenizer.model* / tekken.json in its folder.
// Null when there is none.
std::unique_ptr<Tokenizer> load_tokenizer(const WeightStore& store);

}  // namespace ostro
