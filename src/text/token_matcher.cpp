#include "text/token_matcher.h"

namespace ostro {

void TokenMatcher::add(std::string_view text, int32_t id) {
  if (text.empty()) return;
  begins_[static_cast<uint8_t>(text[0])] = true;
  uint32_t node = 0;
  for (const char c : text) {
    const auto [edge, is_new] = edges_.try_emplace(uint64_t{node} << 8 | static_cast<uint8_t>(c), nodes_);
    if (is_new) ++nodes_;
    node = edge->second;
  }
  ids_[node] = id;
}

bool TokenMatcher::match_at(std::string_view text, size_t at, Match& match) const {
  if (!begins_[static_cast<uint8_t>(text[at])]) return false;
  bool found = false;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto edge = edges_.find(uint64_t{node} << 8 | static_cast<uint8_t>(text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (const auto id = ids_.find(node); id != ids_.end()) {
      match = {at, i + 1, id->second};
      found = true;
    }
  }
  return found;
}

bool TokenMatcher::next(std::string_view text, size_t from, Match& match) const {
  if (empty()) return false;
  for (size_t at = from; at < text.size(); ++at) {
    if (match_at(text, at, match)) return true;
  }
  return false;
}

}  // namespace ostro
