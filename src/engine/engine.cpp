#include "engine/engine.h"

#include <algorithm>
#include <chrono>

#include "base/checked.h"
#include "base/error.h"
#include "engine/memory.h"
#include "engine/read_ahead.h"
#include "engine/resident.h"

namespace ostro {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

EngineOptions resolve(EngineOptions options, const ModelSpec& spec) {
  if (options.context == EngineOptions::kDefaultContext) options.context = std::min<int64_t>(4096, spec.context);
  if (options.context == 0) options.context = spec.context;
  if (spec.whole_prompts()) options.chunk = options.step_tokens = options.context;
  options.chunk = std::min({options.chunk, options.step_tokens, options.context});
  options.step_tokens = std::max<int64_t>(options.step_tokens, options.sequences);
  return options;
}

void check_memory(const MemoryNeed& need, const std::string& path) {
  const uint64_t available = available_memory();
  if (need.total() <= available) return;
  throw_error(ErrorKind::Memory, "{}: needs {} ({} of weights, {} of KV cache, {} of activations), {} are available",
              path, in_gigabytes(need.total()), in_gigabytes(need.weights), in_gigabytes(need.cache),
              in_gigabytes(need.activations), in_gigabytes(available));
}

// A model may have more rows of embeddings than tokens: publishers round them up. Fewer, or far more, and the tokenizer
// belongs to another model.
constexpr int32_t kMostPaddingRows = 1024;

void check_tokenizer(const Tokenizer& tokenizer, const Model& model) {
  const int64_t vocab = model.spec.vocab, size = tokenizer.vocab_size();
  const int64_t padding = model.store.format == CheckpointFormat::HuggingFace ? kMostPaddingRows : 0;
  if (size > vocab || size + padding < vocab)
    throw_error(ErrorKind::File, "{}: the tokenizer has {} tokens, expected at most the model's {}", model.store.path,
                size, vocab);
}

}  // namespace

std::string_view to_text(Finish finish) {
  switch (finish) {
    case Finish::Eos:
      return "eos";
    case Finish::Stop:
      return "stop";
    case Finish::Length:
      return "length";
    case Finish::Cancelled:
      return "cancelled";
  }
  return "";
}

double Result::prompt_speed() const {
  return prompt_seconds > 0 ? static_cast<double>(prompt_tokens - cached_tokens) / prompt_seconds : 0;
}

double Result::decode_speed() const {
  // The first token comes with the prompt.
  return decode_seconds > 0 ? static_cast<double>(tokens.size() - 1) / decode_seconds : 0;
}

MemoryNeed memory_need(const ModelSpec& spec, uint64_t weight_bytes, const EngineOptions& given) {
  const EngineOptions options = resolve(given, spec);
  MemoryNeed need;
  need.weights = weight_bytes;
  const int64_t rows = std::min(options.step_tokens, options.chunk * options.sequences);
  int64_t widest = 0;  // floats a row needs inside its largest block
  for (const auto& block : spec.blocks) {
    int64_t floats = 0;
    const uint64_t cached = KvCache::block_bytes(block.mixer, options.key_type, options.value_type);
    int64_t positions = options.context;
    if (const auto* gqa = std::get_if<GqaSpec>(&block.mixer)) {
      floats = 2 * (gqa->query_heads + gqa->kv_heads) * gqa->head_dim;
      if (gqa->window > 0) positions = std::min(positions, gqa->window + options.chunk);
    } else if (const auto* mla = std::get_if<MlaSpec>(&block.mixer)) {
      const int64_t latent = mla->kv_rank + mla->rope_dim;
      floats = mla->query_rank + 3 * latent + mla->heads * (4 * latent + mla->nope_dim + 2 * mla->value_dim);
    } else if (const auto* dense = std::get_if<DenseSpec>(&block.mixer)) {
      floats = dense->gate_rows() + dense->inner;
    } else if (const auto* moe = std::get_if<MoeSpec>(&block.mixer)) {
      floats =
          moe->router.top_k * (moe->expert.gate_rows() + moe->expert.inner + 2 * spec.width) + 2 * moe->router.experts;
      if (moe->shared) floats += 2 * moe->shared->inner + spec.width;
    }
    need.cache += cached * static_cast<uint64_t>(positions) * static_cast<uint64_t>(options.sequences);
    widest = std::max(widest, floats);
  }
  const int64_t floats = rows * (4 * spec.width + widest) + options.sequences * spec.vocab;
  need.activations = static_cast<uint64_t>(floats) * sizeof(float);
  return need;
}

