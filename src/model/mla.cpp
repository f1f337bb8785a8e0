// Multi-head latent attention (DeepSeek-V2, 2024, section 2.1) in its absorbed form. A token caches one latent c and
// one turned key k_r; W_uk and W_uv, which make each head's keys and values from c, are moved to the other side of the
// products:
//     score_h = q_n (W_uk c) + q_r k_r = (W_uk^T q_n) c + q_r k_r,    out_h = sum p (W_uv c) = W_uv (sum p c)
// so that attention runs over the cache as it is: one key-value head, whose values are part of its keys.
#include <array>

#include "model/decoder.h"

namespace ostro {

namespace {

// Rows of one head after another, [heads * rows], from rows with all their heads, [rows * heads], and back.
struct HeadOrder {
  std::vector<int64_t> by_head, by_row;

  HeadOrder(int64_t rows, int64_t heads) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t r = 0; r < rows; ++r) by_head.push_back(r * heads + h);
    }
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t h = 0; h < heads; ++h) by_row.push_back(h * rows + r);
    }
  }
};

// The same values as [rows * heads, width / heads].
Rows split_heads(Rows rows, int64_t heads) { return {rows.data, rows.rows * heads, rows.width / heads}; }

}  // namespace

// Cached rows and the queries against them are [k_r | c], the turned part first.
void Decoder::mla_forward(size_t block, const MlaSpec& spec, const MlaWeights& weights, const Batch& batch,
                          KvCache& cache, Activations& acts) const {
  const int64_t rows = batch.rows(), heads = spec.heads, cached = spec.rope_dim + spec.kv_rank;
  const RopeSpec& rope = spec.rope;
  const Rows normed = acts.normed.view();
  const Rows query = acts.query.resize(rows, weights.query.rows);
  const Rows down = acts.latent_down.resize(rows, weights.kv_down.rows);  // [c | k_r]
  if (spec.query_rank > 0) {
    const Rows query_down = acts.query_down.resize(rows, spec.query_rank);
    backend_.linear_fine(std::array{Product{weights.query_down, query_down}, Product{weights.kv_down, down}}, normed);
    backend_.normalize(query_down, query_down, weights.query_norm, spec.latent_norm.kind, spec.latent_norm.eps);
    backend_.linear(std::array{Product{weights.query, query}}, query_down);
  } else {
    backend_.linear_fine(std::array{Product{weights.query, query}, Product{weights.kv_down, down}}, normed);
  }

  const Rows latent = acts.latent.resize(rows, spec.kv_rank);
  backend_.copy_columns({latent, 0, spec.kv_rank}, {down, 0, spec.kv_rank}, {});
  backend_.normalize(latent, latent, weights.kv_norm, spec.latent_norm.kind, spec.latent_norm.eps);
  const Rows key = acts.key.resize(rows, cached);
  backend_.copy_columns({key, 0, spec.rope_dim}, {down, spec.kv_rank, spec.rope_dim}, {});
  backend_.copy_columns({key, spec.rope_dim, spec.kv_rank}, {latent, 0, spec.kv_rank}, {});
  backend_.rope(key, batch.positions, cached, rope.inverse_frequency, rope.magnitude, rope.pairing);
  cache.append(backend_, block, batch, key, {});

  // W_uk^T q_n for each head over all its rows: heads are to the grouped product what experts are.
  const HeadOrder order(rows, heads);
  std::vector<int64_t> first_row;
  for (int64_t h = 0; h <= heads; ++h) first_row.push_back(h * rows);
  const Rows heads_of_query = split_heads(query, heads);  // [q_n | q_r]
  const Rows nope = acts.head_in.resize(heads * rows, spec.nope_dim);
  backend_.copy_columns({nope, 0, spec.nope_dim}, {heads_of_query, 0, spec.nope_dim}, order.by_head);
  const Rows absorbed = acts.head_out.resize(heads * rows, spec.kv_rank);
  backend_.grouped_linear(std::array{GroupedProduct{weights.key_up, absorbed}}, nope, first_row);
  const Rows latent_query = acts.latent_query.resize(rows, heads * cached);
  const Rows heads_of_latent_query = split_heads(latent_query, heads);
  backend_.copy_columns({heads_of_latent_query, 0, spec.rope_dim}, {heads_of_query, spec.nope_dim, spec.rope_dim}, {});
  backend_.copy_columns({heads_of_latent_query, spec.rope_dim, spec.kv_rank}, {absorbed, 0, spec.kv_rank},
                        order.by_row);
  backend_.rope(latent_query, batch.positions, cached, rope.inverse_frequency, rope.magnitude, rope.pairing);

  const Rows mixed = acts.mixed_latent.resize(rows, heads * spec.kv_rank);
  attend_cached(block, batch, cache, mixed, latent_query, {}, acts);

  // W_uv (sum p c)
  const Rows mixed_by_head = acts.head_in.resize(heads * rows, spec.kv_rank);
  backend_.copy_columns({mixed_by_head, 0, spec.kv_rank}, {split_heads(mixed, heads), 0, spec.kv_rank}, order.by_head);
  const Rows values = acts.head_out.resize(heads * rows, spec.value_dim);
  backend_.grouped_linear(std::array{GroupedProduct{weights.value_up, values}}, mixed_by_head, first_row);
  const Rows attended = acts.attended.resize(rows, heads * spec.value_dim);
  backend_.copy_columns({split_heads(attended, heads), 0, spec.value_dim}, {values, 0, spec.value_dim}, order.by_row);
  const Rows out = acts.mixer_out.resize(rows, spec_.width);
  backend_.linear(std::array{Product{weights.output, out}}, attended);
}

}  // namespace ostro
