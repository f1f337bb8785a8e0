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
  RowBuffer stream;                                // [rows, width] the residual stream
  RowBuffer normed;                                // [rows, width]
  RowBuffer query, key, value, mixed;              // attention
  RowBuffer gate, up, inner_out;                   // dense feed-forward
  RowBuffer router_logits, expert_in, expert_out;  // MoE
  Routing routing;
  ExpertRows expert_rows;
  RowBuffer logits;  // [logit_rows, vocab]
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
  // Throws Error(File) naming the layer when a logit is not finite.
  Rows forward(const Batch& batch, KvCache& cache, Activations& acts, const ForwardHooks& hooks = {}) const;

 private:
  void gqa_forward(size_t block, const Batch& batch, KvCache& cache, Activations& acts) const;
  void dense_forward(size_t block, Activations& acts) const;
  void moe_forward(size_t block, const Batch& batch, Activations& acts, const ForwardHooks& hooks) const;

  const ModelSpec& spec_;
  const Weights& weights_;
  Backend& backend_;
};

}  // namespace ostro
