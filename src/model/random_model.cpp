#include "model/random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/error.h"
#include "base/pages.h"
#include "base/random.h"
#include "model/read_spec_published.h"
#include "model/write_spec.h"
#include "tensor/quant.h"

namespace ostro {
namespace {

constexpr int64_t kPoolRows = 128;
class Maker {
 public:
  Maker(const ModelSpec& spec, const QuantMix& mix, uint64_t seed, Weights& weights,
        const std::function<void(uint64_t)>& progress)
      : spec_(spec), mix_(mix), seed_(seed), weights_(weights), progress_(progress) {}

  Matrix make(const TensorId& id, int64_t rows, int64_t cols) {
    const DType type = id.role == Role::Router ? DType::F32 : mixed_type(mix_, spec_, id, cols);
    const int64_t bytes = row_bytes(type, cols);
    const size_t size = static_cast<size_t>(rows * bytes);
    const auto memory = allocate_huge_pages(size);  // as weights lie that were loaded
    const bool own_rows = id.role == Role::Router;
    for (int64_t row = 0; row < rows; ++row) {
      std::byte* out = memory.get() + row * bytes;
      if (own_rows) {
        random_row(type, cols, out);
      } else {
        const auto& pool = pool_of(type, cols);
        const uint64_t chosen = random_bits(seed_, 1, rows_made_++) % kPoolRows;
        std::memcpy(out, pool.data() + chosen * static_cast<size_t>(bytes), static_cast<size_t>(bytes));
      }
    }
    done_ += size;
    if (progress_) progress_(done_);
    weights_.owners.push_back(memory);
    return {memory.get(), type, rows, cols, bytes};
  }

 private:
  // Normal numbers of variance 1 / cols keep activations at their size.
  void random_row(DType type, int64_t cols, std::byte* out) {
    std::vector<float> values(static_cast<size_t>(cols));
    const double deviation = 1 / std::sqrt(static_cast<double>(cols));
    for (auto& value : values) value = static_cast<float>(deviation * random_normal(seed_, 2, numbers_made_++));
    quantize_row(type, values, out);
  }

  const std::vector<std::byte>& pool_of(DType type, int64_t cols) {
    auto& pool = pools_[{type, cols}];
    if (pool.empty()) {
      const int64_t bytes = row_bytes(type, cols);
      pool.resize(static_cast<size_t>(kPoolRows * bytes));
      for (int64_t row = 0; row < kPoolRows; ++row) random_row(type, cols, pool.data() + row * bytes);
    }
    return pool;
  }

