// Words repeat: the ids of each are worked out once per text, and copied after that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ostro {

// The ids of a word are the place in the output where it was first written.
class WordCache {
 public:
  explicit WordCache(std::vector<int32_t>& ids) : ids_(ids) {}

  // Appends the ids of a word that was seen before.
  bool repeat(std::string_view word) {
    const auto known = places_.find(word);
    if (known == places_.end()) return false;
    const auto [first, count] = known->second;
    for (size_t i = 0; i < count; ++i) ids_.push_back(ids_[first + i]);
    return true;
  }
  // The ids from `first` to the end are those of `word`, whose bytes must outlive this cache.
  void remember(std::string_view word, size_t first) {
    if (word.size() <= kLongestWord && places_.size() < kMostWords)
      places_.emplace(word, Place{first, ids_.size() - first});
  }

 private:
  static constexpr size_t kLongestWord = 64, kMostWords = 1u << 16;
  struct Place {
    size_t first, count;
  };
  std::vector<int32_t>& ids_;
  std::unordered_map<std::string_view, Place> places_;
};

}  // namespace ostro
