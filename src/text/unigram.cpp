// Viterbi's algorithm over the bytes of a text. Sums and comparisons round as the reference's do: a path's score is
// kept in float32, a candidate is added up in float64, and the first of equals stays.
#include "text/unigram.h"

#include <algorithm>
#include <cfloat>

#include "base/error.h"

namespace ostro {
namespace {

constexpr float kUnknownPenalty = 10;  // how far below the lowest score an uncovered character lies

// Of a character, by its first byte.
size_t character_bytes(char first) {
  const auto byte = static_cast<uint8_t>(first);
  return byte < 0xC0 ? 1 : byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : 4;
}

}  // namespace

Unigram::Unigram(const std::vector<SentencePieceModel::Piece>& pieces) {
  std::vector<int32_t> sorted;
  float smallest = FLT_MAX;
  largest_ = FLT_MIN;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const auto& piece = pieces[i];
    score_.push_back(static_cast<double>(piece.score));
    user_defined_.push_back(piece.kind == TokenKind::UserDefined);
    if (piece.kind == TokenKind::Normal) {
      smallest = std::min(smallest, piece.score);
      largest_ = std::max(largest_, piece.score);
    }
    const bool chosen = piece.kind == TokenKind::Normal || piece.kind == TokenKind::UserDefined;
    if (chosen) sorted.push_back(static_cast<int32_t>(i));
  }
  unknown_ = smallest - kUnknownPenalty;
  const auto text_of = [&](int32_t id) -> const std::string& { return pieces[static_cast<size_t>(id)].text; };
  std::ranges::sort(sorted, {}, text_of);

  // Each node stands for the pieces [begin, end) of the sorted ones, which share their first `depth` bytes.
  struct Range {
    size_t begin, end, depth;
  };
  std::vector<Range> ranges = {{0, sorted.size(), 0}};
  nodes_.emplace_back();
  for (size_t n = 0; n < nodes_.size(); ++n) {
    Range range = ranges[n];
    if (range.begin < range.end && text_of(sorted[range.begin]).size() == range.depth) {
      nodes_[n].piece = sorted[range.begin++];
    }
    nodes_[n].first_child = static_cast<int32_t>(nodes_.size());
    while (range.begin < range.end) {
      const char label = text_of(sorted[range.begin])[range.depth];
      size_t end = range.begin;
      while (end < range.end && text_of(sorted[end])[range.depth] == label) ++end;
      Node next;
      next.label = static_cast<uint8_t>(label);
      nodes_.push_back(next);
      ++nodes_[n].children;
      ranges.push_back({range.begin, end, range.depth + 1});
      range.begin = end;
    }
  }
}

const Unigram::Node* Unigram::child(const Node& node, uint8_t label) const {
  const auto first = nodes_.begin() + node.first_child, last = first + node.children;
  const auto found = std::ranges::lower_bound(first, last, label, {}, &Node::label);
  return found == last || found->label != label ? nullptr : &*found;
}

void Unigram::segment(std::string_view text, std::vector<Segment>& out) const {
  // The best path to each place: its score, and its last segment.
  struct Best {
    float score = 0;
    int32_t piece = -1;
    int32_t begin = -1;
  };
  std::vector<Best> best(text.size() + 1);
  const auto offer = [&](size_t begin, size_t end, double score, int32_t piece) {
    Best& to = best[end];
    if (to.begin >= 0 && score <= static_cast<double>(to.score)) return;
    to = {static_cast<float>(score), piece, static_cast<int32_t>(begin)};
  };
  for (size_t begin = 0; begin < text.size();) {
    const float here = best[begin].score;
    const size_t single = std::min(character_bytes(text[begin]), text.size() - begin);
    bool covered = false;
    const Node* node = &nodes_[0];
    for (size_t end = begin; end < text.size();) {
      node = child(*node, static_cast<uint8_t>(text[end++]));
      if (node == nullptr) break;
      if (node->piece < 0) continue;
      const auto piece = static_cast<size_t>(node->piece);
      const size_t length = end - begin;
      const double score =
          user_defined_[piece] ? static_cast<double>(static_cast<float>(length) * largest_) - 0.1 : score_[piece];
      offer(begin, end, score + static_cast<double>(here), node->piece);
      covered = covered || length == single;
    }
    if (!covered) offer(begin, begin + single, static_cast<double>(unknown_ + here), -1);
    begin += single;
  }
  const size_t first = out.size();
  for (size_t end = text.size(); end > 0;) {
    const auto begin = static_cast<size_t>(best[end].begin);
    CHECK(begin < end);
    out.push_back({best[end].piece, text.substr(begin, end - begin)});
    end = begin;
  }
  std::reverse(out.begin() + static_cast<ptrdiff_t>(first), out.end());
}

}  // namespace ostro
