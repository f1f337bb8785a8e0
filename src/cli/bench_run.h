// One measurement of `ostro bench`, and what the machine could have done.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/step_work.h"
#include "engine/engine.h"

namespace ostro {

// `prompt` tokens at once, or `predict` tokens of each of `batch` sequences one by one; after `depth` others.
struct BenchTest {
  int64_t prompt = 0, predict = 0, batch = 1, depth = 0;
  int threads = 1;

  std::string name() const;  // "pp512", "tg128@4", "tg128 d4096"
  int64_t length() const { return prompt > 0 ? prompt : predict; }
  int64_t tokens() const { return prompt > 0 ? prompt : predict * batch; }
};

// What the machine can do with so many threads.
struct MachineLimits {
  double bandwidth = 0;   // bytes/s
  Operations peaks = {};  // operations/s; 0 where no weight calls for such products
};
MachineLimits probe_limits(const std::vector<TypeWork>& types, int threads);

struct BenchOutcome {
  BenchTest test;
  std::vector<double> speeds;  // tokens/s of each repetition, rising
  double bytes_per_token = 0;
  Operations operations_per_token = {};
  MachineLimits limits;
  std::string backend;

  double median() const;
  // Of the bandwidth probe, that reading each weight once took; of use where a step reads more than it computes.
  double bandwidth_share() const;
  double operations_per_second() const;
  // The share of the time that the products would take at the probed peaks.
  double peak_share() const;
};

struct BenchOptions {
  EngineOptions engine;
  int64_t repetitions = 5;
  bool same_token = false;  // all sequences then choose the same experts
};

// Empty when it was interrupted.
std::optional<BenchOutcome> run_test(const Model& model, const BenchOptions& options, const BenchTest& test,
                                     const MachineLimits& limits);

}  // namespace ostro
