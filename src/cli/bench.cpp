// `ostro bench`: prompt, decode and batched decode speed, as a table like llama-bench's, and what share of the machine
// they use.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/progress.h"
#include "cli/bench_run.h"
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
  int64_t experts = 0, top_k = 0, expert_width = 0;  // over those of the shape; 0: its own
  int64_t window = -1;                               // -1: its own
  bool changes_shape() const { return experts > 0 || top_k > 0 || expert_width > 0 || window >= 0; }
  std::vector<int64_t> prompts = {512}, predicts = {128}, batches = {1}, depths = {0}, threads;
  bool same_token = false, json = false;
};

std::vector<BenchTest> list_tests(const BenchFlags& flags) {
  std::vector<int64_t> threads = flags.threads;
  if (threads.empty()) threads = {default_threads()};
  std::vector<BenchTest> tests;
  for (const int64_t team : threads) {
    for (const int64_t depth : flags.depths) {
      for (const int64_t prompt : flags.prompts)
        if (prompt > 0) tests.push_back({prompt, 0, 1, depth, static_cast<int>(team)});
      for (const int64_t batch : flags.batches) {
        for (const int64_t predict : flags.predicts)
          if (predict > 0) tests.push_back({0, predict, batch, depth, static_cast<int>(team)});
      }
    }
  }
  if (tests.empty() && flags.write.empty()) {
    throw_error(ErrorKind::Usage, "nothing to measure: -p and -n are both 0");
  }
  return tests;
}

ModelSpec shape_spec(const BenchFlags& flags) {
  ModelSpec spec = published_shape(flags.shape, flags.layers);
  if (!flags.changes_shape()) return spec;
  for (BlockSpec& block : spec.blocks) {
    auto* gqa = std::get_if<GqaSpec>(&block.mixer);
    if (gqa != nullptr && flags.window >= 0) gqa->window = flags.window;
    auto* moe = std::get_if<MoeSpec>(&block.mixer);
    if (moe == nullptr) continue;
    if (flags.experts > 0) moe->router.experts = flags.experts;
    if (flags.top_k > 0) moe->router.top_k = flags.top_k;
    if (flags.expert_width > 0) moe->expert.inner = flags.expert_width;
  }
  validate(spec, fmt::format("--shape {} with changes", flags.shape));
  return spec;
}

std::string shape_name(const BenchFlags& flags, const ModelSpec& spec) {
  std::string name = fmt::format("{} x{} {}", flags.shape, spec.layers, flags.type);
  if (flags.experts > 0) name += fmt::format(" {} experts", flags.experts);
  if (flags.top_k > 0) name += fmt::format(" top {}", flags.top_k);
  if (flags.expert_width > 0) name += fmt::format(" x{}", flags.expert_width);
  if (flags.window >= 0) name += flags.window > 0 ? fmt::format(" window {}", flags.window) : " no window";
  return name;
}

std::unique_ptr<Model> make_random_model(const BenchFlags& flags) {
  const auto mix = find_quant_mix(flags.type);
  if (!mix)
    throw_error(ErrorKind::Usage, "--type {}: expected one of {}", flags.type, fmt::join(quant_mix_names(), ", "));
  const ModelSpec spec = shape_spec(flags);
  const uint64_t bytes = random_model_bytes(spec, *mix);
  const uint64_t available = available_memory();
  if (bytes > available)
    throw_error(ErrorKind::Memory, "--shape {}: needs {}, {} are available; fewer --layers need less", flags.shape,
                in_gigabytes(bytes), in_gigabytes(available));
  Progress bar("make", bytes, "B");
  return random_model(spec, *mix, 1, [&bar](uint64_t done) { bar.set(done); });
}

void write_model(const Model& model, const std::string& path) {
  Progress bar("write", weight_bytes(model), "B");
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
  visit_matrices(model.spec, model.weights, [&](const TensorId&, const Matrix& matrix) { bytes += matrix.bytes(); });
  return bytes;
}

constexpr std::array<const char*, 3> kArithmeticNames = {"int8", "bf16", "float32"};  // indexed by Arithmetic

std::string limits_line(const BenchOutcome& outcome) {
  std::string line = fmt::format("\n{}; memory read at {:.1f} GB/s", outcome.backend, outcome.limits.bandwidth / 1e9);
  for (size_t kind = 0; kind < kArithmeticNames.size(); ++kind) {
    const double peak = outcome.limits.peaks[kind];
    if (peak > 0) line += fmt::format(", {} products at most {:.0f} Gop/s", kArithmeticNames[kind], peak / 1e9);
  }
  return line + "\n";
}

