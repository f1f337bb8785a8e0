// Copies of weights: planned without memory, made once, with the file's pages left to the kernel.
#include "formats/weight_copies.h"

#include <algorithm>
#include <fstream>
#include <vector>

#include "base/mapped_file.h"
#include "support/support.h"

namespace ostro {
namespace {

constexpr size_t kBytes = size_t{8} << 20;  // of a tensor
constexpr size_t kTensors = 8;

// A line of /proc/self/status in bytes.
int64_t resident(const std::string& kind) {
  std::ifstream status("/proc/self/status");
  std::string word;
  int64_t kilobytes = 0;
  while (status >> word) {
    if (word == kind + ":" && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

WeightCopies::Filling reversed(std::span<const std::byte> source) {
  return {4, [source](std::byte* out, int64_t task) {
            const size_t piece = source.size() / 4, first = static_cast<size_t>(task) * piece;
            const size_t last = task == 3 ? source.size() : first + piece;
            for (size_t i = first; i < last; ++i) out[i] = source[source.size() - 1 - i];
          }};
}

TEST(WeightCopies, TakeTheMemoryOfTheCopiesAndOneTensor) {
  const std::string path = (test::temporary_folder() / "weights").string();
  {
    std::ofstream file(path, std::ios::binary);
    const std::string tensor(kBytes, '\7');
    for (size_t i = 0; i < kTensors; ++i) file << tensor;
  }
  const MappedFile file(path);
  const int64_t anonymous = resident("RssAnon"), mapped = resident("RssFile");
  WeightCopies copies;
  std::vector<const std::byte*> planned;
  for (size_t i = 0; i < kTensors; ++i) {
    const auto source = file.bytes().subspan(i * kBytes, kBytes);
    planned.push_back(copies.plan(kBytes, source, reversed(source)));
  }
  const auto tensor = static_cast<int64_t>(kBytes), all = static_cast<int64_t>(kTensors * kBytes);
  EXPECT_EQ(copies.bytes(), kTensors * kBytes);
  EXPECT_LT(resident("RssAnon") - anonymous, tensor / 2);

  ThreadTeam team(2);
  int64_t most_mapped = 0;
  copies.make_all(team, [&](uint64_t) { most_mapped = std::max(most_mapped, resident("RssFile") - mapped); });
  EXPECT_LT(most_mapped, tensor / 2);
  EXPECT_GT(resident("RssAnon") - anonymous, all - 2 * tensor);  // the heap may have had memory left
  for (const std::byte* copy : planned) EXPECT_EQ(copy[kBytes - 1], std::byte{7});

  for (const std::byte* copy : planned) copies.drop(copy);
  EXPECT_LT(resident("RssAnon") - anonymous, tensor);
}

TEST(WeightCopies, AreMadeOnceAndAgainAfterTheyWereDropped) {
  std::vector<std::byte> source = {std::byte{1}, std::byte{2}, std::byte{3}};
  WeightCopies copies;
  ThreadTeam team(1);
  const std::byte* first = copies.plan(3, source, reversed(source));
  const std::byte* second = copies.plan(3, {first, 3}, reversed({first, 3}));  // of the first
  WeightCopies continued = copies;                                             // the same memory, whoever makes it
  EXPECT_FALSE(continued.make(second + 1, team));
  EXPECT_TRUE(std::equal(source.begin(), source.end(), second));
  EXPECT_EQ(first[0], std::byte{3});
  EXPECT_TRUE(copies.make(first, team));
  source[0] = std::byte{9};
  EXPECT_TRUE(copies.make(first, team));
  EXPECT_EQ(first[2], std::byte{1});
  copies.drop(first);
  EXPECT_FALSE(copies.make(first, team));
  EXPECT_EQ(first[2], std::byte{9});
  EXPECT_TRUE(copies.make(source.data(), team));  // of nobody's
  EXPECT_FALSE(copies.holds(source.data()));
  EXPECT_TRUE(copies.holds(first + 2));
}

}  // namespace
}  // namespace ostro
