#include "cli/bench_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "base/random.h"
#include "cli/interrupt.h"
#include "cli/probe.h"
#include "model/decoder.h"
#include "model/kv_cache.h"

namespace ostro {
namespace {

class TestRun {
 public:
  TestRun(const Model& model, const BenchOptions& options, const BenchTest& test)
      : model_(model),
        options_(options),
        test_(test),
        backend_(make_cpu_backend(options.engine.backend)),
        decoder_(model.spec, model.weights, *backend_),
        cache_(model.spec, cache_options(options.engine, test)) {}

  std::optional<BenchOutcome> run(const MachineLimits& limits) {
    StepWork ignored(model_, *backend_), work(model_, *backend_);
    if (!fill() || !run_once(std::min(test_.length(), test_.prompt > 0 ? options_.engine.chunk : 4), ignored))
      return {};
    BenchOutcome outcome{test_, {}, 0, {}, limits, backend_->name()};
    for (int64_t i = 0; i < options_.repetitions; ++i) {
      if (!fill()) return {};
      const auto start = std::chrono::steady_clock::now();
      if (!run_once(test_.length(), work)) return {};
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      outcome.speeds.push_back(static_cast<double>(test_.tokens()) / seconds);
    }
    std::ranges::sort(outcome.speeds);
    const double tokens = static_cast<double>(test_.tokens() * options_.repetitions);
    outcome.bytes_per_token = static_cast<double>(work.bytes()) / tokens;
    for (size_t kind = 0; kind < work.operations().size(); ++kind)
      outcome.operations_per_token[kind] = work.operations()[kind] / tokens;
    return outcome;
  }

 private:
  static KvCacheOptions cache_options(const EngineOptions& engine, const BenchTest& test) {
    return {test.depth + test.length(), std::min(engine.chunk, std::max(test.depth, test.length())),
            static_cast<int32_t>(test.batch), engine.key_type, engine.value_type};
  }

  // Random ids: equal ones all go to the same experts.
  int32_t next_token() {
    if (options_.same_token) return 0;
    return static_cast<int32_t>(random_bits(1, 0, drawn_++) % static_cast<uint64_t>(model_.spec.vocab));
  }

  void add_rows(Batch& batch, int32_t sequence, int64_t first, int64_t count) {
    batch.sequences.push_back({sequence, batch.rows(), count});
    for (int64_t i = 0; i < count; ++i) {
      batch.tokens.push_back(next_token());
      batch.positions.push_back(first + i);
    }
  }

  // Leaves `depth` positions of every sequence in the cache; false when it was interrupted.
  bool fill() {
    for (int32_t sequence = 0; sequence < test_.batch; ++sequence) {
      cache_.truncate(sequence, test_.depth);
      while (cache_.length(sequence) < test_.depth) {
        if (interrupted()) return false;
        const int64_t at = cache_.length(sequence);
        Batch batch;
        add_rows(batch, sequence, at, std::min(options_.engine.chunk, test_.depth - at));
        decoder_.forward(batch, cache_, activations_, {});
      }
    }
    return true;
  }

  // `length` tokens; false when it was interrupted.
  bool run_once(int64_t length, StepWork& work) {
    ForwardHooks hooks;
    hooks.routing = &work;
    for (int64_t at = 0; at < length;) {
      if (interrupted()) return false;
      const int64_t position = test_.depth + at;
      Batch batch;
      if (test_.prompt > 0) {
        const int64_t count = std::min(options_.engine.chunk, length - at);
        add_rows(batch, 0, position, count);
        if (at + count == length) batch.logit_rows = {count - 1};
        at += count;
      } else {
        for (int32_t sequence = 0; sequence < test_.batch; ++sequence) add_rows(batch, sequence, position, 1);
        batch.logit_rows.resize(batch.tokens.size());
        std::iota(batch.logit_rows.begin(), batch.logit_rows.end(), 0);
        ++at;
      }
      decoder_.forward(batch, cache_, activations_, hooks);
      work.add_step(batch, cached_bytes(position) * static_cast<uint64_t>(test_.batch));
    }
    return true;
  }

  // What attention reads of a sequence of so many positions.
  uint64_t cached_bytes(int64_t positions) const {
    uint64_t bytes = 0;
    for (size_t b = 0; b < model_.spec.decoder_blocks(); ++b) {
      const Mixer& mixer = model_.spec.blocks[b].mixer;
      const auto* gqa = std::get_if<GqaSpec>(&mixer);
      const int64_t seen = gqa != nullptr && gqa->window > 0 ? std::min(positions, gqa->window) : positions;
      bytes += KvCache::block_bytes(mixer, cache_.options().key_type, cache_.options().value_type) *
               static_cast<uint64_t>(seen);
    }
    return bytes;
  }

  const Model& model_;
  const BenchOptions& options_;
  BenchTest test_;
  std::unique_ptr<Backend> backend_;
  Decoder decoder_;
  KvCache cache_;
  Activations activations_;
  uint64_t drawn_ = 0;
};

}  // namespace

std::string BenchTest::name() const {
  std::string name = prompt > 0 ? fmt::format("pp{}", prompt) : fmt::format("tg{}", predict);
  if (prompt == 0 && batch > 1) name += fmt::format("@{}", batch);
  if (depth > 0) name += fmt::format(" d{}", depth);
  return name;
}

MachineLimits probe_limits(const std::vector<TypeWork>& types, int threads) {
  MachineLimits limits;
  limits.bandwidth = read_bandwidth(threads);
  for (const TypeWork& work : types) {
    double& peak = limits.peaks[static_cast<size_t>(work.kernel.arithmetic)];
    if (peak == 0) peak = peak_operations(work.kernel.arithmetic, threads);
  }
  return limits;
}

double BenchOutcome::median() const {
  const size_t half = speeds.size() / 2;
  return speeds.size() % 2 == 1 ? speeds[half] : (speeds[half - 1] + speeds[half]) / 2;
}

double BenchOutcome::bandwidth_share() const {
  return limits.bandwidth > 0 ? median() * bytes_per_token / limits.bandwidth : 0;
}

double BenchOutcome::operations_per_second() const {
  return median() * std::accumulate(operations_per_token.begin(), operations_per_token.end(), 0.0);
}

double BenchOutcome::peak_share() const {
  double seconds = 0;  // a token
  for (size_t kind = 0; kind < operations_per_token.size(); ++kind) {
    if (operations_per_token[kind] > 0) seconds += operations_per_token[kind] / limits.peaks[kind];
  }
  return median() * seconds;
}

std::optional<BenchOutcome> run_test(const Model& model, const BenchOptions& options, const BenchTest& test,
                                     const MachineLimits& limits) {
  BenchOptions with = options;
  with.engine.backend.threads = test.threads;
  return TestRun(model, with, test).run(limits);
}

}  // namespace ostro
