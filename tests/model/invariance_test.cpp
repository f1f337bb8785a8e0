// The promise of bitwise invariance: a row's logits do not depend on threads, on the batch around it, on how its prompt
// was cut, on whether its cache is a ring, or on the layout its weights came from. And the ring keeps its promise on
// memory.
#include <algorithm>

#include "base/random.h"
#include "model/spec_overrides.h"
#include "model/support.h"

namespace ostro::test {
namespace {

constexpr uint64_t kSeed = 20231211;

std::vector<int32_t> random_tokens(int64_t count, int64_t vocab, uint64_t stream) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(
        static_cast<int32_t>(random_bits(kSeed, stream, static_cast<uint64_t>(i)) % static_cast<uint64_t>(vocab)));
  }
  return tokens;
}

// A size in [1, most].
int64_t draw(int64_t most, uint64_t stream, uint64_t counter) {
  return 1 + static_cast<int64_t>(random_bits(kSeed, stream, counter) % static_cast<uint64_t>(most));
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Case {
  const char* model;
  Compute compute;
  DType cache;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.model << (c.compute == Compute::F32 ? " f32 " : " auto ") << info(c.cache).name;
}

class InvarianceTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    OSTRO_MODEL_OR_SKIP(GetParam().model);
    model_ = load_fixture(GetParam().model);
    apply_overrides(model_->spec, {.no_capacity = true});  // with it a prompt is one chunk; see WholePrompts
  }

  std::vector<float> logits_in_one_piece(const std::vector<int32_t>& tokens, int threads) const {
    Runner runner(*model_, {threads, GetParam().compute}, cache_of(GetParam().cache));
    std::vector<float> logits;
    runner.run(0, tokens, 0, static_cast<int64_t>(tokens.size()), logits);
    return logits;
  }

  std::unique_ptr<Model> model_;
};

TEST_P(InvarianceTest, Threads) {
  const auto tokens = random_tokens(131, model_->spec.vocab, 1);
  const auto expected = logits_in_one_piece(tokens, 1);
  for (int threads = 2; threads <= 4; ++threads) {
    EXPECT_TRUE(same_bits(logits_in_one_piece(tokens, threads), expected)) << threads << " threads";
  }
}

TEST_P(InvarianceTest, RandomSplitsOfThePrompt) {
  const auto tokens = random_tokens(150, model_->spec.vocab, 2);
  const auto length = static_cast<int64_t>(tokens.size());
  const auto expected = logits_in_one_piece(tokens, 2);
  for (uint64_t trial = 0; trial < 6; ++trial) {
    // Chunks of one row, of a few, and of any size; a ring just wide enough for them.
    const int64_t most = trial == 0 ? 1 : trial < 3 ? 9 : 90;
    Runner runner(*model_, {2, GetParam().compute}, cache_of(GetParam().cache, 256, most));
    std::vector<float> logits;
    for (int64_t position = 0; position < length;) {
      const int64_t count = std::min(length - position, draw(most, 100 + trial, static_cast<uint64_t>(position)));
      runner.run(0, tokens, position, count, logits);
      position += count;
    }
    EXPECT_TRUE(same_bits(logits, expected)) << "chunks of up to " << most;
  }
}

