// The forward pass: embed, residual blocks, final norm, logits. It reads as the papers do; everything it writes goes
// into `Activations`, which the caller owns.
#pragma once

#include <functional>
#include <vector>

#include "model/batch.h"
#include "model/kv_cache.h"
#include "model/routing.h"
#include "model/spec.h"
#include "model/weights.h"

namespace ostro {

struct Activations {
  RowBuffer stream;                 // [rows, width] the residual stream
  RowBuffer normed;                 // [rows, width] norm(stream), the mixer's input
  RowBuffer mixer_out;              // [rows, width]
  RowBuffer query;                  // [rows, heads * head_dim]
  RowBuffer key, value;             // [rows, kv_heads * head_dim]
  RowBuffer attended;               // [rows, heads * head_dim]
  RowBuffer gate, up;               // [rows, inner], or [rows * top_k, inner] sorted by expert
  RowBuffer router_logits;          // [rows, experts]
  RowBuffer expert_in, expert_out;  // [rows * top_k, width] sorted by expert
  RowBuffer shared_out;             // [rows, width] of the shared expert
  Routing routing;
  ExpertRows expert_rows;
  RowBuffer last;    // [logit_rows, width] the rows whose logits are wanted, after the final norm
  RowBuffer logits;  // [logit_rows, vocab]
  std::vector<KvRun> runs;
  std::vector<AttendJob> jobs;
  std::vector<size_t> run_ends;
};

// Watches the forward pass; every part may be null.
struct ForwardHooks {
  RoutingObserver* routing = nullptr;
  // After the last block of each layer: the residual stream [rows, width].
  std::function<void(int64_t layer, const Batch& batch, Rows stream)> hidden;
};

class Decoder {
 public:
  Decoder(const ModelSpec& spec, const Weights& weights, Backend& backend)
      : spec_(spec), weights_(weights), backend_(backend) {}

  // Runs the batch, appending to the cache. Returns logits [batch.logit_rows, vocab], valid until the next call.
  // Throws Error(File) naming the first layer whose output is not finite.
  Rows forward(const Batch& batch, KvCache& cache, Activations& acts, const ForwardHooks& hooks = {}) const;

 private:
  // acts.mixer_out = mix(acts.normed), for each kind of mixer
  void gqa_forward(size_t block, const GqaSpec& spec, const GqaWeights& weights, const Batch& batch, KvCache& cache,
                   Activations& acts) const;
  void dense_forward(const DenseSpec& spec, const DenseWeights& weights, Activations& acts) const;
  void gated_product(Rows out, const DenseSpec& spec, const DenseWeights& weights, Activations& acts) const;
  void moe_forward(const BlockSpec& block, const MoeSpec& spec, const MoeWeights& weights, const Batch& batch,
                   Activations& acts, RoutingObserver* observer) const;
  Rows project_logits(const Batch& batch, Activations& acts) const;

  const ModelSpec& spec_;
  const Weights& weights_;
  Backend& backend_;
};

}  // namespace ostro
