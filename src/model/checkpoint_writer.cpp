#include "model/checkpoint_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <unordered_map>

#include "base/atomic_file.h"
#include "base/error.h"
#include "base/threads.h"
#include "formats/gguf_writer.h"
#include "formats/mxfp4_pairs.h"
#include "formats/safetensors_writer.h"
#include "model/tensor_names.h"
#include "model/write_spec.h"
#include "tensor/quant.h"
#include "tensor/transpose.h"
#include "text/export_tokenizer.h"

namespace ostro {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kShardBytes = 5'000'000'000;
constexpr int64_t kChunkBytes = 8 << 20;
constexpr int64_t kQuantizationVersion = 2;  // of the block layouts; GGUF readers ask for it

// Rows of one source matrix, or of two in turn, inside an output tensor.
struct Part {
  TensorId id;
  Matrix matrix;
  std::vector<int64_t> row_of;  // source row of each output row; empty: as they are
  bool transposed = false;      // the output's rows are the source's columns
  Matrix odd = {};              // where set, its rows alternate with those of `matrix`, which come first

  int64_t rows() const { return matrix.rows + odd.rows; }
  int64_t weights() const { return rows() * matrix.cols; }
  const Matrix& source(int64_t row) const { return odd.data != nullptr && row % 2 == 1 ? odd : matrix; }
  int64_t source_row(int64_t row) const {
    return odd.data != nullptr ? row / 2 : row_of.empty() ? row : row_of[static_cast<size_t>(row)];
  }
};

// What of its weights a tensor holds: everything, or one of a pair (formats/mxfp4_pairs.h).
enum class Piece : uint8_t { All, Codes, Scales };

struct OutputTensor {
  TensorId id;
  std::string name;
  DType type = DType::F32;
  std::vector<int64_t> shape;
  std::vector<Part> parts;
  Piece piece = Piece::All;

  // Bytes of some rows of it.
  int64_t bytes(int64_t rows, int64_t cols) const {
    const int64_t all = rows * row_bytes(type, cols);
    const auto codes = all / static_cast<int64_t>(kMxfp4Block) * static_cast<int64_t>(kMxfp4Codes);
    return piece == Piece::All ? all : piece == Piece::Codes ? codes : all - codes;
  }
};

// Source rows in the target's order: inside each head the pairs of RoPE are (i, i + dims/2) or (2i, 2i + 1).
std::vector<int64_t> reorder_heads(int64_t rows, const GqaSpec& gqa, RopePairing to) {
  const auto pairs = static_cast<int64_t>(gqa.rope.inverse_frequency.size());
  std::vector<int64_t> row_of(static_cast<size_t>(rows));
  for (int64_t row = 0; row < rows; ++row) row_of[static_cast<size_t>(row)] = row;
  for (int64_t head = 0; head < rows; head += gqa.head_dim) {
    for (int64_t i = 0; i < pairs; ++i) {
      const int64_t split[] = {head + i, head + i + pairs}, interleaved[] = {head + 2 * i, head + 2 * i + 1};
      for (int j = 0; j < 2; ++j) {
        const bool to_split = to == RopePairing::HalfSplit;
        row_of[static_cast<size_t>(to_split ? split[j] : interleaved[j])] = to_split ? interleaved[j] : split[j];
      }
    }
  }
  return row_of;
}

bool same_as(std::span<const float> values, DType type) {
  std::vector<std::byte> narrow(static_cast<size_t>(row_bytes(type, static_cast<int64_t>(values.size()))));
  std::vector<float> back(values.size());
  quantize_row(type, values, narrow.data());
  dequantize_row(type, narrow.data(), back);
  return std::equal(back.begin(), back.end(), values.begin());
}

// Matrices of float32 vectors and of the spec's own tables, which no file holds in this form.
Matrix vector_matrix(std::span<const float> values) {
  const auto count = static_cast<int64_t>(values.size());
  return {reinterpret_cast<const std::byte*>(values.data()), DType::F32, 1, count, row_bytes(DType::F32, count)};
}
// The same as a column, to alternate with another.
Matrix column_matrix(std::span<const float> values) {
  const auto count = static_cast<int64_t>(values.size());
  return {reinterpret_cast<const std::byte*>(values.data()), DType::F32, count, 1, sizeof(float)};
}

bool is_even(Packing packing) { return packing == Packing::ExpertsEvenRows || packing == Packing::ExpertsEvenColumns; }
bool is_odd(Packing packing) { return packing == Packing::ExpertsOddRows || packing == Packing::ExpertsOddColumns; }

class Planner {
 public:
  Planner(const Model& model, const WriteOptions& options)
      : model_(model),
        options_(options),
        names_(name_table(options.format, model.spec.family)),
        latents_are_fp8_(has_fp8_latents(model)) {
    main_type_ = options_.mix ? mixed_type(*options_.mix, model.spec, {Role::Query, 0}, model.spec.width)
                              : kept_type({Role::Query}, first_query());
    if (options_.format != CheckpointFormat::Gguf && is_quantized(main_type_)) {
      throw_error(ErrorKind::Usage, "type {}: this layout holds f32, f16 and bf16", info(main_type_).name);
    }
  }

