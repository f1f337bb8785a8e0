// `ostro inspect`: what a model is, how its files were understood, and whether its weights are finite.
#include <CLI/CLI.hpp>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "engine/memory.h"
#include "model/kv_cache.h"
#include "model/load_model.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace ostro {
namespace {

using nlohmann::ordered_json;

struct InspectFlags {
  std::string model;
  bool json = false, tensors = false, verify = false;
};

std::string format_name(CheckpointFormat format) {
  switch (format) {
    case CheckpointFormat::HuggingFace:
      return "config.json and tensors";
    case CheckpointFormat::Mistral:
      return "params.json and consolidated tensors";
    case CheckpointFormat::NumberedPickles:
      return "numbered pickles";
    case CheckpointFormat::Gguf:
      return "GGUF";
  }
  return "";
}

// One kind of mixer in words and as data.
struct MixerText {
  std::string words;
  ordered_json data;
};

std::string describe(const RopeScaling& scaling) {
  switch (scaling.kind) {
    case RopeScaling::Kind::None:
      break;
    case RopeScaling::Kind::Linear:
      return fmt::format(", stretched x{}", scaling.factor);
    case RopeScaling::Kind::Bands:
      return fmt::format(", long waves stretched x{} over {} positions", scaling.factor, scaling.original_context);
    case RopeScaling::Kind::Yarn:
      return fmt::format(", YaRN x{} over {} positions", scaling.factor, scaling.original_context);
    case RopeScaling::Kind::Divisors:
      return ", each frequency divided by a number of the file's";
  }
  return "";
}

MixerText describe(const GqaSpec& gqa) {
  std::string extras;
  if (gqa.query_key_norm == QueryKeyNorm::PerHead) extras += "; queries and keys normalised per head";
  if (gqa.query_key_norm == QueryKeyNorm::Whole) extras += "; queries and keys normalised before the heads are split";
  if (gqa.qkv_bias) extras += "; biases on queries, keys and values";
  if (gqa.output_bias) extras += "; bias on the output";
  const double usual = 1 / std::sqrt(static_cast<double>(gqa.head_dim));
  if (gqa.logit_cap == 0 && std::fabs(static_cast<double>(gqa.scale) / usual - 1) > 1e-5) {
    extras += gqa.scale == 1 ? "; scores not scaled" : fmt::format("; scores times {}", gqa.scale);
  }
  if (gqa.sinks) extras += "; an attention sink per head";
  if (gqa.clip_qkv > 0) extras += fmt::format("; queries, keys and values clipped at {}", gqa.clip_qkv);
  if (gqa.logit_cap > 0) extras += fmt::format("; scores times {}, capped at {}", gqa.scale, gqa.logit_cap);
  const char* pairing = gqa.rope.pairing == RopePairing::Interleaved ? "neighbours" : "halves";
  return {fmt::format("{} query heads, {} key-value heads of {}; RoPE base {} over {}{}; {}{}", gqa.query_heads,
                      gqa.kv_heads, gqa.head_dim, gqa.rope.theta, pairing, describe(gqa.rope.scaling),
                      gqa.window > 0 ? fmt::format("window of {} tokens", gqa.window) : "all earlier tokens", extras),
          {{"kind", "attention"},
           {"query_heads", gqa.query_heads},
           {"kv_heads", gqa.kv_heads},
           {"head_dim", gqa.head_dim},
           {"rope_theta", gqa.rope.theta},
           {"window", gqa.window > 0 ? ordered_json(gqa.window) : ordered_json()},
           {"scale", gqa.scale},
           {"logit_cap", gqa.logit_cap > 0 ? ordered_json(gqa.logit_cap) : ordered_json()},
           {"clip_qkv", gqa.clip_qkv > 0 ? ordered_json(gqa.clip_qkv) : ordered_json()}}};
}

const char* name_of(Activation activation) {
  switch (activation) {
    case Activation::SwiGlu:
      return "SwiGLU";
    case Activation::GeGlu:
      return "GeGLU, tanh form";
    case Activation::GatedSwiGlu:
      return "SwiGLU as the gate of a gate";
    case Activation::ClampedSwiGlu:
      break;
  }
  return "clamped SwiGLU";
}

MixerText describe(const MlaSpec& mla) {
  // Plain multi-head attention of these heads would cache a key and a value of each.
  const int64_t cached = mla.kv_rank + mla.rope_dim;
  const int64_t plain = mla.heads * (mla.nope_dim + mla.rope_dim + mla.value_dim);
  const double saved = 100 * (1 - static_cast<double>(cached) / static_cast<double>(plain));
  const std::string queries = mla.query_rank > 0 ? fmt::format("queries through a latent of {}", mla.query_rank)
                                                 : std::string("queries straight from the input");
  return {
      fmt::format("multi-head latent attention: {} heads, keys of {} + {} with position, values of {}; {}; a latent "
                  "of {} and a key of {} cached, {:.1f} % less than plain multi-head's; RoPE base {} over "
                  "neighbours{}; scores times {:.6g}",
                  mla.heads, mla.nope_dim, mla.rope_dim, mla.value_dim, queries, mla.kv_rank, mla.rope_dim, saved,
                  mla.rope.theta, describe(mla.rope.scaling), mla.scale),
      {{"kind", "latent attention"},
       {"heads", mla.heads},
       {"query_rank", mla.query_rank},
       {"kv_rank", mla.kv_rank},
       {"nope_dim", mla.nope_dim},
       {"rope_dim", mla.rope_dim},
       {"value_dim", mla.value_dim},
       {"rope_theta", mla.rope.theta},
       {"scale", mla.scale},
       {"cached_values", cached},
       {"plain_cached_values", plain}}};
}

MixerText describe(const DenseSpec& dense) {
  return {fmt::format("dense feed-forward ({}), {} wide", name_of(dense.activation), dense.inner),
          {{"kind", "dense"}, {"inner", dense.inner}, {"activation", name_of(dense.activation)}}};
}

MixerText describe(const MoeSpec& moe) {
  const RouterSpec& router = moe.router;
  const bool logit = router.score == Score::Logit;
  const char* score = logit ? "logit" : router.score == Score::Softmax ? "softmax" : "sigmoid";
  std::string rule = logit ? fmt::format("the {} largest logits of {} experts kept", router.top_k, router.experts)
                           : fmt::format("{} over the logits of all {} experts, the {} largest kept", score,
                                         router.experts, router.top_k);
  if (router.bias) rule += ", with a bias";
  if (router.groups > 1) {
    rule += fmt::format(" in the {} best of {} groups ({})", router.groups_kept, router.groups,
                        router.group_rank == GroupRank::Max ? "by their best" : "by the sum of their two best");
  }
  if (router.selection_bias) rule += ", chosen with a bias that the weights leave out";
  rule += logit                ? ", their weights a softmax over these alone"
          : router.renormalize ? ", their weights divided by their sum"
                               : ", their weights as they are";
  if (router.weight_scale != 1) rule += fmt::format(", times {}", router.weight_scale);
  if (router.capacity) {
    rule += fmt::format("; an expert takes {} x {} x tokens / {} of a prompt, even and at least {}, and drops the rest",
                        router.top_k, router.capacity->factor, router.experts, router.capacity->least);
  }
  const char* gated = moe.shared && moe.shared->gated ? " times a gate" : "";
  const std::string shared = moe.shared ? fmt::format(" and a shared one {} wide{}", moe.shared->inner, gated) : "";
  return {fmt::format("{} experts ({}{}) {} wide{}; router: {}", router.experts, name_of(moe.expert.activation),
                      moe.expert.bias ? " with biases" : "", moe.expert.inner, shared, rule),
          {{"kind", "moe"},
           {"inner", moe.expert.inner},
           {"activation", name_of(moe.expert.activation)},
           {"experts", router.experts},
           {"top_k", router.top_k},
           {"score", score},
           {"renormalize", router.renormalize},
           {"weight_scale", router.weight_scale},
           {"selection_bias", router.selection_bias},
           {"groups", router.groups},
           {"groups_kept", router.groups_kept},
           {"shared", moe.shared ? ordered_json(moe.shared->inner) : ordered_json()},
           {"capacity_factor", router.capacity ? ordered_json(router.capacity->factor) : ordered_json()},
           {"rule", rule}}};
}

const char* name_of(NormKind kind) { return kind == NormKind::Rms ? "RMSNorm" : "LayerNorm without bias"; }

// Runs of layers whose blocks are the same.
struct LayerRun {
  int64_t first = 0, last = 0;
  std::vector<MixerText> blocks;
};

std::vector<LayerRun> layer_runs(const ModelSpec& spec) {
  std::vector<LayerRun> layers;
  for (const auto& block : spec.blocks) {
    if (layers.empty() || layers.back().first != block.layer) layers.push_back({block.layer, block.layer, {}});
    layers.back().blocks.push_back(std::visit([](const auto& mixer) { return describe(mixer); }, block.mixer));
    MixerText& text = layers.back().blocks.back();
    text.data["norm"] = name_of(block.norm.kind);
    text.data["post_norm"] = block.post_norm ? ordered_json(name_of(block.post_norm->kind)) : ordered_json();
    if (block.post_norm) text.words += "; its output normed before it is added";
  }
  auto same = [](const LayerRun& a, const LayerRun& b) {
    return std::equal(a.blocks.begin(), a.blocks.end(), b.blocks.begin(), b.blocks.end(),
                      [](const auto& x, const auto& y) { return x.words == y.words; });
  };
  std::vector<LayerRun> runs;
  for (const auto& layer : layers) {
    if (!runs.empty() && same(runs.back(), layer)) {
      runs.back().last = layer.last;
    } else {
      runs.push_back(layer);
    }
  }
  return runs;
}

struct TypeTotal {
  int64_t tensors = 0;
  uint64_t bytes = 0;
};

std::map<std::string, TypeTotal> type_totals(const WeightStore& store) {
  std::map<std::string, TypeTotal> totals;
  for (const auto& [name, tensor] : store.tensors) {
    TypeTotal& total = totals[std::string(info(tensor.dtype).name)];
    ++total.tensors;
    total.bytes += tensor.bytes.size();
  }
  return totals;
}

struct Facts {
  std::unique_ptr<Model> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatFormat> chat;
  std::vector<LayerRun> runs;
  std::map<std::string, TypeTotal> types;
  uint64_t kv_bytes = 0;  // of a token, as f16
  std::vector<std::string> notes;
};

Facts gather(const std::string& path) {
  Facts facts;
  facts.model = bind_model(path);
  facts.tokenizer = load_tokenizer(facts.model->store);
  facts.chat = load_chat_format(facts.model->store, facts.tokenizer.get());
  facts.runs = layer_runs(facts.model->spec);
  facts.types = type_totals(facts.model->store);
  facts.kv_bytes = KvCache::bytes_per_token(facts.model->spec, DType::F16, DType::F16);
  facts.notes = facts.model->spec.notes;
  facts.notes.insert(facts.notes.end(), facts.model->weights.notes.begin(), facts.model->weights.notes.end());
  return facts;
}

ordered_json as_json(const Facts& facts, bool tensors) {
  const WeightStore& store = facts.model->store;
  const ModelSpec& spec = facts.model->spec;
  ordered_json out = {{"path", store.path},
                      {"format", format_name(store.format)},
                      {"family", spec.family},
                      {"layers", spec.layers},
                      {"width", spec.width},
                      {"vocab", spec.vocab},
                      {"context", spec.context},
                      {"tied_embeddings", spec.tied_embeddings},
                      {"norm", name_of(spec.final_norm.kind)},
                      {"embedding_scale", spec.embedding_scale},
                      {"logit_scale", spec.logit_scale},
                      {"parameters", spec.parameters()},
                      {"active_parameters", spec.active_parameters()},
                      {"bytes", store.total_bytes()},
                      {"kv_bytes_per_token", facts.kv_bytes}};
  for (const auto& run : facts.runs) {
    ordered_json entry = {{"first_layer", run.first}, {"last_layer", run.last}};
    for (const auto& block : run.blocks) entry["blocks"].push_back(block.data);
    out["structure"].push_back(entry);
  }
  for (const auto& [name, total] : facts.types)
    out["types"][name] = {{"tensors", total.tensors}, {"bytes", total.bytes}};
  out["bos"] = spec.bos;
  out["eos"] = spec.eos;
  out["tokenizer"] = facts.tokenizer ? ordered_json(facts.tokenizer->describe()) : ordered_json();
  out["chat_format"] = facts.chat ? ordered_json(facts.chat->name()) : ordered_json();
  out["notes"] = facts.notes;
  if (!tensors) return out;
  for (const auto& [name, tensor] : store.tensors) {
    out["tensors"].push_back({{"name", name},
                              {"type", info(tensor.dtype).name},
                              {"shape", tensor.shape},
                              {"bytes", tensor.bytes.size()},
                              {"file", tensor.file}});
  }
  return out;
}

std::string billions(int64_t count) {
  const auto value = static_cast<double>(count);
  return count >= 1'000'000'000 ? fmt::format("{:.2f} billion", value / 1e9)
                                : fmt::format("{:.2f} million", value / 1e6);
}

std::string as_text(const Facts& facts, bool tensors) {
  const WeightStore& store = facts.model->store;
  const ModelSpec& spec = facts.model->spec;
  std::string out;
  auto line = [&out](std::string_view label, const std::string& text) {
    out += fmt::format("{:<12}{}\n", label, text);
  };
  line("model", store.path);
  line("format",
       fmt::format("{}, {} in {} tensors of {} file{}", format_name(store.format), in_gigabytes(store.total_bytes()),
                   store.tensors.size(), store.files.size(), store.files.size() == 1 ? "" : "s"));
  line("family", spec.family);
  line("shape", fmt::format("{} layers, width {}, vocabulary {}{}", spec.layers, spec.width, spec.vocab,
                            spec.tied_embeddings ? ", output tied to the embeddings" : ""));
  std::string norms = fmt::format("{}, epsilon {}", name_of(spec.final_norm.kind), spec.final_norm.eps);
  if (spec.embedding_scale != 1) norms += fmt::format("; embeddings times {}", spec.embedding_scale);
  if (spec.logit_scale != 1) norms += fmt::format("; logits times {}", spec.logit_scale);
  line("norms", norms);
  for (const auto& run : facts.runs) {
    std::string label =
        run.first == run.last ? fmt::format("layer {}", run.first) : fmt::format("{} to {}", run.first, run.last);
    for (const auto& block : run.blocks) line(std::exchange(label, ""), block.words);
  }
  line("parameters",
       fmt::format("{}, {} of them for one token", billions(spec.parameters()), billions(spec.active_parameters())));
  std::string label = "weights";
  for (const auto& [name, total] : facts.types)
    line(std::exchange(label, ""),
         fmt::format("{:<8} {:>5} tensors {:>10}", name, total.tensors, in_gigabytes(total.bytes)));
  line("context", fmt::format("{} tokens; KV cache {} bytes a token as f16", spec.context, facts.kv_bytes));
  line("tokenizer", facts.tokenizer ? facts.tokenizer->describe() : "none");
  line("chat", facts.chat ? facts.chat->name() : "no format");
  label = "notes";
  for (const auto& note : facts.notes) line(std::exchange(label, ""), note);
  if (!tensors) return out;
  out += "\n";
  for (const auto& [name, tensor] : store.tensors)
    out += fmt::format("{:<48} {:<8} [{}]\n", name, info(tensor.dtype).name, fmt::join(tensor.shape, ", "));
  return out;
}

void verify(const Model& model) {
  const uint64_t checked = checked_bytes(model.store);
  Progress bar("verify", checked + model.store.total_bytes(), "B");
  verify_checksums(model.store, [&](uint64_t done) { bar.set(done); });
  verify_finite(model.spec, model.weights, model.store.path, default_threads(),
                [&](uint64_t done) { bar.set(checked + done); });
}

void inspect(const InspectFlags& flags) {
  const Facts facts = gather(flags.model);
  if (flags.verify) verify(*facts.model);
  const bool has_checksums = checked_bytes(facts.model->store) > 0;
  if (flags.json) {
    ordered_json out = as_json(facts, flags.tensors);
    if (flags.verify) out["finite"] = true;
    if (flags.verify) out["checksums"] = has_checksums ? ordered_json(true) : ordered_json();
    write_out(out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
  } else {
    std::string text = as_text(facts, flags.tensors);
    if (flags.verify)
      text += fmt::format("verified    all weights are finite{}\n", has_checksums ? ", all checksums fit" : "");
    write_out(text);
  }
}

}  // namespace

void add_inspect(CLI::App& app) {
  auto* verb = app.add_subcommand("inspect", "What a model is and how its files were understood");
  auto flags = std::make_shared<InspectFlags>();
  verb->add_option("model,-m,--model", flags->model, "A GGUF file, or a folder with config.json or params.json")
      ->type_name("MODEL")
      ->required();
  verb->add_flag("--tensors", flags->tensors, "List every tensor with its type and shape");
  verb->add_flag("--verify", flags->verify, "Read every weight; refuse NaN, infinity and wrong checksums");
  verb->add_flag("--json", flags->json, "One JSON object");
  verb->footer(
      "Examples:\n"
      "  ostro inspect model.gguf\n"
      "  ostro inspect Mixtral-8x7B-v0.1/ --tensors --verify");
  verb->callback([flags] { inspect(*flags); });
}

}  // namespace ostro