std::unique_ptr<Engine> Engine::open(const std::string& path, const EngineOptions& options) {
  const auto start = Clock::now();
  auto model = bind_model(path, [&](Model& found) { apply_overrides(found.spec, options.overrides); });
  MemoryNeed need = memory_need(model->spec, weight_bytes(*model), options);
  if (options.draft.kind == DraftOptions::Kind::Model) {
    const auto draft = bind_model(options.draft.model);
    need += memory_need(draft->spec, weight_bytes(*draft), options);
  }
  check_memory(need, path);
  make_copies(*model);
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(model->store);
  if (tokenizer) check_tokenizer(*tokenizer, *model);
  auto engine = std::make_unique<Engine>(std::move(model), std::move(tokenizer), options);
  if (options.repack)
    make_resident(*engine->model_, *engine->backend_, options.loading);
  else
    read_ahead(engine->model_->store, options.loading);
  engine->load_seconds_ = seconds_since(start);
  return engine;
}

Engine::Engine(std::unique_ptr<Model> model, std::unique_ptr<Tokenizer> tokenizer, const EngineOptions& options)
    : model_(std::move(model)),
      tokenizer_(std::move(tokenizer)),
      options_(resolve(options, model_->spec)),
      backend_(make_cpu_backend(options.backend)),
      decoder_(std::make_unique<Decoder>(model_->spec, model_->weights, *backend_)),
      cache_(
          std::make_unique<KvCache>(model_->spec, KvCacheOptions{options_.context, options_.chunk, options_.sequences,
                                                                 options_.key_type, options_.value_type})),
      scheduler_({options_.step_tokens, options_.chunk, options_.sequences, model_->spec.whole_prompts()}),
      drafter_(
          make_drafter(options_.draft, {*model_, tokenizer_.get(), *decoder_, *backend_, *cache_, options_.repack})),
      draft_meter_(options_.draft.always) {}

std::vector<int32_t> Engine::encode_prompt(std::string_view text, bool parse_special) const {
  if (!tokenizer_)
    throw_error(ErrorKind::File, "{}: no tokenizer beside the model: give token ids", model_->store.path);
  std::vector<int32_t> ids;
  const int32_t bos = spec().begins_with_bos ? spec().bos : tokenizer_->add_bos ? tokenizer_->bos : -1;
  if (bos >= 0) ids.push_back(bos);
  // Never EOS, whatever the tokenizer's files ask for (add_eos): the text is to be continued.
  const auto encoded = tokenizer_->encode(text, {.parse_special = parse_special});
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  return ids;
}

int64_t Engine::submit(Request request) {
  validate(request.sampling);
  const int64_t length = static_cast<int64_t>(request.prompt.size());
  if (length == 0) throw_error(ErrorKind::Usage, "the prompt is empty: expected at least one token");
  if (length > options_.context)
    throw_error(ErrorKind::Usage, "the prompt has {} tokens, the context holds {} (-c)", length, options_.context);
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    const int32_t id = request.prompt[i];
    if (id < 0 || id >= spec().vocab)
      throw_error(ErrorKind::Usage, "token {} of the prompt is {}: expected an id from 0 to {}", i, id,
                  spec().vocab - 1);
  }
  const int64_t room = options_.context - length;
  if (request.predict < 0 || request.predict > room) request.predict = room;

  const int64_t number = scheduler_.add(request.prompt);
  Running& running = requests_.emplace(number, StopStrings(request.stop)).first->second;
  running.request = std::move(request);
  running.result.prompt_tokens = length;
  if (tokenizer_) {
    running.decoder.emplace(*tokenizer_);
    // The last token of the prompt puts the decoder in the middle of the text.
    const int32_t last = running.request.prompt.back();
    if (running.request.continues_text && last < tokenizer_->vocab_size()) running.decoder->push(last);
  }
  if (running.request.predict == 0) finish(number, running, Finish::Length);
  return number;
}

