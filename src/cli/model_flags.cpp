#include "cli/model_flags.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <random>

#include "base/error.h"
#include "base/progress.h"
#include "cli/flags.h"
#include "cli/interrupt.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

fs::path default_model() {
  if (const auto cache = variable("XDG_CACHE_HOME")) return fs::path(*cache) / "ostro" / "default.gguf";
  return fs::path(variable("HOME").value_or(".")) / ".cache" / "ostro" / "default.gguf";
}

constexpr int64_t kMostPositions = int64_t{1} << 31;

}  // namespace

std::string model_path(const std::string& given) {
  if (!given.empty()) return given;
  if (const auto named = variable("OSTRO_MODEL")) return *named;
  const fs::path standard = default_model();
  std::error_code ignored;
  if (fs::exists(standard, ignored)) return standard.string();
  throw_error(ErrorKind::Usage, "no model: give -m MODEL, set OSTRO_MODEL, or run scripts/quickstart, which makes {}",
              standard.string());
}

EngineOptions ModelFlags::engine_options() const {
  EngineOptions options;
  options.backend.threads = static_cast<int>(threads);
  options.backend.compute = compute == "f32" ? Compute::F32 : Compute::Auto;
  options.context = context;
  options.step_tokens = batch;
  options.chunk = micro_batch;
  options.key_type = *dtype_from_name(key_type);
  options.value_type = *dtype_from_name(value_type);
  using Kind = RopeScaling::Kind;
  SpecOverrides& overrides = options.overrides;
  if (rope_scaling == "none") overrides.scaling = Kind::None;
  if (rope_scaling == "linear") overrides.scaling = Kind::Linear;
  if (rope_scaling == "yarn") overrides.scaling = Kind::Yarn;
  if (rope_scale > 0) overrides.factor = rope_scale;
  if (rope_base > 0) overrides.theta = rope_base;
  if (yarn_context > 0) overrides.original_context = yarn_context;
  overrides.no_capacity = no_capacity;
  options.repack = !no_repack;
  options.draft.most = draft_max;
  if (draft == "mtp") options.draft.kind = DraftOptions::Kind::Mtp;
  if (draft == "ngram") options.draft.kind = DraftOptions::Kind::Ngram;
  if (draft_model.empty()) return options;
  if (draft != "none") throw_error(ErrorKind::Usage, "--draft {} and --draft-model: expected one of them", draft);
  options.draft.kind = DraftOptions::Kind::Model;
  options.draft.model = draft_model;
  return options;
}

void add_model_flag(CLI::App& verb, std::string& model) {
  verb.add_option("-m,--model", model, "A GGUF file, or a folder with config.json or params.json")
      ->type_name("MODEL")
      ->group("Model");
}

void add_compute_flags(CLI::App& verb, ModelFlags& flags) {
  const std::string group = "Computing";
  add_integer(verb, "-b,--batch-size", flags.batch, 1, 1 << 20, "Tokens a step, over all sequences")->group(group);
  add_integer(verb, "--ub,--ubatch-size", flags.micro_batch, 1, 1 << 20, "Tokens a step of one prompt")->group(group);
  const std::vector<std::string> cache_types = {"f32", "f16", "bf16", "q8_0"};
  add_choice(verb, "--ctk,--cache-type-k", flags.key_type, cache_types, "Type of cached keys")->group(group);
  add_choice(verb, "--ctv,--cache-type-v", flags.value_type, cache_types, "Type of cached values")->group(group);
  add_choice(verb, "--compute", flags.compute, {"auto", "f32"}, "f32: float32 activations and sums, on any weights")
      ->group(group);
  verb.add_flag("--no-repack", flags.no_repack, "Use the weights as the file has them, mapped; slower")->group(group);
}

// What is given over the model's own description.
static void add_shape_flags(CLI::App& verb, ModelFlags& flags) {
  const std::string group = "Over the model's own";
  add_choice(verb, "--rope-scaling", flags.rope_scaling, {"none", "linear", "yarn"},
             "How RoPE is stretched to a longer context")
      ->default_str("")
      ->group(group);
  add_number(verb, "--rope-scale", flags.rope_scale, 1, 1e6, "By how much; without --rope-scaling linearly")
      ->default_str("")
      ->group(group);
  add_integer(verb, "--yarn-orig-ctx", flags.yarn_context, 1, kMostPositions,
              "YaRN: the context before stretching; the model's own where not given")
      ->default_str("")
      ->group(group);
  add_number(verb, "--rope-freq-base", flags.rope_base, 1, 1e12, "Base of RoPE's frequencies")
      ->default_str("")
      ->group(group);
  verb.add_flag("--no-capacity", flags.no_capacity, "Experts with a capacity take all tokens that choose them")
      ->group(group);
}

