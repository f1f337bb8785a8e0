// What goes through forward at once: rows of one or several sequences, for decoding, prefill, scoring and training
// alike.
#pragma once

#include <cstdint>
#include <vector>

namespace ostro {

// Rows [first_row, first_row + count) of a batch are consecutive positions of one sequence.
struct SequenceRows {
  int32_t sequence = 0;  // slot in the KV cache
  int64_t first_row = 0;
  int64_t count = 0;
  // Each row is a decode step of its own. Otherwise several rows are (part of) a prompt; where experts have a capacity,
  // all of it.
  bool steps = false;
};

struct Batch {
  std::vector<int32_t> tokens;          // [rows]
  std::vector<int64_t> positions;       // [rows]
  std::vector<SequenceRows> sequences;  // each sequence at most once
  std::vector<int64_t> logit_rows;      // rows whose logits are wanted, ascending

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
};

}  // namespace ostro
