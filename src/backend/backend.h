// The operations a model needs, on one device. Outputs come first; shapes are in brackets, row-major.
// Everything was checked when the weights were bound: nothing here fails on data.
//
// Guarantee: every output row is a function of its own input row, the weights and its cached keys alone. The same bits
// come out for any number of threads, any batch around the row and any chunking of its prompt.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/threads.h"
#include "tensor/views.h"

namespace ostro {

// How products with quantised weights are computed.
enum class Compute {
  Auto,  // activations as int8 in groups of 32 with float32 scales, exact int32 sums inside a group
  F32,   // float32 activations, weights dequantised to float32
};

// What the products with weights of some type multiply, and in words for people how.
enum class Arithmetic : uint8_t { Int8, Bf16, Float32 };
struct ProductKernel {
  Arithmetic arithmetic;
  std::string words;  // "int8 products"
};

// Columns [first, first + count) of all rows.
struct Columns {
  Rows rows;
  int64_t first = 0, count = 0;
};

// out = in * weight^T. `weight` is [out.width, in.width].
struct Product {
  Matrix weight;
  Rows out;
};

// out[r] = in[r] * experts[e]^T for the rows r in [first_row[e], first_row[e + 1]).
struct GroupedProduct {
  std::span<const Matrix> experts;
  Rows out;
};

enum class NormKind : uint8_t { Rms, LayerNorm };  // LayerNorm without bias

// How a gate and what it gates become one: silu(gate) * up; gelu(gate) * up with the tanh form of GELU;
// a * silu(b) * up for a gate [a, b] that is twice as wide; or, with the gate cut at 7 and up at -7 and 7,
// gate * sigmoid(1.702 gate) * (up + 1).
enum class Activation : uint8_t { SwiGlu, GeGlu, GatedSwiGlu, ClampedSwiGlu };

// RoPE: pair (a, b) at angle t becomes (a cos t - b sin t, b cos t + a sin t).
enum class RopePairing : uint8_t { Interleaved, HalfSplit };  // (2i, 2i+1) or (i, i + dims/2)

// A run of cached positions that lie one after the other in memory. Head h of position first_position + i:
// key at keys + h * key_head_bytes + i * key_row_bytes, value likewise.
struct KvRun {
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  int64_t first_position = 0;
  int64_t count = 0;
};

// Most values of a head's key, and of its value.
inline constexpr int64_t kMostAttendDim = 576;
struct AttendShape {
  int64_t query_heads = 0, kv_heads = 0;  // query head h reads KV head h / (query_heads / kv_heads)
  int64_t key_dim = 0, value_dim = 0;
  float scale = 1;                    // score = scale * (q . k)
  int64_t window = 0;                 // keys with position > p - window; 0: all
  float logit_cap = 0;                // score = cap * tanh(score / cap); 0: none
  std::span<const float> sinks = {};  // of each query head one more score, of a key without a value; empty: none
  DType key_type = DType::F16, value_type = DType::F16;
  int64_t key_row_bytes = 0, key_head_bytes = 0;
  int64_t value_row_bytes = 0, value_head_bytes = 0;
};

// The rows [first_row, first_row + rows) of the query matrix are positions first_position, first_position + 1, ... of
// one sequence; runs cover, in order of position, at least every key those rows may see, and begin at multiples of
// kAttendBlock.
struct AttendJob {
  int64_t first_row = 0, rows = 0;
  int64_t first_position = 0;
  std::span<const KvRun> runs;
};
inline constexpr int64_t kAttendBlock = 64;

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;  // "avx512 (vnni), 2 threads"
  virtual int threads() const = 0;
  // Whether products read weights of this type interleaved (tensor/interleave.h), which is then the faster order.
  virtual bool reads_interleaved(DType type) const = 0;

