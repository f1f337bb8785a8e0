#include "model/weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/threads.h"
#include "model/tensor_names.h"
#include "tensor/quant.h"
#include "tensor/transpose.h"

namespace ostro {

namespace {

using Shape = std::vector<int64_t>;

const char* name_of(Role role) {
  switch (role) {
    case Role::Embedding:
      return "token embeddings";
    case Role::FinalNorm:
      return "final norm";
    case Role::Output:
      return "output projection";
    case Role::AttentionNorm:
      return "attention norm";
    case Role::Query:
      return "query projection";
    case Role::Key:
      return "key projection";
    case Role::Value:
      return "value projection";
    case Role::AttentionOutput:
      return "attention output";
    case Role::QueryNorm:
      return "query norm";
    case Role::KeyNorm:
      return "key norm";
    case Role::QueryBias:
      return "query bias";
    case Role::KeyBias:
      return "key bias";
    case Role::ValueBias:
      return "value bias";
    case Role::AttentionOutputBias:
      return "attention output bias";
    case Role::FeedForwardNorm:
      return "feed-forward norm";
    case Role::AttentionPostNorm:
      return "norm after attention";
    case Role::FeedForwardPostNorm:
      return "norm after the feed-forward";
    case Role::ExtraNorm:
      return "second feed-forward norm";
    case Role::ExtraGate:
      return "second gate projection";
    case Role::ExtraUp:
      return "second up projection";
    case Role::ExtraDown:
      return "second down projection";
    case Role::Router:
      return "router";
    case Role::QueryDown:
      return "query projection to its latent";
    case Role::QueryDownNorm:
      return "norm of the query latent";
    case Role::QueryUp:
      return "query projection from its latent";
    case Role::KvDown:
      return "projection to the latent";
    case Role::KvDownNorm:
      return "norm of the latent";
    case Role::KvUp:
      return "key and value projection from the latent";
    case Role::KeyUp:
      return "key projection from the latent";
    case Role::ValueUp:
      return "value projection from the latent";
    case Role::MtpEmbedding:
      return "token embeddings of multi-token prediction";
    case Role::MtpEmbeddingNorm:
      return "embedding norm of multi-token prediction";
    case Role::MtpHiddenNorm:
      return "hidden state norm of multi-token prediction";
    case Role::MtpJoin:
      return "projection of embedding and hidden state";
    case Role::MtpFinalNorm:
      return "final norm of multi-token prediction";
    case Role::MtpOutput:
      return "output projection of multi-token prediction";
    case Role::SelectionBias:
      return "selection bias";
    case Role::Sinks:
      return "attention sinks";
    case Role::RouterBias:
      return "router bias";
    case Role::ExpertGateBias:
      return "gate bias of the experts";
    case Role::ExpertUpBias:
      return "up bias of the experts";
    case Role::ExpertDownBias:
      return "down bias of the experts";
    case Role::SharedGate:
      return "gate projection of the shared expert";
    case Role::SharedUp:
      return "up projection of the shared expert";
    case Role::SharedDown:
      return "down projection of the shared expert";
    case Role::SharedScale:
      return "gate of the shared expert's output";
    case Role::Gate:
    case Role::ExpertGate:
      return "gate projection";
    case Role::Up:
    case Role::ExpertUp:
      return "up projection";
    case Role::Down:
    case Role::ExpertDown:
      break;
  }
  return "down projection";
}

class Binder {
 public:
  Binder(const ModelSpec& spec, const WeightStore& store)
      : spec_(spec), store_(store), names_(name_table(store.format, spec.family)) {
    for (const auto& [name, tensor] : store.tensors) unexplained_.insert(name);
  }

  Weights bind() {
    out_.owners.assign(store_.files.begin(), store_.files.end());
    out_.owners.insert(out_.owners.end(), store_.copies.begin(), store_.copies.end());
    out_.reordered = store_.reordered;
    out_.embedding = embedding({Role::Embedding});
    if (spec_.mtp_blocks > 0 && !has({Role::MtpJoin, spec_.layers})) {
      throw_error(ErrorKind::File,
                  "{}: the configuration announces multi-token prediction, but there is no {}: no tensor {}",
                  store_.path, to_text({Role::MtpJoin, spec_.layers}),
                  expand(written_name(names_, Role::MtpJoin).pattern, spec_.layers));
    }
    for (const BlockSpec& block : spec_.blocks) {
      BlockWeights weights;
      weights.norm = vector({norm_role(block), block.layer}, spec_.width);
      if (block.post_norm) weights.post_norm = vector({post_norm_role(block), block.layer}, spec_.width);
      weights.mixer = std::visit([&](const auto& mixer) { return bind(mixer, block); }, block.mixer);
      out_.blocks.push_back(std::move(weights));
    }
    out_.final_norm = vector({Role::FinalNorm}, spec_.width);
    out_.output = spec_.tied_embeddings ? tied_output() : matrix({Role::Output}, spec_.vocab, spec_.width);
    if (spec_.mtp_blocks > 0) bind_mtp();
    explain_ignored();
    refuse_unexplained();
    list_places();
    write_notes();
    return std::move(out_);
  }

