// Which rows of which sequences go through the model next: a budget of tokens a step, long prompts in chunks, decoding
// sequences first. Sees tokens only, no tensors.
#pragma once

#include <cstdint>
#include <list>
#include <vector>

#include "model/batch.h"

namespace ostro {

struct SchedulerOptions {
  int64_t step_tokens = 2048;  // most rows of one step
  int64_t chunk = 512;         // most rows of one sequence in one step
  int32_t slots = 1;           // sequences in the KV cache; at most step_tokens
  // A prompt runs in one step, from its first token on, though the step has more rows than it should.
  bool whole_prompts = false;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // Queues a sequence; `prompt` is not empty. Returns its number.
  int64_t add(std::vector<int32_t> prompt);

  // A sequence that was given a slot, whose cache already holds the first `reusable` tokens of it.
  struct Admission {
    int64_t sequence = 0;
    int32_t slot = 0;
    int64_t reusable = 0;
  };
  // Gives free slots to waiting sequences, to each the slot whose last tokens share the longest beginning with it.
  std::vector<Admission> admit();
  // The cache could keep only the first `count` tokens of an admitted sequence.
  void keep_cached(int64_t sequence, int64_t count);

  struct Step {
    Batch batch;
    std::vector<int64_t> owners;  // the sequence of each row of batch.logit_rows
  };
  // The next rows, counted as cached from now on. Empty when nothing runs.
  Step next_step();

  // The token chosen after all tokens of a sequence.
  void accept(int64_t sequence, int32_t token);
  // Frees the slot, or takes the sequence from the queue. The slot remembers its tokens for reuse.
  void finish(int64_t sequence);
  // Forgets all sequences and what the slots hold, after a step that failed.
  void clear();

  bool idle() const { return running_.empty() && waiting_.empty(); }
  // Of a sequence that has a slot.
  const std::vector<int32_t>& tokens(int64_t sequence) const;
  // Tokens of a sequence that are in the cache; 0 while it waits.
  int64_t cached(int64_t sequence) const;

 private:
  struct Sequence {
    int64_t number = 0;
    int32_t slot = -1;
    std::vector<int32_t> tokens;
    int64_t cached = 0;

    int64_t pending() const { return static_cast<int64_t>(tokens.size()) - cached; }
  };
  struct Slot {
    bool free = true;
    std::vector<int32_t> tokens;  // of the last sequence, as far as they are cached
  };

  Sequence& running(int64_t sequence);
  const Sequence& running(int64_t sequence) const;
  static void append_rows(Step& step, Sequence& sequence, int64_t count);

  SchedulerOptions options_;
  std::vector<Slot> slots_;
  std::list<Sequence> waiting_, running_;  // in order of arrival
  int64_t next_number_ = 0;
};

}  // namespace ostro
