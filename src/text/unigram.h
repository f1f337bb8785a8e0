// The unigram language model of SentencePiece (Kudo 2018): the segmentation of a text into pieces whose scores, the
// logarithms of their probabilities, have the greatest sum.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "text/sentencepiece.h"

namespace ostro {

class Unigram {
 public:
  // Pieces must be unique and their scores finite. Unused pieces are never chosen, user-defined ones whenever they can
  // be.
  explicit Unigram(const std::vector<SentencePieceModel::Piece>& pieces);

  struct Segment {
    int32_t piece = -1;  // -1: a character that no piece covers
    std::string_view text;
  };
  // Appends the segments of a text in order.
  void segment(std::string_view text, std::vector<Segment>& out) const;

 private:
  // A trie over bytes. The children of a node stand side by side, sorted by label; node 0 is the root.
  struct Node {
    int32_t piece = -1;
    int32_t first_child = 0;
    int16_t children = 0;
    uint8_t label = 0;  // of the byte that leads here
  };
  const Node* child(const Node& node, uint8_t label) const;

  std::vector<Node> nodes_;
  std::vector<double> score_;  // by piece; of user-defined ones unused
  std::vector<bool> user_defined_;
  float largest_ = 0, unknown_ = 0;  // the largest score; the score of a character that no piece covers
};

}  // namespace ostro
