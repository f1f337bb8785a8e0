#include "engine/engine.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/memory.h"
#include "support/support.h"
#include "text/sentencepiece.h"

namespace ostro {
namespace {

std::unique_ptr<Engine> open(const std::string& name, EngineOptions options = {}) {
  options.backend.threads = 1;
  return Engine::open(test::fixture("models/" + name).string(), options);
}

Request greedy(std::vector<int32_t> prompt, int64_t predict = 12) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.predict = predict;
  request.ignore_eos = true;
  return request;
}

std::vector<int32_t> counted(int32_t first, size_t length) {
  std::vector<int32_t> ids(length);
  for (size_t i = 0; i < length; ++i) ids[i] = (first + static_cast<int32_t>(37 * i)) % 200;
  return ids;
}

TEST(Engine, RequestsTogetherGetWhatTheyGetAlone) {
  std::vector<std::vector<int32_t>> alone;
  for (int32_t i = 0; i < 5; ++i)
    alone.push_back(open("mixtral")->run(greedy(counted(i, 10 + 7 * static_cast<size_t>(i)))).tokens);
  EngineOptions options;
  options.sequences = 3;
  options.step_tokens = 11;
  options.chunk = 5;
  const auto engine = open("mixtral", options);
  std::vector<int64_t> numbers;
  for (int32_t i = 0; i < 5; ++i)
    numbers.push_back(engine->submit(greedy(counted(i, 10 + 7 * static_cast<size_t>(i)))));
  while (engine->step()) {
  }
  for (size_t i = 0; i < numbers.size(); ++i) {
    const auto result = engine->take(numbers[i]);
    ASSERT_TRUE(result.has_value());
    EXPECT_EQ(result->tokens, alone[i]) << i;
    EXPECT_EQ(result->finish, Finish::Length);
  }
}

// Experts with a capacity drop tokens of long prompts; which ones, nothing but the prompt decides.
TEST(Engine, PromptsRunWholeWhereExpertsHaveACapacity) {
  EngineOptions options;
  options.sequences = 2;
  options.step_tokens = 11;
  options.chunk = 5;
  const auto engine = open("openmoe-drop", options);
  EXPECT_EQ(engine->options().chunk, engine->options().context);
  std::vector<int64_t> numbers;
  std::vector<std::vector<int32_t>> prompts;
  for (int32_t i = 0; i < 4; ++i) {
    prompts.push_back(counted(i, 60 + 20 * static_cast<size_t>(i)));
    numbers.push_back(engine->submit(greedy(prompts.back())));
  }
  while (engine->step()) {
  }
  for (size_t i = 0; i < numbers.size(); ++i) {
    EXPECT_EQ(engine->take(numbers[i])->tokens, open("openmoe-drop")->run(greedy(prompts[i])).tokens) << i;
  }
  // A prompt that begins as the last one did is read from its beginning.
  prompts[3].resize(100);
  const auto again = engine->run(greedy(prompts[3]));
  EXPECT_EQ(again.cached_tokens, 0);
  EXPECT_EQ(again.tokens, open("openmoe-drop")->run(greedy(prompts[3])).tokens);

  options.overrides.no_capacity = true;
  EXPECT_EQ(open("openmoe-drop", options)->options().chunk, 5);
}

// A T5 vocabulary names no BOS; a text begins with its padding token all the same.
TEST(Engine, TextsBeginWithTheModelsOwnStart) {
  SentencePieceModel pieces;
  pieces.unigram = true;
  pieces.pieces = {{"<pad>", 0, TokenKind::Control}, {"<unk>", 0, TokenKind::Unknown}, {"a", -1, TokenKind::Normal}};
  pieces.add_dummy_prefix = false;
  const Engine engine(load_model(test::fixture("models/openmoe-drop").string()),
                      make_sentencepiece_tokenizer(pieces, "test"), {});
  EXPECT_EQ(engine.encode_prompt("aa", false), (std::vector<int32_t>{0, 2, 2}));
}

TEST(Engine, ReusesTheCacheWithoutChangingTheResult) {
  // With and without a sliding window, whose ring may have lost what a reuse would need.
  for (const std::string name : {"mixtral", "mistral-swa"}) {
    EngineOptions options;
    options.chunk = 8;
    const auto engine = open(name, options);
    auto prompt = counted(3, 40);
    const auto first = engine->run(greedy(prompt));
    EXPECT_EQ(first.cached_tokens, 0);
    prompt.insert(prompt.end(), first.tokens.begin(), first.tokens.end());
    prompt.push_back(17);
    const auto again = engine->run(greedy(prompt));
    EXPECT_GE(again.cached_tokens, 50) << name;
    EXPECT_EQ(again.tokens, open(name, options)->run(greedy(prompt)).tokens) << name;

    auto other = prompt;
    other[5] = 99;  // far back: a ring of 16 + 8 positions has nothing of it left
    EXPECT_EQ(engine->run(greedy(other)).tokens, open(name, options)->run(greedy(other)).tokens) << name;
  }
}

TEST(Engine, SampledTokensDoNotDependOnTheBatch) {
  auto drawn = [](int64_t stream) {
    Request request = greedy(counted(1, 9));
    request.sampling.temperature = 1.5;
    request.sampling.seed = 11;
    request.stream = static_cast<uint64_t>(stream);
    return request;
  };
  const auto alone = open("mixtral")->run(drawn(4)).tokens;
  EngineOptions options;
  options.sequences = 4;
  const auto engine = open("mixtral", options);
  std::vector<int64_t> numbers;
  for (int64_t stream = 0; stream < 6; ++stream) numbers.push_back(engine->submit(drawn(stream)));
  while (engine->step()) {
  }
  EXPECT_EQ(engine->take(numbers[4])->tokens, alone);
  EXPECT_NE(engine->take(numbers[3])->tokens, alone);
}

TEST(Engine, ChecksLimitsWhenARequestComes) {
  EngineOptions options;
  options.context = 20;
  const auto engine = open("mixtral", options);
  EXPECT_THROW(engine->submit(greedy({})), Error);
  EXPECT_THROW(engine->submit(greedy(counted(0, 21))), Error);
  EXPECT_THROW(engine->submit(greedy({1, 2, 288})), Error);
  EXPECT_THROW(engine->submit(greedy({1, -1})), Error);
  Request hot = greedy({1});
  hot.sampling.temperature = -1;
  EXPECT_THROW(engine->submit(hot), Error);
  // Text ends where the context does.
  EXPECT_EQ(engine->run(greedy(counted(0, 15), 100)).tokens.size(), 5u);
  EXPECT_EQ(engine->run(greedy(counted(0, 20), 100)).tokens.size(), 0u);
}

TEST(Engine, CancelsAndGoesOn) {
  const auto engine = open("mixtral");
  int asked = 0;
  const auto stopped = engine->run(greedy(counted(0, 10), 50), [&](int64_t) { return ++asked < 6; });
  EXPECT_EQ(stopped.finish, Finish::Cancelled);
  EXPECT_EQ(stopped.tokens.size(), 5u);
  EXPECT_EQ(engine->run(greedy(counted(0, 10), 5)).tokens, stopped.tokens);
}

TEST(Engine, EosEndsUnlessItIsIgnored) {
  // The end of text is whatever token comes third.
  auto engine = open("mixtral");
  const auto free = engine->run(greedy(counted(0, 10)));
  auto model = load_model(test::fixture("models/mixtral").string());
  model->spec.eos = {free.tokens[2]};
  EngineOptions options;
  options.backend.threads = 1;
  Engine ending(std::move(model), nullptr, options);
  Request request = greedy(counted(0, 10));
  EXPECT_EQ(ending.run(request).tokens, free.tokens);
  request.ignore_eos = false;
  const auto ended = ending.run(request);
  EXPECT_EQ(ended.finish, Finish::Eos);
  EXPECT_EQ(ended.tokens, std::vector<int32_t>(free.tokens.begin(), free.tokens.begin() + 3));
}

TEST(Engine, RefusesAModelThatCannotFit) {
  EngineOptions options;
  options.context = int64_t{1} << 31;
  try {
    open("mixtral", options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Memory);
    EXPECT_NE(std::string(error.what()).find("are available"), std::string::npos) << error.what();
  }
}

// The model of the guesses has its own weights and cache, and both are in the sum.
TEST(Engine, CountsTheModelOfTheGuesses) {
  const auto needed = [](const EngineOptions& options) {
    try {
      open("mistral-full", options);
    } catch (const Error& error) {
      const std::string message = error.what();
      const size_t at = message.find("needs ") + 6;
      return std::stod(message.substr(at, message.find(' ', at) - at));
    }
    ADD_FAILURE() << "it fits";
    return 0.0;
  };
  EngineOptions options;
  options.context = int64_t{1} << 31;
  const double alone = needed(options);
  options.draft = {DraftOptions::Kind::Model, test::fixture("models/mistral-full").string(), 2, true};
  EXPECT_NEAR(needed(options) / alone, 2, 0.01);
}

TEST(Memory, NeedCountsTheCacheAsItIs) {
  EngineOptions options;
  options.context = 4096;
  options.chunk = 64;
  for (const std::string name : {"mixtral", "mistral-swa"}) {
    const auto engine = open(name, options);
    const uint64_t need = memory_need(engine->spec(), 0, options).cache;
    // The cache rounds rings up to whole pages.
    EXPECT_GE(engine->cache().capacity_bytes(), need) << name;
    EXPECT_LE(engine->cache().capacity_bytes(), 4 * need) << name;
  }
  EXPECT_GT(available_memory(), uint64_t{1} << 20);
  EXPECT_GT(peak_memory(), uint64_t{1} << 20);
}

}  // namespace
}  // namespace ostro