 private:
  struct Found {
    const TensorName* name = nullptr;
    const TensorEntry* tensor = nullptr;
  };

  MixerWeights bind(const GqaSpec& gqa, const BlockSpec& block) {
    const int64_t layer = block.layer;
    const int64_t queries = gqa.query_heads * gqa.head_dim, keys = gqa.kv_heads * gqa.head_dim;
    GqaWeights weights;
    const int64_t all = queries + 2 * keys;
    weights.query = attention_rows({Role::Query, layer}, 0, queries, all);
    weights.key = attention_rows({Role::Key, layer}, queries, keys, all);
    weights.value = attention_rows({Role::Value, layer}, queries + keys, keys, all);
    weights.output = matrix({Role::AttentionOutput, layer}, spec_.width, queries);
    if (gqa.query_key_norm != QueryKeyNorm::None) {
      const bool whole = gqa.query_key_norm == QueryKeyNorm::Whole;
      weights.query_norm = vector({Role::QueryNorm, layer}, whole ? queries : gqa.head_dim);
      weights.key_norm = vector({Role::KeyNorm, layer}, whole ? keys : gqa.head_dim);
    }
    if (gqa.qkv_bias) {
      weights.query_bias = vector({Role::QueryBias, layer}, queries);
      weights.key_bias = vector({Role::KeyBias, layer}, keys);
      weights.value_bias = vector({Role::ValueBias, layer}, keys);
    }
    if (gqa.output_bias) weights.output_bias = vector({Role::AttentionOutputBias, layer}, spec_.width);
    if (gqa.sinks) weights.sinks = vector({Role::Sinks, layer}, gqa.query_heads);
    return weights;
  }

  MixerWeights bind(const MlaSpec& mla, const BlockSpec& block) {
    const int64_t layer = block.layer;
    const int64_t queries = mla.heads * (mla.nope_dim + mla.rope_dim);
    MlaWeights weights;
    if (mla.query_rank > 0) {
      weights.query_down = matrix({Role::QueryDown, layer}, mla.query_rank, spec_.width);
      weights.query_norm = vector({Role::QueryDownNorm, layer}, mla.query_rank);
      weights.query = matrix({Role::QueryUp, layer}, queries, mla.query_rank);
    } else {
      weights.query = matrix({Role::Query, layer}, queries, spec_.width);
    }
    weights.kv_down = matrix({Role::KvDown, layer}, mla.kv_rank + mla.rope_dim, spec_.width);
    weights.kv_norm = vector({Role::KvDownNorm, layer}, mla.kv_rank);
    if (has({Role::KeyUp, layer, 0})) {
      for (int64_t h = 0; h < mla.heads; ++h) {
        weights.key_up.push_back(expert({Role::KeyUp, layer, h}, mla.heads, mla.kv_rank, mla.nope_dim));
        weights.value_up.push_back(expert({Role::ValueUp, layer, h}, mla.heads, mla.value_dim, mla.kv_rank));
      }
    } else {
      split_kv_up(mla, layer, weights);
    }
    weights.output = matrix({Role::AttentionOutput, layer}, spec_.width, mla.heads * mla.value_dim);
    return weights;
  }

  // A head's rows of values are used where they lie; those of its keys are needed transposed.
  void split_kv_up(const MlaSpec& mla, int64_t layer, MlaWeights& weights) {
    const int64_t rows = mla.nope_dim + mla.value_dim;
    const Matrix whole = matrix({Role::KvUp, layer}, mla.heads * rows, mla.kv_rank);
    for (int64_t h = 0; h < mla.heads; ++h) {
      weights.key_up.push_back(transposed(rows_of(whole, h * rows, mla.nope_dim)));
      weights.value_up.push_back(rows_of(whole, h * rows + mla.nope_dim, mla.value_dim));
    }
  }

  static Matrix rows_of(const Matrix& matrix, int64_t first, int64_t rows) {
    Matrix part = matrix;
    part.data = matrix.row(first);
    part.rows = rows;
    part.scale_row += first;
    return part;
  }

  // Exactly: weights in blocks along their rows, or in squares that begin inside the matrix, become float32.
  Matrix transposed(const Matrix& matrix) {
    const bool whole_squares = matrix.scale_row % kScaleBlock == 0;
    const bool plain = matrix.scales != nullptr ? whole_squares : !is_quantized(matrix.dtype);
    if (!plain) return transposed_floats(matrix);
    Matrix out = planned_transpose({matrix.data, matrix.bytes()}, matrix.dtype, matrix.rows,
                                   {.stride = matrix.cols, .last = matrix.cols});
    if (matrix.scales != nullptr) transpose_scales(out, matrix);
    return out;
  }

