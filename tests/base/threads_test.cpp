// The thread team runs every task exactly once, phase after phase.
#include "base/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace ostro {
namespace {

TEST(ThreadTeam, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadTeam team(threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(round));
      team.run(round, [&](int64_t task, int thread) {
        ASSERT_GE(thread, 0);
        ASSERT_LT(thread, threads);
        runs[static_cast<size_t>(task)].fetch_add(1);
      });
      for (auto& count : runs) ASSERT_EQ(count.load(), 1);
    }
  }
}

}  // namespace
}  // namespace ostro
