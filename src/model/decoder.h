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
  RowBuffer stream;      // [rows, width] the residual stream
  RowBuffer normed;      // [rows, width] norm(stream), the mixer's input
  RowBuffer mixer_out;   // [rows, width]
  RowBuffer query;       // [rows, heads * head_dim]
  RowBuffer key, value;  // [rows, kv_heads * head_dim]
  RowBuffer attended;    // [rows, heads * head_dim]
  RowBuffer gate, up;    // [rows, inner], or [rows * top_k, inner] sorted by expert
  // Latent attention
  RowBuffer query_down;             // [rows, query_rank]
  RowBuffer latent_down;            // [rows, kv_rank + rope_dim]
  RowBuffer latent;                 // [rows, kv_rank]
  RowBuffer head_in;                // [heads * rows, nope_dim], then [heads * rows, kv_rank], sorted by head
  RowBuffer head_out;               // [heads * rows, kv_rank], then [heads * rows, value_dim]
  RowBuffer latent_query;           // [rows, heads * (rope_dim + kv_rank)]
  RowBuffer mixed_latent;           // [rows, heads * kv_rank]
  RowBuffer router_logits;          // [rows, experts]
  RowBuffer expert_in, expert_out;  // [rows * top_k, width] sorted by expert
  RowBuffer shared_out;             // [rows, width] of the shared expert
  Routing routing;
  ExpertRows expert_rows;
  RowBuffer states;  // [rows, width]
  RowBuffer joined;  // [rows, 2 * width] the input of multi-token prediction
  RowBuffer last;    // [logit_rows, width] the rows whose logits are wanted, after the final norm
  RowBuffer logits;  // [logit_rows, vocab]
  std::vector<KvRun> runs;
  std::vector<AttendJob> jobs;
  std::vector<size_t> run_ends;
};

// Watches the forward pass; every part may be null.
struct ForwardHooks {
  RoutingObserver* routing = nullptr;  // sees the rows that run
  // After the last block of each layer: the residual stream [rows, width].
  std::function<void(int64_t layer, const Batch& batch, Rows stream)> hidden;
  // All rows run to the end, as Decoder::states needs; else those without logits end behind the last attention, since
  // no other row reads theirs.
  bool all_rows = false;
};

class Decoder {
 public:
  Decoder(const ModelSpec& spec, const Weights& weights, Backend& backend)
      : spec_(spec), weights_(weights), backend_(backend) {}

  // Runs the batch, appending to the cache. Returns logits [batch.logit_rows, vocab], valid until the next call.
  // Throws Error(File) naming the first layer whose output is not finite.
  Rows forward(const Batch& batch, KvCache& cache, Activations& acts, const ForwardHooks& hooks = {}) const;

  // The states of all rows of the last forward, which had hooks.all_rows: [rows, width], after the decoder's final norm
  // or before it; valid until the next call of this.
  Rows states(Activations& acts, bool normed) const;
  // Multi-token prediction (DeepSeek-V3, 2024, section 2.2): from the state of each row's position and, as the batch's
  // token, the one after that position, logits of the token after it. The module's cache is appended to.
  Rows forward_mtp(const Batch& batch, Rows states, KvCache& cache, Activations& acts,
                   const ForwardHooks& hooks = {}) const;

 private:
  // acts.mixer_out = mix(acts.normed), for each kind of mixer
  void gqa_forward(size_t block, const GqaSpec& spec, const GqaWeights& weights, const Batch& batch, KvCache& cache,
                   Activations& acts) const;
  void dense_forward(const DenseSpec& spec, const DenseWeights& weights, Activations& acts) const;
  void gated_product(Rows out, const DenseSpec& spec, const DenseWeights& weights, Activations& acts) const;
  void moe_forward(const BlockSpec& block, const MoeSpec& spec, const MoeWeights& weights, const Batch& batch,
                   Activations& acts, RoutingObserver* observer) const;
  void mla_forward(size_t block, const MlaSpec& spec, const MlaWeights& weights, const Batch& batch, KvCache& cache,
                   Activations& acts) const;
  // attended = attention of the batch's queries over what the cache holds
  void attend_cached(size_t block, const Batch& batch, const KvCache& cache, Rows attended, Rows query,
                     std::span<const float> sinks, Activations& acts) const;
  // end where there is none
  size_t last_attention_block(size_t first, size_t end) const;
  // acts.stream through blocks [first, end); behind the last attention only the rows whose logits are wanted, unless
  // all rows are, or hidden states, or an expert's capacity counts over all
  void run_blocks(size_t first, size_t end, const Batch& batch, KvCache& cache, Activations& acts,
                  const ForwardHooks& hooks) const;
  Rows project_logits(const Batch& batch, std::span<const float> norm, const Matrix& output, Activations& acts) const;

  const ModelSpec& spec_;
  const Weights& weights_;
  Backend& backend_;
};

}  // namespace ostro