  Matrix transposed_floats(const Matrix& matrix) {
    const int64_t bytes = row_bytes(DType::F32, matrix.rows);
    const auto row = std::make_shared<std::vector<float>>(static_cast<size_t>(matrix.cols));
    const auto fill = [matrix, row](std::byte* out, int64_t) {
      auto* const floats = reinterpret_cast<float*>(out);
      for (int64_t r = 0; r < matrix.rows; ++r) {
        dequantize_row(matrix, r, *row);
        for (int64_t c = 0; c < matrix.cols; ++c) floats[c * matrix.rows + r] = (*row)[static_cast<size_t>(c)];
      }
    };
    const std::span source(matrix.data, matrix.bytes());
    const std::byte* copy = out_.reordered.plan(static_cast<size_t>(matrix.cols * bytes), source, {1, fill});
    return {copy, DType::F32, matrix.cols, matrix.rows, bytes};
  }

  // Columns of a matrix of `rows` rows that begins where `source` does, as rows.
  Matrix planned_transpose(std::span<const std::byte> source, DType type, int64_t rows, ColumnRange columns) {
    constexpr int64_t kTogether = 64;
    const int64_t bytes = row_bytes(type, rows), count = columns.last;
    const auto size = static_cast<size_t>(info(type).bytes);
    const auto fill = [=](std::byte* out, int64_t task) {
      ColumnRange part = columns;
      part.first = task * kTogether;
      part.last = std::min(count, part.first + kTogether);
      transpose(out, source.data(), rows, part, size);
    };
    const int64_t tasks = (count + kTogether - 1) / kTogether;
    return {out_.reordered.plan(static_cast<size_t>(count * bytes), source, {tasks, fill}), type, count, rows, bytes};
  }

  void transpose_scales(Matrix& out, const Matrix& matrix) {
    const auto squares = [](int64_t weights) { return (weights + kScaleBlock - 1) / kScaleBlock; };
    const int64_t rows = squares(matrix.rows), cols = squares(matrix.cols);
    const auto grid = std::make_shared<std::vector<float>>();
    for (int64_t c = 0; c < cols; ++c) {
      for (int64_t r = 0; r < rows; ++r) {
        grid->push_back(matrix.scales[(matrix.scale_row / kScaleBlock + r) * matrix.scale_stride + c]);
      }
    }
    out.scales = grid->data();
    out.scale_stride = rows;
    out_.owners.push_back(grid);
  }

  void bind_mtp() {
    const int64_t layer = spec_.layers, width = spec_.width;
    MtpWeights& mtp = out_.mtp;
    mtp.embedding_norm = vector({Role::MtpEmbeddingNorm, layer}, width);
    mtp.hidden_norm = vector({Role::MtpHiddenNorm, layer}, width);
    mtp.join = matrix({Role::MtpJoin, layer}, width, 2 * width);
    mtp.final_norm = vector({Role::MtpFinalNorm, layer}, width);
    const TensorId table{Role::MtpEmbedding, layer}, output{Role::MtpOutput, layer};
    mtp.embedding = has(table) ? embedding(table) : out_.embedding;
    mtp.output = has(output) ? matrix(output, spec_.vocab, width) : out_.output;
  }

  MixerWeights bind(const DenseSpec& dense, const BlockSpec& block) {
    const DenseRoles roles = dense_roles(block);
    return DenseWeights{matrix({roles.gate, block.layer}, dense.gate_rows(), spec_.width),
                        matrix({roles.up, block.layer}, dense.inner, spec_.width),
                        matrix({roles.down, block.layer}, spec_.width, dense.inner)};
  }

  MixerWeights bind(const MoeSpec& moe, const BlockSpec& block) {
    const int64_t layer = block.layer;
    MoeWeights weights;
    const int64_t experts = moe.router.experts;
    weights.router = matrix({Role::Router, layer}, experts, spec_.width);
    out_.reordered.make(weights.router.data, team_);
    weights.router_values.resize(static_cast<size_t>(experts * spec_.width));
    for (int64_t e = 0; e < experts; ++e) {
      const auto width = static_cast<size_t>(spec_.width);
      dequantize_row(weights.router, e,
                     std::span(weights.router_values).subspan(static_cast<size_t>(e) * width, width));
    }
    if (moe.router.bias) weights.router_bias = vector({Role::RouterBias, layer}, experts);
    if (moe.expert.bias) {
      weights.gate_bias = expert_vectors({Role::ExpertGateBias, layer}, experts, moe.expert.inner);
      weights.up_bias = expert_vectors({Role::ExpertUpBias, layer}, experts, moe.expert.inner);
      weights.down_bias = expert_vectors({Role::ExpertDownBias, layer}, experts, spec_.width);
    }
    if (moe.router.selection_bias) weights.selection_bias = vector({Role::SelectionBias, layer}, experts);
    for (int64_t e = 0; e < experts; ++e) {
      weights.gate.push_back(expert({Role::ExpertGate, layer, e}, experts, moe.expert.gate_rows(), spec_.width));
      weights.up.push_back(expert({Role::ExpertUp, layer, e}, experts, moe.expert.inner, spec_.width));
      weights.down.push_back(expert({Role::ExpertDown, layer, e}, experts, spec_.width, moe.expert.inner));
    }
    if (moe.shared) {
      weights.shared = {matrix({Role::SharedGate, layer}, moe.shared->inner, spec_.width),
                        matrix({Role::SharedUp, layer}, moe.shared->inner, spec_.width),
                        matrix({Role::SharedDown, layer}, spec_.width, moe.shared->inner)};
      if (moe.shared->gated) weights.shared_scale = vector({Role::SharedScale, layer}, spec_.width);
    }
    return weights;
  }

