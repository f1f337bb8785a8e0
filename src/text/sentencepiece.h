// SentencePiece, BPE and unigram: the model as data, its file, and the tokenizer made of it.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace ostro {

struct SentencePieceModel {
  struct Piece {
    std::string text;
    float score = 0;
    TokenKind kind = TokenKind::Normal;
  };
  std::vector<Piece> pieces;
  bool unigram = false;  // else BPE
  std::string charsmap;  // the table that normalises text, as files hold it; empty: none
  bool byte_fallback = false;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = false;
  bool escape_whitespaces = true;            // spaces become U+2581
  std::string unknown_surface = " \u2047 ";  // what an unknown piece is printed as
  int32_t bos = -1, eos = -1, unknown = -1, pad = -1;
};

// Reads the bytes of a tokenizer.model. `where` begins error messages. Throws Error(File), also for models of words or
// characters.
SentencePieceModel read_sentencepiece_model(std::span<const std::byte> bytes, const std::string& where);

// Checks the pieces (unique, not empty, real scores, all byte pieces or none). Throws Error(File).
std::unique_ptr<Tokenizer> make_sentencepiece_tokenizer(SentencePieceModel model, const std::string& where);

}  // namespace ostro
