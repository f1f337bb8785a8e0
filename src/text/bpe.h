// Byte pair encoding as Hugging Face's tokenizers, llama.cpp's "gpt2" vocabularies and tiktoken do it: one tokenizer,
// described by data that each file format fills in.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/text_steps.h"
#include "text/tokenizer.h"

namespace ostro {

struct BpeMerge {
  int32_t left = 0, right = 0, merged = 0;
  int32_t rank = 0;
};

// A token that is found in the text before anything else happens to it.
struct AddedToken {
  std::string text;
  int32_t id = -1;
  bool special = false;                          // a control token: only when the caller asks
  bool normalized = false;                       // found in the normalised text
  bool takes_left = false, takes_right = false;  // with the spaces beside it
  bool whole_word = false;
};

struct BpeDecodeStep {
  enum class Kind { ByteLevel, Replace, ByteFallback };
  Kind kind = Kind::ByteLevel;
  std::string from, to;
};

struct BpeSpec {
  struct Token {
    std::string text;
    TokenKind kind = TokenKind::Unused;
  };
  std::string name;           // for describe()
  std::vector<Token> tokens;  // by id; ids that are not given are Unused
  std::vector<BpeMerge> merges;
  std::vector<AddedToken> added;
  bool ignore_merges = false;  // a word that is a token is that token, whatever its merges say
  bool byte_fallback = false;  // characters that are no token become <0xHH>
  bool fuse_unknown = false;
  bool keeps_broken_bytes = false;  // bytes that are not UTF-8 are encoded as they are, as tiktoken does
  std::vector<std::unique_ptr<const Normalizer>> normalizers;
  std::vector<std::unique_ptr<const PreTokenizer>> pre_tokenizers;
  std::vector<BpeDecodeStep> decoder;
  DecodeRules decode_rules;
  int32_t bos = -1, eos = -1, unknown = -1, pad = -1;
  bool add_bos = false, add_eos = false;
};

// Fills `spec.tokens[id]`. Throws Error(File) for an id that is negative, taken or far beyond `count` tokens.
void set_token(BpeSpec& spec, int64_t id, std::string text, TokenKind kind, size_t count, const std::string& where);

// Every way in which a token is two other tokens, ranked by its id: the merges of vocabularies that have only ranks.
std::vector<BpeMerge> merges_of_ranks(const std::vector<std::string>& tokens, int32_t first_id);

std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeSpec spec, const std::string& where);

}  // namespace ostro
