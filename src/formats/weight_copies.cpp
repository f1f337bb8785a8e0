#include "formats/weight_copies.h"

#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include "base/mapped_file.h"
#include "base/pages.h"

namespace ostro {

const std::byte* WeightCopies::plan(size_t bytes, std::span<const std::byte> source, Filling filling) {
  auto copy = std::make_shared<Copy>();
  copy->memory = std::make_unique_for_overwrite<std::byte[]>(bytes);
  copy->bytes = bytes;
  copy->source = source;
  copy->filling = std::move(filling);
  const std::byte* address = copy->memory.get();
  copies_.emplace(address, std::move(copy));
  return address;
}

WeightCopies::Copy* WeightCopies::holding(const std::byte* address) const {
  const auto after = copies_.upper_bound(address);
  if (after == copies_.begin()) return nullptr;
  Copy& copy = *std::prev(after)->second;
  return address < copy.memory.get() + copy.bytes ? &copy : nullptr;
}

bool WeightCopies::make(const std::byte* address, ThreadTeam& team) {
  Copy* copy = holding(address);
  if (copy == nullptr || copy->made) return true;
  make(copy->source.data(), team);
  // The file is read in its order, then left to the kernel: its pages would only stand beside the copy. Memory that is
  // no file's would be lost.
  const bool from_file = mapped_path_at(copy->source.data()) != nullptr;
  if (from_file) advise_pages(copy->source, MADV_WILLNEED);
  team.run(copy->filling.tasks, [&](int64_t task, int) { copy->filling.run(copy->memory.get(), task); });
  if (from_file) advise_pages(copy->source, MADV_DONTNEED);
  copy->made = true;
  return false;
}

void WeightCopies::drop(const std::byte* address) {
  Copy* copy = holding(address);
  if (copy == nullptr || !copy->made) return;
  advise_pages({copy->memory.get(), copy->bytes}, MADV_DONTNEED);
  copy->made = false;
}

void WeightCopies::make_all(ThreadTeam& team, const std::function<void(uint64_t bytes)>& done) {
  std::vector<const Copy*> in_file_order;
  for (const auto& [address, copy] : copies_) in_file_order.push_back(copy.get());
  std::ranges::stable_sort(in_file_order, {}, [](const Copy* copy) { return copy->source.data(); });
  uint64_t made = 0;
  for (const Copy* copy : in_file_order) {
    make(copy->memory.get(), team);
    made += copy->bytes;
    if (done) done(made);
  }
}

uint64_t WeightCopies::bytes() const {
  uint64_t total = 0;
  for (const auto& [address, copy] : copies_) total += copy->bytes;
  return total;
}

}  // namespace ostro