std::string kernel_lines(const std::vector<TypeWork>& types) {
  int64_t all = 0;
  for (const TypeWork& work : types) all += work.parameters;
  std::string lines = "\n";
  for (const TypeWork& work : types) {
    lines += fmt::format("{:<8} {:5.1f} % of the weights: {}\n", info(work.type).name,
                         100 * static_cast<double>(work.parameters) / static_cast<double>(all), work.kernel.words);
  }
  return lines;
}

constexpr size_t kNameWidth = 30, kTestWidth = 12;

std::string table_header(size_t name_width) {
  return fmt::format(
      "| {:<{}} |     size |   params | {:<{}} |   t/s median |      min |      max | GB/token | bandwidth |  Gop/s | "
      "of peak |\n"
      "| {:-<{}} | -------: | -------: | {:-<{}} | -----------: | -------: | -------: | -------: | --------: | -----: "
      "| "
      "------: |\n",
      "model", name_width, "test", kTestWidth, "", name_width, "", kTestWidth);
}

std::string table_row(const Model& model, const std::string& name, const BenchOutcome& outcome, bool many_threads) {
  const size_t width = std::max(kNameWidth, name.size());
  const std::string test = outcome.test.name() + (many_threads ? fmt::format(" t{}", outcome.test.threads) : "");
  const std::string share = outcome.test.prompt > 0 ? "" : fmt::format("{:.0f} %", 100 * outcome.bandwidth_share());
  return fmt::format(
      "| {:<{}} | {:>8} | {:>6.2f} B | {:<{}} | {:>12.2f} | {:>8.2f} | {:>8.2f} | {:>8.3f} | {:>9} | {:>6.0f} | "
      "{:>5.1f} % |\n",
      name, width, in_gigabytes(model_bytes(model)), static_cast<double>(model.spec.parameters()) / 1e9, test,
      kTestWidth, outcome.median(), outcome.speeds.front(), outcome.speeds.back(), outcome.bytes_per_token / 1e9, share,
      outcome.operations_per_second() / 1e9, 100 * outcome.peak_share());
}

ordered_json by_arithmetic(const Operations& values) {
  ordered_json out = ordered_json::object();
  for (size_t kind = 0; kind < values.size(); ++kind)
    if (values[kind] > 0) out[kArithmeticNames[kind]] = values[kind];
  return out;
}

ordered_json as_json(const std::vector<TypeWork>& types) {
  ordered_json out = ordered_json::array();
  for (const TypeWork& work : types) {
    out.push_back({{"type", info(work.type).name},
                   {"parameters", work.parameters},
                   {"bytes", work.bytes},
                   {"arithmetic", kArithmeticNames[static_cast<size_t>(work.kernel.arithmetic)]},
                   {"kernel", work.kernel.words}});
  }
  return out;
}

ordered_json as_json(const BenchOutcome& outcome) {
  const BenchTest& test = outcome.test;
  return {{"test", test.name()},
          {"tokens_per_second", outcome.median()},
          {"min", outcome.speeds.front()},
          {"max", outcome.speeds.back()},
          {"samples", outcome.speeds},
          {"n_prompt", test.prompt},
          {"n_gen", test.predict},
          {"batch", test.batch},
          {"n_depth", test.depth},
          {"threads", test.threads},
          {"backend", outcome.backend},
          {"bytes_per_token", outcome.bytes_per_token},
          {"bandwidth_bytes_per_second", outcome.limits.bandwidth},
          {"bandwidth_share", outcome.bandwidth_share()},
          {"operations_per_token", by_arithmetic(outcome.operations_per_token)},
          {"operations_per_second", outcome.operations_per_second()},
          {"peak_operations_per_second", by_arithmetic(outcome.limits.peaks)},
          {"peak_share", outcome.peak_share()}};
}