TEST_P(InvarianceTest, OtherSequencesInTheBatch) {
  constexpr int32_t kSequences = 4;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::vector<float>> expected, logits(kSequences);
  for (int32_t s = 0; s < kSequences; ++s) {
    tokens.push_back(random_tokens(40 + 21 * s, model_->spec.vocab, 200 + static_cast<uint64_t>(s)));
    expected.push_back(logits_in_one_piece(tokens.back(), 2));
  }
  Runner runner(*model_, {2, GetParam().compute}, cache_of(GetParam().cache, 128, 24, kSequences));
  std::vector<int64_t> position(kSequences, 0);
  const auto vocab = static_cast<size_t>(model_->spec.vocab);
  for (uint64_t step = 0;; ++step) {
    // Each sequence brings a few rows or none, in changing order.
    Batch batch;
    for (int32_t i = 0; i < kSequences; ++i) {
      const auto s = static_cast<size_t>((i + static_cast<int32_t>(step)) % kSequences);
      const int64_t left = static_cast<int64_t>(tokens[s].size()) - position[s];
      const int64_t count = std::min(left, draw(24, 300 + s, step) - 1);
      if (count == 0) continue;
      add_rows(batch, static_cast<int32_t>(s), tokens[s], position[s], count);
      position[s] += count;
    }
    if (batch.rows() == 0) {
      bool finished = true;
      for (size_t s = 0; s < tokens.size(); ++s) finished = finished && position[s] == std::ssize(tokens[s]);
      if (finished) break;
      continue;
    }
    std::vector<float> all;
    runner.run(batch, all);
    for (const SequenceRows& part : batch.sequences) {
      const auto first = all.begin() + part.first_row * static_cast<int64_t>(vocab);
      auto& own = logits[static_cast<size_t>(part.sequence)];
      own.insert(own.end(), first, first + part.count * static_cast<int64_t>(vocab));
    }
  }
  for (size_t s = 0; s < tokens.size(); ++s) EXPECT_TRUE(same_bits(logits[s], expected[s])) << "sequence " << s;
}

INSTANTIATE_TEST_SUITE_P(
    Fixtures, InvarianceTest,
    testing::Values(Case{"mistral-swa", Compute::F32, DType::F32}, Case{"mistral-swa", Compute::Auto, DType::F16},
                    Case{"mixtral", Compute::F32, DType::F32}, Case{"mixtral.gguf", Compute::Auto, DType::BF16},
                    Case{"llama3", Compute::Auto, DType::Q8_0}, Case{"qwen3-moe", Compute::Auto, DType::F16},
                    Case{"olmoe", Compute::Auto, DType::F16}, Case{"qwen2-moe", Compute::Auto, DType::F16},
                    Case{"openmoe-drop", Compute::Auto, DType::F16}, Case{"dbrx", Compute::Auto, DType::F16},
                    Case{"grok-1", Compute::Auto, DType::F16}, Case{"grok-1-original", Compute::Auto, DType::F16},
                    Case{"gpt-oss", Compute::Auto, DType::F16}, Case{"gpt-oss-mxfp4", Compute::Auto, DType::Q8_0},
                    Case{"deepseek-v3", Compute::F32, DType::F32}, Case{"deepseek-v3", Compute::Auto, DType::F16},
                    Case{"deepseek-v3-fp8", Compute::Auto, DType::F16}));

// Where experts have a capacity, prompts of other sequences beside it take nothing from a prompt, nor do decode steps.
TEST(WholePrompts, OtherSequencesInTheBatch) {
  const auto model = load_fixture("openmoe-drop");
  ASSERT_TRUE(model->spec.whole_prompts());
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::vector<float>> expected(3), logits(3);
  int dropped = 0;
  struct Count : RoutingObserver {
    int* dropped;
    void on_route(const BlockSpec&, const Batch&, const Routing& routing) override {
      *dropped += static_cast<int>(std::ranges::count(routing.dropped, 1));
    }
  } count;
  count.dropped = &dropped;
  ForwardHooks hooks;
  hooks.routing = &count;
  for (int32_t s = 0; s < 3; ++s) {
    const auto at = static_cast<size_t>(s);
    tokens.push_back(random_tokens(50 + 30 * s, model->spec.vocab, 40 + static_cast<uint64_t>(s)));
    Runner alone(*model, {1, Compute::Auto}, cache_of(DType::F16));
    alone.run(0, tokens[at], 0, std::ssize(tokens[at]) - 8, expected[at], hooks);
    for (int64_t p = std::ssize(tokens[at]) - 8; p < std::ssize(tokens[at]); ++p) {
      alone.run(0, tokens[at], p, 1, expected[at]);
    }
  }
  EXPECT_GT(dropped, 50);
  Runner runner(*model, {2, Compute::Auto}, cache_of(DType::F16, 256, 256, 3));
  const auto vocab = model->spec.vocab;
  const auto run = [&](const Batch& batch) {
    std::vector<float> all;
    runner.run(batch, all);
    for (const SequenceRows& part : batch.sequences) {
      auto& own = logits[static_cast<size_t>(part.sequence)];
      own.insert(own.end(), all.begin() + part.first_row * vocab, all.begin() + (part.first_row + part.count) * vocab);
    }
  };
  Batch prompts;
  for (int32_t s = 0; s < 3; ++s) add_rows(prompts, s, tokens[static_cast<size_t>(s)], 0, 42 + 30 * s);
  run(prompts);
  // The steps one by one in the first sequence, all at once in the second, four at a time in the third.
  for (int64_t step = 0; step < 8; ++step) {
    Batch batch;
    add_rows(batch, 0, tokens[0], 42 + step, 1);
    if (step == 3) add_rows(batch, 1, tokens[1], 72, 8);
    if (step % 4 == 0) add_rows(batch, 2, tokens[2], 102 + step, 4);
    for (SequenceRows& part : batch.sequences) part.steps = true;
    run(batch);
  }
  for (size_t s = 0; s < 3; ++s) EXPECT_TRUE(same_bits(logits[s], expected[s])) << "sequence " << s;
}

