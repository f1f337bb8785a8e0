// `ostro logits`: what the model computes for given tokens, as a safetensors file.
#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/interrupt.h"
#include "cli/model_flags.h"
#include "cli/terminal.h"
#include "formats/safetensors_writer.h"

namespace ostro {
namespace {

struct LogitsFlags {
  ModelFlags model;
  std::string tokens, out;
  bool routing = false, hidden = false, mtp = false, mtp_before_norm = false, json = false;
};

// Everything but the logits, which are written as they come.
struct Recorder : RoutingObserver {
  struct Layer {
    std::vector<int32_t> expert;       // [n, k]
    std::vector<float> weight, score;  // [n, k], [n, experts]
    std::vector<int32_t> dropped;      // [n, k] 0 or 1, or empty
    int64_t top_k = 0, experts = 0;
  };
  std::map<int64_t, Layer> routing;
  std::map<int64_t, std::vector<float>> hidden;  // [n, width]
  std::vector<float> mtp_logits;                 // [n - 1, vocab]

  void on_route(const BlockSpec& block, const Batch&, const Routing& chunk) override {
    Layer& layer = routing[block.layer];
    layer.top_k = chunk.top_k;
    layer.experts = chunk.experts;
    layer.expert.insert(layer.expert.end(), chunk.expert.begin(), chunk.expert.end());
    for (const double weight : chunk.weight) layer.weight.push_back(static_cast<float>(weight));
    layer.score.insert(layer.score.end(), chunk.score.begin(), chunk.score.end());
    layer.dropped.insert(layer.dropped.end(), chunk.dropped.begin(), chunk.dropped.end());
  }
};

std::vector<int32_t> parse_tokens(const std::string& given) {
  const bool file = given.starts_with('@');
  std::vector<int32_t> ids = parse_ids("--tokens", file ? read_text_file(given.substr(1)) : given);
  if (ids.empty()) throw_error(ErrorKind::Usage, "--tokens {}: expected at least one token id", given);
  return ids;
}

void check_ids(const std::vector<int32_t>& ids, const Engine& engine) {
  for (const int32_t id : ids) {
    if (id >= engine.spec().vocab)
      throw_error(ErrorKind::Usage, "--tokens {}: expected ids from 0 to {}", id, engine.spec().vocab - 1);
  }
  if (static_cast<int64_t>(ids.size()) > engine.options().context)
    throw_error(ErrorKind::Usage, "--tokens: {} tokens, the context holds {} (-c)", ids.size(),
                engine.options().context);
}

std::string routing_prefix(const ModelSpec& spec, int64_t layer) {
  return layer < spec.layers ? fmt::format("routing.{}.", layer) : "mtp.routing.";
}

// The shapes are known before the first token runs.
std::vector<SafetensorsPlan> plan_tensors(const ModelSpec& spec, const LogitsFlags& flags, int64_t tokens) {
  std::vector<SafetensorsPlan> plan = {{"logits", "F32", {tokens, spec.vocab}}};
  const auto plan_routing = [&](size_t first, size_t end, int64_t rows) {
    for (size_t b = first; flags.routing && b < end; ++b) {
      const auto* moe = std::get_if<MoeSpec>(&spec.blocks[b].mixer);
      if (moe == nullptr) continue;
      const std::string prefix = routing_prefix(spec, spec.blocks[b].layer);
      plan.push_back({prefix + "expert", "I32", {rows, moe->router.top_k}});
      plan.push_back({prefix + "weight", "F32", {rows, moe->router.top_k}});
      plan.push_back({prefix + "score", "F32", {rows, moe->router.experts}});
      if (moe->router.capacity) plan.push_back({prefix + "dropped", "I32", {rows, moe->router.top_k}});
    }
  };
  plan_routing(0, spec.decoder_blocks(), tokens);
  if (flags.mtp) plan_routing(spec.decoder_blocks(), spec.blocks.size(), tokens - 1);
  for (int64_t layer = 0; flags.hidden && layer < spec.layers; ++layer)
    plan.push_back({fmt::format("hidden.{}", layer), "F32", {tokens, spec.width}});
  if (flags.mtp) plan.push_back({"mtp.logits", "F32", {tokens - 1, spec.vocab}});
  return plan;
}

template <typename T>
void write_values(SafetensorsWriter& writer, const std::string& name, const std::vector<T>& values) {
  writer.write(name, std::as_bytes(std::span(values)));
}

void write_recorded(SafetensorsWriter& writer, const ModelSpec& spec, const Recorder& recorder) {
  for (const auto& [number, layer] : recorder.routing) {
    const std::string prefix = routing_prefix(spec, number);
    write_values(writer, prefix + "expert", layer.expert);
    write_values(writer, prefix + "weight", layer.weight);
    write_values(writer, prefix + "score", layer.score);
    if (!layer.dropped.empty()) write_values(writer, prefix + "dropped", layer.dropped);
  }
  for (const auto& [layer, values] : recorder.hidden) {
    if (layer < spec.layers) write_values(writer, fmt::format("hidden.{}", layer), values);
  }
  if (!recorder.mtp_logits.empty()) write_values(writer, "mtp.logits", recorder.mtp_logits);
}

Batch chunk_of(const std::vector<int32_t>& ids, int64_t first, int64_t count) {
  Batch batch;
  batch.sequences = {{0, 0, count}};
  for (int64_t i = 0; i < count; ++i) {
    batch.tokens.push_back(ids[static_cast<size_t>(first + i)]);
    batch.positions.push_back(first + i);
    batch.logit_rows.push_back(i);
  }
  return batch;
}

// Multi-token prediction for the rows of a chunk that have a next token: row i predicts token i + 2.
void run_mtp(Engine& engine, const std::vector<int32_t>& ids, int64_t first, int64_t count, bool normed,
             Activations& activations, RoutingObserver* routing, std::vector<float>& logits) {
  count = std::min(count, static_cast<int64_t>(ids.size()) - 1 - first);
  if (count == 0) return;
  const Rows states = engine.decoder().states(activations, normed).slice(0, count);
  Batch batch = chunk_of(ids, first, count);
  for (int64_t i = 0; i < count; ++i) batch.tokens[static_cast<size_t>(i)] = ids[static_cast<size_t>(first + i + 1)];
  ForwardHooks hooks;
  hooks.routing = routing;
  const auto values = engine.decoder().forward_mtp(batch, states, engine.cache(), activations, hooks).values();
  logits.insert(logits.end(), values.begin(), values.end());
}

void write_logits(const LogitsFlags& flags) {
  const std::vector<int32_t> ids = parse_tokens(flags.tokens);
  const auto count = static_cast<int64_t>(ids.size());
  ModelFlags model = flags.model;
  if (model.context == EngineOptions::kDefaultContext) model.context = count;
  auto engine = open_engine(model);
  check_ids(ids, *engine);
  if (flags.mtp && engine->spec().mtp_blocks == 0)
    throw_error(ErrorKind::Usage, "--mtp: this model has no module of multi-token prediction");
  if (flags.mtp && count < 2) throw_error(ErrorKind::Usage, "--mtp: expected at least two tokens");

  Recorder recorder;
  ForwardHooks hooks;
  hooks.all_rows = true;
  if (flags.routing) hooks.routing = &recorder;
  if (flags.hidden) {
    hooks.hidden = [&recorder](int64_t layer, const Batch&, Rows stream) {
      const auto values = stream.values();
      recorder.hidden[layer].insert(recorder.hidden[layer].end(), values.begin(), values.end());
    };
  }
  SafetensorsWriter writer(flags.out, plan_tensors(engine->spec(), flags, count));
  std::optional<Progress> bar(std::in_place, "tokens", static_cast<uint64_t>(count), "tokens");
  Activations activations;
  for (int64_t first = 0; first < count; first += engine->options().chunk) {
    if (interrupted()) return;  // nothing appears under the name of the file
    const Batch batch = chunk_of(ids, first, std::min(engine->options().chunk, count - first));
    const Rows logits = engine->decoder().forward(batch, engine->cache(), activations, hooks);
    writer.write("logits", std::as_bytes(logits.values()));
    if (flags.mtp) {
      run_mtp(*engine, ids, first, batch.rows(), !flags.mtp_before_norm, activations, hooks.routing,
              recorder.mtp_logits);
    }
    bar->add(static_cast<uint64_t>(batch.rows()));
  }
  bar.reset();
  write_recorded(writer, engine->spec(), recorder);
  writer.commit();
  if (flags.json) write_out(nlohmann::ordered_json{{"file", flags.out}, {"tokens", count}}.dump() + "\n");
}

}  // namespace

void add_logits(CLI::App& app) {
  auto* verb = app.add_subcommand("logits", "Logits, routing and hidden states of given tokens, as safetensors");
  auto flags = std::make_shared<LogitsFlags>();
  verb->add_option("--tokens", flags->tokens, "Token ids, or a file with them")
      ->type_name("N,...|@FILE")
      ->required()
      ->group("Output");
  verb->add_option("-o,--output", flags->out, "The file to write: logits [n, vocab]")
      ->type_name("OUT.safetensors")
      ->required()
      ->group("Output");
  verb->add_flag("--routing", flags->routing,
                 "Also routing.<layer>.expert, .weight [n, k] and .score [n, experts]; .dropped [n, k] where experts "
                 "have a capacity")
      ->group("Output");
  verb->add_flag("--hidden", flags->hidden, "Also hidden.<layer> [n, width], the residual stream after a layer")
      ->group("Output");
  verb->add_flag("--mtp", flags->mtp, "Also mtp.logits [n - 1, vocab] of the module of multi-token prediction")
      ->group("Output");
  verb->add_flag("--mtp-before-norm", flags->mtp_before_norm,
                 "The module starts from the decoder's states before its final norm, as some programs have it")
      ->group("Output");
  verb->add_flag("--json", flags->json, "Say what was written as one JSON object")->group("Output");
  add_model_flags(*verb, flags->model);
  verb->footer(
      "Examples:\n"
      "  ostro logits -m model.gguf --tokens 1,415,3 -o out.safetensors\n"
      "  ostro logits -m model.gguf --tokens @ids.txt -o out.safetensors --routing --hidden --compute f32");
  verb->callback([flags] { write_logits(*flags); });
}

}  // namespace ostro
