// Which rows of which sequences go through the model next: a budget of tokens a step, long prompts in chunks, decoding
// sequences first. Sees tokens only, no tensors.
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <span>
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
    std::vector<int64_t> owners;   // the sequence of each row of batch.logit_rows
    std::vector<int64_t> numbers;  // the sequence of each of batch.sequences
  };
  // The next rows, counted as cached from now on. Empty when nothing runs. `guesses` of a sequence that decodes run
  // behind its last token as far as the step has room, each with its logits; they do not count as cached.
  Step next_step(const std::map<int64_t, std::vector<int32_t>>& guesses = {});
  // Sequences of which only the last token has not run, in order of arrival.
  std::vector<int64_t> decoding() const;

  // The token chosen after all tokens of a sequence. `ran`: as a guess it went through the decoder already.
  void accept(int64_t sequence, int32_t token, bool ran = false);
  // Frees the slot, or takes the sequence from the queue. The slot remembers its tokens for reuse.
  void finish(int64_t sequence);
  // Forgets all sequences and what the slots hold, after a step that failed.
  void clear();

  bool idle() const { return running_.empty() && waiting_.empty(); }
  // Of a sequence that has a slot.
  const std::vector<int32_t>& tokens(int64_t sequence) const;
  // Tokens of a sequence that are in the cache; 0 while it waits.
  int64_t cached(int64_t sequence) const;
  int32_t slot(int64_t sequence) const { return running(sequence).slot; }

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
  static void append_guesses(Step& step, const Sequence& sequence, std::span<const int32_t> guesses);

  SchedulerOptions options_;
  std::vector<Slot> slots_;
  std::list<Sequence> waiting_, running_;  // in order of arrival
  int64_t next_number_ = 0;
};

}  // namespace ostro
