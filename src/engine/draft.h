// Guesses of the tokens that come next, which the decoder checks in one step (Leviathan et al. 2023). What is chosen is
// what the decoder's own logits choose at each position, and those do not depend on the rows beside them: with guesses
// or without, greedy or sampled, the tokens are the same. Only time is won or lost.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/decoder.h"
#include "model/load_model.h"
#include "text/tokenizer.h"

namespace ostro {

struct DraftOptions {
  enum class Kind : uint8_t {
    None,
    Mtp,    // the model's own module of multi-token prediction
    Ngram,  // what followed the last few tokens earlier in the text
    Model,  // a smaller model with the same vocabulary
  };
  Kind kind = Kind::None;
  std::string model;    // the file of Kind::Model
  int64_t most = 0;     // tokens guessed at once; 0: as suits the kind
  bool always = false;  // go on where it loses
};

// Rows [first_row, first_row + count) of a step, at positions from first_position on, that stay in the cache; `tokens`
// are the sequence's, at least one more than went through the decoder.
struct RanRows {
  int32_t slot = 0;
  int64_t first_row = 0, first_position = 0, count = 0;
  std::span<const int32_t> tokens;
};

class Drafter {
 public:
  virtual ~Drafter() = default;
  // Up to `most` tokens that may follow `tokens`, all but the last of which went through the decoder.
  virtual std::vector<int32_t> guess(int32_t slot, std::span<const int32_t> tokens, int64_t most) = 0;
  // Sees what a step ran; `acts` are the decoder's, and may be overwritten.
  virtual void follow(std::span<const RanRows> ran, Activations& acts);
  // Positions at the end of a reused beginning that must run again.
  virtual int64_t rerun() const { return 0; }
  int64_t most() const { return most_; }

 protected:
  explicit Drafter(int64_t most) : most_(most) {}

 private:
  int64_t most_;
};

// What a drafter guesses for.
struct DraftTarget {
  const Model& model;
  const Tokenizer* tokenizer;  // null where the model has none
  const Decoder& decoder;
  Backend& backend;
  KvCache& cache;
  bool repack;  // EngineOptions::repack, for a model of its own
};
// Null for Kind::None. Throws Error(Usage) where the model has no such module, or the other model's vocabulary differs.
std::unique_ptr<Drafter> make_drafter(const DraftOptions& options, const DraftTarget& target);

// What guessing costs and brings. Steps without guesses are the measure; where steps with guesses give fewer tokens a
// second, guessing ends.
class DraftMeter {
 public:
  struct Steps {
    int64_t steps = 0, tokens = 0;
    double seconds = 0;
    double experts = 0;  // distinct ones that a layer's step touched, summed over steps

    double seconds_per_token() const { return tokens > 0 ? seconds / static_cast<double>(tokens) : 0; }
  };

  explicit DraftMeter(bool always = false) : always_(always) {}
  // Whether the next step should carry guesses.
  bool wants() const { return !off_ && plain_.steps >= kPlainSteps; }
  bool off() const { return off_; }
  // A step without prompt rows: its guesses, how many of them were right, and the tokens it brought.
  void count(int64_t guesses, int64_t right, int64_t tokens, double seconds, double experts);
  // "guesses: 31 of 40 right, 1.8 tokens a step; ..."
  std::string report() const;

  const Steps& plain() const { return plain_; }
  const Steps& guessed() const { return guessed_; }
  int64_t guesses() const { return guesses_; }
  int64_t right() const { return right_; }
  double gain() const;  // tokens a second with guesses over without; 1 where unknown

 private:
  static constexpr int64_t kPlainSteps = 4, kTrialSteps = 16;

  Steps plain_, guessed_;
  int64_t guesses_ = 0, right_ = 0;
  bool always_ = false, off_ = false;
};

// Counts the distinct experts of each layer and passes on what it sees.
class ExpertCount : public RoutingObserver {
 public:
  explicit ExpertCount(RoutingObserver* next) : next_(next) {}
  void on_route(const BlockSpec& block, const Batch& batch, const Routing& routing) override;
  double per_layer() const { return layers_ > 0 ? static_cast<double>(distinct_) / static_cast<double>(layers_) : 0; }

 private:
  RoutingObserver* next_;
  std::vector<char> seen_;
  int64_t distinct_ = 0, layers_ = 0;
};

}  // namespace ostro
