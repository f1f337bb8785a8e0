#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace ostro {
namespace {

SamplingParams everything() {
  SamplingParams params;
  params.temperature = 1;
  params.top_k = 0;
  params.top_p = 1;
  params.min_p = 0;
  return params;
}

std::vector<float> random_logits(uint64_t seed, size_t count) {
  std::vector<float> logits(count);
  for (size_t i = 0; i < count; ++i) logits[i] = static_cast<float>(3 * random_normal(seed, 0, i));
  return logits;
}

std::vector<double> probabilities(const std::vector<float>& logits, double temperature = 1) {
  std::vector<double> p(logits.size());
  for (size_t i = 0; i < p.size(); ++i) p[i] = std::exp(logits[i] / temperature);
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (auto& x : p) x /= sum;
  return p;
}

std::vector<size_t> falling(const std::vector<float>& logits) {
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  return order;
}

std::map<int32_t, double> frequencies(const std::vector<float>& logits, const SamplingParams& params, int draws) {
  std::map<int32_t, double> counts;
  for (int i = 0; i < draws; ++i) counts[sample(logits, params, 7, static_cast<uint64_t>(i), {})] += 1.0 / draws;
  return counts;
}

std::set<int32_t> support(const std::vector<float>& logits, const SamplingParams& params) {
  std::set<int32_t> ids;
  SamplingParams hot = params;
  hot.temperature = 50;  // nearly uniform over what the filters leave; they see the logits as they are
  for (const auto& [id, share] : frequencies(logits, hot, 4000)) ids.insert(id);
  return ids;
}

TEST(Sampler, GreedyTakesTheLowestIdOnTies) {
  SamplingParams params;
  params.temperature = 0;
  const std::vector<float> logits = {1, 5, -2, 5, 5};
  EXPECT_EQ(sample(logits, params, 0, 0, {}), 1);
}

TEST(Sampler, IsAPureFunction) {
  const auto logits = random_logits(1, 500);
  SamplingParams params;
  params.seed = 42;
  std::set<int32_t> over_positions, over_sequences, over_seeds;
  for (uint64_t i = 0; i < 50; ++i) {
    EXPECT_EQ(sample(logits, params, 3, i, {}), sample(logits, params, 3, i, {}));
    over_positions.insert(sample(logits, params, 3, i, {}));
    over_sequences.insert(sample(logits, params, i, 3, {}));
    SamplingParams other = params;
    other.seed = i;
    over_seeds.insert(sample(logits, other, 3, 3, {}));
  }
  EXPECT_GT(over_positions.size(), 3u);
  EXPECT_GT(over_sequences.size(), 3u);
  EXPECT_GT(over_seeds.size(), 3u);
}

TEST(Sampler, DrawsFollowTheSoftmax) {
  const std::vector<float> logits = {0.5f, 2, -1, 1.5f, 0, -3};
  for (const double temperature : {0.7, 1.0, 2.0}) {
    SamplingParams params = everything();
    params.temperature = temperature;
    constexpr int kDraws = 40000;
    const auto expected = probabilities(logits, temperature);
    auto found = frequencies(logits, params, kDraws);
    for (size_t i = 0; i < logits.size(); ++i) {
      // Five standard deviations of a binomial share.
      const double bound = 5 * std::sqrt(expected[i] * (1 - expected[i]) / kDraws);
      EXPECT_NEAR(found[static_cast<int32_t>(i)], expected[i], bound) << "id " << i << " at " << temperature;
    }
  }
}

TEST(Sampler, TopKKeepsTheKLargest) {
  const auto logits = random_logits(2, 40);
  const auto order = falling(logits);
  for (const int64_t k : {1, 3, 10}) {
    SamplingParams params = everything();
    params.top_k = k;
    std::set<int32_t> expected;
    for (int64_t i = 0; i < k; ++i) expected.insert(static_cast<int32_t>(order[static_cast<size_t>(i)]));
    EXPECT_EQ(support(logits, params), expected);
  }
}

TEST(Sampler, TopPKeepsTheFewestThatReachTheMass) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const auto logits = random_logits(seed + 10, 30);
    const auto p = probabilities(logits);
    SamplingParams params = everything();
    params.top_p = 0.8;
    std::set<int32_t> expected;
    double sum = 0;
    for (const size_t id : falling(logits)) {
      expected.insert(static_cast<int32_t>(id));
      sum += p[id];
      if (sum >= params.top_p) break;
    }
    EXPECT_EQ(support(logits, params), expected);
  }
}

