// Selection, weights and sorting of the router, on numbers worked out by hand.
#include "model/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace ostro {
namespace {

Routing route(std::vector<float> logits, const RouterSpec& spec, const std::vector<float>& bias = {}) {
  Routing routing;
  route_tokens(routing, spec, bias, {logits.data(), std::ssize(logits) / spec.experts, spec.experts});
  return routing;
}

TEST(Routing, SoftmaxOfTheChosenAloneWhenRenormalised) {
  const Routing routing = route({1, 3, 2, 0}, {4, 2, Score::Softmax, true, 1});
  EXPECT_EQ(routing.expert, (std::vector<int32_t>{1, 2}));
  const float first = 1 / (1 + std::exp(-1.0f));
  EXPECT_NEAR(routing.weight[0], first, 1e-6);
  EXPECT_NEAR(routing.weight[1], 1 - first, 1e-6);
  EXPECT_NEAR(routing.score[0] + routing.score[1] + routing.score[2] + routing.score[3], 1, 1e-6);
}

TEST(Routing, LogitsWeighByTheSoftmaxOverTheChosen) {
  const Routing routing = route({1000, 1003, -5, 1002}, {4, 2, Score::Logit, true, 1});
  EXPECT_EQ(routing.expert, (std::vector<int32_t>{1, 3}));
  EXPECT_EQ(routing.score[0], 1000);
  EXPECT_NEAR(routing.weight[0], 1 / (1 + std::exp(-1.0)), 1e-9);
  EXPECT_NEAR(routing.weight[1], 1 - 1 / (1 + std::exp(-1.0)), 1e-9);
}

TEST(Routing, SigmoidUnnormalisedAndScaled) {
  const Routing routing = route({0, -1, 2}, {3, 2, Score::Sigmoid, false, 2.5f});
  EXPECT_EQ(routing.expert, (std::vector<int32_t>{2, 0}));
  EXPECT_NEAR(routing.weight[0], 2.5f / (1 + std::exp(-2.0f)), 1e-6);
  EXPECT_NEAR(routing.weight[1], 1.25f, 1e-6);
}

TEST(Routing, TheBiasChoosesAndDoesNotWeigh) {
  RouterSpec spec{4, 2, Score::Sigmoid, true, 2};
  spec.selection_bias = true;
  // Sigmoids 0.5, 0.731, 0.269, 0.881; the bias brings in 2 and 0 and drops the two largest.
  const Routing routing = route({0, 1, -1, 2}, spec, {0.5f, -1, 1, -1});
  EXPECT_EQ(routing.expert, (std::vector<int32_t>{0, 2}));  // by falling score
  EXPECT_NEAR(routing.weight[0], 2 * 0.5 / (0.5 + 0.26894), 1e-4);
  EXPECT_NEAR(routing.weight[1], 2 * 0.26894 / (0.5 + 0.26894), 1e-4);
}

TEST(Routing, GroupsByTheirBestOrByTheSumOfTheirTwoBest) {
  RouterSpec spec{6, 2, Score::Sigmoid, false, 1, false, false, 3, 1, GroupRank::Max};
  const std::vector<float> logits = {2, -2, 1, 1.5f, 0, -1};
  EXPECT_EQ(route(logits, spec).expert, (std::vector<int32_t>{0, 1}));
  spec.group_rank = GroupRank::TopTwoSum;
  EXPECT_EQ(route(logits, spec).expert, (std::vector<int32_t>{3, 2}));
  spec.groups_kept = 2;
  EXPECT_EQ(route(logits, spec).expert, (std::vector<int32_t>{0, 3}));
}

// A group that is out must lose against negative scores too.
TEST(Routing, GroupsThatAreOutCannotBeChosenWhateverTheBias) {
  RouterSpec spec{6, 2, Score::Sigmoid, false, 1, false, true, 3, 1, GroupRank::TopTwoSum};
  const std::vector<float> bias(6, -2);
  EXPECT_EQ(route({0, 0, 1, -5, 1, 1}, spec, bias).expert, (std::vector<int32_t>{4, 5}));
  EXPECT_EQ(route({0, 0, 1, 0, 1, -9}, spec, bias).expert, (std::vector<int32_t>{2, 3}));
}

TEST(Routing, SigmoidsThatAreAllZeroGiveWeightsOfZero) {
  for (const double w : route({-200, -200, -200}, {3, 2, Score::Sigmoid, true, 1}).weight) EXPECT_EQ(w, 0);
}

TEST(Routing, TiesGoToTheLowerIndex) {
  EXPECT_EQ(route({5, 7, 7, 5, 7}, {5, 4, Score::Softmax, true, 1}).expert, (std::vector<int32_t>{1, 2, 4, 0}));
}

TEST(Routing, LargeLogitsDoNotOverflow) {
  const Routing routing = route({3e38f, 0, -3e38f}, {3, 1, Score::Softmax, true, 1});
  EXPECT_EQ(routing.expert[0], 0);
  EXPECT_EQ(routing.weight[0], 1);
}

TEST(Routing, NotANumberChoosesValidExperts) {
  const Routing routing = route({NAN, NAN, NAN}, {3, 2, Score::Softmax, true, 1});
  for (const int32_t expert : routing.expert) EXPECT_TRUE(expert >= 0 && expert < 3);
}

// floor(2 * 1 * 5 / 4) = 2 places an expert. First choices 0 0 0 1 1, second choices 1 1 2 0 3.
TEST(Routing, CapacityPlacesAllFirstChoicesBeforeSecondOnes) {
  RouterSpec spec{4, 2, Score::Softmax, false, 1};
  spec.capacity = CapacitySpec{1, 1};
  const float nine = 9;
  Routing routing = route({nine, 1, 0, 0, nine, 1, 0, 0, nine, 0, 1, 0, 1, nine, 0, 0, 0, nine, 0, 1}, spec);
  Batch batch;
  batch.positions = {0, 1, 2, 3, 4};
  batch.sequences = {{0, 0, 5}};
  drop_beyond_capacity(routing, spec, batch);
  // Expert 0 is full for token 2, expert 1 for the second choices of 0 and 1, expert 0 for that of 3.
  EXPECT_EQ(routing.dropped, (std::vector<uint8_t>{0, 1, 0, 1, 1, 0, 0, 1, 0, 0}));
  for (size_t i = 0; i < routing.dropped.size(); ++i) EXPECT_EQ(routing.weight[i] == 0, routing.dropped[i] != 0);
  ExpertRows rows;
  sort_by_expert(rows, routing);
  EXPECT_EQ(rows.first_row, (std::vector<int64_t>{0, 2, 4, 5, 6}));
  EXPECT_EQ(rows.token, (std::vector<int64_t>{0, 1, 3, 4, 2, 4}));
  EXPECT_EQ(rows.slot, (std::vector<int64_t>{0, 0, 1, 0, 0, 4, 2, 0, 3, 5}));

  // Each row of a decode step, and each sequence, is counted by itself.
  for (const bool steps : {false, true}) {
    routing = route({nine, 1, 0, 0, nine, 1, 0, 0}, {4, 2, Score::Softmax, false, 1});
    spec.capacity->least = 1;
    batch.positions = {0, steps ? 1 : 0};
    batch.sequences = steps ? std::vector<SequenceRows>{{0, 0, 2, true}}
                            : std::vector<SequenceRows>{{0, 0, 1, false}, {1, 1, 1, false}};
    drop_beyond_capacity(routing, spec, batch);
    EXPECT_EQ(routing.dropped, (std::vector<uint8_t>{0, 0, 0, 0}));
  }
}

TEST(Routing, CapacityIsEvenAndHasALeast) {
  for (const auto& [tokens, least, room] : {std::tuple(7, 1, 4), std::tuple(4, 1, 2), std::tuple(3, 4, 4)}) {
    RouterSpec spec{2, 1, Score::Softmax, false, 1};
    spec.capacity = CapacitySpec{1, least};  // tokens / 2: 3 becomes 4, 2 stays, 1 becomes 2
    std::vector<float> logits;
    Batch batch;
    for (int t = 0; t < tokens; ++t) {
      logits.insert(logits.end(), {1, 0});
      batch.positions.push_back(t);
    }
    batch.sequences = {{0, 0, tokens}};
    Routing routing = route(logits, spec);
    drop_beyond_capacity(routing, spec, batch);
    EXPECT_EQ(std::ranges::count(routing.dropped, 0), std::min(tokens, room)) << tokens;
  }
}

TEST(Routing, SortKeepsTheOrderOfTokensWithinAnExpert) {
  Routing routing;
  routing.tokens = 3;
  routing.experts = 4;
  routing.top_k = 2;
  routing.expert = {2, 0, 0, 3, 2, 3};
  ExpertRows rows;
  sort_by_expert(rows, routing);
  EXPECT_EQ(rows.first_row, (std::vector<int64_t>{0, 2, 2, 4, 6}));
  EXPECT_EQ(rows.token, (std::vector<int64_t>{0, 1, 0, 2, 1, 2}));
  EXPECT_EQ(rows.slot, (std::vector<int64_t>{2, 0, 1, 4, 3, 5}));
}

}  // namespace
}  // namespace ostro