bool Engine::step(const ForwardHooks& hooks) {
  try {
    admit();
    return run_step(hooks);
  } catch (...) {
    scheduler_.clear();
    requests_.clear();
    for (int32_t slot = 0; slot < options_.sequences; ++slot) cache_->truncate(slot, 0);
    throw;
  }
}

void Engine::admit() {
  for (const auto& admission : scheduler_.admit()) {
    int64_t kept = admission.reusable;
    if (drafter_) kept = std::max<int64_t>(0, kept - drafter_->rerun());
    if (!cache_->truncate(admission.slot, kept)) kept = 0;
    scheduler_.keep_cached(admission.sequence, kept);
    requests_.at(admission.sequence).result.cached_tokens = kept;
  }
}

bool Engine::run_step(const ForwardHooks& hooks) {
  const auto start = Clock::now();
  const Scheduler::Step step = scheduler_.next_step(guess());
  if (step.batch.rows() == 0) return false;
  ExpertCount experts(hooks.routing);
  ForwardHooks counted = hooks;
  if (drafter_) counted.routing = &experts;
  counted.all_rows = hooks.all_rows || drafter_ != nullptr;
  const Rows logits = decoder_->forward(step.batch, *cache_, activations_, counted);
  const std::vector<Chosen> chosen = choose(step, logits);
  if (drafter_ && !draft_meter_.off()) follow(step);

  const double seconds = seconds_since(start);
  for (auto& [number, running] : requests_) {
    if (running.finished) continue;
    (running.result.tokens.empty() ? running.result.prompt_seconds : running.result.decode_seconds) += seconds;
  }
  const auto rows = static_cast<size_t>(step.batch.rows());
  if (drafter_ && step.owners.size() == rows) {  // no prompts
    const size_t sequences = step.numbers.size();
    draft_meter_.count(static_cast<int64_t>(rows - sequences), static_cast<int64_t>(chosen.size() - sequences),
                       static_cast<int64_t>(chosen.size()), seconds, experts.per_layer());
  }
  for (const Chosen& next : chosen) {
    Running& running = requests_.at(next.sequence);
    if (!running.finished) deliver(next.sequence, running, next.token);
  }
  return true;
}

std::map<int64_t, std::vector<int32_t>> Engine::guess() {
  std::map<int64_t, std::vector<int32_t>> guesses;
  if (!drafter_ || !draft_meter_.wants()) return guesses;
  for (const int64_t number : scheduler_.decoding()) {
    const Running& running = requests_.at(number);
    // A step brings one token more than it has right guesses.
    const int64_t wanted = running.request.predict - static_cast<int64_t>(running.result.tokens.size()) - 1;
    const int64_t room = options_.context - scheduler_.cached(number) - 1;
    const int64_t most = std::min({drafter_->most(), wanted, room, options_.chunk - 1});
    if (most < 1) continue;
    auto found = drafter_->guess(scheduler_.slot(number), scheduler_.tokens(number), most);
    if (!found.empty()) guesses[number] = std::move(found);
  }
  return guesses;
}

