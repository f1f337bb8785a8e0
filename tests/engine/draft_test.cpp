// Guessing ahead changes no token, greedy or sampled, and its measure of itself is right.
#include "engine/draft.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/engine.h"
#include "support/support.h"

namespace ostro {
namespace {

using Kind = DraftOptions::Kind;

std::string model(const std::string& name) { return test::fixture("models/" + name).string(); }

std::unique_ptr<Engine> open(const std::string& name, DraftOptions draft, EngineOptions options = {}) {
  options.backend.threads = 1;
  options.context = std::max<int64_t>(options.context, 256);
  draft.always = true;
  options.draft = draft;
  return Engine::open(model(name), options);
}

// Text that repeats itself, for there to be something to look up.
std::vector<int32_t> repeating(int32_t first, size_t length) {
  std::vector<int32_t> ids(length);
  for (size_t i = 0; i < length; ++i) ids[i] = 2 + (first + static_cast<int32_t>(i % 11) * 13) % 140;
  return ids;
}

Request request_for(std::vector<int32_t> prompt, double temperature = 0, int64_t predict = 48) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = temperature;
  request.sampling.seed = 5;
  request.predict = predict;
  request.ignore_eos = true;
  return request;
}

struct Case {
  const char* model;
  DraftOptions draft;
};

std::vector<Case> cases() {
  return {{"mixtral", {Kind::Ngram, "", 0, true}},
          {"mistral-swa", {Kind::Ngram, "", 5, true}},
          {"deepseek-v3", {Kind::Ngram, "", 3, true}},
          {"deepseek-v3", {Kind::Mtp, "", 0, true}},
          {"mixtral", {Kind::Model, model("mixtral"), 0, true}},
          {"deepseek-v3", {Kind::Model, model("deepseek-v3"), 3, true}}};
}

TEST(Draft, TokensAreThoseOfPlainDecoding) {
  for (const Case& c : cases()) {
    for (const double temperature : {0.0, 0.7, 1.5}) {
      SCOPED_TRACE(std::string(c.model) + " " + std::to_string(static_cast<int>(c.draft.kind)) + " at " +
                   std::to_string(temperature));
      const auto prompt = repeating(3, 45);
      const auto plain = open(c.model, {})->run(request_for(prompt, temperature));
      const auto engine = open(c.model, c.draft);
      EXPECT_EQ(engine->run(request_for(prompt, temperature)).tokens, plain.tokens);
      // What a random model draws seldom repeats itself.
      EXPECT_GT(engine->draft_meter()->guesses(), c.draft.kind == Kind::Ngram ? -1 : 0);
    }
  }
}

// Equal draws give equal tokens, so over many draws the distributions are equal. Checked token for token rather than by
// a statistic, which would see less.
TEST(Draft, ManyDrawsAreThoseOfPlainDecoding) {
  const auto plain = open("deepseek-v3", {}), drafting = open("deepseek-v3", {Kind::Mtp, "", 0, true});
  int64_t different = 0;
  for (uint64_t stream = 0; stream < 60; ++stream) {
    Request request = request_for(repeating(9, 20), 1.2, 12);
    request.stream = stream;
    const auto expected = plain->run(request).tokens;
    ASSERT_EQ(drafting->run(request).tokens, expected) << stream;
    different += stream > 0 && expected != plain->run(request_for(repeating(9, 20), 1.2, 12)).tokens;
  }
  EXPECT_GT(different, 30);
  EXPECT_GT(drafting->draft_meter()->guessed().steps, 100);
}

TEST(Draft, AModelThatGuessesForItselfIsAlwaysRight) {
  const auto engine = open("mixtral", {Kind::Model, model("mixtral"), 4, true});
  engine->run(request_for(repeating(1, 30), 0, 64));
  const DraftMeter& meter = *engine->draft_meter();
  EXPECT_EQ(meter.right(), meter.guesses());
  EXPECT_NEAR(static_cast<double>(meter.guessed().tokens) / static_cast<double>(meter.guessed().steps), 5, 0.5);
  EXPECT_GT(meter.guessed().experts, meter.guessed().steps * 2);  // of 8, two a token
}

// Several requests, small steps, prompts in chunks, and a cache that is used again.
TEST(Draft, TogetherAndAgain) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.model);
    EngineOptions options;
    options.sequences = 3;
    options.step_tokens = 11;
    options.chunk = 5;
    const auto engine = open(c.model, c.draft, options);
    for (int round = 0; round < 2; ++round) {
      std::vector<int64_t> numbers;
      for (int32_t i = 0; i < 4; ++i)
        numbers.push_back(
            engine->submit(request_for(repeating(i, 20 + 5 * static_cast<size_t>(i + round)), 0.4 * i, 25)));
      while (engine->step()) {
      }
      for (int32_t i = 0; i < 4; ++i) {
        const auto expected =
            open(c.model, {})->run(request_for(repeating(i, 20 + 5 * static_cast<size_t>(i + round)), 0.4 * i, 25));
        EXPECT_EQ(engine->take(numbers[static_cast<size_t>(i)])->tokens, expected.tokens) << i << " " << round;
      }
    }
  }
}

