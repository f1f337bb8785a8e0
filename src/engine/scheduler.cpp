#include "engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace ostro {
namespace {

int64_t common_prefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options) : options_(options), slots_(static_cast<size_t>(options.slots)) {
  CHECK(options.slots >= 1 && options.chunk >= 1 && options.step_tokens >= options.slots);
}

int64_t Scheduler::add(std::vector<int32_t> prompt) {
  CHECK(!prompt.empty());
  waiting_.push_back({next_number_, -1, std::move(prompt), 0});
  return next_number_++;
}

std::vector<Scheduler::Admission> Scheduler::admit() {
  std::vector<Admission> admitted;
  while (!waiting_.empty()) {
    Sequence& sequence = waiting_.front();
    // The longest shared beginning; where several share as much, the slot that loses least.
    int32_t best = -1;
    int64_t best_shared = -1;
    for (size_t i = 0; i < slots_.size(); ++i) {
      if (!slots_[i].free) continue;
      const int64_t shared = common_prefix(slots_[i].tokens, sequence.tokens);
      const bool smaller = best >= 0 && slots_[i].tokens.size() < slots_[static_cast<size_t>(best)].tokens.size();
      if (shared > best_shared || (shared == best_shared && smaller)) {
        best = static_cast<int32_t>(i);
        best_shared = shared;
      }
    }
    if (best < 0) break;
    Slot& slot = slots_[static_cast<size_t>(best)];
    slot.free = false;
    slot.tokens.clear();
    sequence.slot = best;
    // The last token always runs: its logits are wanted.
    const int64_t reusable = std::min<int64_t>(best_shared, static_cast<int64_t>(sequence.tokens.size()) - 1);
    sequence.cached = options_.whole_prompts ? 0 : reusable;
    admitted.push_back({sequence.number, best, sequence.cached});
    running_.splice(running_.end(), waiting_, waiting_.begin());
  }
  return admitted;
}

void Scheduler::keep_cached(int64_t sequence, int64_t count) {
  Sequence& found = running(sequence);
  CHECK(count <= found.cached);
  found.cached = count;
}

void Scheduler::append_rows(Step& step, Sequence& sequence, int64_t count) {
  Batch& batch = step.batch;
  batch.sequences.push_back({sequence.slot, batch.rows(), count});
  step.numbers.push_back(sequence.number);
  for (int64_t i = 0; i < count; ++i) {
    batch.tokens.push_back(sequence.tokens[static_cast<size_t>(sequence.cached + i)]);
    batch.positions.push_back(sequence.cached + i);
  }
  sequence.cached += count;
  if (sequence.pending() == 0) {
    batch.logit_rows.push_back(batch.rows() - 1);
    step.owners.push_back(sequence.number);
  }
}

void Scheduler::append_guesses(Step& step, const Sequence& sequence, std::span<const int32_t> guesses) {
  Batch& batch = step.batch;
  for (size_t i = 0; i < guesses.size(); ++i) {
    batch.logit_rows.push_back(batch.rows());
    step.owners.push_back(sequence.number);
    batch.tokens.push_back(guesses[i]);
    batch.positions.push_back(sequence.cached + static_cast<int64_t>(i));
  }
  batch.sequences.back().count += static_cast<int64_t>(guesses.size());
  batch.sequences.back().steps = true;
}

std::vector<int64_t> Scheduler::decoding() const {
  std::vector<int64_t> numbers;
  for (const auto& sequence : running_) {
    if (sequence.pending() == 1) numbers.push_back(sequence.number);
  }
  return numbers;
}

Scheduler::Step Scheduler::next_step(const std::map<int64_t, std::vector<int32_t>>& guesses) {
  Step step;
  int64_t left = options_.step_tokens;
  int64_t room = left - static_cast<int64_t>(decoding().size());  // for guesses
  std::vector<Sequence*> prompts;
  for (auto& sequence : running_) {
    if (sequence.pending() > 1) {
      prompts.push_back(&sequence);
    } else if (sequence.pending() == 1) {
      append_rows(step, sequence, 1);
      --left;
      const auto found = guesses.find(sequence.number);
      if (found == guesses.end()) continue;
      const int64_t most = std::min({static_cast<int64_t>(found->second.size()), options_.chunk - 1, room});
      append_guesses(step, sequence, std::span(found->second).first(static_cast<size_t>(std::max<int64_t>(most, 0))));
      left -= std::max<int64_t>(most, 0);
      room -= std::max<int64_t>(most, 0);
    }
  }
  for (auto* sequence : prompts) {
    int64_t count = std::min({sequence->pending(), options_.chunk, left});
    if (options_.whole_prompts && count < sequence->pending()) {
      if (sequence != prompts.front()) break;
      count = sequence->pending();
    }
    if (count == 0) break;
    append_rows(step, *sequence, count);
    left = std::max<int64_t>(0, left - count);
  }
  return step;
}

void Scheduler::accept(int64_t sequence, int32_t token, bool ran) {
  Sequence& found = running(sequence);
  CHECK(found.pending() == 0);
  found.tokens.push_back(token);
  if (ran) ++found.cached;
}

void Scheduler::finish(int64_t sequence) {
  if (waiting_.remove_if([&](const Sequence& s) { return s.number == sequence; }) > 0) return;
  Sequence& found = running(sequence);
  found.tokens.resize(static_cast<size_t>(found.cached));
  slots_[static_cast<size_t>(found.slot)] = {true, std::move(found.tokens)};
  running_.remove_if([&](const Sequence& s) { return s.number == sequence; });
}

void Scheduler::clear() {
  waiting_.clear();
  running_.clear();
  for (auto& slot : slots_) slot = {};
}

Scheduler::Sequence& Scheduler::running(int64_t sequence) {
  return const_cast<Sequence&>(std::as_const(*this).running(sequence));
}

const Scheduler::Sequence& Scheduler::running(int64_t sequence) const {
  const auto found =
      std::find_if(running_.begin(), running_.end(), [&](const auto& s) { return s.number == sequence; });
  CHECK(found != running_.end());
  return *found;
}

const std::vector<int32_t>& Scheduler::tokens(int64_t sequence) const { return running(sequence).tokens; }

int64_t Scheduler::cached(int64_t sequence) const {
  const bool waits = std::any_of(waiting_.begin(), waiting_.end(), [&](const auto& s) { return s.number == sequence; });
  return waits ? 0 : running(sequence).cached;
}

}  // namespace ostro
