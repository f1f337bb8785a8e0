// The engine: a model on a backend that serves requests. Each step runs one batch for all of them; text goes out as it
// comes. Limits are checked when a request is submitted, so that nothing fails halfway.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/draft.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/stop_strings.h"
#include "model/decoder.h"
#include "model/load_model.h"
#include "model/spec_overrides.h"
#include "text/tokenizer.h"

namespace ostro {

struct EngineOptions {
  BackendOptions backend;
  int64_t context = kDefaultContext;  // longest sequence; 0: all that the model was made for
  int64_t step_tokens = 2048;         // rows of one forward over all sequences
  int64_t chunk = 512;                // rows of one sequence in one forward
  int32_t sequences = 1;              // at a time
  DType key_type = DType::F16, value_type = DType::F16;
  SpecOverrides overrides;  // applied by Engine::open
  bool repack = true;       // Engine::open copies the weights into the order that products read fastest (resident.h)
  DraftOptions draft;
  // Called while weights are loaded; may be null.
  std::function<void(uint64_t done, uint64_t total)> loading;

  static constexpr int64_t kDefaultContext = -1;  // 4096, or less where the model was made for less
};

struct Request {
  std::vector<int32_t> prompt;
  SamplingParams sampling;
  int64_t predict = -1;  // most tokens to choose; -1: until the context is full
  std::vector<std::string> stop;
  bool ignore_eos = false;     // EOS is a token like others
  bool continues_text = true;  // the text goes on where the prompt's ends, instead of beginning anew
  uint64_t stream = 0;         // names the random draws; equal requests with equal streams give equal tokens
  // Called for every token with the text that became clear by it, and once more at the end if text was held back.
  std::function<void(std::string_view text)> on_text;
};

enum class Finish : uint8_t { Eos, Stop, Length, Cancelled };
std::string_view to_text(Finish finish);  // "eos", "stop", "length", "cancelled"

struct Result {
  std::vector<int32_t> tokens;  // as chosen, EOS included
  std::string text;
  Finish finish = Finish::Length;
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, found in the cache
  double prompt_seconds = 0;  // up to the first token
  double decode_seconds = 0;  // from there on

  double prompt_speed() const;  // tokens/s, those not found in the cache; 0 where nothing was measured
  double decode_speed() const;
};

// What a model needs beside what is there.
struct MemoryNeed {
  uint64_t weights = 0, cache = 0, activations = 0;
  uint64_t total() const { return weights + cache + activations; }
  MemoryNeed& operator+=(const MemoryNeed& other) {
    weights += other.weights;
    cache += other.cache;
    activations += other.activations;
    return *this;
  }
};
// `options.context` as in EngineOptions.
MemoryNeed memory_need(const ModelSpec& spec, uint64_t weight_bytes, const EngineOptions& options);

class Engine {
 public:
  // bind_model, the memory check (with the model of the guesses, if there is one), load_tokenizer. Throws Error(Memory)
  // before weights are read where they cannot fit.
  static std::unique_ptr<Engine> open(const std::string& path, const EngineOptions& options);
  // For a model that is already in memory.
  Engine(std::unique_ptr<Model> model, std::unique_ptr<Tokenizer> tokenizer, const EngineOptions& options);

  // Throws Error(Usage): an empty prompt, one longer than the context, ids that the model does not have, parameters out
  // of range. Returns the request's number.
  int64_t submit(Request request);
  // One batch. Returns false when there was nothing to do. On an exception all requests are gone.
  bool step(const ForwardHooks& hooks = {});
  void cancel(int64_t request);
  // The result, once it is finished.
  std::optional<Result> take(int64_t request);
  // submit, then step until finished. `go_on`, which may be null, is asked before each step, with the request's number;
  // false cancels.
  Result run(Request request, const std::function<bool(int64_t number)>& go_on = nullptr,
             const ForwardHooks& hooks = {});

  // Rows of the prompt of a running request that are done.
  int64_t prompt_done(int64_t request) const;

  // Ids of plain text with BOS where the tokenizer asks for it. Throws Error(File) where there is no tokenizer.
  std::vector<int32_t> encode_prompt(std::string_view text, bool parse_special) const;

  const Model& model() const { return *model_; }
  const ModelSpec& spec() const { return model_->spec; }
  const Tokenizer* tokenizer() const { return tokenizer_.get(); }
  Backend& backend() const { return *backend_; }
  const Decoder& decoder() const { return *decoder_; }
  KvCache& cache() { return *cache_; }
  const EngineOptions& options() const { return options_; }  // context resolved
  // What guessing brought so far; null where none was asked for.
  const DraftMeter* draft_meter() const { return drafter_ ? &draft_meter_ : nullptr; }
  double load_seconds() const { return load_seconds_; }

 private:
  struct Running {
    explicit Running(StopStrings stop_strings) : stops(std::move(stop_strings)) {}
    Request request;
    Result result;
    std::optional<StreamDecoder> decoder;
    StopStrings stops;
    bool finished = false;
  };

  struct Chosen {
    int64_t sequence = 0;
    int32_t token = 0;
  };

  void admit();
  bool run_step(const ForwardHooks& hooks);
  std::map<int64_t, std::vector<int32_t>> guess();
  std::vector<Chosen> choose(const Scheduler::Step& step, Rows logits);
  bool goes_on_after(const Running& running, int32_t token) const;
  void follow(const Scheduler::Step& step);
  bool ends_text(int32_t token) const;
  void deliver(int64_t number, Running& running, int32_t token);
  void show(Running& running, std::string_view text);
  void finish(int64_t number, Running& running, Finish why);

  std::unique_ptr<Model> model_;
  std::unique_ptr<Tokenizer> tokenizer_;  // null where the model has none
  EngineOptions options_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Decoder> decoder_;
  std::unique_ptr<KvCache> cache_;
  Activations activations_;
  Scheduler scheduler_;
  std::unique_ptr<Drafter> drafter_;  // null where none was asked for
  DraftMeter draft_meter_;
  std::map<int64_t, Running> requests_;
  double load_seconds_ = 0;
};

}  // namespace ostro