  bool has(const TensorId& id) const {
    return std::ranges::any_of(names_.names, [&](const TensorName& name) {
      return name.role == id.role && store_.tensors.contains(expand(name.pattern, id.layer, id.expert));
    });
  }

  // The first spelling of a tensor that the files have, with its shape checked. Which spelling holds the experts of a
  // layer is settled by its first expert.
  Found find(const TensorId& id, const std::function<Shape(Packing)>& expected) {
    std::string tried;
    for (const TensorName& name : names_.names) {
      if (name.role != id.role) continue;
      const std::string own = expand(name.pattern, id.layer, id.expert);
      const std::string first = expand(name.pattern, id.layer, 0);
      if (!store_.tensors.contains(first)) {
        tried.append(tried.empty() ? "" : " or ").append(own);
        continue;
      }
      const auto found = store_.tensors.find(own);
      if (found == store_.tensors.end()) {
        tried = own;
        break;
      }
      const Shape shape = expected(name.packing);
      // Some writers leave out a side of 1.
      const bool squeezed = name.packing == Packing::Row && found->second.shape == Shape{shape.back()};
      if (found->second.shape != shape && !squeezed) {
        const bool other =
            std::any_of(&name + 1, names_.names.data() + names_.names.size(), [&](const TensorName& next) {
              return next.role == id.role && next.pattern == name.pattern &&
                     expected(next.packing) == found->second.shape;
            });
        if (other) continue;
        throw_error(ErrorKind::File, "{}: tensor {} ({}) has the shape {}, expected {}", found->second.file, own,
                    to_text(id), shape_text(found->second.shape), shape_text(shape));
      }
      unexplained_.erase(own);
      return {&name, &found->second};
    }
    throw_error(ErrorKind::File, "{}: no tensor {} {} ({})", store_.path, tried, shape_text(expected(Packing::Whole)),
                to_text(id));
  }

  Matrix matrix(const TensorId& id, int64_t rows, int64_t cols) {
    const auto turned = [](Packing packing) { return packing == Packing::Transposed; };
    const Found found = find(id, [&](Packing packing) {
      return turned(packing) ? Shape{cols, rows} : Shape{rows, cols};
    });
    return turned(found.name->packing) ? transposed(*found.tensor, 0, rows, cols) : view(*found.tensor, 0, rows, cols);
  }

  // Query, key or value: a tensor of its own, or rows [first, first + rows) of one with `all`.
  Matrix attention_rows(const TensorId& id, int64_t first, int64_t rows, int64_t all) {
    const auto fused = [](Packing packing) { return packing == Packing::QueryKeyValueRows; };
    const Found found = find(id, [&](Packing packing) { return Shape{fused(packing) ? all : rows, spec_.width}; });
    return view(*found.tensor, fused(found.name->packing) ? first : 0, rows, spec_.width);
  }

  // Rows of it are taken one by one, as they are.
  Matrix embedding(const TensorId& id) {
    const Matrix table = matrix(id, spec_.vocab, spec_.width);
    if (table.scales != nullptr) {
      throw_error(ErrorKind::File, "{}: the {} are f8_e4m3, expected f32, f16, bf16 or a type of GGUF", store_.path,
                  to_text(id));
    }
    return table;
  }

