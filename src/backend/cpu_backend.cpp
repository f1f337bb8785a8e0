// The backend on CPUs: threads over the kernel table of an instruction set. Owns how work is cut into tasks and the
// scratch of each thread; the arithmetic is in kernels/cpu.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "backend/backend.h"
#include "base/error.h"
#include "kernels/cpu/select.h"
#include "tensor/dtype.h"
#include "tensor/interleave.h"

namespace ostro {
namespace {

static_assert(kAttendBlock == kAttendKeys);

// Memory of fixed alignment that grows and never shrinks.
class AlignedBytes {
 public:
  AlignedBytes() = default;
  AlignedBytes(AlignedBytes&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  AlignedBytes& operator=(AlignedBytes&&) = delete;
  ~AlignedBytes() { std::free(data_); }

  void* reserve(size_t bytes) {
    if (bytes > size_) {
      std::free(data_);
      size_ = (bytes + 4095) / 4096 * 4096;
      data_ = std::aligned_alloc(64, size_);
      CHECK(data_ != nullptr);
    }
    return data_;
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Inputs of a product in the forms its weights call for.
enum class InputForm : uint8_t { Float, Int8, Bf16 };

class CpuBackend final : public Backend {
 public:
  CpuBackend(const BackendOptions& options, const InstructionSet& set)
      : set_(set),
        kernels_(*set.table),
        compute_(options.compute),
        team_(options.threads > 0 ? options.threads : default_threads()),
        scratch_(static_cast<size_t>(team_.size())) {
    for (AlignedBytes& scratch : scratch_) scratch.reserve(kScratchBytes);
  }

  std::string name() const override { return set_.description; }
  int threads() const override { return team_.size(); }
  bool reads_interleaved(DType type) const override {
    return kernels_.reads_interleaved(type) && (!is_quantized(type) || form(type) == InputForm::Int8);
  }

  void linear(std::span<const Product> products, Rows in) noexcept override {
    prepare_inputs(in, [&](auto&& visit) {
      for (const Product& product : products) visit(product.weight.dtype);
    });
    panels_.clear();
    for (const Product& product : products) {
      add_panels(product.weight, form(product.weight.dtype), product.out, 0, in.rows);
    }
    run_panels(in);
  }

  // Each row becomes two rows of int8 digits, x ~ scale * code + scale' * code', whose products are added. Weights that
  // are floats meet float32.
  void linear_fine(std::span<const Product> products, Rows in) noexcept override {
    std::vector<Product> coarse, fine;
    for (const Product& product : products) {
      (form(product.weight.dtype) == InputForm::Int8 ? fine : coarse).push_back(product);
    }
    panels_.clear();
    for (const Product& product : coarse) add_panels(product.weight, InputForm::Float, product.out, 0, in.rows);
    run_panels(in);
    if (fine.empty()) return;

    resize_int8(2 * in.rows, in.width);
    for_rows(in.rows, in.width, [&](int64_t r) {
      kernels_.quantize_int8(int8_, 2 * r, in.row(r));
      thread_local std::vector<float> rest;
      rest.resize(static_cast<size_t>(in.width));
      for (int64_t k = 0; k < in.width; k += 32) {
        const int64_t at = int8_.index(2 * r, k);
        for (int64_t i = 0; i < 32; ++i) {
          rest[static_cast<size_t>(k + i)] =
              in.row(r)[k + i] - int8_.scale[at / 32] * static_cast<float>(int8_.code[at + i]);
        }
      }
      kernels_.quantize_int8(int8_, 2 * r + 1, rest.data());
    });

    int64_t width = 0;
    for (const Product& product : fine) width += product.out.width;
    const Rows digits = digits_.resize(2 * in.rows, width);
    panels_.clear();
    int64_t column = 0;
    for (const Product& product : fine) {
      add_panels(product.weight, InputForm::Int8, {digits.data + column, digits.rows, digits.width}, 0, digits.rows);
      column += product.out.width;
    }
    run_panels(in);
    for_rows(in.rows, width, [&](int64_t r) {
      const float* sum = digits.row(2 * r);
      for (const Product& product : fine) {
        for (int64_t i = 0; i < product.out.width; ++i) product.out.row(r)[i] = sum[i] + sum[digits.width + i];
        sum += product.out.width;
      }
    });
  }

  void grouped_linear(std::span<const GroupedProduct> products, Rows in,
                      std::span<const int64_t> first_row) noexcept override {
    prepare_inputs(in, [&](auto&& visit) {
      for (const GroupedProduct& product : products) {
        for (const Matrix& expert : product.experts) visit(expert.dtype);
      }
    });
    panels_.clear();
    for (size_t e = 0; e + 1 < first_row.size(); ++e) {
      for (const GroupedProduct& product : products) {
        const Matrix& weight = product.experts[e];
        add_panels(weight, form(weight.dtype), product.out, first_row[e], first_row[e + 1] - first_row[e]);
      }
    }
    run_panels(in);
  }

  void embed(Rows out, const Matrix& table, std::span<const int32_t> tokens, float scale) noexcept override {
    team_.run(out.rows, [&](int64_t r, int) {
      thread_local std::vector<std::byte> copy;
      copy.resize(static_cast<size_t>(table.row_bytes));
      const std::byte* row = whole_row(table, tokens[static_cast<size_t>(r)], copy.data());
      kernels_.to_float(out.row(r), row, table.dtype, out.width);
      if (scale == 1) return;
      for (int64_t i = 0; i < out.width; ++i) out.row(r)[i] *= scale;
    });
  }

  void normalize(Rows out, Rows in, std::span<const float> weight, NormKind kind, float eps) noexcept override {
    const auto norm = kind == NormKind::Rms ? kernels_.rms_norm : kernels_.layer_norm;
    for_rows(in.rows, in.width, [&](int64_t r) { norm(out.row(r), in.row(r), weight.data(), in.width, eps); });
  }

  void rope(Rows rows, std::span<const int64_t> positions, int64_t head_dim, std::span<const double> inverse_frequency,
            float magnitude, RopePairing pairing) noexcept override {
    fill_rope_table(positions, inverse_frequency, magnitude);
    const auto pairs = static_cast<int64_t>(inverse_frequency.size());
    // Pair i of a head stands at step * i and step * i + second, and goes to i and i + pairs.
    const int64_t step = pairing == RopePairing::Interleaved ? 2 : 1;
    const int64_t second = pairing == RopePairing::Interleaved ? 1 : pairs;
    CHECK(2 * pairs <= kMostAttendDim);
    for_rows(rows.rows, rows.width, [&](int64_t r) {
      const float* turn = rope_turns_.data() + r * 2 * pairs;
      std::array<float, kMostAttendDim> before;
      for (float* head = rows.row(r); head < rows.row(r) + rows.width; head += head_dim) {
        std::copy_n(head, 2 * pairs, before.data());
        for (int64_t i = 0; i < pairs; ++i) {
          const float cosine = turn[i], sine = turn[pairs + i];
          const float a = before[static_cast<size_t>(step * i)], b = before[static_cast<size_t>(step * i + second)];
          head[i] = a * cosine - b * sine;
          head[i + pairs] = b * cosine + a * sine;
        }
      }
    });
  }

  void attend(Rows out, Rows queries, const AttendShape& shape, std::span<const AttendJob> jobs) noexcept override {
    struct Task {
      const AttendJob* job;
      int64_t kv_head, first_head, heads, first, rows;
    };
    static_assert(kMostAttendDim <= kMaxHeadDim);
    CHECK(std::max(shape.key_dim, shape.value_dim) <= kMostAttendDim);
    const int64_t heads = shape.query_heads / shape.kv_heads;
    const int64_t together = heads_together(heads, shape.kv_heads * queries.rows), tile = kAttendRows / together;
    std::vector<Task> tasks;
    for (const AttendJob& job : jobs) {
      for (int64_t first = 0; first < job.rows; first += tile) {
        for (int64_t head = 0; head < shape.query_heads; head += together) {
          const int64_t kv_head = head / heads;
          tasks.push_back({&job, kv_head, head, std::min(together, (kv_head + 1) * heads - head), first,
                           std::min(tile, job.rows - first)});
        }
      }
    }
    // The last rows of a prompt see the most keys: start with them.
    std::reverse(tasks.begin(), tasks.end());
    team_.run(static_cast<int64_t>(tasks.size()), [&](int64_t index, int thread) {
      const Task& task = tasks[static_cast<size_t>(index)];
      const AttendJob& job = *task.job;
      std::vector<AttendRun> runs;
      runs.reserve(job.runs.size());
      for (const KvRun& run : job.runs) {
        runs.push_back({run.keys + task.kv_head * shape.key_head_bytes,
                        run.values + task.kv_head * shape.value_head_bytes, run.first_position, run.count});
      }
      AttendArgs args = {};
      const int64_t row = job.first_row + task.first;
      args.query = queries.row(row) + task.first_head * shape.key_dim;
      args.query_stride = queries.width;
      args.out = out.row(row) + task.first_head * shape.value_dim;
      args.out_stride = out.width;
      args.rows = task.rows;
      args.heads = task.heads;
      args.first_position = job.first_position + task.first;
      args.key_dim = shape.key_dim;
      args.value_dim = shape.value_dim;
      args.scale = shape.scale;
      args.logit_cap = shape.logit_cap;
      if (!shape.sinks.empty()) args.sinks = shape.sinks.data() + task.first_head;
      args.window = shape.window;
      args.key_type = shape.key_type;
      args.value_type = shape.value_type;
      args.runs = runs.data();
      args.run_count = static_cast<int64_t>(runs.size());
      args.key_row_bytes = shape.key_row_bytes;
      args.value_row_bytes = shape.value_row_bytes;
      args.scratch = thread_scratch(thread);
      kernels_.attend(args);
    });
  }

  void gate(Rows out, Rows gate, Rows up, Activation activation) noexcept override {
    if (activation == Activation::GatedSwiGlu) {
      CHECK(gate.width == 2 * out.width);
      for_rows(out.rows, out.width, [&](int64_t r) {
        float* a = gate.row(r);
        kernels_.swiglu(a, a + out.width, a, out.width);
        for (int64_t i = 0; i < out.width; ++i) out.row(r)[i] = a[i] * up.row(r)[i];
      });
      return;
    }
    const auto apply = activation == Activation::SwiGlu  ? kernels_.swiglu
                       : activation == Activation::GeGlu ? kernels_.geglu
                                                         : kernels_.clamped_swiglu;
    for_rows(out.rows, out.width, [&](int64_t r) { apply(out.row(r), gate.row(r), up.row(r), out.width); });
  }

  void clip(Rows rows, float limit) noexcept override {
    for_rows(rows.rows, rows.width, [&](int64_t r) {
      for (float& value : rows.slice(r, 1).values()) value = std::clamp(value, -limit, limit);
    });
  }

  void scale(Rows rows, float factor) noexcept override {
    for_rows(rows.rows, rows.width, [&](int64_t r) {
      for (float& value : rows.slice(r, 1).values()) value *= factor;
    });
  }

  void add(Rows out, Rows in) noexcept override {
    for_rows(out.rows, out.width, [&](int64_t r) { kernels_.add(out.row(r), in.row(r), out.width); });
  }

  void add_row(Rows out, std::span<const float> row) noexcept override {
    for_rows(out.rows, out.width, [&](int64_t r) { kernels_.add(out.row(r), row.data(), out.width); });
  }

  void add_expert_rows(Rows out, std::span<const float> rows, std::span<const int64_t> first_row) noexcept override {
    for (size_t e = 0; e + 1 < first_row.size(); ++e) {
      const auto width = static_cast<size_t>(out.width);
      add_row(out.slice(first_row[e], first_row[e + 1] - first_row[e]), rows.subspan(e * width, width));
    }
  }

  void gather(Rows out, Rows in, std::span<const int64_t> index) noexcept override {
    for_rows(out.rows, out.width, [&](int64_t r) {
      std::memcpy(out.row(r), in.row(index[static_cast<size_t>(r)]), sizeof(float) * static_cast<size_t>(out.width));
    });
  }

  void copy_columns(Columns out, Columns in, std::span<const int64_t> index) noexcept override {
    const size_t bytes = sizeof(float) * static_cast<size_t>(out.count);
    for_rows(out.rows.rows, out.count, [&](int64_t r) {
      const int64_t from = index.empty() ? r : index[static_cast<size_t>(r)];
      std::memcpy(out.rows.row(r) + out.first, in.rows.row(from) + in.first, bytes);
    });
  }

  void weighted_sum(Rows out, Rows in, std::span<const int64_t> slot, std::span<const double> weight,
                    int64_t top_k) noexcept override {
    for_rows(out.rows, out.width * top_k, [&](int64_t t) {
      const auto first = static_cast<size_t>(t * top_k);
      kernels_.weighted_sum(out.row(t), in.data, in.width, &slot[first], &weight[first], top_k, out.width);
    });
  }

  void store_row(std::byte* out, DType type, std::span<const float> in) noexcept override {
    kernels_.from_float(out, type, in.data(), static_cast<int64_t>(in.size()));
  }

  ProductKernel product_kernel(DType weight, bool interleaved) const override {
    if (form(weight) == InputForm::Int8) {
      return {Arithmetic::Int8, kernels_.unpacks_together(weight, interleaved)
                                    ? "int8 products, 16 rows unpacked at once"
                                    : "int8 products, unpacked row by row"};
    }
    if (form(weight) == InputForm::Bf16) return {Arithmetic::Bf16, "bf16 products"};
    const bool codes = is_quantized(weight) || weight == DType::F8_E4M3;
    return {Arithmetic::Float32, codes ? "float32 products, dequantised each time" : "float32 products"};
  }

 private:
  // One panel of outputs against a stretch of rows.
  struct Panel {
    Matrix weight;
    InputForm form;  // of the rows it meets
    Rows out;
    int64_t first_output, first_row, rows;
  };

  // Values a phase must touch before a second thread pays for waking it.
  static constexpr int64_t kParallelValues = 16384;

  // How many of the query heads that share a key-value head one task takes: as many as a tile holds, since each task
  // unpacks the keys for itself; fewer where threads would be idle, as when one row decodes over one key-value head.
  // A divisor of `heads`. Each query's result depends on its own keys alone, so the choice changes no bits.
  int64_t heads_together(int64_t heads, int64_t tiles) const {
    int64_t together = heads;
    for (int64_t parts = 1; parts <= heads; ++parts) {
      if (heads % parts != 0) continue;
      together = heads / parts;
      if (together <= kAttendRows && parts * tiles >= team_.size()) break;
    }
    return together;
  }

  template <typename Body>
  void for_rows(int64_t rows, int64_t width, const Body& body) {
    if (rows * width < kParallelValues) {
      for (int64_t r = 0; r < rows; ++r) body(r);
    } else {
      team_.run(rows, [&](int64_t r, int) { body(r); });
    }
  }

  void* thread_scratch(int thread) { return scratch_[static_cast<size_t>(thread)].reserve(kScratchBytes); }

  InputForm form(DType weight) const {
    if (compute_ == Compute::F32) return InputForm::Float;
    if (is_quantized(weight)) return InputForm::Int8;
    if (weight == DType::BF16 && kernels_.matmul_bf16 != nullptr) return InputForm::Bf16;
    return InputForm::Float;
  }

  void resize_int8(int64_t rows, int64_t width) {
    const size_t groups = static_cast<size_t>(Int8Rows::codes(rows, width)) / 32;
    int8_.rows = rows;
    int8_.width = width;
    int8_.code = static_cast<int8_t*>(int8_code_.reserve(groups * 32));
    int8_.scale = static_cast<float*>(int8_scale_.reserve(groups * 4));
    int8_.sum16 = static_cast<int32_t*>(int8_sum_.reserve(groups * 8));
    int8_.offset16 = static_cast<float*>(int8_offset16_.reserve(groups * 8));
    int8_.offset32 = static_cast<float*>(int8_offset32_.reserve(groups * 4));
  }

  // Converts the input once into each form that some weight of the phase wants.
  template <typename VisitTypes>
  void prepare_inputs(Rows in, const VisitTypes& visit_types) {
    bool int8 = false, bf16 = false;
    visit_types([&](DType type) {
      int8 = int8 || form(type) == InputForm::Int8;
      bf16 = bf16 || form(type) == InputForm::Bf16;
    });
    if (int8) {
      resize_int8(in.rows, in.width);
      for_rows(in.rows, in.width, [&](int64_t r) { kernels_.quantize_int8(int8_, r, in.row(r)); });
    }
    if (bf16) {
      bf16_stride_ = ceil_div(in.width, 32) * 32;
      bf16_ = static_cast<uint16_t*>(bf16_rows_.reserve(static_cast<size_t>(in.rows * bf16_stride_) * 2));
      for_rows(in.rows, in.width, [&](int64_t r) {
        uint16_t* row = bf16_ + r * bf16_stride_;
        kernels_.from_float(reinterpret_cast<std::byte*>(row), DType::BF16, in.row(r), in.width);
        std::fill(row + in.width, row + bf16_stride_, uint16_t{0});
      });
    }
  }

  void add_panels(const Matrix& weight, InputForm form, Rows out, int64_t first_row, int64_t rows) {
    for (int64_t row = 0; row < rows; row += kMatmulRows) {
      const int64_t count = std::min(kMatmulRows, rows - row);
      for (int64_t output = 0; output < weight.rows; output += kPanelOutputs) {
        panels_.push_back({weight, form, out, output, first_row + row, count});
      }
    }
  }

  void run_panels(Rows in) {
    team_.run(static_cast<int64_t>(panels_.size()), [&](int64_t index, int thread) {
      const Panel& panel = panels_[static_cast<size_t>(index)];
      const Matrix& weight = panel.weight;
      PanelArgs args = {};
      args.weight = weight.row(panel.first_output);
      args.weight_row_bytes = weight.row_bytes;
      args.type = weight.dtype;
      args.scales = weight.scales;
      args.scale_stride = weight.scale_stride;
      args.scale_row = weight.scale_row + panel.first_output;
      args.interleaved = weight.interleaved;
      args.width = weight.cols;
      args.outputs = std::min(kPanelOutputs, weight.rows - panel.first_output);
      args.out = panel.out.row(panel.first_row) + panel.first_output;
      args.out_stride = panel.out.width;
      args.rows = panel.rows;
      args.scratch = thread_scratch(thread);
      if (index + 1 < static_cast<int64_t>(panels_.size())) {
        const Panel& next = panels_[static_cast<size_t>(index) + 1];
        args.next = next.weight.row(next.first_output);
        args.next_bytes = std::min(kPanelOutputs, next.weight.rows - next.first_output) * next.weight.row_bytes;
      }
      switch (panel.form) {
        case InputForm::Float:
          kernels_.matmul_float(args, in.row(panel.first_row), in.width);
          break;
        case InputForm::Int8:
          kernels_.matmul_int8(args, int8_, panel.first_row);
          break;
        case InputForm::Bf16:
          kernels_.matmul_bf16(args, bf16_ + panel.first_row * bf16_stride_, bf16_stride_);
          break;
      }
    });
  }

  // cos and sin of positions[r] * inverse_frequency[i] in float64: [rows, 2 * pairs], cosines first. Every layer of a
  // step asks for the same table, so the last one is kept.
  void fill_rope_table(std::span<const int64_t> positions, std::span<const double> inverse_frequency, float magnitude) {
    const bool same = magnitude == rope_magnitude_ && std::ranges::equal(positions, rope_positions_) &&
                      std::ranges::equal(inverse_frequency, rope_frequencies_);
    if (same) return;
    rope_magnitude_ = magnitude;
    rope_positions_.assign(positions.begin(), positions.end());
    rope_frequencies_.assign(inverse_frequency.begin(), inverse_frequency.end());
    const size_t pairs = inverse_frequency.size();
    rope_turns_.resize(positions.size() * 2 * pairs);
    for_rows(static_cast<int64_t>(positions.size()), static_cast<int64_t>(64 * pairs), [&](int64_t r) {
      const auto row = static_cast<size_t>(r);
      float* turn = rope_turns_.data() + row * 2 * pairs;
      for (size_t i = 0; i < pairs; ++i) {
        const double angle = static_cast<double>(positions[row]) * inverse_frequency[i];
        turn[i] = static_cast<float>(std::cos(angle)) * magnitude;
        turn[pairs + i] = static_cast<float>(std::sin(angle)) * magnitude;
      }
    });
  }

  const InstructionSet& set_;
  const KernelTable& kernels_;
  Compute compute_;
  ThreadTeam team_;
  std::vector<AlignedBytes> scratch_;

  Int8Rows int8_ = {};
  AlignedBytes int8_code_, int8_scale_, int8_sum_, int8_offset16_, int8_offset32_, bf16_rows_;
  RowBuffer digits_;  // [2 * rows, outputs]: products of each row's two digits
  uint16_t* bf16_ = nullptr;
  int64_t bf16_stride_ = 0;
  std::vector<Panel> panels_;

  std::vector<int64_t> rope_positions_;
  std::vector<double> rope_frequencies_;
  float rope_magnitude_ = 0;
  std::vector<float> rope_turns_;
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend(const BackendOptions& options) {
  return std::make_unique<CpuBackend>(options, select_instruction_set());
}

}  // namespace ostro