  std::vector<OutputTensor> plan() {
    for (const BlockSpec& block : model_.spec.blocks) {
      if (const auto* gqa = std::get_if<GqaSpec>(&block.mixer)) attention_[block.layer] = gqa;
      if (const auto* mla = std::get_if<MlaSpec>(&block.mixer)) latent_[block.layer] = mla;
    }
    visit_vectors(model_.spec, model_.weights, [&](const TensorId& id, std::span<const float> values) {
      const DType type = id.role == Role::SelectionBias ? DType::F32 : norm_type(values);
      add_vector(id, values, type);
    });
    visit_matrices(model_.spec, model_.weights,
                   [&](const TensorId& id, const Matrix& matrix) { add_matrix(id, matrix); });
    // The layers in turn. Where types mix, safetensors want the wide ones first, so that each tensor lies at a multiple
    // of its element's size.
    const bool by_width = options_.format != CheckpointFormat::Gguf;
    const auto place = [&](const OutputTensor& tensor) {
      const bool last = tensor.id.role == Role::FinalNorm || tensor.id.role == Role::Output;
      return std::pair(by_width ? -element_bytes(tensor.type) : 0, last ? INT64_MAX : tensor.id.layer);
    };
    split_pairs();
    std::ranges::stable_sort(tensors_, {}, place);
    return std::move(tensors_);
  }

  DType main_type() const { return main_type_; }

 private:
  static int element_bytes(DType type) { return type == DType::F32 ? 4 : is_quantized(type) ? 1 : 2; }

  const Matrix& first_query() const {
    for (const BlockWeights& block : model_.weights.blocks) {
      if (const auto* gqa = std::get_if<GqaWeights>(&block.mixer)) return gqa->query;
      if (const auto* mla = std::get_if<MlaWeights>(&block.mixer)) return mla->query;
    }
    CHECK(false);
  }

  // Matrices in 8-bit floats are written as BF16, as are the keys' halves of latent projections, which had to become
  // float32 to be transposed. Folders hold no blocks but MXFP4's, and those of experts only.
  DType kept_type(const TensorId& id, const Matrix& matrix) const {
    if (matrix.dtype == DType::F8_E4M3 || (id.role == Role::KeyUp && latents_are_fp8_)) return DType::BF16;
    if (options_.format == CheckpointFormat::Gguf || !is_quantized(matrix.dtype)) return matrix.dtype;
    const bool in_pairs = matrix.dtype == DType::MXFP4 && is_pair(written_name(names_, id.role, DType::MXFP4));
    return in_pairs ? DType::MXFP4 : DType::F16;
  }

  static bool has_fp8_latents(const Model& model) {
    return std::ranges::any_of(model.weights.blocks, [](const BlockWeights& block) {
      const auto* mla = std::get_if<MlaWeights>(&block.mixer);
      return mla != nullptr && mla->value_up.front().dtype == DType::F8_E4M3;
    });
  }

  DType norm_type(std::span<const float> values) const {
    if (options_.format == CheckpointFormat::Gguf) return DType::F32;
    return options_.mix || same_as(values, main_type_) ? main_type_ : DType::F32;
  }

  DType router_type(const Matrix& router) const {
    if (options_.format == CheckpointFormat::Gguf) return DType::F32;
    if (options_.mix) return main_type_;
    std::vector<float> row(static_cast<size_t>(router.cols));  // made, where it is a copy, for the router's floats
    for (int64_t r = 0; r < router.rows; ++r) {
      dequantize_row(router, r, row);
      if (!same_as(row, main_type_)) return DType::F32;
    }
    return main_type_;
  }