  Matrix expert(const TensorId& id, int64_t experts, int64_t rows, int64_t cols) {
    const Found found = find(id, [&](Packing packing) { return expert_shape(packing, experts, rows, cols); });
    if (id.role != Role::KeyUp && id.role != Role::ValueUp) expert_patterns_.insert(std::string(found.name->pattern));
    const TensorEntry& tensor = *found.tensor;
    const int64_t e = id.expert;
    switch (found.name->packing) {
      case Packing::Experts:
      case Packing::ExpertRows:
        return view(tensor, e * rows, rows, cols);
      case Packing::ExpertsFirstHalf:
        return view(tensor, e * 2 * rows, rows, cols);
      case Packing::ExpertsSecondHalf:
        return view(tensor, (e * 2 + 1) * rows, rows, cols);
      case Packing::ExpertsEvenRows:
      case Packing::ExpertsOddRows:
        return every_other_row(view(tensor, e * 2 * rows, 2 * rows, cols), found.name->packing);
      case Packing::ExpertColumns:
      case Packing::ExpertsTransposed:
        return transposed(tensor, e * cols, rows, cols);
      case Packing::ExpertsEvenColumns:
      case Packing::ExpertsOddColumns:
        return transposed(tensor, e * cols, rows, cols, 2, is_odd(found.name->packing) ? 1 : 0);
      case Packing::Whole:
      case Packing::Transposed:
      case Packing::Row:
      case Packing::QueryKeyValueRows:
        break;
    }
    return view(tensor, 0, rows, cols);
  }

  static Shape expert_shape(Packing packing, int64_t experts, int64_t rows, int64_t cols) {
    switch (packing) {
      case Packing::Experts:
        return {experts, rows, cols};
      case Packing::ExpertsFirstHalf:
      case Packing::ExpertsSecondHalf:
      case Packing::ExpertsEvenRows:
      case Packing::ExpertsOddRows:
        return {experts, 2 * rows, cols};
      case Packing::ExpertRows:
        return {experts * rows, cols};
      case Packing::ExpertColumns:
        return {experts * cols, rows};
      case Packing::ExpertsTransposed:
        return {experts, cols, rows};
      case Packing::ExpertsEvenColumns:
      case Packing::ExpertsOddColumns:
        return {experts, cols, 2 * rows};
      case Packing::Whole:
      case Packing::Transposed:
      case Packing::Row:
      case Packing::QueryKeyValueRows:
        break;
    }
    return {rows, cols};
  }

  static bool is_odd(Packing packing) {
    return packing == Packing::ExpertsOddRows || packing == Packing::ExpertsOddColumns;
  }

  static Matrix every_other_row(Matrix both, Packing packing) {
    if (is_odd(packing)) both.data += both.row_bytes;
    both.rows /= 2;
    both.row_bytes *= 2;
    return both;
  }

  // [experts, size], one tensor for all or, of two roles that alternate, [experts, 2 * size].
  std::vector<float> expert_vectors(const TensorId& id, int64_t experts, int64_t size) {
    const auto alternates = [](Packing packing) { return packing != Packing::Experts; };
    const Found found = find(id, [&](Packing packing) {
      return Shape{experts, alternates(packing) ? 2 * size : size};
    });
    const std::vector<float> all = finite_values(id, *found.tensor);
    if (!alternates(found.name->packing)) return all;
    std::vector<float> own;
    for (size_t i = is_odd(found.name->packing) ? 1 : 0; i < all.size(); i += 2) own.push_back(all[i]);
    return own;
  }

  // Rows [first, first + rows) of a tensor taken as a list of rows of `cols` values.
  Matrix view(const TensorEntry& tensor, int64_t first, int64_t rows, int64_t cols) {
    const int64_t bytes = row_bytes(tensor.dtype, cols);
    Matrix out{tensor.bytes.data() + first * bytes, tensor.dtype, rows, cols, bytes};
    if (tensor.dtype == DType::F8_E4M3) attach_scales(out, tensor, first);
    return out;
  }

  // DeepSeek's way: beside `x.weight` lies `x.weight_scale_inv`, which is to be multiplied by.
  void attach_scales(Matrix& out, const TensorEntry& tensor, int64_t first) {
    const std::string name = tensor.name + "_scale_inv";
    const auto found = store_.tensors.find(name);
    if (found == store_.tensors.end() || tensor.shape.size() != 2) {
      throw_error(ErrorKind::File, "{}: tensor {} is f8_e4m3 {} without a tensor {} of its scales", tensor.file,
                  tensor.name, shape_text(tensor.shape), name);
    }
    const TensorEntry& scales = found->second;
    const auto squares = [](int64_t weights) { return (weights + kScaleBlock - 1) / kScaleBlock; };
    const Shape expected{squares(tensor.shape[0]), squares(tensor.shape[1])};
    if (scales.dtype != DType::F32 || scales.shape != expected) {
      throw_error(ErrorKind::File, "{}: tensor {} is {} {}, expected f32 {}, a scale for each {} x {} weights of {}",
                  scales.file, name, info(scales.dtype).name, shape_text(scales.shape), shape_text(expected),
                  kScaleBlock, kScaleBlock, shape_text(tensor.shape));
    }
    out.scales = reinterpret_cast<const float*>(scales.bytes.data());
    out.scale_stride = expected[1];
    out.scale_row = first;
    if (unexplained_.erase(name) == 0) return;  // seen already
    const std::span<const float> values(out.scales, static_cast<size_t>(expected[0] * expected[1]));
    const auto bad = std::ranges::find_if(values, [](float v) { return !std::isfinite(v); });
    if (bad != values.end()) {
      throw_error(ErrorKind::File, "{}: tensor {} holds {} at {}, expected finite numbers", scales.file, name, *bad,
                  bad - values.begin());
    }
  }