// Prompts are kept between turns: what was forgotten and written again gives the same bits.
TEST(Truncate, ResumesWithTheSameBits) {
  const auto model = load_model(fixture("models/mixtral").string());
  const auto tokens = random_tokens(140, model->spec.vocab, 3);
  Runner straight(*model, {1, Compute::Auto}, cache_of(DType::F16)),
      resumed(*model, {1, Compute::Auto}, cache_of(DType::F16));
  std::vector<float> expected, ignored, logits;
  straight.run(0, tokens, 0, 70, ignored);
  straight.run(0, tokens, 70, 70, expected);

  auto other = random_tokens(140, model->spec.vocab, 4);
  std::copy_n(tokens.begin(), 70, other.begin());
  resumed.run(0, other, 0, 140, ignored);
  ASSERT_TRUE(resumed.cache.truncate(0, 70));
  EXPECT_EQ(resumed.cache.length(0), 70);
  resumed.run(0, tokens, 70, 70, logits);
  EXPECT_TRUE(same_bits(logits, expected));
}

// The ring of a window of 16 against a cache that keeps everything, over a text far longer than the ring.
TEST(Ring, GivesTheBitsOfAFullCacheInConstantMemory) {
  const auto model = load_model(fixture("models/mistral-swa").string());
  constexpr int64_t kLength = 700, kChunk = 32;
  const auto tokens = random_tokens(kLength, model->spec.vocab, 5);
  Runner ring(*model, {2, Compute::Auto}, cache_of(DType::F16, 4096, kChunk));
  Runner full(*model, {2, Compute::Auto}, cache_of(DType::F16, 4096, 4096));
  std::vector<float> from_ring, from_full;
  uint64_t most = 0;
  for (int64_t position = 0; position < kLength;) {
    const int64_t count = std::min(kLength - position, draw(kChunk, 6, static_cast<uint64_t>(position)));
    ring.run(0, tokens, position, count, from_ring);
    full.run(0, tokens, position, count, from_full);
    position += count;
    most = std::max(most, ring.cache.bytes_in_use());
  }
  EXPECT_TRUE(same_bits(from_ring, from_full));
  EXPECT_EQ(most, ring.cache.bytes_in_use());
  EXPECT_EQ(most, ring.cache.capacity_bytes());
  // Two pages of 64 positions, whatever the text's length; the full cache has 11.
  EXPECT_EQ(most, 2 * 64 * KvCache::bytes_per_token(model->spec, DType::F16, DType::F16));
  EXPECT_EQ(full.cache.bytes_in_use(), 11 * 64 * KvCache::bytes_per_token(model->spec, DType::F16, DType::F16));

  // What the ring has overwritten cannot be returned to.
  EXPECT_TRUE(ring.cache.truncate(0, kLength - 1));
  EXPECT_FALSE(ring.cache.truncate(0, 100));
  EXPECT_EQ(ring.cache.length(0), 0);
  EXPECT_EQ(ring.cache.bytes_in_use(), 0u);
  EXPECT_TRUE(full.cache.truncate(0, 100));
  EXPECT_EQ(full.cache.length(0), 100);
}

