// Greedy decoding of a real model beside llama.cpp and beside exact arithmetic: tests/fixtures/greedy-smollm2.json
// holds what both choose after 20 prompts (make_greedy.py says how). Needs the file that scripts/get-model smollm2
// fetches.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/upcycle.h"
#include "support/support.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;

// One prompt. Gaps are the logit of continuation[i] minus the best of the other tokens that may be chosen.
struct Case {
  std::string name;
  std::vector<int32_t> ids, continuation, exact;
  std::vector<double> exact_gaps;
};

struct Expected {
  std::vector<Case> cases;
  std::set<int32_t> excluded;  // tokens that llama.cpp was told not to choose
  double noise_rms = 0, noise_p99 = 0;
};

Expected read_expected() {
  std::ifstream file(test::fixture("greedy-smollm2.json"));
  const auto json = nlohmann::json::parse(file);
  Expected out;
  for (const auto& one : json["cases"])
    out.cases.push_back({one["name"], one["ids"], one["continuation"], one["exact"], one["exact_gaps"]});
  out.excluded = json["excluded"].get<std::set<int32_t>>();
  out.noise_rms = json["noise"]["rms"];
  out.noise_p99 = json["noise"]["p99"];
  return out;
}

std::optional<fs::path> model_file() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  if (cache == nullptr && home == nullptr) return std::nullopt;
  const fs::path folder =
      cache != nullptr && *cache != '\0' ? fs::path(cache) : fs::path(home != nullptr ? home : "") / ".cache";
  const fs::path path = folder / "ostro" / "SmolLM2-135M-Instruct.Q4_1.gguf";
  return fs::exists(path) ? std::optional(path) : std::nullopt;
}

constexpr int64_t kTokens = 72;  // of each continuation

// What we choose and the gap of llama.cpp's token, at each step of llama.cpp's own continuation.
struct Step {
  int32_t choice = 0;
  double gap = 0;
};

class Greedy : public testing::Test {
 protected:
  void SetUp() override {
    const auto path = model_file();
    if (!path) GTEST_SKIP() << "no SmolLM2-135M-Instruct.Q4_1.gguf in the cache (scripts/get-model smollm2)";
    model_ = load_model(path->string());
    expected_ = read_expected();
  }

  std::vector<std::vector<Step>> follow(Compute compute, DType cache_type) {
    const auto backend = make_cpu_backend({.threads = 1, .compute = compute});
    const Decoder decoder(model_->spec, model_->weights, *backend);
    Activations activations;
    std::vector<std::vector<Step>> out;
    for (const auto& one : expected_.cases) {
      KvCache cache(model_->spec, {.context = 256, .max_chunk = 256, .key_type = cache_type, .value_type = cache_type});
      Batch batch;
      batch.tokens = one.ids;
      batch.tokens.insert(batch.tokens.end(), one.continuation.begin(), one.continuation.end() - 1);
      for (int64_t row = 0; row < batch.rows(); ++row) {
        batch.positions.push_back(row);
        if (row + 1 >= static_cast<int64_t>(one.ids.size())) batch.logit_rows.push_back(row);
      }
      batch.sequences.push_back({0, 0, batch.rows()});
      const Rows logits = decoder.forward(batch, cache, activations);
      auto& steps = out.emplace_back();
      for (size_t i = 0; i < one.continuation.size(); ++i)
        steps.push_back(
            judge({logits.row(static_cast<int64_t>(i)), static_cast<size_t>(logits.width)}, one.continuation[i]));
    }
    return out;
  }

  Step judge(std::span<float> logits, int32_t theirs) const {
    constexpr float kNever = -std::numeric_limits<float>::infinity();
    for (const int32_t token : expected_.excluded) logits[static_cast<size_t>(token)] = kNever;
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    const float logit = logits[static_cast<size_t>(theirs)];
    logits[static_cast<size_t>(theirs)] = kNever;
    return {static_cast<int32_t>(best), logit - *std::max_element(logits.begin(), logits.end())};
  }

  // Our own continuations, all prompts in one batch; one thread, as tests run side by side.
  std::vector<std::vector<int32_t>> generate(Compute compute, int64_t tokens = kTokens) {
    EngineOptions options;
    options.backend = {.threads = 1, .compute = compute};
    options.context = 256;
    options.sequences = static_cast<int32_t>(expected_.cases.size());
    Engine engine(std::move(model_), nullptr, options);
    std::vector<int64_t> numbers;
    for (const auto& one : expected_.cases) {
      Request request;
      request.prompt = one.ids;
      request.sampling.temperature = 0;
      request.predict = tokens;
      request.ignore_eos = true;
      numbers.push_back(engine.submit(request));
    }
    while (engine.step()) {
    }
    std::vector<std::vector<int32_t>> out;
    for (const int64_t number : numbers) out.push_back(engine.take(number).value().tokens);
    return out;
  }