void add_model_flags(CLI::App& verb, ModelFlags& flags) {
  add_model_flag(verb, flags.model);
  add_integer(verb, "-c,--ctx-size", flags.context, 0, kMostPositions, "Longest text in tokens; 0: the model's own")
      ->default_str("4096, or the model's")
      ->group("Model");
  add_integer(verb, "-t,--threads", flags.threads, 1, 1024, "Threads")
      ->default_str("physical cores")
      ->group("Computing");
  add_compute_flags(verb, flags);
  add_shape_flags(verb, flags);
}

void add_draft_flags(CLI::App& verb, ModelFlags& flags) {
  const std::string group = "Guessing ahead (changes no token; ends where it loses time)";
  add_choice(verb, "--draft", flags.draft, {"none", "mtp", "ngram"},
             "Guess tokens by the model's multi-token prediction, or by what followed the same words before")
      ->group(group);
  verb.add_option("--draft-model", flags.draft_model, "Guess them by a smaller model with the same vocabulary")
      ->type_name("MODEL")
      ->group(group);
  add_integer(verb, "--draft-max", flags.draft_max, 1, 64, "Tokens guessed at once")
      ->default_str("mtp: 1, ngram: 8, model: 4")
      ->group(group);
}

std::unique_ptr<Engine> open_engine(const ModelFlags& flags) {
  EngineOptions options = flags.engine_options();
  std::optional<Progress> bar;
  options.loading = [&bar](uint64_t done, uint64_t total) {
    if (!bar) bar.emplace("load", total, "B");
    bar->set(done);
    if (interrupted()) throw_error(ErrorKind::Usage, "interrupted while loading");
  };
  return Engine::open(model_path(flags.model), options);
}

Request SamplingFlags::request() const {
  Request request;
  request.sampling = params;
  request.sampling.seed = static_cast<uint64_t>(seed);
  if (seed < 0) request.sampling.seed = std::random_device()();
  request.predict = predict;
  request.stop = stop;
  request.ignore_eos = ignore_eos;
  return request;
}

void add_sampling_flags(CLI::App& verb, SamplingFlags& flags) {
  SamplingParams& params = flags.params;
  const std::string group = "Sampling";
  add_integer(verb, "-n,--predict,--n-predict", flags.predict, -1, kMostPositions,
              "Most tokens to generate; -1: until the model ends or the context is full")
      ->group(group);
  add_number(verb, "--temp", params.temperature, 0, 100, "Temperature; 0: always the likeliest token")->group(group);
  add_integer(verb, "--top-k", params.top_k, 0, 1'000'000'000, "Only the K likeliest tokens; 0: all")->group(group);
  add_number(verb, "--top-p", params.top_p, 0, 1, "Only the likeliest tokens that make up this much; 1: all")
      ->group(group);
  add_number(verb, "--min-p", params.min_p, 0, 1, "Only tokens this likely, relative to the likeliest; 0: all")
      ->group(group);
  add_number(verb, "--typical", params.typical_p, 0, 1, "Locally typical sampling; 1: off")->group(group);
  add_number(verb, "--repeat-penalty", params.repeat_penalty, 1e-3, 100, "Divides logits of recent tokens; 1: off")
      ->group(group);
  add_number(verb, "--frequency-penalty", params.frequency_penalty, -100, 100,
             "Taken off the logit of a recent token, for each time")
      ->group(group);
  add_number(verb, "--presence-penalty", params.presence_penalty, -100, 100, "Taken off the logit of a recent token")
      ->group(group);
  add_integer(verb, "--repeat-last-n", params.penalty_window, -1, 1'000'000'000,
              "How many tokens are recent for the penalties; -1: all")
      ->group(group);
  add_integer(verb, "-s,--seed", flags.seed, -1, INT64_MAX, "Equal seeds give equal texts; -1: a random one")
      ->group(group);
  verb.add_option("--stop,-r,--reverse-prompt", flags.stop, "Ends the text before this; may be given again")
      ->type_name("TEXT")
      ->allow_extra_args(false)
      ->group(group);
  verb.add_flag("--ignore-eos", flags.ignore_eos, "The end-of-text token does not end the text")->group(group);
}

Result generate(Engine& engine, Request request, RoutingObserver* observer) {
  std::optional<Progress> bar;
  if (static_cast<int64_t>(request.prompt.size()) > engine.options().chunk)
    bar.emplace("prompt", request.prompt.size(), "tokens");
  auto go_on = [&](int64_t number) {
    const int64_t done = engine.prompt_done(number);
    if (bar && done > 0) bar->set(static_cast<uint64_t>(done));
    return !interrupted();
  };
  auto show = std::move(request.on_text);
  request.on_text = [&bar, &show](std::string_view text) {
    bar.reset();  // it shares the line with the text
    if (show) show(text);
  };
  ForwardHooks hooks;
  hooks.routing = observer;
  hooks.all_rows = observer != nullptr;  // a table of all tokens, the prompt's too
  return engine.run(std::move(request), go_on, hooks);
}

}  // namespace ostro
