// Sampling with guesses follows the model's own distribution: thousands of draws of four tokens, plain and with each
// way of guessing, against the exact probabilities of every outcome by Pearson's chi-squared test.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "engine/engine.h"
#include "model/support.h"

namespace ostro::test {
namespace {

using Kind = DraftOptions::Kind;
using Tokens = std::vector<int32_t>;

constexpr int64_t kDraws = 3000;
constexpr size_t kLength = 3;  // tokens of a draw
constexpr size_t kTop = 3;     // of which each is one of so many
constexpr double kTemperature = 1.3;

Request request_for(const Tokens& prompt, uint64_t seed) {
  Request request;
  request.prompt = prompt;
  request.sampling = {.temperature = kTemperature, .top_k = kTop, .top_p = 1, .min_p = 0, .seed = seed};
  request.predict = kLength;
  request.ignore_eos = true;
  return request;
}

// Softmax in float64 over the largest logits after each beginning: the product along an outcome is its probability.
class Exact {
 public:
  Exact(const Model& model, Tokens prompt)
      : prompt_(std::move(prompt)), runner_(model, {1, Compute::Auto}, cache_of(DType::F16, 128, 128)) {
    std::vector<float> all;
    runner_.run(0, prompt_, 0, std::ssize(prompt_), all);
    const auto vocab = static_cast<size_t>(model.spec.vocab);
    spread({}, 1, {all.end() - static_cast<std::ptrdiff_t>(vocab), all.end()});
  }
  const std::map<Tokens, double>& probabilities() const { return probabilities_; }

 private:
  void spread(const Tokens& beginning, double probability, const std::vector<float>& logits) {
    if (beginning.size() == kLength) {
      probabilities_[beginning] = probability;
      return;
    }
    Tokens ids(logits.size());
    std::iota(ids.begin(), ids.end(), 0);
    std::ranges::stable_sort(
        ids, [&](int32_t a, int32_t b) { return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)]; });
    ids.resize(kTop);
    double sum = 0;
    const auto weight = [&](int32_t id) { return std::exp(double{logits[static_cast<size_t>(id)]} / kTemperature); };
    for (const int32_t id : ids) sum += weight(id);
    for (const int32_t id : ids) {
      Tokens longer = beginning;
      longer.push_back(id);
      std::vector<float> next;
      if (longer.size() < kLength) {
        const auto position = static_cast<int64_t>(prompt_.size() + beginning.size());
        runner_.cache.truncate(0, position);
        Tokens text = prompt_;
        text.insert(text.end(), longer.begin(), longer.end());
        runner_.run(0, text, position, 1, next);
      }
      spread(longer, probability * weight(id) / sum, next);
    }
  }

  Tokens prompt_;
  Runner runner_;
  std::map<Tokens, double> probabilities_;
};

// Sum of (seen - expected)^2 / expected over outcomes, rare ones together, beside what it exceeds once in 10,000 times
// (Wilson and Hilferty's approximation).
struct ChiSquared {
  double sum = 0, limit = 0;
  int64_t outcomes = 0;

  ChiSquared(const std::map<Tokens, double>& exact, const std::map<Tokens, int64_t>& seen) {
    double rare = 0, rare_seen = 0;
    const auto add = [&](double expected, double found) {
      sum += (found - expected) * (found - expected) / expected;
      ++outcomes;
    };
    for (const auto& [outcome, probability] : exact) {
      const double expected = probability * kDraws;
      const auto found = seen.find(outcome);
      const double count = found == seen.end() ? 0 : static_cast<double>(found->second);
      if (expected < 8) {
        rare += expected;
        rare_seen += count;
      } else {
        add(expected, count);
      }
    }
    if (rare > 0) add(rare, rare_seen);
    const double freedom = static_cast<double>(outcomes - 1), step = 2 / (9 * freedom);
    limit = freedom * std::pow(1 - step + 3.719 * std::sqrt(step), 3);
  }
};

EngineOptions options_for(const DraftOptions& draft) {
  EngineOptions options;
  options.backend.threads = 1;
  options.context = 128;
  options.draft = draft;
  return options;
}