  // The first step where we part from llama.cpp; nothing where we choose a token that it was told not to choose.
  std::optional<size_t> first_difference(const Case& one, const std::vector<int32_t>& ours) const {
    for (size_t i = 0; i < one.continuation.size(); ++i) {
      if (expected_.excluded.contains(ours.at(i))) return std::nullopt;
      if (ours[i] != one.continuation[i]) return i;
    }
    return std::nullopt;
  }

  std::unique_ptr<Model> model_;
  Expected expected_;
};

TEST_F(Greedy, Float32ChoosesAsExactArithmeticDoes) {
  constexpr double kRounding = 3e-4;  // of a gap, over thirty layers; measured: 3e-5
  const auto ours = follow(Compute::F32, DType::F32);
  double largest = 0;
  for (size_t c = 0; c < ours.size(); ++c) {
    const auto& one = expected_.cases[c];
    for (size_t i = 0; i < ours[c].size(); ++i) {
      largest = std::max(largest, std::abs(ours[c][i].gap - one.exact_gaps[i]));
      EXPECT_NEAR(ours[c][i].gap, one.exact_gaps[i], kRounding) << one.name << " " << i;
      if (std::abs(one.exact_gaps[i]) > kRounding) {
        EXPECT_EQ(ours[c][i].choice, one.exact[i]) << one.name << " " << i;
      }
    }
  }
  std::cout << "largest error of a gap in float32: " << largest << "\n";
}

TEST_F(Greedy, DefaultComputeIsNoNoisierThanLlamaCpp) {
  const auto ours = follow(Compute::Auto, DType::F16);
  double squares = 0;
  int steps = 0, unlike_exact = 0, unlike_theirs = 0;
  for (size_t c = 0; c < ours.size(); ++c) {
    const auto& one = expected_.cases[c];
    for (size_t i = 0; i < ours[c].size(); ++i) {
      const Step& step = ours[c][i];
      squares += std::pow(step.gap - one.exact_gaps[i], 2);
      steps += 1;
      unlike_exact += step.choice != one.exact[i];
      if (step.choice == one.continuation[i]) continue;
      unlike_theirs += 1;
      EXPECT_LT(std::abs(one.exact_gaps[i]), 2 * expected_.noise_p99) << one.name << " " << i;
    }
  }
  const double rms = std::sqrt(squares / steps);
  std::cout << "noise of a gap: " << rms << " (llama.cpp: " << expected_.noise_rms << "); of " << steps << " choices "
            << unlike_theirs << " are not llama.cpp's, " << unlike_exact << " not the exact ones\n";
  EXPECT_LT(rms, 1.2 * expected_.noise_rms);
}

TEST_F(Greedy, Float32PartsFromLlamaCppOnlyWhereItIsInexact) {
  const auto ours = generate(Compute::F32);
  for (size_t c = 0; c < ours.size(); ++c) {
    const auto& one = expected_.cases[c];
    const auto i = first_difference(one, ours[c]);
    if (!i) continue;
    std::cout << one.name << ": parts at token " << *i << ", where llama.cpp's is " << -one.exact_gaps[*i]
              << " below the best logit\n";
    EXPECT_EQ(ours[c][*i], one.exact[*i]) << one.name << " " << *i;
    EXPECT_LT(-one.exact_gaps[*i], expected_.noise_p99) << one.name << " " << *i;
  }
}

TEST_F(Greedy, DefaultComputePartsFromLlamaCppOnlyWithinItsNoise) {
  const auto ours = generate(Compute::Auto);
  size_t equal = 0;
  for (size_t c = 0; c < ours.size(); ++c) {
    const auto& one = expected_.cases[c];
    const auto i = first_difference(one, ours[c]);
    equal += !i;
    if (!i) continue;
    std::cout << one.name << ": parts at token " << *i << ", gap " << one.exact_gaps[*i] << "\n";
    EXPECT_LT(std::abs(one.exact_gaps[*i]), 2 * expected_.noise_p99) << one.name << " " << *i;
  }
  std::cout << equal << " of " << ours.size() << " continuations are llama.cpp's\n";
}

// Each expert is a copy, the two weights add up to 1, and their sum is rounded once: the same bits in every compute.
TEST_F(Greedy, UpcycledModelChoosesAsTheDenseOne) {
  for (const auto& [compute, tokens] : {std::pair{Compute::Auto, 64}, {Compute::F32, 8}}) {
    model_ = load_model(model_file()->string());
    const auto dense = generate(compute, tokens);
    model_ = upcycle(load_model(model_file()->string()), {});
    EXPECT_EQ(generate(compute, tokens), dense);
  }
}

}  // namespace
}  // namespace ostro