  // From row `first` of a tensor on, every `step`th column of `cols` rows as a row.
  Matrix transposed(const TensorEntry& tensor, int64_t first, int64_t rows, int64_t cols, int64_t step = 1,
                    int64_t offset = 0) {
    if (is_quantized(tensor.dtype) || tensor.dtype == DType::F8_E4M3) {
      throw_error(ErrorKind::File, "{}: tensor {} is stored transposed as {}, expected f32, f16 or bf16", tensor.file,
                  tensor.name, info(tensor.dtype).name);
    }
    const auto bytes = static_cast<size_t>(row_bytes(tensor.dtype, rows * step));
    const auto source = tensor.bytes.subspan(static_cast<size_t>(first) * bytes, static_cast<size_t>(cols) * bytes);
    copied_of_[tensor.name] += source.size() / static_cast<size_t>(step);
    return planned_transpose(source, tensor.dtype, cols,
                             {.stride = rows * step, .offset = offset, .step = step, .last = rows});
  }

  std::vector<float> vector(const TensorId& id, int64_t size) {
    const auto expected = [&](Packing packing) { return packing == Packing::Row ? Shape{1, size} : Shape{size}; };
    return finite_values(id, *find(id, expected).tensor);
  }

  std::vector<float> finite_values(const TensorId& id, const TensorEntry& tensor) {
    if (is_quantized(tensor.dtype) || tensor.dtype == DType::F8_E4M3) {
      throw_error(ErrorKind::File, "{}: tensor {} ({}) is {}, expected f32, f16 or bf16", tensor.file, tensor.name,
                  to_text(id), info(tensor.dtype).name);
    }
    out_.reordered.make(tensor.bytes.data(), team_);
    std::vector<float> values(static_cast<size_t>(element_count(tensor.shape, tensor.file)));
    dequantize_row(tensor.dtype, tensor.bytes.data(), values);
    const auto bad = std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
    if (bad != values.end()) {
      throw_error(ErrorKind::File, "{}: tensor {} ({}) holds {} at {}, expected finite numbers", tensor.file,
                  tensor.name, to_text(id), *bad, bad - values.begin());
    }
    return values;
  }

  // Some tools write the tied matrix twice.
  Matrix tied_output() {
    for (const TensorName& name : names_.names) {
      const auto output = store_.tensors.find(std::string(name.pattern));
      if (name.role != Role::Output || output == store_.tensors.end()) continue;
      const TensorEntry& embedding = *find({Role::Embedding}, [&](Packing) {
                                        return Shape{spec_.vocab, spec_.width};
                                      }).tensor;
      for (const TensorEntry* tensor : {&embedding, &output->second}) {
        out_.reordered.make(tensor->bytes.data(), team_);
      }
      if (output->second.dtype != embedding.dtype || output->second.shape != embedding.shape ||
          !std::equal(embedding.bytes.begin(), embedding.bytes.end(), output->second.bytes.begin())) {
        throw_error(ErrorKind::File,
                    "{}: tensor {} differs from the token embeddings, expected the same as they are tied",
                    output->second.file, name.pattern);
      }
      unexplained_.erase(output->first);
      out_.notes.push_back(fmt::format("{} repeats the token embeddings", name.pattern));
    }
    return out_.embedding;
  }

  void explain_ignored() {
    for (const IgnoredTensor& ignored : names_.ignored) {
      const bool per_layer = ignored.pattern.find("{layer}") != std::string_view::npos;
      const int64_t layers = per_layer ? spec_.layers + (spec_.mtp_blocks > 0 ? 1 : 0) : 1;
      size_t count = 0;
      for (int64_t layer = 0; layer < layers; ++layer) count += unexplained_.erase(expand(ignored.pattern, layer));
      if (count > 0) out_.notes.push_back(fmt::format("{} is not read: {}", ignored.pattern, ignored.reason));
    }
  }

  void refuse_unexplained() const {
    if (unexplained_.empty()) return;
    const TensorEntry& tensor = store_.tensors.at(*unexplained_.begin());
    const size_t more = unexplained_.size() - 1;
    throw_error(ErrorKind::File, "{}: tensor {} {} has no place in this model{}", tensor.file, tensor.name,
                shape_text(tensor.shape), more == 0 ? "" : fmt::format(" (nor have {} more)", more));
  }

  void write_notes() {
    for (const std::string& pattern : expert_patterns_) out_.notes.push_back("experts from " + pattern);
    const uint64_t copied = out_.reordered.bytes();
    if (copied > 0) {
      out_.notes.push_back(fmt::format("{} bytes lie in another order here than in the files, as copies", copied));
    }
  }