  // All products of one input in one phase. [rows, in] -> [rows, out]
  virtual void linear(std::span<const Product> products, Rows in) noexcept = 0;
  // The same with 16 bits of each input where linear() would take 8: for the few products whose rounding shows most in
  // the logits (docs/BENCH.md, "Quality"). Costs twice the arithmetic, and reads the weights once.
  virtual void linear_fine(std::span<const Product> products, Rows in) noexcept = 0;
  // first_row has experts + 1 entries, from 0 to in.rows.
  virtual void grouped_linear(std::span<const GroupedProduct> products, Rows in,
                              std::span<const int64_t> first_row) noexcept = 0;

  // out[r] = table row tokens[r] * scale
  virtual void embed(Rows out, const Matrix& table, std::span<const int32_t> tokens, float scale) noexcept = 0;
  // Rms: w * x / sqrt(mean(x^2) + eps). LayerNorm: w * (x - mean) / sqrt(var + eps). In place allowed.
  virtual void normalize(Rows out, Rows in, std::span<const float> weight, NormKind kind, float eps) noexcept = 0;
  // rows: [rows, heads * head_dim], in place. The first 2 * pairs values of each head turn by
  // positions[r] * inverse_frequency[i]; cos and sin times `magnitude`. Pair i ends at (i, i + pairs) whichever way it
  // came, so that a dot product of two heads adds in one order, and a model of both layouts gives the same bits.
  virtual void rope(Rows rows, std::span<const int64_t> positions, int64_t head_dim,
                    std::span<const double> inverse_frequency, float magnitude, RopePairing pairing) noexcept = 0;
  // out [rows, query_heads * value_dim], queries [rows, query_heads * key_dim]; softmax in float32, online over blocks
  // of kAttendBlock positions (counted from position 0, so that chunking changes nothing).
  virtual void attend(Rows out, Rows queries, const AttendShape& shape, std::span<const AttendJob> jobs) noexcept = 0;

  // out may be gate, or, of a gate twice as wide, which is overwritten, up.
  virtual void gate(Rows out, Rows gate, Rows up, Activation activation) noexcept = 0;
  // Every value is cut to [-limit, limit]; NaN stays.
  virtual void clip(Rows rows, float limit) noexcept = 0;
  virtual void scale(Rows rows, float factor) noexcept = 0;
  // out += in
  virtual void add(Rows out, Rows in) noexcept = 0;
  // out[r] += row, for every r
  virtual void add_row(Rows out, std::span<const float> row) noexcept = 0;
  // out[r] += rows[e] for the rows r in [first_row[e], first_row[e + 1]); rows: [experts, out.width]
  virtual void add_expert_rows(Rows out, std::span<const float> rows, std::span<const int64_t> first_row) noexcept = 0;
  // out[r] = in[index[r]]
  virtual void gather(Rows out, Rows in, std::span<const int64_t> index) noexcept = 0;
  // Row r of `out` = row index[r] of `in`, or row r where there is no index. As many columns in both.
  virtual void copy_columns(Columns out, Columns in, std::span<const int64_t> index) noexcept = 0;
  // out[t] = sum over j, in order, of weight[t * top_k + j] * in[slot[t * top_k + j]]. Summed in float64 and rounded
  // once: equal rows with weights that add up to 1 give that row again, as upcycled models need.
  virtual void weighted_sum(Rows out, Rows in, std::span<const int64_t> slot, std::span<const double> weight,
                            int64_t top_k) noexcept = 0;

  // One row of float32 as `type` (F32, F16, BF16, Q8_0), for the KV cache.
  virtual void store_row(std::byte* out, DType type, std::span<const float> in) noexcept = 0;

  virtual ProductKernel product_kernel(DType weight, bool interleaved) const = 0;
};

struct BackendOptions {
  int threads = 0;  // 0: default_threads()
  Compute compute = Compute::Auto;
};
// The CPU with the best instruction set it has, or the one OSTRO_ISA names. Throws Error(Usage) for a name that is not
// there.
std::unique_ptr<Backend> make_cpu_backend(const BackendOptions& options);

}  // namespace ostro