// A sequence's rows with logits are its last token and then guesses. What is chosen after a row stands; it makes the
// next row stand too if that is the token guessed there.
std::vector<Engine::Chosen> Engine::choose(const Scheduler::Step& step, Rows logits) {
  std::vector<Chosen> chosen;
  for (size_t i = 0; i < step.owners.size(); ++i) {
    const int64_t number = step.owners[i];
    const bool wrong_before = i > 0 && step.owners[i - 1] == number &&
                              scheduler_.tokens(number).size() != static_cast<size_t>(scheduler_.cached(number));
    if (wrong_before) continue;
    const Running& running = requests_.at(number);
    const auto& tokens = scheduler_.tokens(number);
    const Rows row = logits.slice(static_cast<int64_t>(i), 1);
    const int32_t token = sample(row.values(), running.request.sampling, running.request.stream, tokens.size(), tokens);
    bool ran = false;
    if (i + 1 < step.owners.size() && step.owners[i + 1] == number) {
      const int32_t guessed = step.batch.tokens[static_cast<size_t>(step.batch.logit_rows[i + 1])];
      ran = guessed == token && goes_on_after(running, token);
    }
    scheduler_.accept(number, token, ran);
    chosen.push_back({number, token});
  }
  return chosen;
}

bool Engine::goes_on_after(const Running& running, int32_t token) const {
  return running.request.ignore_eos || !ends_text(token);
}

void Engine::follow(const Scheduler::Step& step) {
  std::vector<RanRows> ran;
  for (size_t s = 0; s < step.numbers.size(); ++s) {
    const SequenceRows& part = step.batch.sequences[s];
    const int64_t number = step.numbers[s], cached = scheduler_.cached(number);
    const int64_t first = step.batch.positions[static_cast<size_t>(part.first_row)];
    if (cached < first + part.count) CHECK(cache_->truncate(part.sequence, cached));
    ran.push_back({part.sequence, part.first_row, first, cached - first, scheduler_.tokens(number)});
  }
  drafter_->follow(ran, activations_);
}

bool Engine::ends_text(int32_t token) const {
  const auto& eos = spec().eos;
  return std::find(eos.begin(), eos.end(), token) != eos.end() || (tokenizer_ && token == tokenizer_->eos);
}

void Engine::deliver(int64_t number, Running& running, int32_t token) {
  running.result.tokens.push_back(token);
  if (!running.request.ignore_eos && ends_text(token)) return finish(number, running, Finish::Eos);
  if (running.decoder && token < tokenizer_->vocab_size())
    show(running, running.stops.push(running.decoder->push(token)));
  if (running.stops.stopped()) return finish(number, running, Finish::Stop);
  if (static_cast<int64_t>(running.result.tokens.size()) >= running.request.predict)
    finish(number, running, Finish::Length);
}

void Engine::show(Running& running, std::string_view text) {
  running.result.text += text;
  if (running.request.on_text && !text.empty()) running.request.on_text(text);
}

void Engine::finish(int64_t number, Running& running, Finish why) {
  if (!running.stops.stopped()) {
    if (running.decoder) show(running, running.stops.push(running.decoder->flush()));
    show(running, running.stops.flush());
  }
  running.finished = true;
  running.result.finish = why;
  scheduler_.finish(number);
}

void Engine::cancel(int64_t request) {
  const auto found = requests_.find(request);
  if (found != requests_.end() && !found->second.finished) finish(request, found->second, Finish::Cancelled);
}

std::optional<Result> Engine::take(int64_t request) {
  const auto found = requests_.find(request);
  if (found == requests_.end() || !found->second.finished) return std::nullopt;
  Result result = std::move(found->second.result);
  requests_.erase(found);
  return result;
}

Result Engine::run(Request request, const std::function<bool(int64_t)>& go_on, const ForwardHooks& hooks) {
  const int64_t number = submit(std::move(request));
  while (true) {
    if (auto result = take(number)) return std::move(*result);
    if (go_on && !go_on(number)) {
      cancel(number);
    } else {
      CHECK(step(hooks));
    }
  }
}

int64_t Engine::prompt_done(int64_t request) const {
  const auto found = requests_.find(request);
  if (found == requests_.end() || found->second.finished) return 0;
  return std::min(found->second.result.prompt_tokens, scheduler_.cached(request));
}

}  // namespace ostro
