// `ostro bench`: prompt, decode and batched decode speed, as a table like llama-bench's.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/error.h"
#include "base/progress.h"
#include "base/random.h"
#include "cli/bandwidth.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "engine/memory.h"
#include "engine/resident.h"
#include "model/checkpoint_writer.h"
#include "model/random_model.h"
#include "model/read_spec_published.h"

namespace ostro {
namespace {

using nlohmann::ordered_json;

struct BenchFlags {
  ModelFlags model;
  std::string shape, type = "q4_k_m", write;
  int64_t layers = 0, repetitions = 5;
  std::vector<int64_t> prompts = {512}, predicts = {128}, batches = {1}, threads;
  bool json = false;
};

// One measurement: `prompt` tokens at once, or `predict` tokens of each of `batch` sequences one by one.
struct Test {
  int64_t prompt = 0, predict = 0, batch = 1;
  int threads = 1;

  std::string name() const {
    if (prompt > 0) return fmt::format("pp{}", prompt);
    return batch == 1 ? fmt::format("tg{}", predict) : fmt::format("tg{}@{}", predict, batch);
  }
  int64_t tokens() const { return prompt > 0 ? prompt : predict * batch; }
};

struct Outcome {
  Test test;
  std::vector<double> speeds;  // tokens/s of each repetition, rising
  double bytes_per_token = 0;
  double bandwidth = 0;  // of the probe, bytes/s
  std::string backend;

  double median() const {
    const size_t half = speeds.size() / 2;
    return speeds.size() % 2 == 1 ? speeds[half] : (speeds[half - 1] + speeds[half]) / 2;
  }
  // Of the bandwidth probe, that reading each weight once took; of use where a step reads more than it computes.
  double bandwidth_share() const { return bandwidth > 0 ? median() * bytes_per_token / bandwidth : 0; }
};

uint64_t matrix_bytes(const Matrix& matrix) { return static_cast<uint64_t>(matrix.rows * matrix.row_bytes); }

// Counts the weights that forward reads: everything but the embedding table once a step, and of the experts those that
// some token chose.
class BytesRead : public RoutingObserver {
 public:
  explicit BytesRead(const Model& model) : model_(model) {
    visit_matrices(model.spec, model.weights, [this](const TensorId& id, const Matrix& matrix) {
      if (id.expert < 0 && id.role != Role::Embedding) every_step_ += matrix_bytes(matrix);
    });
    if (model.spec.tied_embeddings) every_step_ += matrix_bytes(model.weights.embedding);
  }

  void on_route(const BlockSpec& block, const Batch&, const Routing& routing) override {
    const size_t index = static_cast<size_t>(&block - model_.spec.blocks.data());
    const auto& moe = std::get<MoeWeights>(model_.weights.blocks[index].mixer);
    for (const int32_t expert : std::set<int32_t>(routing.expert.begin(), routing.expert.end())) {
      const size_t e = static_cast<size_t>(expert);
      bytes_ += matrix_bytes(moe.gate[e]) + matrix_bytes(moe.up[e]) + matrix_bytes(moe.down[e]);
    }
  }
  void add_step(uint64_t cached_bytes) { bytes_ += every_step_ + cached_bytes; }
  uint64_t bytes() const { return bytes_; }

 private:
  const Model& model_;
  uint64_t every_step_ = 0, bytes_ = 0;
};

struct Bench {
  const Model& model;
  EngineOptions options;
  uint64_t drawn = 0;

  // Random ids: equal ones would all go to the same experts.
  int32_t next_token() {
    return static_cast<int32_t>(random_bits(1, 0, drawn++) % static_cast<uint64_t>(model.spec.vocab));
  }

  Batch prompt_chunk(int64_t first, int64_t count, bool last) {
    Batch batch;
    batch.sequences = {{0, 0, count}};
    for (int64_t i = 0; i < count; ++i) {
      batch.tokens.push_back(next_token());
      batch.positions.push_back(first + i);
    }
    if (last) batch.logit_rows = {count - 1};
    return batch;
  }

  Batch decode_step(int64_t position, int64_t sequences) {
    Batch batch;
    for (int64_t i = 0; i < sequences; ++i) {
      batch.sequences.push_back({static_cast<int32_t>(i), i, 1});
      batch.tokens.push_back(next_token());
      batch.positions.push_back(position);
      batch.logit_rows.push_back(i);
    }
    return batch;
  }

  // Runs a test once; false when it was interrupted.
  bool run_once(const Test& test, const Decoder& decoder, KvCache& cache, Activations& activations, BytesRead& read) {
    ForwardHooks hooks;
    hooks.routing = &read;
    for (int32_t i = 0; i < cache.options().sequences; ++i) cache.truncate(i, 0);
    const uint64_t row = KvCache::bytes_per_token(model.spec, options.key_type, options.value_type);
    for (int64_t at = 0; at < std::max(test.prompt, test.predict);) {
      if (interrupted()) return false;
      const int64_t count = test.prompt > 0 ? std::min(options.chunk, test.prompt - at) : 1;
      const Batch batch =
          test.prompt > 0 ? prompt_chunk(at, count, at + count == test.prompt) : decode_step(at, test.batch);
      decoder.forward(batch, cache, activations, hooks);
      read.add_step(row * static_cast<uint64_t>(at * test.batch));
      at += count;
    }
    return true;
  }