// Rows whose logits nobody wants end behind the last attention, which changes nothing for the others, nor for the
// cache.
TEST_P(InvarianceTest, RowsWithoutLogits) {
  const auto tokens = random_tokens(64, model_->spec.vocab, 8);
  const auto expected = logits_in_one_piece(tokens, 2);
  const auto vocab = static_cast<size_t>(model_->spec.vocab);
  Runner runner(*model_, {2, GetParam().compute}, cache_of(GetParam().cache));
  Batch silent, part;
  add_rows(silent, 0, tokens, 0, 40);
  silent.logit_rows.clear();
  add_rows(part, 0, tokens, 40, 24);
  part.logit_rows = {3, 11, 23};
  std::vector<float> logits;
  runner.run(silent, logits);
  EXPECT_TRUE(logits.empty());
  runner.run(part, logits);
  ASSERT_EQ(logits.size(), 3 * vocab);
  for (size_t i = 0; i < 3; ++i) {
    const size_t row = 40 + static_cast<size_t>(part.logit_rows[i]);
    EXPECT_EQ(std::memcmp(&logits[i * vocab], &expected[row * vocab], vocab * sizeof(float)), 0) << row;
  }
}

// A model in several layouts of one type, the first of which the others must equal. GGUF and Mistral's own order the
// rows of queries and keys otherwise, and their RoPE pairs are neighbours.
class LayoutsTest : public testing::TestWithParam<std::vector<const char*>> {};

TEST_P(LayoutsTest, GiveTheSameBits) {
  OSTRO_MODEL_OR_SKIP(GetParam().front());
  const auto model = load_fixture(GetParam().front());
  const auto tokens = random_tokens(60, model->spec.vocab, 7);
  for (const char* layout : GetParam()) {
    if (!find_model(layout)) continue;
    const auto other = load_fixture(layout);
    for (const Compute compute : {Compute::F32, Compute::Auto}) {
      std::vector<float> expected, logits;
      Runner(*model, {2, compute}, cache_of(DType::F16)).run(0, tokens, 0, 60, expected);
      Runner(*other, {2, compute}, cache_of(DType::F16)).run(0, tokens, 0, 60, logits);
      EXPECT_TRUE(same_bits(logits, expected)) << layout;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, LayoutsTest,
    testing::Values(std::vector<const char*>{"mistral-full", "mistral-full.gguf", "mistral-full-native-pth"},
                    std::vector<const char*>{"mixtral", "mixtral.gguf", "mixtral-native", "mixtral-native-stacked",
                                             "mixtral-bin", "mixtral-sharded"},
                    std::vector<const char*>{"mistral-yarn", "mistral-yarn.gguf"},
                    std::vector<const char*>{"llama3", "llama3.gguf"},
                    std::vector<const char*>{"llama-linear", "llama-linear.gguf"},
                    std::vector<const char*>{"dbrx", "dbrx.gguf"},
                    std::vector<const char*>{"qwen2-moe", "qwen2-moe.gguf"},
                    std::vector<const char*>{"qwen3-moe-all", "qwen3-moe-all.gguf"},
                    std::vector<const char*>{"gpt-oss-mxfp4", "gpt-oss-mxfp4.gguf"},
                    std::vector<const char*>{"deepseek-v3", "deepseek-v3.gguf"}),
    [](const auto& info) {
      std::string name = info.param.front();
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(NonFinite, ForwardNamesTheLayer) {
  const auto model = load_model(fixture("models/mixtral").string());
  model->weights.blocks[3].norm[5] = std::numeric_limits<float>::infinity();
  Runner runner(*model, {1, Compute::F32}, cache_of(DType::F32));
  std::vector<float> logits;
  EXPECT_EQ(
      message_of([&] {
        runner.run(0, {1, 2, 3}, 0, 3, logits);
      }),
      "the output of layer 1: a value of row 0 of 3 is not finite; the weights are damaged, or too large for float32");
}

}  // namespace
}  // namespace ostro::test