  DType matrix_type(const TensorId& id, const Matrix& matrix) const {
    if (id.role == Role::Router) return router_type(matrix);
    return options_.mix ? mixed_type(*options_.mix, model_.spec, id, matrix.cols) : kept_type(id, matrix);
  }

  OutputTensor& add(const TensorId& id, std::vector<int64_t> shape, DType type) {
    const TensorName& name = written_name(names_, id.role, type);
    tensors_.push_back({id, expand(name.pattern, id.layer, id.expert), type, std::move(shape), {}});
    planned_.emplace(tensors_.back().name, tensors_.size() - 1);
    return tensors_.back();
  }

  // The tensor already planned that holds this one too; null where there is none.
  OutputTensor* planned(const TensorId& id, DType type = DType::F32) {
    const auto found = planned_.find(expand(written_name(names_, id.role, type).pattern, id.layer, id.expert));
    return found == planned_.end() ? nullptr : &tensors_[found->second];
  }

  void add_vector(const TensorId& id, std::span<const float> values, DType type) {
    const TensorName& how = written_name(names_, id.role);
    const auto size = static_cast<int64_t>(values.size());
    Part part{id, vector_matrix(values), {}};
    if (how.packing == Packing::Whole || how.packing == Packing::Row) {
      const bool row = how.packing == Packing::Row;
      add(id, row ? std::vector<int64_t>{1, size} : std::vector<int64_t>{size}, type).parts.push_back(std::move(part));
      return;
    }
    const bool even = is_even(how.packing), odd = is_odd(how.packing);
    CHECK(even || odd || how.packing == Packing::Experts);
    if (even || odd) part.matrix = column_matrix(values);
    if (id.expert == 0 && !odd) add(id, {0, even ? 2 * size : size}, type);
    OutputTensor* tensor = planned(id);
    CHECK(tensor != nullptr);
    if (type == DType::F32) tensor->type = type;  // the narrow one would not hold these
    if (odd) {
      tensor->parts.back().odd = part.matrix;
      return;
    }
    ++tensor->shape.front();
    tensor->parts.push_back(std::move(part));
  }

  // Where MXFP4 lies in pairs: the tensor planned becomes that of the codes, and one of the exponents follows it.
  void split_pairs() {
    if (options_.format == CheckpointFormat::Gguf) return;
    std::vector<OutputTensor> all;
    for (OutputTensor& tensor : tensors_) {
      all.push_back(std::move(tensor));
      if (all.back().type != DType::MXFP4) continue;
      OutputTensor scales = all.back();
      scales.piece = Piece::Scales;
      scales.name.replace(scales.name.size() - kMxfp4CodesSuffix.size(), kMxfp4CodesSuffix.size(), kMxfp4ScalesSuffix);
      scales.shape.back() /= kMxfp4Weights;
      all.back().piece = Piece::Codes;
      all.back().shape = scales.shape;
      all.back().shape.push_back(kMxfp4Codes);
      all.push_back(std::move(scales));
    }
    tensors_ = std::move(all);
  }

  void add_matrix(const TensorId& id, const Matrix& matrix) {
    Part part{id, matrix, {}};
    if ((id.role == Role::KeyUp || id.role == Role::ValueUp) && !has_name(names_, id.role)) {
      join_kv_up(id, std::move(part));
      return;
    }
    if ((id.role == Role::Query || id.role == Role::Key) && attention_.contains(id.layer)) {
      const GqaSpec& gqa = *attention_.at(id.layer);
      const RopePairing to = names_.row_order;
      if (gqa.rope.pairing != to) part.row_of = reorder_heads(matrix.rows, gqa, to);
    }
    const DType type = matrix_type(id, matrix);
    const TensorName& how = written_name(names_, id.role, type);
    const std::vector<int64_t> shape = packed_shape(how.packing, matrix);
    part.transposed = how.packing == Packing::ExpertColumns || how.packing == Packing::ExpertsTransposed ||
                      how.packing == Packing::ExpertsEvenColumns;
    OutputTensor* tensor = planned(id, type);
    if (tensor == nullptr) {
      add(id, shape, type).parts.push_back(std::move(part));
      return;
    }
    // The tensor holds several matrices. In the source they may have types of their own; here they share the first
    // one's, unless that would lose something.
    if (!options_.mix && kept_type(id, part.matrix) != tensor->type) {
      throw_error(ErrorKind::File, "{}: {} and {} are to be one tensor, expected one type; choose one with --type",
                  to_text(id), info(tensor->type).name, info(part.matrix.dtype).name);
    }
    if (is_odd(how.packing)) {
      tensor->parts.back().odd = matrix;
      return;
    }
    tensor->shape.front() += shape.front();
    tensor->parts.push_back(std::move(part));
  }