  const ModelSpec& spec_;
  const QuantMix& mix_;
  uint64_t seed_;
  Weights& weights_;
  const std::function<void(uint64_t)>& progress_;
  std::map<std::pair<DType, int64_t>, std::vector<std::byte>> pools_;
  uint64_t rows_made_ = 0, numbers_made_ = 0, done_ = 0;
};

// Calls make(id, rows, cols) for every matrix of the spec and stores what it returns where it belongs.
template <typename Make>
void make_matrices(const ModelSpec& spec, Weights& weights, Make make) {
  weights.embedding = make(TensorId{Role::Embedding}, spec.vocab, spec.width);
  for (const auto& block : spec.blocks) {
    const int64_t layer = block.layer;
    BlockWeights out;
    out.norm.assign(static_cast<size_t>(spec.width), 1.0f);
    if (block.post_norm) out.post_norm = out.norm;
    if (const auto* gqa = std::get_if<GqaSpec>(&block.mixer)) {
      const int64_t queries = gqa->query_heads * gqa->head_dim, keys = gqa->kv_heads * gqa->head_dim;
      GqaWeights gqa_weights;
      gqa_weights.query = make(TensorId{Role::Query, layer}, queries, spec.width);
      gqa_weights.key = make(TensorId{Role::Key, layer}, keys, spec.width);
      gqa_weights.value = make(TensorId{Role::Value, layer}, keys, spec.width);
      gqa_weights.output = make(TensorId{Role::AttentionOutput, layer}, spec.width, queries);
      if (gqa->query_key_norm != QueryKeyNorm::None) {
        const bool whole = gqa->query_key_norm == QueryKeyNorm::Whole;
        gqa_weights.query_norm.assign(static_cast<size_t>(whole ? queries : gqa->head_dim), 1.0f);
        gqa_weights.key_norm.assign(static_cast<size_t>(whole ? keys : gqa->head_dim), 1.0f);
      }
      if (gqa->qkv_bias) {
        gqa_weights.query_bias.assign(static_cast<size_t>(queries), 0.0f);
        gqa_weights.key_bias.assign(static_cast<size_t>(keys), 0.0f);
        gqa_weights.value_bias.assign(static_cast<size_t>(keys), 0.0f);
      }
      if (gqa->output_bias) gqa_weights.output_bias.assign(static_cast<size_t>(spec.width), 0.0f);
      out.mixer = std::move(gqa_weights);
    } else if (const auto* mla = std::get_if<MlaSpec>(&block.mixer)) {
      const int64_t queries = mla->heads * (mla->nope_dim + mla->rope_dim);
      MlaWeights mla_weights;
      if (mla->query_rank > 0) {
        mla_weights.query_down = make(TensorId{Role::QueryDown, layer}, mla->query_rank, spec.width);
        mla_weights.query_norm.assign(static_cast<size_t>(mla->query_rank), 1.0f);
        mla_weights.query = make(TensorId{Role::QueryUp, layer}, queries, mla->query_rank);
      } else {
        mla_weights.query = make(TensorId{Role::Query, layer}, queries, spec.width);
      }
      mla_weights.kv_down = make(TensorId{Role::KvDown, layer}, mla->kv_rank + mla->rope_dim, spec.width);
      mla_weights.kv_norm.assign(static_cast<size_t>(mla->kv_rank), 1.0f);
      for (int64_t h = 0; h < mla->heads; ++h) {
        mla_weights.key_up.push_back(make(TensorId{Role::KeyUp, layer, h}, mla->kv_rank, mla->nope_dim));
        mla_weights.value_up.push_back(make(TensorId{Role::ValueUp, layer, h}, mla->value_dim, mla->kv_rank));
      }
      mla_weights.output = make(TensorId{Role::AttentionOutput, layer}, spec.width, mla->heads * mla->value_dim);
      out.mixer = std::move(mla_weights);
    } else if (const auto* dense = std::get_if<DenseSpec>(&block.mixer)) {
      DenseWeights dense_weights;
      const DenseRoles roles = dense_roles(block);
      dense_weights.gate = make(TensorId{roles.gate, layer}, dense->gate_rows(), spec.width);
      dense_weights.up = make(TensorId{roles.up, layer}, dense->inner, spec.width);
      dense_weights.down = make(TensorId{roles.down, layer}, spec.width, dense->inner);
      out.mixer = dense_weights;
    } else if (const auto* moe = std::get_if<MoeSpec>(&block.mixer)) {
      MoeWeights moe_weights;
      moe_weights.router = make(TensorId{Role::Router, layer}, moe->router.experts, spec.width);
      for (int64_t e = 0; e < moe->router.experts; ++e) {
        moe_weights.gate.push_back(make(TensorId{Role::ExpertGate, layer, e}, moe->expert.gate_rows(), spec.width));
        moe_weights.up.push_back(make(TensorId{Role::ExpertUp, layer, e}, moe->expert.inner, spec.width));
        moe_weights.down.push_back(make(TensorId{Role::ExpertDown, layer, e}, spec.width, moe->expert.inner));
      }
      if (moe->router.selection_bias) moe_weights.selection_bias.assign(static_cast<size_t>(moe->router.experts), 0.0f);
      if (moe->shared) {
        moe_weights.shared.gate = make(TensorId{Role::SharedGate, layer}, moe->shared->inner, spec.width);
        moe_weights.shared.up = make(TensorId{Role::SharedUp, layer}, moe->shared->inner, spec.width);
        if (moe->shared->gated) moe_weights.shared_scale.assign(static_cast<size_t>(spec.width), 0.0f);
        moe_weights.shared.down = make(TensorId{Role::SharedDown, layer}, spec.width, moe->shared->inner);
      }
      out.mixer = std::move(moe_weights);
    }
    weights.blocks.push_back(std::move(out));
  }
  weights.final_norm.assign(static_cast<size_t>(spec.width), 1.0f);
  weights.output = spec.tied_embeddings ? weights.embedding : make(TensorId{Role::Output}, spec.vocab, spec.width);
}

}  // namespace

uint64_t random_model_bytes(const ModelSpec& spec, const QuantMix& mix) {
  uint64_t bytes = 0;
  Weights ignored;
  make_matrices(spec, ignored, [&](const TensorId& id, int64_t rows, int64_t cols) {
    const DType type = id.role == Role::Router ? DType::F32 : mixed_type(mix, spec, id, cols);
    bytes += static_cast<uint64_t>(rows * row_bytes(type, cols));
    return Matrix{};
  });
  return bytes;
}

std::unique_ptr<Model> random_model(const ModelSpec& spec, const QuantMix& mix, uint64_t seed,
                                    const std::function<void(uint64_t done)>& progress) {
  auto model = std::make_unique<Model>();
  model->spec = spec;
  model->store.format = CheckpointFormat::Gguf;
  model->store.path = "random weights";
  Maker maker(spec, mix, seed, model->weights, progress);
  make_matrices(spec, model->weights,
                [&](const TensorId& id, int64_t rows, int64_t cols) { return maker.make(id, rows, cols); });
  GgufMetadata metadata = write_gguf_spec(spec, "random weights");
  metadata.values["general.file_type"] = static_cast<uint64_t>(mix.file_type);
  add_placeholder_tokenizer(metadata, spec);
  model->store.gguf = std::move(metadata);
  return model;
}

}  // namespace ostro
