#include "cli/bandwidth.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <new>
#include <vector>

#include "base/threads.h"

namespace ostro {
namespace {

constexpr size_t kBytes = size_t{512} << 20;
constexpr size_t kPiece = size_t{1} << 20;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr int kPasses = 5;

// Eight sums, so that additions do not wait for each other.
uint64_t sum_of(const uint64_t* words, size_t count) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < count; i += 8)
    for (size_t lane = 0; lane < 8; ++lane) sums[lane] += words[i + lane];
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

double read_bandwidth(int threads) {
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete (memory, std::align_val_t{kHugePage}); }
  };
  const std::unique_ptr<std::byte, Free> memory(
      static_cast<std::byte*>(::operator new (kBytes, std::align_val_t{kHugePage})));
  madvise(memory.get(), kBytes, MADV_HUGEPAGE);
  std::memset(memory.get(), 1, kBytes);
  const auto* words = reinterpret_cast<const uint64_t*>(memory.get());
  ThreadTeam team(threads);
  std::vector<uint64_t> sums(kBytes / kPiece);  // read afterwards, so that nothing is optimised away
  double best = 0;
  uint64_t check = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    team.run(static_cast<int64_t>(sums.size()), [&](int64_t piece, int) {
      const size_t at = static_cast<size_t>(piece);
      sums[at] = sum_of(words + at * (kPiece / sizeof(uint64_t)), kPiece / sizeof(uint64_t));
    });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    for (const uint64_t sum : sums) check += sum;
    best = std::max(best, static_cast<double>(kBytes) / seconds);
  }
  return check != 0 ? best : 0;
}

}  // namespace ostro