TEST(Sampler, MinPIsRelativeToTheLikeliest) {
  const auto logits = random_logits(20, 30);
  const auto p = probabilities(logits);
  SamplingParams params = everything();
  params.min_p = 0.05;
  const double largest = *std::max_element(p.begin(), p.end());
  std::set<int32_t> expected;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] >= 0.05 * largest) expected.insert(static_cast<int32_t>(i));
  EXPECT_EQ(support(logits, params), expected);
}

TEST(Sampler, TypicalKeepsWhatIsNearTheEntropy) {
  const auto logits = random_logits(21, 30);
  const auto p = probabilities(logits);
  double entropy = 0;
  for (const double x : p) entropy -= x * std::log(x);
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::abs(-std::log(p[a]) - entropy) < std::abs(-std::log(p[b]) - entropy);
  });
  SamplingParams params = everything();
  params.typical_p = 0.6;
  std::set<int32_t> expected;
  double sum = 0;
  for (const size_t id : order) {
    expected.insert(static_cast<int32_t>(id));
    sum += p[id];
    if (sum >= params.typical_p) break;
  }
  EXPECT_EQ(support(logits, params), expected);
}

TEST(Sampler, ExtremeParametersLeaveTheLikeliest) {
  const auto logits = random_logits(22, 100);
  const auto best = static_cast<int32_t>(falling(logits).front());
  for (int which = 0; which < 3; ++which) {
    SamplingParams params = everything();
    params.temperature = 10;
    if (which == 0) params.top_p = 0;
    if (which == 1) params.min_p = 1;
    if (which == 2) params.top_k = 1;
    for (uint64_t i = 0; i < 20; ++i) EXPECT_EQ(sample(logits, params, 0, i, {}), best) << which;
  }
}

TEST(Sampler, PenaltiesLowerWhatWasSaid) {
  SamplingParams params;
  params.temperature = 0;
  const std::vector<float> logits = {2, 1.5f, -1, -1.2f};
  params.repeat_penalty = 2;  // 2 / 2 < 1.5
  EXPECT_EQ(sample(logits, params, 0, 0, std::vector<int32_t>{0}), 1);
  // Negative logits are multiplied: -1 * 2 < -1.2.
  const std::vector<float> negative = {-1, -1.2f};
  EXPECT_EQ(sample(negative, params, 0, 0, std::vector<int32_t>{0}), 1);

  params.repeat_penalty = 1;
  params.frequency_penalty = 0.3;  // 2 - 2 * 0.3 < 1.5 < 2 - 0.3
  EXPECT_EQ(sample(logits, params, 0, 0, std::vector<int32_t>{0}), 0);
  EXPECT_EQ(sample(logits, params, 0, 0, std::vector<int32_t>{0, 0}), 1);
  params.penalty_window = 1;
  EXPECT_EQ(sample(logits, params, 0, 0, std::vector<int32_t>{0, 0}), 0);
  params.penalty_window = 64;

  params.frequency_penalty = 0;
  params.presence_penalty = 0.6;
  EXPECT_EQ(sample(logits, params, 0, 0, std::vector<int32_t>{0}), 1);
}

TEST(Sampler, RefusesParametersOutOfRange) {
  auto refused = [](auto change) {
    SamplingParams params;
    change(params);
    EXPECT_THROW(validate(params), Error);
  };
  validate(SamplingParams{});
  refused([](SamplingParams& p) { p.temperature = NAN; });
  refused([](SamplingParams& p) { p.temperature = -1; });
  refused([](SamplingParams& p) { p.top_p = 1.5; });
  refused([](SamplingParams& p) { p.top_k = -1; });
  refused([](SamplingParams& p) { p.repeat_penalty = 0; });
}

}  // namespace
}  // namespace ostro
