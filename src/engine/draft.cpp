#include "engine/draft.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "engine/resident.h"
#include "text/tokenizer.h"

namespace ostro {
namespace {

int32_t largest(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

int64_t or_default(int64_t most, int64_t usual) { return most > 0 ? most : usual; }

// Prompt lookup (Saxena 2023): the longest of the last few tokens that stood somewhere before, the latest place first.
class NgramDrafter final : public Drafter {
 public:
  explicit NgramDrafter(int64_t most) : Drafter(or_default(most, 8)) {}

  std::vector<int32_t> guess(int32_t, std::span<const int32_t> tokens, int64_t most) override {
    for (size_t length = kLongest; length >= kShortest; --length) {
      if (tokens.size() <= length) continue;
      const auto last = tokens.last(length);
      const auto earlier = tokens.first(tokens.size() - 1);
      const auto found = std::find_end(earlier.begin(), earlier.end(), last.begin(), last.end());
      if (found == earlier.end()) continue;
      const auto next = tokens.subspan(static_cast<size_t>(found - earlier.begin()) + length);
      const auto count = std::min(next.size(), static_cast<size_t>(most));
      return {next.begin(), next.begin() + static_cast<std::ptrdiff_t>(count)};
    }
    return {};
  }

 private:
  static constexpr size_t kLongest = 4, kShortest = 2;
};

// The module runs one position behind the decoder: row i needs the state of position i and token i + 1. Its logits of
// the last row are the guess.
class MtpDrafter final : public Drafter {
 public:
  explicit MtpDrafter(const DraftTarget& target) : Drafter(1), target_(target) {}

  std::vector<int32_t> guess(int32_t slot, std::span<const int32_t> tokens, int64_t) override {
    const auto found = guesses_.find(slot);
    if (found == guesses_.end() || found->second.after != tokens.size()) return {};
    return {found->second.token};
  }

  void follow(std::span<const RanRows> ran, Activations& acts) override {
    const Rows states = target_.decoder.states(acts, true);
    for (const RanRows& rows : ran) {
      Batch batch;
      batch.sequences = {{rows.slot, 0, rows.count}};
      for (int64_t i = 0; i < rows.count; ++i) {
        batch.tokens.push_back(rows.tokens[static_cast<size_t>(rows.first_position + i + 1)]);
        batch.positions.push_back(rows.first_position + i);
      }
      const auto end = static_cast<size_t>(rows.first_position + rows.count + 1);
      const bool at_end = end == rows.tokens.size();
      if (at_end) batch.logit_rows.push_back(rows.count - 1);
      const Rows own = states.slice(rows.first_row, rows.count);
      const Rows logits = target_.decoder.forward_mtp(batch, own, target_.cache, acts);
      if (at_end) guesses_[rows.slot] = {end, largest(logits.values())};
    }
  }

  // The last row kept saw the token that followed then.
  int64_t rerun() const override { return 1; }

 private:
  struct Guess {
    size_t after = 0;  // tokens of the sequence it goes with
    int32_t token = 0;
  };

  DraftTarget target_;
  std::map<int32_t, Guess> guesses_;  // by slot
};

// A model of its own on the same backend, with a cache that follows the decoder's slots.
class ModelDrafter final : public Drafter {
 public:
  ModelDrafter(const std::string& path, int64_t most, const DraftTarget& target)
      : Drafter(or_default(most, 4)),
        model_(load(path)),
        decoder_(model_->spec, model_->weights, target.backend),
        cache_(model_->spec, cache_options(target)) {
    check_vocabulary(path, target);
    if (target.repack) make_resident(*model_, target.backend, nullptr);
    tokens_.resize(static_cast<size_t>(target.cache.options().sequences));
  }

  std::vector<int32_t> guess(int32_t slot, std::span<const int32_t> tokens, int64_t most) override {
    std::vector<int32_t>& cached = tokens_[static_cast<size_t>(slot)];
    // The last token always runs: its logits are wanted.
    auto shared = std::mismatch(cached.begin(), cached.end(), tokens.begin(), tokens.end() - 1).first - cached.begin();
    if (!cache_.truncate(slot, shared)) shared = 0;
    cached.resize(static_cast<size_t>(shared));
    std::vector<int32_t> guesses, next(tokens.begin() + shared, tokens.end());
    while (static_cast<int64_t>(guesses.size()) < most) {
      guesses.push_back(run(slot, next));
      next = {guesses.back()};
    }
    return guesses;
  }

 private:
  static KvCacheOptions cache_options(const DraftTarget& target) {
    KvCacheOptions options = target.cache.options();
    options.key_type = options.value_type = DType::F16;
    return options;
  }

  // Guesses are run in pieces, and wrong ones cut away: what an expert's capacity drops would come out otherwise.
  static std::unique_ptr<Model> load(const std::string& path) {
    auto model = bind_model(path);
    if (model->spec.whole_prompts()) {
      throw_error(ErrorKind::Usage, "--draft-model {}: its experts have a capacity, expected a model without", path);
    }
    make_copies(*model);
    return model;
  }

  void check_vocabulary(const std::string& path, const DraftTarget& target) const {
    if (model_->spec.vocab != target.model.spec.vocab) {
      throw_error(ErrorKind::Usage, "--draft-model {}: a vocabulary of {}, expected {} as the model's", path,
                  model_->spec.vocab, target.model.spec.vocab);
    }
    const auto own = load_tokenizer(model_->store);
    const Tokenizer* theirs = target.tokenizer;
    if (!own || theirs == nullptr) return;
    for (int32_t id = 0; id < std::min(own->vocab_size(), theirs->vocab_size()); ++id) {
      if (own->token_text(id) == theirs->token_text(id)) continue;
      throw_error(ErrorKind::Usage,
                  "--draft-model {}: token {} is \"{}\", expected \"{}\" as in the model's vocabulary", path, id,
                  own->token_text(id), theirs->token_text(id));
    }
  }

  // Appends tokens to a slot and returns the likeliest next one.
  int32_t run(int32_t slot, const std::vector<int32_t>& tokens) {
    std::vector<int32_t>& cached = tokens_[static_cast<size_t>(slot)];
    const auto total = static_cast<int64_t>(tokens.size()), chunk = cache_.options().max_chunk;
    Rows logits;
    for (int64_t first = 0; first < total; first += chunk) {
      const int64_t count = std::min(chunk, total - first);
      Batch batch;
      batch.sequences = {{slot, 0, count}};
      for (int64_t i = 0; i < count; ++i) {
        batch.tokens.push_back(tokens[static_cast<size_t>(first + i)]);
        batch.positions.push_back(static_cast<int64_t>(cached.size()) + i);
      }
      if (first + count == total) batch.logit_rows.push_back(count - 1);
      logits = decoder_.forward(batch, cache_, acts_);
      cached.insert(cached.end(), batch.tokens.begin(), batch.tokens.end());
    }
    return largest(logits.values());
  }

  std::unique_ptr<Model> model_;
  Decoder decoder_;
  KvCache cache_;
  Activations acts_;
  std::vector<std::vector<int32_t>> tokens_;  // cached, by slot
};

}  // namespace

void Drafter::follow(std::span<const RanRows>, Activations&) {}

std::unique_ptr<Drafter> make_drafter(const DraftOptions& options, const DraftTarget& target) {
  switch (options.kind) {
    case DraftOptions::Kind::None:
      break;
    case DraftOptions::Kind::Mtp:
      if (target.model.spec.mtp_blocks == 0) {
        throw_error(ErrorKind::Usage, "--draft mtp: {} has no module of multi-token prediction",
                    target.model.store.path);
      }
      return std::make_unique<MtpDrafter>(target);
    case DraftOptions::Kind::Ngram:
      return std::make_unique<NgramDrafter>(options.most);
    case DraftOptions::Kind::Model:
      return std::make_unique<ModelDrafter>(options.model, options.most, target);
  }
  return nullptr;
}

void DraftMeter::count(int64_t guesses, int64_t right, int64_t tokens, double seconds, double experts) {
  Steps& steps = guesses > 0 ? guessed_ : plain_;
  ++steps.steps;
  steps.tokens += tokens;
  steps.seconds += seconds;
  steps.experts += experts;
  guesses_ += guesses;
  right_ += right;
  if (!always_ && guessed_.steps >= kTrialSteps && gain() < 1) off_ = true;
}

double DraftMeter::gain() const {
  const double with = guessed_.seconds_per_token();
  return with > 0 && plain_.tokens > 0 ? plain_.seconds_per_token() / with : 1;
}

std::string DraftMeter::report() const {
  if (guessed_.steps == 0) return "guesses: none";
  const auto per_step = [](const Steps& steps, double sum) {
    return steps.steps > 0 ? sum / static_cast<double>(steps.steps) : 0;
  };
  std::string text = fmt::format("guesses: {} of {} right, {:.2f} tokens a step", right_, guesses_,
                                 per_step(guessed_, static_cast<double>(guessed_.tokens)));
  if (guessed_.experts > 0) {
    text += fmt::format(", {:.1f} experts a layer and step instead of {:.1f}", per_step(guessed_, guessed_.experts),
                        per_step(plain_, plain_.experts));
  }
  text += fmt::format("; {:.2f} times as fast", gain());
  if (off_) text += fmt::format(", so it was switched off after {} steps", guessed_.steps);
  return text;
}

void ExpertCount::on_route(const BlockSpec& block, const Batch& batch, const Routing& routing) {
  seen_.assign(static_cast<size_t>(routing.experts), 0);
  for (const int32_t expert : routing.expert) {
    if (expert < 0) continue;
    distinct_ += seen_[static_cast<size_t>(expert)] == 0;
    seen_[static_cast<size_t>(expert)] = 1;
  }
  ++layers_;
  if (next_ != nullptr) next_->on_route(block, batch, routing);
}

}  // namespace ostro
