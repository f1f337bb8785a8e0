#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "base/random.h"

namespace ostro {
namespace {

std::vector<int32_t> count_from(int32_t first, size_t length) {
  std::vector<int32_t> tokens(length);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

TEST(Scheduler, CutsAPromptIntoChunks) {
  Scheduler scheduler({.step_tokens = 100, .chunk = 8, .slots = 1});
  const int64_t number = scheduler.add(count_from(0, 20));
  ASSERT_EQ(scheduler.admit().size(), 1u);
  for (const int64_t expected : {8, 8, 4}) {
    const auto step = scheduler.next_step();
    EXPECT_EQ(step.batch.rows(), expected);
    EXPECT_EQ(step.owners.size(), expected == 4 ? 1u : 0u);
  }
  EXPECT_EQ(scheduler.next_step().batch.rows(), 0);
  scheduler.accept(number, 99);
  const auto step = scheduler.next_step();
  EXPECT_EQ(step.batch.tokens, std::vector<int32_t>{99});
  EXPECT_EQ(step.batch.positions, std::vector<int64_t>{20});
}

TEST(Scheduler, WholePromptsAreNeverCut) {
  Scheduler scheduler({.step_tokens = 10, .chunk = 8, .slots = 3, .whole_prompts = true});
  const int64_t first = scheduler.add(count_from(0, 20));
  scheduler.add(count_from(0, 5));
  scheduler.add(count_from(50, 7));
  scheduler.admit();
  // The first one has the step to itself, and the two others do not fit in one.
  for (const int64_t expected : {20, 5, 7}) {
    EXPECT_EQ(scheduler.next_step().batch.rows(), expected);
    if (expected == 20) scheduler.accept(first, 1);
    if (expected == 20) scheduler.finish(first);
  }
  scheduler.add(count_from(0, 20));
  for (const auto& admission : scheduler.admit()) EXPECT_EQ(admission.reusable, 0);
}

TEST(Scheduler, DecodingGoesBeforePrompts) {
  Scheduler scheduler({.step_tokens = 10, .chunk = 10, .slots = 2});
  const int64_t first = scheduler.add(count_from(0, 3));
  scheduler.admit();
  scheduler.next_step();
  scheduler.accept(first, 50);
  scheduler.add(count_from(100, 30));
  scheduler.admit();
  const auto step = scheduler.next_step();
  EXPECT_EQ(step.batch.rows(), 10);
  EXPECT_EQ(step.batch.tokens.front(), 50);
  ASSERT_EQ(step.owners.size(), 1u);
  EXPECT_EQ(step.owners[0], first);
}

TEST(Scheduler, ReusesTheLongestSharedBeginning) {
  Scheduler scheduler({.step_tokens = 100, .chunk = 100, .slots = 2});
  const int64_t a = scheduler.add(count_from(0, 10));
  const int64_t b = scheduler.add({0, 1, 2, 7, 8});
  scheduler.admit();
  scheduler.next_step();
  scheduler.finish(a);
  scheduler.finish(b);

  scheduler.add({0, 1, 2, 7, 9});
  auto admitted = scheduler.admit();
  ASSERT_EQ(admitted.size(), 1u);
  EXPECT_EQ(admitted[0].slot, 1);
  EXPECT_EQ(admitted[0].reusable, 4);

  // The whole prompt is there: its last token still runs, as its logits are wanted.
  scheduler.add(count_from(0, 6));
  admitted = scheduler.admit();
  ASSERT_EQ(admitted.size(), 1u);
  EXPECT_EQ(admitted[0].slot, 0);
  EXPECT_EQ(admitted[0].reusable, 5);
}

TEST(Scheduler, RemembersOnlyWhatWasCached) {
  Scheduler scheduler({.step_tokens = 100, .chunk = 100, .slots = 1});
  const int64_t a = scheduler.add({1, 2, 3});
  scheduler.admit();
  scheduler.next_step();
  scheduler.accept(a, 4);  // chosen, never run
  scheduler.finish(a);
  scheduler.add({1, 2, 3, 4, 5});
  EXPECT_EQ(scheduler.admit().at(0).reusable, 3);
}

TEST(Scheduler, ForgetsAfterClear) {
  Scheduler scheduler({.step_tokens = 100, .chunk = 100, .slots = 1});
  scheduler.add({1, 2, 3});
  scheduler.admit();
  scheduler.next_step();
  scheduler.clear();
  EXPECT_TRUE(scheduler.idle());
  scheduler.add({1, 2, 3});
  EXPECT_EQ(scheduler.admit().at(0).reusable, 0);
}

// Over random arrivals: every token of every sequence runs exactly once and in order, within the limits of a step, and
// all sequences end.
TEST(Scheduler, RunsEveryTokenOnceInOrder) {
  for (uint64_t round = 0; round < 100; ++round) {
    uint64_t draws = 0;
    auto draw = [&](uint64_t below) { return random_bits(round, 0, draws++) % below; };
    const SchedulerOptions options = {.step_tokens = static_cast<int64_t>(4 + draw(20)),
                                      .chunk = static_cast<int64_t>(1 + draw(8)),
                                      .slots = static_cast<int32_t>(1 + draw(4))};
    Scheduler scheduler(options);
    std::map<int64_t, size_t> wanted, chosen;         // by sequence: tokens to choose, chosen so far
    std::map<int32_t, std::vector<int32_t>> in_slot;  // what a cache would hold
    std::map<int64_t, int32_t> slot_of;
    int to_arrive = 12;
    for (int steps = 0; to_arrive > 0 || !scheduler.idle(); ++steps) {
      ASSERT_LT(steps, 2000);
      if (to_arrive > 0 && draw(2) == 0) {
        std::vector<int32_t> prompt;
        for (uint64_t i = 0, length = 1 + draw(30); i < length; ++i) prompt.push_back(static_cast<int32_t>(draw(2)));
        wanted[scheduler.add(prompt)] = 1 + draw(5);
        --to_arrive;
      }
      for (const auto& admission : scheduler.admit()) {
        auto& slot = in_slot[admission.slot];
        ASSERT_LE(admission.reusable, static_cast<int64_t>(slot.size()));
        slot.resize(static_cast<size_t>(admission.reusable));
        const auto& tokens = scheduler.tokens(admission.sequence);
        ASSERT_TRUE(std::equal(slot.begin(), slot.end(), tokens.begin()));
        slot_of[admission.sequence] = admission.slot;
      }
      const auto step = scheduler.next_step();
      ASSERT_LE(step.batch.rows(), options.step_tokens);
      std::set<int32_t> slots;
      for (const auto& rows : step.batch.sequences) {
        ASSERT_TRUE(slots.insert(rows.sequence).second);
        ASSERT_LE(rows.count, options.chunk);
        for (int64_t i = rows.first_row; i < rows.first_row + rows.count; ++i) {
          auto& slot = in_slot[rows.sequence];
          ASSERT_EQ(step.batch.positions[static_cast<size_t>(i)], static_cast<int64_t>(slot.size()));
          slot.push_back(step.batch.tokens[static_cast<size_t>(i)]);
        }
      }
      for (const int64_t owner : step.owners) {
        EXPECT_EQ(in_slot[slot_of[owner]], scheduler.tokens(owner));
        scheduler.accept(owner, static_cast<int32_t>(draw(2)));
        if (++chosen[owner] == wanted[owner]) scheduler.finish(owner);
      }
    }
    EXPECT_EQ(chosen, wanted);
  }
}

}  // namespace
}  // namespace ostro
