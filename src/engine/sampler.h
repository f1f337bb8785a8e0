// Choosing the next token: a pure function of logits, parameters and (seed, sequence, position). The filters and their
// order are those of llama.cpp's default chain.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace ostro {

struct SamplingParams {
  double temperature = 0.8;  // 0: the largest logit, the lowest id on ties
  int64_t top_k = 40;        // 0: all
  double top_p = 0.95;       // 1: off
  double min_p = 0.05;       // 0: off
  double typical_p = 1;      // 1: off
  double repeat_penalty = 1;
  double frequency_penalty = 0;
  double presence_penalty = 0;
  int64_t penalty_window = 64;  // tokens looked back on for penalties; 0: none, -1: all
  uint64_t seed = 0;
};

// Throws Error(Usage) naming the first parameter out of its range.
void validate(const SamplingParams& params);

// The next token of a sequence that has `recent` as its tokens so far (prompt included). `sequence` and `position` name
// the draw.
int32_t sample(std::span<const float> logits, const SamplingParams& params, uint64_t sequence, uint64_t position,
               std::span<const int32_t> recent);

}  // namespace ostro