  // Layouts with one tensor for the keys and values of all heads hold a head's keys, not transposed, then its values.
  void join_kv_up(const TensorId& id, Part part) {
    const MlaSpec& mla = *latent_.at(id.layer);
    const TensorId whole{Role::KvUp, id.layer};
    if (id.role == Role::KeyUp) {
      const int64_t rows = mla.heads * (mla.nope_dim + mla.value_dim);
      if (id.expert == 0) add(whole, {rows, mla.kv_rank}, matrix_type(whole, part.matrix));
      part.matrix = untransposed(part.matrix);
    }
    OutputTensor* tensor = planned(whole);
    CHECK(tensor != nullptr);
    tensor->parts.push_back(std::move(part));
  }

  Matrix untransposed(const Matrix& matrix) {
    WeightCopies reordered = model_.weights.reordered;
    ThreadTeam team(options_.threads);
    const bool is_there = reordered.make(matrix.data, team);
    const auto copy = std::make_shared<std::vector<float>>(static_cast<size_t>(matrix.rows * matrix.cols));
    std::vector<float> row(static_cast<size_t>(matrix.cols));
    for (int64_t r = 0; r < matrix.rows; ++r) {
      dequantize_row(matrix, r, row);
      for (int64_t c = 0; c < matrix.cols; ++c) {
        (*copy)[static_cast<size_t>(c * matrix.rows + r)] = row[static_cast<size_t>(c)];
      }
    }
    if (!is_there) reordered.drop(matrix.data);
    copies_.push_back(copy);
    return {reinterpret_cast<const std::byte*>(copy->data()), DType::F32, matrix.cols, matrix.rows,
            row_bytes(DType::F32, matrix.rows)};
  }

  // The shape of a tensor with this matrix alone, or with the one that is to alternate with it; further ones are added
  // to the first size.
  static std::vector<int64_t> packed_shape(Packing packing, const Matrix& matrix) {
    switch (packing) {
      case Packing::Whole:
      case Packing::ExpertRows:
      case Packing::QueryKeyValueRows:
        break;
      case Packing::Experts:
        return {1, matrix.rows, matrix.cols};
      case Packing::ExpertColumns:
        return {matrix.cols, matrix.rows};
      case Packing::ExpertsTransposed:
        return {1, matrix.cols, matrix.rows};
      case Packing::ExpertsEvenRows:
      case Packing::ExpertsOddRows:
        return {1, 2 * matrix.rows, matrix.cols};
      case Packing::ExpertsEvenColumns:
      case Packing::ExpertsOddColumns:
        return {1, matrix.cols, 2 * matrix.rows};
      case Packing::ExpertsFirstHalf:
      case Packing::ExpertsSecondHalf:
      case Packing::Transposed:
      case Packing::Row:
        CHECK(false);  // no table has them first
    }
    return {matrix.rows, matrix.cols};
  }

  const Model& model_;
  const WriteOptions& options_;
  const NameTable& names_;
  const bool latents_are_fp8_;
  DType main_type_ = DType::F32;
  std::map<int64_t, const GqaSpec*> attention_;
  std::map<int64_t, const MlaSpec*> latent_;
  std::vector<std::shared_ptr<const std::vector<float>>> copies_;  // what parts of the plan point to
  std::vector<OutputTensor> tensors_;
  std::unordered_map<std::string, size_t> planned_;  // by name; a model may have 90,000 tensors
};

// Converts rows in parallel and hands them on in order.
class Streamer {
 public:
  using Sink = std::function<void(const std::string& name, std::span<const std::byte> bytes)>;