TEST(Draft, AConversationGoesOnWhereTheCacheEnds) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.model);
    const auto engine = open(c.model, c.draft), plain = open(c.model, {});
    auto prompt = repeating(2, 30);
    for (int turn = 0; turn < 3; ++turn) {
      const auto result = engine->run(request_for(prompt, 0, 20));
      EXPECT_EQ(result.tokens, plain->run(request_for(prompt, 0, 20)).tokens) << turn;
      EXPECT_GT(result.cached_tokens, turn > 0 ? 30 : -1);
      prompt.insert(prompt.end(), result.tokens.begin(), result.tokens.end());
      prompt.push_back(7 + turn);
    }
  }
}

TEST(Draft, TheEndOfATextEndsItAmongGuesses) {
  const auto prompt = repeating(1, 30);
  const auto tokens = open("mixtral", {})->run(request_for(prompt, 0, 64)).tokens;
  auto loaded = load_model(model("mixtral"));
  loaded->spec.eos = {tokens[17]};
  const auto first = std::find(tokens.begin(), tokens.end(), tokens[17]) - tokens.begin();
  EngineOptions options;
  options.backend.threads = 1;
  options.draft = {Kind::Model, model("mixtral"), 6, true};
  Engine engine(std::move(loaded), nullptr, options);
  Request request = request_for(prompt, 0, 64);
  request.ignore_eos = false;
  const auto result = engine.run(request);
  EXPECT_EQ(result.finish, Finish::Eos);
  EXPECT_EQ(result.tokens, std::vector<int32_t>(tokens.begin(), tokens.begin() + first + 1));
}

TEST(Draft, WhatCannotGuessIsRefused) {
  EXPECT_THROW(open("mixtral", {Kind::Mtp, "", 0, true}), Error);
  EXPECT_THROW(open("mixtral", {Kind::Model, model("deepseek-v3"), 0, true}), Error);
  // A drafter runs what was guessed wrong again in pieces; an expert's capacity counts over whole prompts.
  EXPECT_THROW(open("openmoe-drop", {Kind::Model, model("openmoe-drop"), 0, true}), Error);
}

TEST(DraftMeter, EndsWhatLosesAndKeepsWhatWins) {
  DraftMeter losing, winning, always(true);
  for (DraftMeter* meter : {&losing, &winning, &always}) {
    EXPECT_FALSE(meter->wants());
    for (int i = 0; i < 4; ++i) meter->count(0, 0, 1, 0.10, 8);
    EXPECT_TRUE(meter->wants());
    for (int i = 0; i < 15; ++i) meter->count(1, 0, 1, 0.12, 12);
    EXPECT_TRUE(meter->wants());
  }
  losing.count(1, 1, 2, 0.12, 12);
  EXPECT_TRUE(losing.off());
  EXPECT_FALSE(losing.wants());
  EXPECT_NE(losing.report().find("switched off after 16 steps"), std::string::npos);
  EXPECT_NE(losing.report().find("1 of 16 right"), std::string::npos);
  winning.count(8, 8, 9, 0.12, 12);
  EXPECT_FALSE(winning.off());
  EXPECT_NEAR(winning.gain(), 0.1 / (16 * 0.12 / 24), 1e-9);
  always.count(1, 0, 1, 0.12, 12);
  EXPECT_FALSE(always.off());
}

}  // namespace
}  // namespace ostro
