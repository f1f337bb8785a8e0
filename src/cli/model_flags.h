// The flags that run, chat, logits and bench share: which model, on what, and how tokens are chosen.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"

namespace CLI {
class App;
}

namespace ostro {

struct ModelFlags {
  std::string model;
  int64_t context = EngineOptions::kDefaultContext;
  int64_t threads = 0, batch = 2048, micro_batch = 512;
  std::string key_type = "f16", value_type = "f16", compute = "auto";
  // Over what the model says of itself; empty and 0: as it says.
  std::string rope_scaling;
  double rope_scale = 0, rope_base = 0;
  int64_t yarn_context = 0;
  bool no_capacity = false, no_repack = false;
  std::string draft = "none", draft_model;
  int64_t draft_max = 0;

  EngineOptions engine_options() const;
};
void add_model_flag(CLI::App& verb, std::string& model);
void add_compute_flags(CLI::App& verb, ModelFlags& flags);  // -b, -ub, -ctk, -ctv, --compute
void add_model_flags(CLI::App& verb, ModelFlags& flags);    // all of them
void add_draft_flags(CLI::App& verb, ModelFlags& flags);    // --draft, --draft-model, --draft-max

// What was given, else $OSTRO_MODEL, else the model that scripts/quickstart made. Throws Error(Usage) where there is
// none.
std::string model_path(const std::string& given);
// With a bar while weights load.
std::unique_ptr<Engine> open_engine(const ModelFlags& flags);

struct SamplingFlags {
  SamplingParams params;
  int64_t seed = -1;
  int64_t predict = -1;
  std::vector<std::string> stop;
  bool ignore_eos = false;

  // A request with these; a seed of -1 is replaced by a random one.
  Request request() const;
};
void add_sampling_flags(CLI::App& verb, SamplingFlags& flags);

// Engine::run until done or Ctrl-C, with a bar while a long prompt is read.
Result generate(Engine& engine, Request request, RoutingObserver* observer = nullptr);

}  // namespace ostro