  Streamer(const WriteOptions& options, WeightCopies copies, Sink sink)
      : options_(options),
        copies_(std::move(copies)),
        sink_(std::move(sink)),
        team_(options.threads),
        rows_(static_cast<size_t>(team_.size())) {}

  // False when progress said stop.
  bool write(const OutputTensor& tensor) {
    if (tensor.id.layer != layer_) drop_copies();
    layer_ = tensor.id.layer;
    return std::ranges::all_of(tensor.parts, [&](const Part& part) {
      for (const std::byte* data : {part.matrix.data, part.odd.data}) {
        if (!copies_.make(data, team_)) made_.push_back(data);
      }
      return part.transposed ? write_transposed(tensor, part) : write_rows(tensor, part);
    });
  }

 private:
  // One copy may hold all experts of a layer, so those of a layer stay until the next one's.
  void drop_copies() {
    for (const std::byte* copy : made_) copies_.drop(copy);
    made_.clear();
  }

  bool write_rows(const OutputTensor& tensor, const Part& part) {
    const int64_t bytes = row_bytes(tensor.type, part.matrix.cols);
    const int64_t chunk = std::clamp<int64_t>(kChunkBytes / bytes, 1, part.rows());
    const bool lies_so = part.matrix.dtype == tensor.type && part.matrix.row_bytes == bytes;
    for (int64_t first = 0; first < part.rows(); first += chunk) {
      const int64_t rows = std::min(chunk, part.rows() - first);
      const auto size = static_cast<size_t>(rows * bytes);
      if (part.row_of.empty() && part.odd.data == nullptr && lies_so) {
        write_piece(tensor, std::span(part.matrix.row(first), size));
      } else {
        buffer_.resize(size);
        convert(tensor, part, first, rows);
        write_piece(tensor, buffer_);
      }
      if (tensor.piece != Piece::Scales && !advance(rows * row_bytes(part.matrix.dtype, part.matrix.cols)))
        return false;
    }
    return true;
  }

  void write_piece(const OutputTensor& tensor, std::span<const std::byte> rows) {
    if (tensor.piece == Piece::All) return sink_(tensor.name, rows);
    const bool codes = tensor.piece == Piece::Codes;
    piece_.resize(rows.size() / kMxfp4Block * (codes ? kMxfp4Codes : 1));
    (codes ? mxfp4_codes : mxfp4_scales)(piece_.data(), rows);
    sink_(tensor.name, piece_);
  }

  bool advance(int64_t bytes) {
    done_ += static_cast<uint64_t>(bytes);
    return !options_.progress || options_.progress(done_);
  }

  // One expert's matrix at once: tensors of this kind are floats.
  bool write_transposed(const OutputTensor& tensor, const Part& part) {
    CHECK(!is_quantized(tensor.type) && part.row_of.empty());
    const Matrix& matrix = part.matrix;
    const auto size = static_cast<size_t>(part.rows() * row_bytes(tensor.type, matrix.cols));
    buffer_.resize(size);
    convert(tensor, part, 0, part.rows());
    transposed_.resize(size);
    transpose(transposed_.data(), buffer_.data(), part.rows(), matrix.cols,
              static_cast<size_t>(info(tensor.type).bytes));
    sink_(tensor.name, transposed_);
    return advance(part.rows() * row_bytes(matrix.dtype, matrix.cols));
  }

  struct Faults {
    std::atomic<bool> not_finite = false, too_large = false;
  };

  void convert(const OutputTensor& tensor, const Part& part, int64_t first, int64_t rows) {
    const int64_t together = std::clamp<int64_t>(kTaskWeights / part.matrix.cols, 1, rows);
    Faults faults;
    team_.run((rows + together - 1) / together, [&](int64_t task, int thread) {
      for (int64_t row = task * together; row < std::min(rows, (task + 1) * together); ++row) {
        std::byte* out = buffer_.data() + row * row_bytes(tensor.type, part.matrix.cols);
        convert_row(part.source(first + row), part.source_row(first + row), tensor.type, out,
                    rows_[static_cast<size_t>(thread)], faults);
      }
    });
    if (faults.not_finite) {
      throw_error(ErrorKind::File, "{}: a weight is not finite, expected finite numbers", to_text(part.id));
    }
    if (faults.too_large) {
      throw_error(ErrorKind::File, "{}: a weight is beyond the range of f16; bf16 would hold it", to_text(part.id));
    }
  }

