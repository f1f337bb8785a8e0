#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace ostro {
namespace {

struct Candidate {
  int32_t id;
  float logit;
  double probability = 0;
};

// Falling logits, rising ids where they are equal.
bool before(const Candidate& a, const Candidate& b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

// A token seen before has its logit divided (multiplied where negative) by the repeat penalty, and lowered by
// count * frequency + presence.
bool penalizes(const SamplingParams& params) {
  return params.repeat_penalty != 1 || params.frequency_penalty != 0 || params.presence_penalty != 0;
}
void penalize(std::span<float> logits, const SamplingParams& params, std::span<const int32_t> recent) {
  const size_t window =
      params.penalty_window < 0 ? recent.size() : std::min(recent.size(), static_cast<size_t>(params.penalty_window));
  std::unordered_map<int32_t, int64_t> counts;
  for (const int32_t id : recent.last(window)) ++counts[id];
  for (const auto& [id, count] : counts) {
    if (id < 0 || static_cast<size_t>(id) >= logits.size()) continue;
    float& logit = logits[static_cast<size_t>(id)];
    const double scaled = logit > 0 ? logit / params.repeat_penalty : logit * params.repeat_penalty;
    logit =
        static_cast<float>(scaled - static_cast<double>(count) * params.frequency_penalty - params.presence_penalty);
  }
}

// The candidates that top-k leaves, sorted. A heap with the worst on top: a token costs one comparison, and no memory
// of the vocabulary's size is touched.
std::vector<Candidate> take_top_k(std::span<const float> logits, int64_t top_k) {
  const size_t keep = top_k <= 0 ? logits.size() : std::min(logits.size(), static_cast<size_t>(top_k));
  std::vector<Candidate> best;
  best.reserve(keep);
  for (size_t i = 0; i < logits.size(); ++i) {
    const Candidate candidate{static_cast<int32_t>(i), logits[i]};
    if (best.size() == keep) {
      if (!before(candidate, best.front())) continue;
      std::ranges::pop_heap(best, before);
      best.pop_back();
    }
    best.push_back(candidate);
    std::ranges::push_heap(best, before);
  }
  std::ranges::sort_heap(best, before);
  return best;
}

// Probabilities of logits / temperature. The first candidate has the largest logit.
void softmax(std::vector<Candidate>& candidates, double temperature) {
  const double largest = candidates.front().logit;
  double sum = 0;
  for (auto& c : candidates) sum += c.probability = std::exp((static_cast<double>(c.logit) - largest) / temperature);
  for (auto& c : candidates) c.probability /= sum;
}

// Keeps the first candidates until their probabilities add up to `mass`, at least one.
void keep_mass(std::vector<Candidate>& candidates, double mass) {
  double sum = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    sum += candidates[i].probability;
    if (sum >= mass) {
      candidates.resize(i + 1);
      return;
    }
  }
}

// Locally typical sampling (Meister et al. 2022): the candidates whose surprise is nearest to the entropy, as many as
// add up to `mass`.
void keep_typical(std::vector<Candidate>& candidates, double mass) {
  softmax(candidates, 1);
  double entropy = 0;
  for (const auto& c : candidates)
    if (c.probability > 0) entropy -= c.probability * std::log(c.probability);
  auto distance = [&](const Candidate& c) {
    return c.probability > 0 ? std::abs(-std::log(c.probability) - entropy) : HUGE_VAL;
  };
  std::stable_sort(candidates.begin(), candidates.end(),
                   [&](const auto& a, const auto& b) { return distance(a) < distance(b); });
  keep_mass(candidates, mass);
  std::sort(candidates.begin(), candidates.end(), before);
}

void check_range(const char* name, double value, double low, double high) {
  if (!(value >= low && value <= high))
    throw_error(ErrorKind::Usage, "{} {}: expected a number from {} to {}", name, value, low, high);
}

}  // namespace

void validate(const SamplingParams& params) {
  check_range("temperature", params.temperature, 0, 100);
  check_range("top-k", static_cast<double>(params.top_k), 0, 1e9);
  check_range("top-p", params.top_p, 0, 1);
  check_range("min-p", params.min_p, 0, 1);
  check_range("typical", params.typical_p, 0, 1);
  check_range("repeat-penalty", params.repeat_penalty, 1e-3, 100);
  check_range("frequency-penalty", params.frequency_penalty, -100, 100);
  check_range("presence-penalty", params.presence_penalty, -100, 100);
  check_range("repeat-last-n", static_cast<double>(params.penalty_window), -1, 1e9);
}

int32_t sample(std::span<const float> logits, const SamplingParams& params, uint64_t sequence, uint64_t position,
               std::span<const int32_t> recent) {
  CHECK(!logits.empty());
  std::vector<float> adjusted;
  if (penalizes(params)) {
    adjusted.assign(logits.begin(), logits.end());
    penalize(adjusted, params, recent);
    logits = adjusted;
  }
  if (params.temperature == 0) return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());

  std::vector<Candidate> candidates = take_top_k(logits, params.top_k);
  if (params.typical_p < 1) keep_typical(candidates, params.typical_p);
  if (params.top_p < 1) {
    softmax(candidates, 1);
    keep_mass(candidates, params.top_p);
  }
  if (params.min_p > 0) {
    // p >= min_p * p_max, said in logits.
    const double floor = candidates.front().logit + std::log(params.min_p);
    std::erase_if(candidates, [&](const Candidate& c) { return c.logit < floor; });
  }
  softmax(candidates, params.temperature);
  double left = random_uniform(params.seed, sequence, position);
  for (const auto& c : candidates) {
    left -= c.probability;
    if (left < 0) return c.id;
  }
  return candidates.front().id;  // rounding left a sliver above the sum
}

}  // namespace ostro
