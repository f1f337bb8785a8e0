// Selection, weights and sorting of the router, on numbers worked out by hand.
#include "model/routing.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ostro {
namespace {

Routing route(std::vector<float> logits, const RouterSpec& spec) {
  Routing routing;
  route_tokens(routing, spec, {logits.data(), std::ssize(logits) / spec.experts, spec.experts});
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