  static void convert_row(const Matrix& from, int64_t row, DType type, std::byte* out, std::vector<float>& values,
                          Faults& faults) {
    if (from.dtype == type) {
      std::memcpy(out, from.row(row), static_cast<size_t>(row_bytes(type, from.cols)));
      return;
    }
    values.resize(static_cast<size_t>(from.cols));
    dequantize_row(from, row, values);
    float largest = 0;
    for (const float value : values) {
      if (!std::isfinite(value)) faults.not_finite = true;
      largest = std::max(largest, std::fabs(value));
    }
    if (type == DType::F16 && largest >= kHalfOverflow) faults.too_large = true;
    quantize_row(type, values, out);
  }

  static constexpr int64_t kTaskWeights = 1 << 16;  // what a thread takes at a time
  static constexpr float kHalfOverflow = 65520;     // rounds to infinity

  const WriteOptions& options_;
  WeightCopies copies_;
  std::vector<const std::byte*> made_;  // for the tensors of layer_
  int64_t layer_ = -1;
  Sink sink_;
  ThreadTeam team_;
  std::vector<std::vector<float>> rows_;  // one a thread
  std::vector<std::byte> buffer_, transposed_, piece_;
  uint64_t done_ = 0;
};

uint64_t total_bytes(const std::vector<OutputTensor>& tensors) {
  uint64_t total = 0;
  for (const OutputTensor& tensor : tensors) {
    for (const Part& part : tensor.parts) {
      total += static_cast<uint64_t>(tensor.bytes(part.rows(), part.matrix.cols));
    }
  }
  return total;
}

// ---- GGUF

GgufMetadata gguf_metadata(const Model& model, const std::string& out, std::vector<std::string>& notes) {
  if (model.store.gguf) {
    GgufMetadata metadata = *model.store.gguf;
    update_gguf_spec(model.spec, metadata);
    return metadata;
  }
  const fs::path folder = fs::path(model.store.folder).lexically_normal();
  const std::string name = (folder.has_filename() ? folder : folder.parent_path()).filename().string();
  GgufMetadata metadata = write_gguf_spec(model.spec, name.empty() ? fs::path(out).stem().string() : name);
  describe_tokenizer(model.store, model.spec.vocab, metadata, notes);
  return metadata;
}

// The mix that a file says it has: the chosen one, or the one of the type that most weights have.
int file_type_of(const std::vector<OutputTensor>& tensors, const WriteOptions& options) {
  if (options.mix) return options.mix->file_type;
  std::map<DType, int64_t> weights;
  for (const OutputTensor& tensor : tensors) {
    for (const Part& part : tensor.parts) weights[tensor.type] += part.weights();
  }
  const auto most = std::ranges::max_element(weights, {}, [](const auto& pair) { return pair.second; });
  const auto mix = mix_of(most->first);
  return mix ? mix->file_type : -1;
}

bool write_gguf(const Model& model, const std::string& out, const WriteOptions& options,
                std::vector<OutputTensor> tensors, WriteSummary& summary) {
  GgufMetadata metadata = gguf_metadata(model, out, summary.notes);
  const bool kept = model.store.gguf && !options.mix;
  if (const int type = file_type_of(tensors, options); type >= 0 && !kept) {
    metadata.values["general.file_type"] = int64_t{type};
    metadata.types.erase("general.file_type");
  }
  metadata.values["general.quantization_version"] = kQuantizationVersion;
  const std::vector<float> divisors = rope_divisors(model.spec);
  if (!divisors.empty()) {
    const auto count = static_cast<int64_t>(divisors.size());
    tensors.push_back({{}, "rope_freqs.weight", DType::F32, {count}, {Part{{}, vector_matrix(divisors), {}}}});
  }
  std::vector<GgufTensorPlan> plans;
  for (const OutputTensor& tensor : tensors) plans.push_back({tensor.name, tensor.type, tensor.shape});
  GgufWriter writer(out, metadata, plans);
  Streamer streamer(options, model.weights.reordered,
                    [&](const std::string& name, std::span<const std::byte> bytes) { writer.write(name, bytes); });
  if (!std::ranges::all_of(tensors, [&](const OutputTensor& tensor) { return streamer.write(tensor); })) return false;
  writer.commit();
  return true;
}

// ---- folders

const char* torch_name(DType type) {
  return type == DType::F32 ? "float32" : type == DType::F16 ? "float16" : "bfloat16";
}

// True when the folder was made.
bool make_folder(const std::string& out) {
  std::error_code error;
  const bool made = fs::create_directories(out, error);
  if (error) throw_error(ErrorKind::Io, "{}: cannot make the folder: {}", out, error.message());
  for (const auto& entry : fs::directory_iterator(out, error)) {
    const fs::path& path = entry.path();
    const std::string name = path.filename().string();
    if (name == "config.json" || name == "params.json" || path.extension() == ".safetensors" ||
        name.starts_with("consolidated.")) {
      throw_error(ErrorKind::Usage, "{}: the folder already holds {}; choose another", out, name);
    }
  }
  if (error) throw_error(ErrorKind::Io, "{}: cannot list the folder: {}", out, error.message());
  return made;
}

std::map<std::string, std::string> side_files(const Model& model, const FolderTypes& types, const WriteOptions& options,
                                              std::vector<std::string>& notes) {
  std::map<std::string, std::string> files;
  const auto put = [&](const std::string& name, const nlohmann::ordered_json& json) {
    files[name] = json.dump(2) + "\n";
  };
  if (options.format == CheckpointFormat::HuggingFace) {
    put("config.json", write_hugging_face_spec(model.spec, types));
    if (model.store.generation_config.is_null()) {
      put("generation_config.json", write_generation_config(model.spec));
    } else {
      put("generation_config.json", model.store.generation_config);
    }
  } else {
    put("params.json", write_native_spec(model.spec));
  }
  files.merge(tokenizer_files(model.store, options.format, notes));
  return files;
}

bool write_folder(const Model& model, const std::string& out, DType main_type, const WriteOptions& options,
                  const std::vector<OutputTensor>& tensors, WriteSummary& summary) {
  // All that can be refused comes before the first file.
  const bool pairs = std::ranges::any_of(tensors, [](const auto& tensor) { return tensor.piece != Piece::All; });
  const auto files = side_files(model, {torch_name(main_type), pairs}, options, summary.notes);
  const bool made = make_folder(out);
  bool complete = false;
  const auto tidy = [&] {
    std::error_code ignored;
    if (made && !complete) fs::remove_all(out, ignored);  // all of it is ours
  };
  try {
    std::vector<SafetensorsPlan> plans;
    for (const OutputTensor& tensor : tensors) {
      const bool whole = tensor.piece == Piece::All;
      plans.push_back({tensor.name, whole ? safetensors_dtype(tensor.type) : "U8", tensor.shape});
    }
    const bool native = options.format == CheckpointFormat::Mistral;
    // The readers of the publisher's layout expect one file.
    ShardedSafetensorsWriter writer(out, native ? "consolidated" : "model", plans, native ? UINT64_MAX : kShardBytes);
    Streamer streamer(options, model.weights.reordered,
                      [&](const std::string& name, std::span<const std::byte> bytes) { writer.write(name, bytes); });
    if (std::ranges::all_of(tensors, [&](const OutputTensor& tensor) { return streamer.write(tensor); })) {
      writer.commit();
      for (const auto& [name, text] : files) write_file_atomically((fs::path(out) / name).string(), text);
      complete = true;
    }
  } catch (...) {
    tidy();
    throw;
  }
  tidy();
  return complete;
}

}  // namespace

WriteSummary write_checkpoint(const Model& model, const std::string& out, const WriteOptions& options) {
  std::error_code ignored;
  if (fs::equivalent(out, model.store.path, ignored)) {
    throw_error(ErrorKind::Usage, "{}: the model would be written over itself; choose another path", out);
  }
  if (options.format == CheckpointFormat::Gguf && fs::is_directory(out, ignored)) {
    throw_error(ErrorKind::Usage, "{}: a folder, expected the name of a GGUF file", out);
  }
  Planner planner(model, options);
  std::vector<OutputTensor> tensors = planner.plan();
  WriteSummary summary;
  summary.bytes = total_bytes(tensors);
  summary.complete = options.format == CheckpointFormat::Gguf
                         ? write_gguf(model, out, options, std::move(tensors), summary)
                         : write_folder(model, out, planner.main_type(), options, tensors, summary);
  return summary;
}

}  // namespace ostro
