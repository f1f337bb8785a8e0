// What an instruction set provides: one table of functions. Plain C types only; the per-set sources see nothing else,
// and each exports exactly its table.
//
// Every table but AMX's BF16 product gives the same bits: lanes are 16 everywhere, sums run in the same order, fma is
// one rounding, integer sums are exact.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace ostro {

// A panel: up to 32 consecutive outputs (rows of a weight).
inline constexpr int64_t kPanelOutputs = 32;
// Largest number of input rows a matmul call takes at once; the backend cuts longer inputs.
inline constexpr int64_t kMatmulRows = 512;

// Activations as int8: value ~ scale[group] * code, groups of 32. Stretches of 512 of a row lie apart, those of all
// rows together: what a product's tile reads is one piece of memory with fixed distances. `width` is a multiple of 32.
inline constexpr int64_t kInt8Stretch = 512;
struct Int8Rows {
  int8_t* code;     // [width / 512 rounded up, rows, 512]
  float* scale;     // a group of 32: [.., rows, 16]
  int32_t* sum16;   // [.., rows, 32] sums of 16 codes
  float* offset16;  // [.., rows, 32] -scale * sum of 16 codes
  float* offset32;  // [.., rows, 16] -scale * sum of 32 codes
  int64_t rows;
  int64_t width;

  static int64_t codes(int64_t rows, int64_t width) {
    return (width + kInt8Stretch - 1) / kInt8Stretch * rows * kInt8Stretch;
  }
  // Index of a code; that of its group of 16 or 32 is a 16th or 32nd of it.
  int64_t index(int64_t row, int64_t k) const {
    return (k / kInt8Stretch * rows + row) * kInt8Stretch + k % kInt8Stretch;
  }
};

// One panel of a product: out[r][o] = sum over k of in[r][k] * weight[first_output + o][k].
struct PanelArgs {
  const std::byte* weight;  // first row of the panel
  int64_t weight_row_bytes;
  DType type;
  const float* scales;  // F8_E4M3: as in Matrix, for this panel's first row; null: none
  int64_t scale_stride;
  int64_t scale_row;
  bool interleaved;  // whole groups of 16 rows lie as tensor/interleave.h says; only where the table reads them so
  int64_t width;     // inputs
  int64_t outputs;   // 1 .. kPanelOutputs
  float* out;        // [rows, outputs], out_stride floats between rows
  int64_t out_stride;
  int64_t rows;  // 1 .. kMatmulRows
  // The weights this thread will want next, fetched into its cache while this panel is used; may be null.
  const std::byte* next;
  int64_t next_bytes;
  void* scratch;  // kScratchBytes, 64-byte aligned, one per thread
};

// Attention of `rows` consecutive positions of one sequence against one KV head.
struct AttendArgs {
  const float* query;    // row r, head h of this KV head's group: query + r * query_stride + h * key_dim
  int64_t query_stride;  // floats
  float* out;            // row r, head h: out + r * out_stride + h * value_dim
  int64_t out_stride;
  int64_t rows, heads;  // heads: query heads that read this KV head; rows * heads <= kAttendRows
  int64_t first_position;
  int64_t key_dim, value_dim;
  float scale, logit_cap;
  const float* sinks;  // of each head one score that joins the softmax and brings no value; may be null
  int64_t window;
  DType key_type, value_type;
  // Run i: keys[i], values[i] point to this head's rows for positions [first[i], first[i] + count[i]).
  const struct AttendRun* runs;
  int64_t run_count;
  int64_t key_row_bytes, value_row_bytes;
  void* scratch;
};
struct AttendRun {
  const std::byte* keys;
  const std::byte* values;
  int64_t first, count;
};
inline constexpr int64_t kAttendRows = 64;
inline constexpr int64_t kAttendKeys = 64;  // keys a softmax block
inline constexpr int64_t kMaxHeadDim = 576;

inline constexpr size_t kScratchBytes = 1u << 20;

struct KernelTable {
  const char* name;
  // Whether rows of a type may come interleaved (tensor/interleave.h), and whether 16 rows of a quantised type are
  // unpacked at once where they do, or lie as files have them; else a row after the other, which is slower.
  bool (*reads_interleaved)(DType type);
  bool (*unpacks_together)(DType type, bool interleaved);

  // Products. int8: quantised weights with int8 activations. float32: any weight, dequantised, with float32
  // activations. bf16: BF16 weights with activations rounded to BF16; null where the set has no such product.
  void (*matmul_int8)(const PanelArgs& args, const Int8Rows& in, int64_t first_row);
  void (*matmul_float)(const PanelArgs& args, const float* in, int64_t in_stride);
  void (*matmul_bf16)(const PanelArgs& args, const uint16_t* in, int64_t in_stride);

  // Row `row` of `out` from `width` float32 values.
  void (*quantize_int8)(const Int8Rows& out, int64_t row, const float* in);

  void (*attend)(const AttendArgs& args);

  void (*rms_norm)(float* out, const float* in, const float* weight, int64_t width, float eps);
  void (*layer_norm)(float* out, const float* in, const float* weight, int64_t width, float eps);
  void (*swiglu)(float* out, const float* gate, const float* up, int64_t count);
  void (*geglu)(float* out, const float* gate, const float* up, int64_t count);
  void (*clamped_swiglu)(float* out, const float* gate, const float* up, int64_t count);
  void (*add)(float* out, const float* in, int64_t count);
  // out[i] = sum over j, in order and in double, of weight[j] * in[row[j] * stride + i]
  void (*weighted_sum)(float* out, const float* in, int64_t stride, const int64_t* row, const double* weight,
                       int64_t terms, int64_t count);
  // One row of any DType to float32 (codes of F8_E4M3 without their scales), and float32 to F32, F16, BF16 or Q8_0.
  void (*to_float)(float* out, const std::byte* in, DType type, int64_t count);
  void (*from_float)(std::byte* out, DType type, const float* in, int64_t count);
};

}  // namespace ostro