// Draws with the model and returns the guesses that were right and wrong.
std::pair<int64_t, int64_t> expect_the_models_own(std::unique_ptr<Model> model, const Tokens& prompt,
                                                  const DraftOptions& draft) {
  Engine engine(std::move(model), nullptr, options_for(draft));
  const Exact exact(engine.model(), prompt);
  std::map<Tokens, int64_t> seen;
  for (int64_t draw = 0; draw < kDraws; ++draw) {
    const Tokens outcome = engine.run(request_for(prompt, static_cast<uint64_t>(draw))).tokens;
    EXPECT_TRUE(exact.probabilities().contains(outcome)) << draw;
    ++seen[outcome];
  }
  const ChiSquared test(exact.probabilities(), seen);
  EXPECT_GT(test.outcomes, 15);
  EXPECT_LT(test.sum, test.limit) << test.outcomes << " outcomes";
  const DraftMeter* meter = engine.draft_meter();
  const int64_t right = meter != nullptr ? meter->right() : 0, guesses = meter != nullptr ? meter->guesses() : 0;
  std::printf("chi-squared %.1f over %d outcomes (once in 10,000 above %.1f), %d of %d guesses right\n", test.sum,
              static_cast<int>(test.outcomes), test.limit, static_cast<int>(right), static_cast<int>(guesses));
  return {right, guesses - right};
}

// Nothing is shown unless guesses were right and wrong, often.
constexpr int64_t kOften = kDraws / 20;

const Tokens kPrompt = {3, 17, 42, 99, 5, 6, 7, 120};

TEST(Distribution, OfPlainDecoding) { expect_the_models_own(load_fixture("deepseek-v3"), kPrompt, {}); }

TEST(Distribution, OfGuessesByAModel) {
  const std::string path = fixture("models/mixtral").string();
  const auto [right, wrong] = expect_the_models_own(load_model(path), kPrompt, {Kind::Model, path, 2, true});
  EXPECT_GT(right, kOften);
  EXPECT_GT(wrong, kOften);
}

// The module of a model that was never trained guesses nothing right. This one says one of the two tokens that are
// drawn most often, by the sign of its first rows.
TEST(Distribution, OfMultiTokenPrediction) {
  auto model = load_fixture("deepseek-v3");
  std::map<int32_t, double> often;
  const Exact exact(*model, kPrompt);
  for (const auto& [outcome, probability] : exact.probabilities()) {
    for (size_t i = 1; i < kLength; ++i) often[outcome[i]] += probability;
  }
  const auto width = static_cast<size_t>(model->spec.width), vocab = static_cast<size_t>(model->spec.vocab);
  const auto rows = std::make_shared<std::vector<float>>(width * vocab);
  for (const float sign : {1.0f, -1.0f}) {
    const auto most = std::ranges::max_element(often, {}, [](const auto& pair) { return pair.second; });
    for (size_t i = 0; i < width; ++i) (*rows)[static_cast<size_t>(most->first) * width + i] = sign;
    often.erase(most);
  }
  model->weights.mtp.output = {reinterpret_cast<const std::byte*>(rows->data()), DType::F32, model->spec.vocab,
                               model->spec.width, row_bytes(DType::F32, model->spec.width)};
  const auto [right, wrong] = expect_the_models_own(std::move(model), kPrompt, {Kind::Mtp, "", 0, true});
  EXPECT_GT(right, kOften);
  EXPECT_GT(wrong, kOften);
}

// Outcomes stand in the prompt, where the sliding window does not reach, so that they can be looked up.
TEST(Distribution, OfPromptLookup) {
  auto model = load_fixture("mistral-swa");
  Tokens recent;  // more than the layers see through their windows together
  for (int32_t i = 0; i < 60; ++i) recent.push_back(3 + 7 * i % 120);
  Tokens prompt;
  const Exact exact(*model, recent);
  for (const auto& [outcome, probability] : exact.probabilities()) {
    prompt.push_back(recent.back());
    prompt.insert(prompt.end(), outcome.begin(), outcome.end());
    if (prompt.size() + recent.size() > 110) break;
  }
  prompt.insert(prompt.end(), recent.begin(), recent.end());
  const auto [right, wrong] = expect_the_models_own(std::move(model), prompt, {Kind::Ngram, "", 0, true});
  EXPECT_GT(right, kOften);
  EXPECT_GT(wrong, kOften);
}

}  // namespace
}  // namespace ostro::test