  std::optional<Outcome> run(const Test& test, int64_t repetitions, double bandwidth) {
    EngineOptions with = options;
    with.backend.threads = test.threads;
    const auto backend = make_cpu_backend(with.backend);
    const Decoder decoder(model.spec, model.weights, *backend);
    const int64_t length = std::max(test.prompt, test.predict);
    KvCache cache(model.spec, {length, std::min(options.chunk, length), static_cast<int32_t>(test.batch),
                               options.key_type, options.value_type});
    Activations activations;
    Outcome outcome{test, {}, 0, bandwidth, backend->name()};
    Test warm = test;
    warm.prompt = std::min<int64_t>(warm.prompt, options.chunk);
    warm.predict = std::min<int64_t>(warm.predict, 4);
    BytesRead ignored(model), read(model);
    if (!run_once(warm, decoder, cache, activations, ignored)) return std::nullopt;
    for (int64_t i = 0; i < repetitions; ++i) {
      const auto start = std::chrono::steady_clock::now();
      if (!run_once(test, decoder, cache, activations, read)) return std::nullopt;
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      outcome.speeds.push_back(static_cast<double>(test.tokens()) / seconds);
    }
    std::sort(outcome.speeds.begin(), outcome.speeds.end());
    outcome.bytes_per_token = static_cast<double>(read.bytes()) / static_cast<double>(test.tokens() * repetitions);
    return outcome;
  }
};

std::vector<Test> list_tests(const BenchFlags& flags) {
  std::vector<int64_t> threads = flags.threads;
  if (threads.empty()) threads = {default_threads()};
  std::vector<Test> tests;
  for (const int64_t team : threads) {
    for (const int64_t prompt : flags.prompts)
      if (prompt > 0) tests.push_back({prompt, 0, 1, static_cast<int>(team)});
    for (const int64_t batch : flags.batches) {
      for (const int64_t predict : flags.predicts)
        if (predict > 0) tests.push_back({0, predict, batch, static_cast<int>(team)});
    }
  }
  if (tests.empty()) throw_error(ErrorKind::Usage, "nothing to measure: -p and -n are both 0");
  return tests;
}

std::unique_ptr<Model> make_random_model(const BenchFlags& flags) {
  const auto mix = find_quant_mix(flags.type);
  if (!mix)
    throw_error(ErrorKind::Usage, "--type {}: expected one of {}", flags.type, fmt::join(quant_mix_names(), ", "));
  const ModelSpec spec = published_shape(flags.shape, flags.layers);
  const uint64_t bytes = random_model_bytes(spec, *mix);
  const uint64_t available = available_memory();
  if (bytes > available)
    throw_error(ErrorKind::Memory, "--shape {}: needs {}, {} are available; fewer --layers need less", flags.shape,
                in_gigabytes(bytes), in_gigabytes(available));
  Progress bar("make", bytes, "B");
  return random_model(spec, *mix, 1, [&bar](uint64_t done) { bar.set(done); });
}

void write_model(const Model& model, const std::string& path) {
  Progress bar("write", source_bytes(model), "B");
  WriteOptions options;
  options.threads = default_threads();
  options.progress = [&bar](uint64_t done) {
    bar.set(done);
    return !interrupted();
  };
  write_checkpoint(model, path, options);
}

uint64_t model_bytes(const Model& model) {
  uint64_t bytes = 0;
  visit_matrices(model.spec, model.weights,
                 [&](const TensorId&, const Matrix& matrix) { bytes += matrix_bytes(matrix); });
  return bytes;
}

constexpr const char* kHeader =
    "| model                          |     size |   params | test       |   t/s median |      min |      max | "
    "GB/token | "
    "bandwidth |\n"
    "| ------------------------------ | -------: | -------: | ---------- | -----------: | -------: | -------: | "
    "-------: | "
    "--------: |\n";

std::string table_row(const Model& model, const std::string& name, const Outcome& outcome, bool many_threads) {
  const std::string test = outcome.test.name() + (many_threads ? fmt::format(" t{}", outcome.test.threads) : "");
  const std::string share = outcome.test.prompt > 0 ? "" : fmt::format("{:.0f} %", 100 * outcome.bandwidth_share());
  return fmt::format("| {:<30} | {:>8} | {:>6.2f} B | {:<10} | {:>12.2f} | {:>8.2f} | {:>8.2f} | {:>8.3f} | {:>9} |\n",
                     name.substr(name.size() > 30 ? name.size() - 30 : 0), in_gigabytes(model_bytes(model)),
                     static_cast<double>(model.spec.parameters()) / 1e9, test, outcome.median(), outcome.speeds.front(),
                     outcome.speeds.back(), outcome.bytes_per_token / 1e9, share);
}

ordered_json as_json(const Outcome& outcome) {
  const Test& test = outcome.test;
  return {{"test", test.name()},
          {"tokens_per_second", outcome.median()},
          {"min", outcome.speeds.front()},
          {"max", outcome.speeds.back()},
          {"samples", outcome.speeds},
          {"n_prompt", test.prompt},
          {"n_gen", test.predict},
          {"batch", test.batch},
          {"threads", test.threads},
          {"backend", outcome.backend},
          {"bytes_per_token", outcome.bytes_per_token},
          {"bandwidth_bytes_per_second", outcome.bandwidth},
          {"bandwidth_share", outcome.bandwidth_share()}};
}

void bench(const BenchFlags& flags) {
  if (!flags.shape.empty() && !flags.model.model.empty())
    throw_error(ErrorKind::Usage, "-m and --shape: expected one of them");
  if (flags.shape.empty() && !flags.write.empty()) throw_error(ErrorKind::Usage, "--write needs --shape");
  const std::vector<Test> tests = list_tests(flags);

  std::unique_ptr<Engine> engine;  // owns the model where it comes from a file
  std::unique_ptr<Model> made;
  if (flags.shape.empty()) {
    ModelFlags model = flags.model;
    model.context = 0;
    engine = open_engine(model);
  } else {
    made = make_random_model(flags);
    if (!flags.write.empty()) write_model(*made, flags.write);
    if (!flags.model.no_repack) make_resident(*made, *make_cpu_backend(flags.model.engine_options().backend), nullptr);
  }
  if (interrupted()) return;
  const Model& model = made ? *made : engine->model();
  const std::string name = made ? fmt::format("{} x{} {}", flags.shape, model.spec.layers, flags.type)
                                : model.store.path.substr(model.store.path.rfind('/') + 1);

  const EngineOptions options = flags.model.engine_options();
  Bench runner{model, options};
  runner.options.chunk = std::min(options.chunk, options.step_tokens);
  if (model.spec.whole_prompts()) runner.options.chunk = INT64_MAX;
  ordered_json results = ordered_json::array();
  double bandwidth = 0;
  for (size_t i = 0; i < tests.size(); ++i) {
    if (i == 0 || tests[i].threads != tests[i - 1].threads) bandwidth = read_bandwidth(tests[i].threads);
    const auto outcome = runner.run(tests[i], flags.repetitions, bandwidth);
    if (!outcome) break;
    if (flags.json) {
      results.push_back(as_json(*outcome));
    } else {
      if (i == 0) write_out(kHeader);
      write_out(table_row(model, name, *outcome, flags.threads.size() > 1));
    }
    if (!flags.json && (i + 1 == tests.size() || tests[i + 1].threads != tests[i].threads))
      write_out(fmt::format("\n{}; memory read at {:.1f} GB/s\n", outcome->backend, bandwidth / 1e9));
  }
  if (flags.json) {
    const ordered_json out = {{"model", name},
                              {"bytes", model_bytes(model)},
                              {"parameters", model.spec.parameters()},
                              {"active_parameters", model.spec.active_parameters()},
                              {"results", results}};
    write_out(out.dump() + "\n");
  }
}

}  // namespace

void add_bench(CLI::App& app) {
  auto* verb = app.add_subcommand("bench", "Prompt, decode and batched decode speed");
  auto flags = std::make_shared<BenchFlags>();
  constexpr int64_t kMost = 1 << 20;
  const std::string group = "Measurement";
  add_integers(*verb, "-p,--n-prompt", flags->prompts, 0, kMost, "Prompt lengths (pp); 0: none")->group(group);
  add_integers(*verb, "-n,--n-gen", flags->predicts, 0, kMost, "Tokens to decode (tg); 0: none")->group(group);
  add_integers(*verb, "-B,--batch", flags->batches, 1, 1024, "Sequences that decode at once (tg128@4)")->group(group);
  add_integers(*verb, "-t,--threads", flags->threads, 1, 1024, "Numbers of threads")
      ->default_str("physical cores")
      ->group(group);
  add_integer(*verb, "-r,--repetitions", flags->repetitions, 1, 1000, "Times each is measured")->group(group);
  add_compute_flags(*verb, flags->model);
  add_model_flag(*verb, flags->model.model);
  const std::string random = "Random weights instead of -m";
  add_choice(*verb, "--shape", flags->shape, published_shapes(), "The shape of a published model")->group(random);
  add_integer(*verb, "--layers", flags->layers, 0, 4096, "Only so many layers; 0: all")->group(random);
  add_choice(*verb, "--type", flags->type, quant_mix_names(), "The mix of types, as in ostro quantize")
      ->type_name("TYPE")
      ->group(random);
  verb->add_option("--write", flags->write, "Also write them as a GGUF file that other programs load")
      ->type_name("FILE")
      ->group(random);
  verb->add_flag("--json", flags->json, "One JSON object: results")->group("Output");
  verb->footer(
      "Examples:\n"
      "  ostro bench -m model.gguf -p 512 -n 128 -B 1,4,16 -t 1,2\n"
      "  ostro bench --shape mixtral-8x7b --layers 4 --type q4_k_m --write bench.gguf");
  verb->callback([flags] { bench(*flags); });
}

}  // namespace ostro