void bench(const BenchFlags& flags) {
  if (!flags.shape.empty() && !flags.model.model.empty())
    throw_error(ErrorKind::Usage, "-m and --shape: expected one of them");
  if (flags.shape.empty() && !flags.write.empty()) throw_error(ErrorKind::Usage, "--write needs --shape");
  if (flags.shape.empty() && flags.changes_shape())
    throw_error(ErrorKind::Usage, "--experts, --top-k, --expert-width and --window need --shape");
  const std::vector<BenchTest> tests = list_tests(flags);

  std::unique_ptr<Engine> engine;  // owns the model where it comes from a file
  std::unique_ptr<Model> made;
  if (flags.shape.empty()) {
    ModelFlags model = flags.model;
    // The engine only owns the model: what it checks is that the largest of the tests fits.
    for (const BenchTest& test : tests) {
      model.context = std::max(model.context, test.batch * (test.depth + test.length()));
    }
    engine = open_engine(model);
  } else {
    made = make_random_model(flags);
    if (!flags.write.empty()) write_model(*made, flags.write);
    if (tests.empty()) return;
    if (!flags.model.no_repack) make_resident(*made, *make_cpu_backend(flags.model.engine_options().backend), nullptr);
  }
  if (interrupted()) return;
  const Model& model = made ? *made : engine->model();
  const std::string name =
      made ? shape_name(flags, model.spec) : model.store.path.substr(model.store.path.rfind('/') + 1);

  BenchOptions options{flags.model.engine_options(), flags.repetitions, flags.same_token};
  options.engine.chunk = std::min(options.engine.chunk, options.engine.step_tokens);
  if (model.spec.whole_prompts()) {
    options.engine.chunk = INT64_MAX;
    if (flags.depths != std::vector<int64_t>{0})
      throw_error(ErrorKind::Usage,
                  "--n-depth: the experts of this model have a capacity, which counts over a whole prompt");
  }
  const std::vector<TypeWork> types = product_types(model, *make_cpu_backend(options.engine.backend));
  ordered_json results = ordered_json::array();
  MachineLimits limits;
  for (size_t i = 0; i < tests.size(); ++i) {
    if (i == 0 || tests[i].threads != tests[i - 1].threads) limits = probe_limits(types, tests[i].threads);
    const auto outcome = run_test(model, options, tests[i], limits);
    if (!outcome) break;
    if (flags.json) {
      results.push_back(as_json(*outcome));
    } else {
      if (i == 0) write_out(table_header(std::max(kNameWidth, name.size())));
      write_out(table_row(model, name, *outcome, flags.threads.size() > 1));
    }
    if (!flags.json && (i + 1 == tests.size() || tests[i + 1].threads != tests[i].threads))
      write_out(limits_line(*outcome));
  }
  if (!flags.json) {
    write_out(kernel_lines(types));
  } else {
    const ordered_json out = {{"model", name},
                              {"bytes", model_bytes(model)},
                              {"parameters", model.spec.parameters()},
                              {"active_parameters", model.spec.active_parameters()},
                              {"kernels", as_json(types)},
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
  add_integers(*verb, "-d,--n-depth", flags->depths, 0, kMost, "Tokens that stand before each test, not measured")
      ->group(group);
  add_integers(*verb, "-t,--threads", flags->threads, 1, 1024, "Numbers of threads")
      ->default_str("physical cores")
      ->group(group);
  add_integer(*verb, "-r,--repetitions", flags->repetitions, 1, 1000, "Times each is measured")->group(group);
  verb->add_flag("--same-token", flags->same_token,
                 "The same token everywhere, so that all go to the same experts; without it random ones")
      ->group(group);
  add_compute_flags(*verb, flags->model);
  add_model_flag(*verb, flags->model.model);
  const std::string random = "Random weights instead of -m";
  add_choice(*verb, "--shape", flags->shape, published_shapes(), "The shape of a published model")->group(random);
  add_integer(*verb, "--layers", flags->layers, 0, 4096, "Only so many layers; 0: all")->group(random);
  constexpr int64_t kMostExperts = 4096;
  add_integer(*verb, "--experts", flags->experts, 0, kMostExperts, "Experts of a layer; 0: the shape's")->group(random);
  add_integer(*verb, "--top-k", flags->top_k, 0, kMostExperts, "Of which a token uses; 0: the shape's")->group(random);
  add_integer(*verb, "--expert-width", flags->expert_width, 0, kMost, "Their inner width; 0: the shape's")
      ->group(random);
  add_integer(*verb, "--window", flags->window, -1, kMost, "Positions that attention sees; 0: all, -1: the shape's")
      ->group(random);
  add_choice(*verb, "--type", flags->type, quant_mix_names(), "The mix of types, as in ostro quantize")
      ->type_name("TYPE")
      ->group(random);
  verb->add_option("--write", flags->write,
                   "Also write them as a GGUF file that other programs load; with -p 0 -n 0 nothing else")
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
