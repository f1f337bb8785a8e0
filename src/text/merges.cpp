#include "text/merges.h"

#include <algorithm>

namespace ostro {

size_t MergeTable::slot_of(uint64_t pair) const {
  const size_t mask = slots_.size() - 1;
  // Fibonacci hashing: 2^64 divided by the golden ratio.
  size_t at = static_cast<size_t>((pair * 0x9E3779B97F4A7C15u) >> 20) & mask;
  while (slots_[at].pair != kEmpty && slots_[at].pair != pair) at = (at + 1) & mask;
  return at;
}

void MergeTable::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.pair != kEmpty) slots_[slot_of(slot.pair)] = slot;
  }
}

void MergeTable::add(int32_t left, int32_t right, Merge merge) {
  const uint64_t pair = pair_of(left, right);
  Slot& slot = slots_[slot_of(pair)];
  const bool is_new = slot.pair == kEmpty;
  slot = {pair, merge};
  if (is_new && ++size_ * 2 > slots_.size()) grow();
}

const Merge* MergeTable::find(int32_t left, int32_t right) const {
  if (left < 0 || right < 0) return nullptr;
  const Slot& slot = slots_[slot_of(pair_of(left, right))];
  return slot.pair == kEmpty ? nullptr : &slot.merge;
}

void Merger::consider(const std::vector<int32_t>& symbols, uint32_t left, uint32_t right) {
  if (left == kNone || right == kNone) return;
  const Merge* merge = table_.find(symbols[left], symbols[right]);
  if (merge == nullptr) return;
  if (origins != nullptr) (*origins)[merge->merged] = {symbols[left], symbols[right]};
  heap_.push_back({merge->rank, merge->merged, left});
  std::push_heap(heap_.begin(), heap_.end());
}

void Merger::merge(std::vector<int32_t>& symbols) {
  const auto count = static_cast<uint32_t>(symbols.size());
  links_.resize(count);
  heap_.clear();
  for (uint32_t i = 0; i < count; ++i) links_[i] = {i == 0 ? kNone : i - 1, i + 1 == count ? kNone : i + 1};
  for (uint32_t i = 0; i + 1 < count; ++i) consider(symbols, i, i + 1);
  while (!heap_.empty()) {
    const Candidate best = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end());
    heap_.pop_back();
    const uint32_t left = best.left, right = links_[left].next;
    if (right == kNone || symbols[left] == kGone) continue;
    // The neighbours may have changed since; then the pair they now are is in the heap by itself.
    const Merge* merge = table_.find(symbols[left], symbols[right]);
    if (merge == nullptr || merge->merged != best.merged) continue;
    symbols[left] = best.merged;
    symbols[right] = kGone;
    links_[left].next = links_[right].next;
    if (links_[right].next != kNone) links_[links_[right].next].previous = left;
    consider(symbols, links_[left].previous, left);
    consider(symbols, left, links_[left].next);
  }
  std::erase(symbols, kGone);
}

}  // namespace ostro