  // Where the weights are once the copies are made: a tensor of which all is copied is not read again.
  void list_places() {
    out_.bytes = out_.reordered.bytes();
    for (const auto& [name, tensor] : store_.tensors) {
      const auto copied = copied_of_.find(name);
      if (copied != copied_of_.end() && copied->second == tensor.bytes.size()) continue;
      if (out_.reordered.holds(tensor.bytes.data())) continue;
      out_.in_place.push_back(tensor.bytes);
      out_.bytes += tensor.bytes.size();
    }
    std::ranges::sort(out_.in_place, {}, [](std::span<const std::byte> bytes) { return bytes.data(); });
  }

  const ModelSpec& spec_;
  const WeightStore& store_;
  const NameTable& names_;
  Weights out_;
  std::set<std::string, std::less<>> unexplained_, expert_patterns_;
  std::map<std::string, size_t, std::less<>> copied_of_;  // bytes by tensor
  ThreadTeam team_{1};
};

}  // namespace

std::string to_text(const TensorId& id) {
  std::string text;
  if (id.layer >= 0) text += fmt::format("layer {}, ", id.layer);
  const bool of_head = id.role == Role::KeyUp || id.role == Role::ValueUp;
  if (id.expert >= 0) text += fmt::format("{} {}, ", of_head ? "head" : "expert", id.expert);
  return text + name_of(id.role);
}

Role norm_role(const BlockSpec& block) {
  if (is_attention(block.mixer)) return Role::AttentionNorm;
  return block.extra ? Role::ExtraNorm : Role::FeedForwardNorm;
}
Role post_norm_role(const BlockSpec& block) {
  return is_attention(block.mixer) ? Role::AttentionPostNorm : Role::FeedForwardPostNorm;
}
DenseRoles dense_roles(const BlockSpec& block) {
  if (block.extra) return {Role::ExtraGate, Role::ExtraUp, Role::ExtraDown};
  return {Role::Gate, Role::Up, Role::Down};
}

Weights bind_weights(const ModelSpec& spec, const WeightStore& store) { return Binder(spec, store).bind(); }

void visit_matrices(const ModelSpec& spec, const Weights& weights,
                    const std::function<void(const TensorId& id, const Matrix& matrix)>& visit) {
  visit({Role::Embedding}, weights.embedding);
  for (size_t b = 0; b < weights.blocks.size(); ++b) {
    const int64_t layer = spec.blocks[b].layer;
    const MixerWeights& mixer = weights.blocks[b].mixer;
    if (const auto* gqa = std::get_if<GqaWeights>(&mixer)) {
      visit({Role::Query, layer}, gqa->query);
      visit({Role::Key, layer}, gqa->key);
      visit({Role::Value, layer}, gqa->value);
      visit({Role::AttentionOutput, layer}, gqa->output);
    } else if (const auto* mla = std::get_if<MlaWeights>(&mixer)) {
      const bool from_latent = mla->query_down.data != nullptr;
      if (from_latent) visit({Role::QueryDown, layer}, mla->query_down);
      visit({from_latent ? Role::QueryUp : Role::Query, layer}, mla->query);
      visit({Role::KvDown, layer}, mla->kv_down);
      for (size_t h = 0; h < mla->key_up.size(); ++h) {
        visit({Role::KeyUp, layer, static_cast<int64_t>(h)}, mla->key_up[h]);
        visit({Role::ValueUp, layer, static_cast<int64_t>(h)}, mla->value_up[h]);
      }
      visit({Role::AttentionOutput, layer}, mla->output);
    } else if (const auto* dense = std::get_if<DenseWeights>(&mixer)) {
      const DenseRoles roles = dense_roles(spec.blocks[b]);
      visit({roles.gate, layer}, dense->gate);
      visit({roles.up, layer}, dense->up);
      visit({roles.down, layer}, dense->down);
    } else if (const auto* moe = std::get_if<MoeWeights>(&mixer)) {
      visit({Role::Router, layer}, moe->router);
      for (size_t e = 0; e < moe->gate.size(); ++e) {
        const auto expert = static_cast<int64_t>(e);
        visit({Role::ExpertGate, layer, expert}, moe->gate[e]);
        visit({Role::ExpertUp, layer, expert}, moe->up[e]);
        visit({Role::ExpertDown, layer, expert}, moe->down[e]);
      }
      if (std::get<MoeSpec>(spec.blocks[b].mixer).shared) {
        visit({Role::SharedGate, layer}, moe->shared.gate);
        visit({Role::SharedUp, layer}, moe->shared.up);
        visit({Role::SharedDown, layer}, moe->shared.down);
      }
    }
  }
  if (!spec.tied_embeddings) visit({Role::Output}, weights.output);
  if (spec.mtp_blocks == 0) return;
  const MtpWeights& mtp = weights.mtp;
  visit({Role::MtpJoin, spec.layers}, mtp.join);
  if (mtp.embedding.data != weights.embedding.data) visit({Role::MtpEmbedding, spec.layers}, mtp.embedding);
  if (mtp.output.data != weights.output.data) visit({Role::MtpOutput, spec.layers}, mtp.output);
}

void visit_vectors(const ModelSpec& spec, const Weights& weights,
                   const std::function<void(const TensorId& id, std::span<const float> values)>& visit) {
  for (size_t b = 0; b < weights.blocks.size(); ++b) {
    const BlockSpec& block = spec.blocks[b];
    visit({norm_role(block), block.layer}, weights.blocks[b].norm);
    if (block.post_norm) visit({post_norm_role(block), block.layer}, weights.blocks[b].post_norm);
    if (const auto* moe = std::get_if<MoeWeights>(&weights.blocks[b].mixer)) {
      if (!moe->router_bias.empty()) visit({Role::RouterBias, block.layer}, moe->router_bias);
      if (!moe->selection_bias.empty()) visit({Role::SelectionBias, block.layer}, moe->selection_bias);
      for (size_t e = 0; !moe->gate_bias.empty() && e < moe->gate.size(); ++e) {
        const auto expert = static_cast<int64_t>(e);
        const auto part = [&](const std::vector<float>& all) {
          const size_t size = all.size() / moe->gate.size();
          return std::span(all).subspan(e * size, size);
        };
        visit({Role::ExpertGateBias, block.layer, expert}, part(moe->gate_bias));
        visit({Role::ExpertUpBias, block.layer, expert}, part(moe->up_bias));
        visit({Role::ExpertDownBias, block.layer, expert}, part(moe->down_bias));
      }
    }
    if (const auto* moe = std::get_if<MoeWeights>(&weights.blocks[b].mixer); moe && !moe->shared_scale.empty()) {
      visit({Role::SharedScale, block.layer}, moe->shared_scale);
    }
    if (const auto* mla = std::get_if<MlaWeights>(&weights.blocks[b].mixer)) {
      if (!mla->query_norm.empty()) visit({Role::QueryDownNorm, block.layer}, mla->query_norm);
      visit({Role::KvDownNorm, block.layer}, mla->kv_norm);
    }
    const auto* gqa = std::get_if<GqaWeights>(&weights.blocks[b].mixer);
    if (gqa == nullptr) continue;
    const std::pair<Role, const std::vector<float>*> vectors[] = {
        {Role::QueryNorm, &gqa->query_norm}, {Role::KeyNorm, &gqa->key_norm},
        {Role::QueryBias, &gqa->query_bias}, {Role::KeyBias, &gqa->key_bias},
        {Role::ValueBias, &gqa->value_bias}, {Role::AttentionOutputBias, &gqa->output_bias},
        {Role::Sinks, &gqa->sinks}};
    for (const auto& [role, values] : vectors) {
      if (!values->empty()) visit({role, block.layer}, *values);
    }
  }
  visit({Role::FinalNorm}, weights.final_norm);
  if (spec.mtp_blocks == 0) return;
  visit({Role::MtpEmbeddingNorm, spec.layers}, weights.mtp.embedding_norm);
  visit({Role::MtpHiddenNorm, spec.layers}, weights.mtp.hidden_norm);
  visit({Role::MtpFinalNorm, spec.layers}, weights.mtp.final_norm);
}

void verify_finite(const ModelSpec& spec, const Weights& weights, const std::string& source, int threads,
                   const std::function<void(uint64_t bytes)>& done) {
  ThreadTeam team(threads);
  std::vector<std::vector<float>> buffers(static_cast<size_t>(threads));
  WeightCopies reordered = weights.reordered;
  uint64_t bytes = 0;
  visit_matrices(spec, weights, [&](const TensorId& id, const Matrix& matrix) {
    const bool is_there = reordered.make(matrix.data, team);
    std::atomic<int64_t> first_bad = matrix.rows;
    for (auto& buffer : buffers) buffer.resize(static_cast<size_t>(matrix.cols));
    team.run(matrix.rows, [&](int64_t row, int thread) {
      const std::span<float> values(buffers[static_cast<size_t>(thread)]);
      dequantize_row(matrix, row, values);
      if (std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) return;
      int64_t seen = first_bad;
      while (row < seen && !first_bad.compare_exchange_weak(seen, row)) {
      }
    });
    if (first_bad < matrix.rows) {
      throw_error(ErrorKind::File, "{}: {}: row {} holds a value that is not finite", source, to_text(id),
                  first_bad.load());
    }
    if (!is_there) reordered.drop(matrix.data);
    bytes += matrix.bytes();
    if (done) done(bytes);
  });
}

}  // namespace ostro
