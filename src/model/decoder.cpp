#include "model/decoder.h"

#include <array>
#include <bit>
#include <cmath>

#include "base/error.h"

namespace ostro {

namespace {

bool all_finite(std::span<const float> values) {
  // The exponent bits are all set in infinities and NaNs alone. Without a branch, so that the loop is vectorised.
  uint32_t bad = 0;
  for (const float value : values) bad |= (std::bit_cast<uint32_t>(value) & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
  return bad == 0;
}

void require_finite(Rows rows, const std::string& where) {
  if (all_finite(rows.values())) return;
  int64_t row = 0;
  while (all_finite(rows.slice(row, 1).values())) ++row;
  throw_error(ErrorKind::File,
              "{}: a value of row {} of {} is not finite; the weights are damaged, or too large for float32", where,
              row, rows.rows);
}

// [rows, values / rows]
Matrix float_matrix(const std::vector<float>& values, int64_t rows) {
  const int64_t cols = static_cast<int64_t>(values.size()) / rows;
  return {reinterpret_cast<const std::byte*>(values.data()), DType::F32, rows, cols, row_bytes(DType::F32, cols)};
}

bool ends_layer(const ModelSpec& spec, size_t block) {
  return block + 1 == spec.blocks.size() || spec.blocks[block + 1].layer != spec.blocks[block].layer;
}

}  // namespace

Rows Decoder::forward(const Batch& batch, KvCache& cache, Activations& acts, const ForwardHooks& hooks) const {
  CHECK(batch.rows() > 0 && batch.positions.size() == batch.tokens.size());
  for (const int32_t token : batch.tokens) CHECK(token >= 0 && token < spec_.vocab);

  const Rows stream = acts.stream.resize(batch.rows(), spec_.width);
  backend_.embed(stream, weights_.embedding, batch.tokens, spec_.embedding_scale);
  run_blocks(0, spec_.decoder_blocks(), batch, cache, acts, hooks);
  return project_logits(batch, weights_.final_norm, weights_.output, acts);
}

Rows Decoder::states(Activations& acts, bool normed) const {
  const Rows stream = acts.stream.view();
  const Rows states = acts.states.resize(stream.rows, stream.width);
  if (normed) {
    backend_.normalize(states, stream, weights_.final_norm, spec_.final_norm.kind, spec_.final_norm.eps);
  } else {
    backend_.copy_columns({states, 0, states.width}, {stream, 0, stream.width}, {});
  }
  return states;
}

// stream = join [norm(embedding of the next token) | norm(state)]
Rows Decoder::forward_mtp(const Batch& batch, Rows states, KvCache& cache, Activations& acts,
                          const ForwardHooks& hooks) const {
  CHECK(spec_.mtp_blocks > 0 && batch.rows() > 0 && states.rows == batch.rows());
  const MtpWeights& weights = weights_.mtp;
  const int64_t rows = batch.rows(), width = spec_.width;
  const NormSpec& norm = spec_.final_norm;
  const Rows joined = acts.joined.resize(rows, 2 * width), half = acts.normed.resize(rows, width);
  backend_.embed(half, weights.embedding, batch.tokens, spec_.embedding_scale);
  backend_.normalize(half, half, weights.embedding_norm, norm.kind, norm.eps);
  backend_.copy_columns({joined, 0, width}, {half, 0, width}, {});
  backend_.normalize(half, states, weights.hidden_norm, norm.kind, norm.eps);
  backend_.copy_columns({joined, width, width}, {half, 0, width}, {});
  backend_.linear(std::array{Product{weights.join, acts.stream.resize(rows, width)}}, joined);
  run_blocks(spec_.decoder_blocks(), spec_.blocks.size(), batch, cache, acts, hooks);
  return project_logits(batch, weights.final_norm, weights.output, acts);
}

size_t Decoder::last_attention_block(size_t first, size_t end) const {
  for (size_t b = end; b-- > first;) {
    const auto& mixer = spec_.blocks[b].mixer;
    if (std::holds_alternative<GqaSpec>(mixer) || std::holds_alternative<MlaSpec>(mixer)) return b;
  }
  return end;
}

void Decoder::run_blocks(size_t first, size_t end, const Batch& batch, KvCache& cache, Activations& acts,
                         const ForwardHooks& hooks) const {
  const size_t last_attention = last_attention_block(first, end);
  const bool all_rows = hooks.all_rows || hooks.hidden || spec_.whole_prompts();
  for (size_t b = first; b < end; ++b) {
    const BlockSpec& block = spec_.blocks[b];
    const BlockWeights& weights = weights_.blocks[b];
    const Rows stream = acts.stream.view();
    const Rows normed = acts.normed.resize(stream.rows, spec_.width);
    backend_.normalize(normed, stream, weights.norm, block.norm.kind, block.norm.eps);
    if (const auto* gqa = std::get_if<GqaSpec>(&block.mixer)) {
      gqa_forward(b, *gqa, std::get<GqaWeights>(weights.mixer), batch, cache, acts);
    } else if (const auto* mla = std::get_if<MlaSpec>(&block.mixer)) {
      mla_forward(b, *mla, std::get<MlaWeights>(weights.mixer), batch, cache, acts);
    } else if (const auto* dense = std::get_if<DenseSpec>(&block.mixer)) {
      dense_forward(*dense, std::get<DenseWeights>(weights.mixer), acts);
    } else if (const auto* moe = std::get_if<MoeSpec>(&block.mixer)) {
      moe_forward(block, *moe, std::get<MoeWeights>(weights.mixer), batch, acts, hooks.routing);
    }
    const Rows mixed = acts.mixer_out.view();
    if (block.post_norm) {
      backend_.normalize(mixed, mixed, weights.post_norm, block.post_norm->kind, block.post_norm->eps);
    }
    backend_.add(stream, mixed);
    // From here on no row reads another.
    if (b == last_attention && !all_rows) {
      if (batch.logit_rows.empty()) return;
      backend_.gather(acts.last.resize(static_cast<int64_t>(batch.logit_rows.size()), spec_.width), stream,
                      batch.logit_rows);
      std::swap(acts.stream, acts.last);
    }
    if (!ends_layer(spec_, b)) continue;
    require_finite(acts.stream.view(), fmt::format("the output of layer {}", block.layer));
    if (hooks.hidden) hooks.hidden(block.layer, batch, acts.stream.view());
  }
}

// Vaswani et al. 2017; queries share keys and values in groups (Ainslie et al. 2023), positions enter by rotation
// (Su et al. 2021). The cache holds keys after their rotation.
void Decoder::gqa_forward(size_t block, const GqaSpec& spec, const GqaWeights& weights, const Batch& batch,
                          KvCache& cache, Activations& acts) const {
  const int64_t rows = batch.rows();
  const Rows normed = acts.normed.view();
  const Rows query = acts.query.resize(rows, weights.query.rows);
  const Rows key = acts.key.resize(rows, weights.key.rows);
  const Rows value = acts.value.resize(rows, weights.value.rows);
  backend_.linear_fine(
      std::array{Product{weights.query, query}, Product{weights.key, key}, Product{weights.value, value}}, normed);
  if (spec.clip_qkv > 0) {
    for (const Rows rows_of : {query, key, value}) backend_.clip(rows_of, spec.clip_qkv);
  }

  const auto add_bias = [&](Rows to, const std::vector<float>& bias) {
    if (!bias.empty()) backend_.add_row(to, bias);
  };
  add_bias(query, weights.query_bias);
  add_bias(key, weights.key_bias);
  add_bias(value, weights.value_bias);
  const auto normalize = [&](Rows in, const std::vector<float>& norm) {
    if (norm.empty()) return;
    const auto width = static_cast<int64_t>(norm.size());
    const Rows parts{in.data, in.rows * in.width / width, width};
    backend_.normalize(parts, parts, norm, spec_.blocks[block].norm.kind, spec_.blocks[block].norm.eps);
  };
  normalize(query, weights.query_norm);
  normalize(key, weights.key_norm);

  const RopeSpec& rope = spec.rope;
  backend_.rope(query, batch.positions, spec.head_dim, rope.inverse_frequency, rope.magnitude, rope.pairing);
  backend_.rope(key, batch.positions, spec.head_dim, rope.inverse_frequency, rope.magnitude, rope.pairing);
  cache.append(backend_, block, batch, key, value);

  const Rows attended = acts.attended.resize(rows, weights.output.cols);
  attend_cached(block, batch, cache, attended, query, weights.sinks, acts);
  const Rows out = acts.mixer_out.resize(rows, spec_.width);
  backend_.linear(std::array{Product{weights.output, out}}, attended);
  add_bias(out, weights.output_bias);
}

void Decoder::attend_cached(size_t block, const Batch& batch, const KvCache& cache, Rows attended, Rows query,
                            std::span<const float> sinks, Activations& acts) const {
  // All runs first: the jobs' spans must not move.
  acts.runs.clear();
  acts.jobs.clear();
  std::vector<size_t>& ends = acts.run_ends;
  ends.clear();
  for (const SequenceRows& part : batch.sequences) {
    const int64_t first_position = batch.positions[static_cast<size_t>(part.first_row)];
    cache.runs(acts.runs, block, part.sequence, first_position, part.count);
    ends.push_back(acts.runs.size());
  }
  size_t begin = 0;
  for (size_t s = 0; s < batch.sequences.size(); ++s) {
    const SequenceRows& part = batch.sequences[s];
    const int64_t first_position = batch.positions[static_cast<size_t>(part.first_row)];
    acts.jobs.push_back(
        {part.first_row, part.count, first_position, std::span(acts.runs).subspan(begin, ends[s] - begin)});
    begin = ends[s];
  }
  AttendShape shape = cache.shape(block);
  shape.sinks = sinks;
  backend_.attend(attended, query, shape, acts.jobs);
}

// Gated linear units (Shazeer 2020), such as SwiGLU: down(silu(gate(x)) * up(x))
void Decoder::gated_product(Rows out, const DenseSpec& spec, const DenseWeights& weights, Activations& acts) const {
  const Rows normed = acts.normed.view();
  const Rows gate = acts.gate.resize(normed.rows, spec.gate_rows());
  const Rows up = acts.up.resize(normed.rows, spec.inner);
  backend_.linear(std::array{Product{weights.gate, gate}, Product{weights.up, up}}, normed);
  const Rows gated = gate.width == up.width ? gate : up;
  backend_.gate(gated, gate, up, spec.activation);
  backend_.linear(std::array{Product{weights.down, out}}, gated);
}

void Decoder::dense_forward(const DenseSpec& spec, const DenseWeights& weights, Activations& acts) const {
  gated_product(acts.mixer_out.resize(acts.normed.view().rows, spec_.width), spec, weights, acts);
}

// Sparsely gated experts (Shazeer et al. 2017), dropless (Gale et al. 2022): the tokens of an expert lie together, and
// each expert runs over exactly its rows. y = shared(x) + sum over the chosen experts of weight * expert(x)
void Decoder::moe_forward(const BlockSpec& block, const MoeSpec& spec, const MoeWeights& weights, const Batch& batch,
                          Activations& acts, RoutingObserver* observer) const {
  const Rows normed = acts.normed.view();
  const Rows router_logits = acts.router_logits.resize(normed.rows, spec.router.experts);
  backend_.linear(std::array{Product{float_matrix(weights.router_values, spec.router.experts), router_logits}}, normed);
  if (spec.router.bias) backend_.add_row(router_logits, weights.router_bias);
  route_tokens(acts.routing, spec.router, weights.selection_bias, router_logits);
  if (spec.router.capacity) drop_beyond_capacity(acts.routing, spec.router, batch);
  if (observer != nullptr) observer->on_route(block, batch, acts.routing);
  sort_by_expert(acts.expert_rows, acts.routing);

  const ExpertRows& sorted = acts.expert_rows;
  const auto choices = static_cast<int64_t>(sorted.token.size());
  const Rows in = acts.expert_in.resize(choices, spec_.width);
  backend_.gather(in, normed, sorted.token);
  const Rows gate = acts.gate.resize(choices, spec.expert.gate_rows());
  const Rows up = acts.up.resize(choices, spec.expert.inner);
  backend_.grouped_linear(std::array{GroupedProduct{weights.gate, gate}, GroupedProduct{weights.up, up}}, in,
                          sorted.first_row);
  const auto add_bias = [&](Rows to, const std::vector<float>& bias) {
    if (!bias.empty()) backend_.add_expert_rows(to, bias, sorted.first_row);
  };
  add_bias(gate, weights.gate_bias);
  add_bias(up, weights.up_bias);
  const Rows gated = gate.width == up.width ? gate : up;
  backend_.gate(gated, gate, up, spec.expert.activation);
  const Rows expert_out = acts.expert_out.resize(choices, spec_.width);
  backend_.grouped_linear(std::array{GroupedProduct{weights.down, expert_out}}, gated, sorted.first_row);
  add_bias(expert_out, weights.down_bias);

  const Rows out = acts.mixer_out.resize(normed.rows, spec_.width);
  backend_.weighted_sum(out, expert_out, sorted.slot, acts.routing.weight, spec.router.top_k);
  if (!spec.shared) return;
  const Rows shared = acts.shared_out.resize(normed.rows, spec_.width);
  gated_product(shared, {spec.shared->inner, spec.expert.activation}, weights.shared, acts);
  if (spec.shared->gated) {
    const Rows scales = acts.router_logits.resize(normed.rows, 1);
    backend_.linear(std::array{Product{float_matrix(weights.shared_scale, 1), scales}}, normed);
    for (int64_t r = 0; r < normed.rows; ++r) {
      backend_.scale(shared.slice(r, 1), 1.0f / (1.0f + std::exp(-*scales.row(r))));
    }
  }
  backend_.add(out, shared);
}

Rows Decoder::project_logits(const Batch& batch, std::span<const float> norm_weight, const Matrix& output,
                             Activations& acts) const {
  const auto wanted = static_cast<int64_t>(batch.logit_rows.size());
  const Rows logits = acts.logits.resize(wanted, spec_.vocab);
  if (wanted == 0) return logits;
  const Rows last = acts.last.resize(wanted, spec_.width);
  Rows stream = acts.stream.view();
  if (stream.rows != wanted) {  // else they are alone already
    backend_.gather(last, stream, batch.logit_rows);
    stream = last;
  }
  const NormSpec& norm = spec_.final_norm;
  backend_.normalize(last, stream, norm_weight, norm.kind, norm.eps);
  backend_.linear_fine(std::array{Product{output, logits}}, last);
  if (spec_.logit_scale != 1) backend_.scale(logits, spec_.logit_scale);
  require_finite(logits, "the logits, after the last layer");
  return logits;
}

}  // namespace ostro
