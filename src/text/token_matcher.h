// Finds given strings in a text, the longest at each place, from left to right.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace ostro {

class TokenMatcher {
 public:
  // A later id for the same text replaces an earlier one. Empty texts never match.
  void add(std::string_view text, int32_t id);
  bool empty() const { return nodes_ == 1; }

  struct Match {
    size_t begin = 0, end = 0;
    int32_t id = -1;
  };
  // The longest string that stands at `at`; false when none does.
  bool match_at(std::string_view text, size_t at, Match& match) const;
  // The first match that begins at or after `from`.
  bool next(std::string_view text, size_t from, Match& match) const;

 private:
  std::unordered_map<uint64_t, uint32_t> edges_;  // node << 8 | byte -> node
  std::unordered_map<uint32_t, int32_t> ids_;     // node -> id of the string that ends there
  std::array<bool, 256> begins_{};                // bytes with which a string begins
  uint32_t nodes_ = 1;
};

}  // namespace ostro
