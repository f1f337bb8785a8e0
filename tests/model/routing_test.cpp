// Selection, weights and sorting of the router, on numbers worked out by hand.
#include "model/routing.h"

#include <gtest/gtest.h>

#include <cmath>

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
  RouterSpec spec{6, 2, Score::Sigmoid, false, 1, false, 3, 1, GroupRank::Max};
  const std::vector<float> logits = {2, -2, 1, 1.5f, 0, -1};
  EXPECT_EQ(route(logits, spec).expert, (std::vector<int32_t>{0, 1}));
  spec.group_rank = GroupRank::TopTwoSum;
  EXPECT_EQ(route(logits, spec).expert, (std::vector<int32_t>{3, 2}));
  spec.groups_kept = 2;
  EXPECT_EQ(route(logits, spec).expert, (std::vector<int32_t>{0, 3}));
}

// A group that is out must lose against negative scores too.
TEST(Routing, GroupsThatAreOutCannotBeChosenWhateverTheBias) {
  RouterSpec spec{6, 2, Score::Sigmoid, false, 1, true, 3, 1, GroupRank::TopTwoSum};
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
