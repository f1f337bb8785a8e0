// The heart of byte pair encoding: which two neighbours become one symbol, in which order, in n log n time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ostro {

struct Merge {
  int32_t rank = 0;    // lower goes first; on a tie the leftmost pair does
  int32_t merged = 0;  // the symbol that replaces the pair
};

// (left, right) -> merge: open addressing, as it is asked for every pair of neighbours in every text.
class MergeTable {
 public:
  // A later merge of the same pair replaces an earlier one. Symbols are not negative.
  void add(int32_t left, int32_t right, Merge merge);
  // nullptr where the two do not merge; symbols below zero never do.
  const Merge* find(int32_t left, int32_t right) const;
  size_t size() const { return size_; }

 private:
  struct Slot {
    uint64_t pair = kEmpty;
    Merge merge;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static uint64_t pair_of(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t pair) const;
  void grow();

  std::vector<Slot> slots_ = std::vector<Slot>(64);
  size_t size_ = 0;
};

// Merges a row of symbols until nothing merges. Keeps its working memory between calls; not for two threads at once.
class Merger {
 public:
  explicit Merger(const MergeTable& table) : table_(table) {}
  void merge(std::vector<int32_t>& symbols);
  // The pair each merged symbol was last made of, kept when asked for.
  using Origins = std::unordered_map<int32_t, std::pair<int32_t, int32_t>>;
  Origins* origins = nullptr;

 private:
  struct Candidate {
    int32_t rank, merged;
    uint32_t left;
    // For a heap whose top is the lowest rank, then the leftmost.
    bool operator<(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };
  struct Link {
    uint32_t previous, next;
  };
  static constexpr uint32_t kNone = ~uint32_t{0};
  static constexpr int32_t kGone = -2;
  void consider(const std::vector<int32_t>& symbols, uint32_t left, uint32_t right);

  const MergeTable& table_;
  std::vector<Link> links_;
  std::vector<Candidate> heap_;
};

}  // namespace ostro
