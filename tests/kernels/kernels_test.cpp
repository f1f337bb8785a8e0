// Every instruction set against the definition in plain C++, bit for bit, and that one against float64.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numbers>
#include <stdexcept>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "kernels/cpu/select.h"
#include "tensor/interleave.h"
#include "tensor/quant.h"

namespace ostro {
namespace {

constexpr uint64_t kSeed = 20261121;

// Memory that ends where a page begins that nobody may touch: what reads or writes a byte too far ends the test. (The
// sanitizers, for which these kernels are too long to compile, would see the same.)
template <typename T>
struct Fence {
  using value_type = T;
  static constexpr size_t kPage = 4096;
  static size_t pages(size_t count) { return (count * sizeof(T) + kPage - 1) / kPage * kPage; }
  static T* allocate(size_t count) {
    const size_t size = pages(count);
    void* memory = mmap(nullptr, size + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(static_cast<std::byte*>(memory) + size, kPage, PROT_NONE);
    return reinterpret_cast<T*>(static_cast<std::byte*>(memory) + size - count * sizeof(T));
  }
  static void deallocate(T* at, size_t count) {
    const size_t size = pages(count);
    munmap(reinterpret_cast<std::byte*>(at) + count * sizeof(T) - size, size + kPage);
  }
  bool operator==(const Fence&) const = default;
};
template <typename T>
using Fenced = std::vector<T, Fence<T>>;

float normal(uint64_t stream, uint64_t i) { return static_cast<float>(random_normal(kSeed, stream, i)); }

Fenced<float> normals(uint64_t stream, int64_t count) {
  Fenced<float> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) out[i] = normal(stream, i);
  return out;
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
std::unique_ptr<void, Free> make_scratch() {
  return std::unique_ptr<void, Free>(std::aligned_alloc(64, kScratchBytes));
}

// [rows, cols] weights: random bytes, block by block, kept where they stand for finite values of sane size.
Fenced<std::byte> random_weight(DType type, int64_t rows, int64_t cols, uint64_t stream) {
  const DTypeInfo& entry = info(type);
  Fenced<std::byte> out(static_cast<size_t>(rows * row_bytes(type, cols)));
  Fenced<float> values(static_cast<size_t>(entry.block));
  uint64_t draw = 0;
  for (size_t at = 0; at < out.size(); at += static_cast<size_t>(entry.bytes)) {
    bool sane = false;
    while (!sane) {
      for (int i = 0; i < entry.bytes; ++i) {
        out[at + static_cast<size_t>(i)] = static_cast<std::byte>(random_bits(kSeed, stream, draw++));
      }
      dequantize_row(type, &out[at], values);
      sane = std::ranges::all_of(values, [](float v) { return std::isfinite(v) && std::fabs(v) < 100.0f; });
    }
  }
  return out;
}

struct Int8Buffer {
  Fenced<int8_t> code;
  Fenced<float> scale, offset16, offset32;
  Fenced<int32_t> sum16;
  Int8Rows rows;
  Int8Buffer(int64_t count, int64_t width)
      : code(static_cast<size_t>(Int8Rows::codes(count, width))),
        scale(code.size() / 32),
        offset16(code.size() / 16),
        offset32(code.size() / 32),
        sum16(code.size() / 16),
        rows{code.data(), scale.data(), sum16.data(), offset16.data(), offset32.data(), count, width} {}
};

const KernelTable& portable() {
  for (const InstructionSet& set : instruction_sets()) {
    if (set.name == "portable") return *set.table;
  }
  throw std::logic_error("no portable kernels");
}

class Kernels : public testing::TestWithParam<int> {
 protected:
  const InstructionSet& set() { return instruction_sets()[static_cast<size_t>(GetParam())]; }
  const KernelTable& table() { return *set().table; }
  void SetUp() override {
    if (!set().available) GTEST_SKIP() << "this machine has no " << set().description;
  }
};

INSTANTIATE_TEST_SUITE_P(Sets, Kernels, testing::Range(0, static_cast<int>(instruction_sets().size())),
                         [](const auto& test) {
                           std::string name = instruction_sets()[static_cast<size_t>(test.param)].name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

template <typename T>
void expect_same_bits(const Fenced<T>& a, const Fenced<T>& b, std::string_view what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::memcmp(&a[i], &b[i], sizeof(T)), 0) << what << " at " << i << ": " << +a[i] << " and " << +b[i];
  }
}

TEST(FencedMemory, EndsTheProgramThatReadsTooFar) {
  Fenced<float> values(33, 1.0f);
  volatile const float* at = values.data();
  EXPECT_EQ(at[32], 1.0f);
  EXPECT_DEATH((void)at[33], "");
}

// A product of `rows` rows by `outputs` outputs; out is written where the caller points it.
PanelArgs panel_args(const Fenced<std::byte>& weight, DType type, int64_t width, int64_t outputs, int64_t rows,
                     void* scratch) {
  PanelArgs args = {};
  args.weight = weight.data();
  args.weight_row_bytes = row_bytes(type, width);
  args.type = type;
  args.width = width;
  args.outputs = outputs;
  args.out_stride = outputs;
  args.rows = rows;
  args.scratch = scratch;
  return args;
}

// The same weights in the order that loading gives them.
Fenced<std::byte> interleaved(const Fenced<std::byte>& weight, const PanelArgs& args) {
  Fenced<std::byte> out = weight;
  const int64_t group = kInterleavedRows * args.weight_row_bytes;
  for (int64_t o = 0; o + kInterleavedRows <= args.outputs; o += kInterleavedRows) {
    const auto at = static_cast<size_t>(o / kInterleavedRows * group);
    interleave_rows(&out[at], &weight[at], args.type, args.weight_row_bytes);
  }
  return out;
}

// Compares out [rows, outputs] with float64 sums over the dequantised weights and in(r, k).
template <typename Input>
void expect_products(const Fenced<float>& out, const Fenced<std::byte>& weight, const PanelArgs& args, int64_t rows,
                     double bound, const Input& in) {
  Fenced<float> row(static_cast<size_t>(args.width));
  for (int64_t o = 0; o < args.outputs; ++o) {
    dequantize_row(args.type, &weight[static_cast<size_t>(o * args.weight_row_bytes)], row);
    for (int64_t r = 0; r < rows; ++r) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < args.width; ++k) {
        const double term = static_cast<double>(row[static_cast<size_t>(k)]) * in(r, k);
        sum += term;
        magnitude += std::fabs(term);
      }
      ASSERT_NEAR(out[static_cast<size_t>(r * args.outputs + o)], sum, bound * magnitude + 1e-6)
          << info(args.type).name << " output " << o << " row " << r;
    }
  }
}

TEST_P(Kernels, QuantizeInt8) {
  const int64_t width = 32 * 9;
  Fenced<float> in = normals(1, width);
  for (size_t i = 32; i < 64; ++i) in[i] = 0;
  in[100] = NAN;
  in[140] = 1e-42f;
  in[170] = INFINITY;
  in[200] = 3.4e38f;
  Int8Buffer a(1, width), b(1, width);
  table().quantize_int8(a.rows, 0, in.data());
  portable().quantize_int8(b.rows, 0, in.data());
  expect_same_bits(a.code, b.code, "code");
  expect_same_bits(a.sum16, b.sum16, "sum");
  for (size_t g = 0; g < 9; ++g) {
    const bool broken = g == 3 || g == 5;
    EXPECT_EQ(std::isnan(a.scale[g]), broken) << g;
    if (broken) continue;
    EXPECT_EQ(a.scale[g], b.scale[g]);
    EXPECT_EQ(a.offset32[g], b.offset32[g]);
    for (size_t i = 32 * g; i < 32 * g + 32; ++i) {
      EXPECT_LE(std::fabs(a.scale[g] * a.code[i] - in[i]), 0.5001f * a.scale[g]);
    }
  }
}

// Any number of rows at once, two, one: the same bits, which are those of the definition.
void check_int8_products(const KernelTable& table, DType type, int64_t width, int64_t outputs) {
  const auto scratch = make_scratch();
  const int64_t rows = 23;
  const auto weight = random_weight(type, outputs, width, 1000 + static_cast<uint64_t>(type));
  const Fenced<float> in = normals(2, rows * width);
  Int8Buffer input(rows, width);
  for (int64_t r = 0; r < rows; ++r) portable().quantize_int8(input.rows, r, &in[static_cast<size_t>(r * width)]);

  PanelArgs args = panel_args(weight, type, width, outputs, rows, scratch.get());
  Fenced<float> ours(static_cast<size_t>(rows * outputs)), theirs = ours, few = ours;
  args.out = ours.data();
  table.matmul_int8(args, input.rows, 0);
  args.out = theirs.data();
  portable().matmul_int8(args, input.rows, 0);
  expect_same_bits(ours, theirs, info(type).name);
  for (const int64_t count : {1, 2, 5}) {
    for (int64_t r = 0; r < rows; r += args.rows) {
      args.rows = std::min(count, rows - r);
      args.out = &few[static_cast<size_t>(r * outputs)];
      table.matmul_int8(args, input.rows, r);
    }
    expect_same_bits(ours, few, "a few rows at a time");
  }
  if (table.reads_interleaved(type) && can_interleave(type, width)) {
    const auto repacked = interleaved(weight, args);
    PanelArgs again = args;
    again.weight = repacked.data();
    again.interleaved = true;
    for (const int64_t count : {1, 2, 3, 4, 5, 6, 7, 8, 13, 23}) {
      std::ranges::fill(few, 0.0f);
      for (int64_t r = 0; r < rows; r += again.rows) {
        again.rows = std::min(count, rows - r);
        again.out = &few[static_cast<size_t>(r * outputs)];
        table.matmul_int8(again, input.rows, r);
      }
      expect_same_bits(ours, few, "interleaved");
    }
  }
  // Each group costs a few roundings, of terms that may be larger than their difference (scale and min).
  expect_products(ours, weight, args, rows, 4e-6, [&](int64_t r, int64_t k) {
    const auto at = static_cast<size_t>(input.rows.index(r, k));
    return static_cast<double>(input.code[at]) * input.scale[at / 32];
  });
}

TEST_P(Kernels, Int8ProductsOfEveryType) {
  for (int t = static_cast<int>(DType::Q4_0); t < kDTypes; ++t) {
    const auto type = static_cast<DType>(t);
    const int64_t block = info(type).block;
    for (const int64_t width : {block, 3 * block, int64_t{1280}, block == 32 ? int64_t{1024 + 96} : 5 * block,
                                block == 32 ? int64_t{576} : 2 * block}) {
      for (const int64_t outputs : {27, 32}) check_int8_products(table(), type, width, outputs);
    }
  }
}

// Squares of 128 x 128 codes with their scales; the panel begins inside a square.
TEST_P(Kernels, FloatProductsWithScalesOfSquares) {
  const auto scratch = make_scratch();
  const int64_t width = 300, outputs = 32, rows = 5, first = 107;
  const auto weight = random_weight(DType::F8_E4M3, outputs, width, 77);
  const Fenced<float> in = normals(5, rows * width), scales = {0.5f, 2, 3, 0.25f, 5, 7};
  PanelArgs args = panel_args(weight, DType::F8_E4M3, width, outputs, rows, scratch.get());
  args.scales = scales.data();
  args.scale_stride = 3;
  args.scale_row = first;
  Fenced<float> ours(static_cast<size_t>(rows * outputs)), theirs = ours;
  args.out = ours.data();
  table().matmul_float(args, in.data(), width);
  args.out = theirs.data();
  portable().matmul_float(args, in.data(), width);
  expect_same_bits(ours, theirs, "scaled squares");
  Matrix matrix{weight.data(), DType::F8_E4M3, outputs, width, width, scales.data(), 3, first};
  Fenced<float> row(static_cast<size_t>(width));
  for (int64_t o = 0; o < outputs; ++o) {
    dequantize_row(matrix, o, row);
    for (int64_t r = 0; r < rows; ++r) {
      double sum = 0, magnitude = 0;
      for (size_t k = 0; k < row.size(); ++k) {
        const double term = static_cast<double>(row[k]) * in[static_cast<size_t>(r * width) + k];
        sum += term;
        magnitude += std::fabs(term);
      }
      EXPECT_NEAR(ours[static_cast<size_t>(r * outputs + o)], sum, 3e-6 * magnitude);
    }
  }
}

void check_float_products(const KernelTable& table, DType type, int64_t width, int64_t outputs) {
  const auto scratch = make_scratch();
  const int64_t rows = 17;
  const auto weight = random_weight(type, outputs, width, 2000 + static_cast<uint64_t>(type));
  const Fenced<float> in = normals(3, rows * width);
  PanelArgs args = panel_args(weight, type, width, outputs, rows, scratch.get());
  Fenced<float> ours(static_cast<size_t>(rows * outputs)), theirs = ours, few = ours;
  args.out = ours.data();
  table.matmul_float(args, in.data(), width);
  args.out = theirs.data();
  portable().matmul_float(args, in.data(), width);
  expect_same_bits(ours, theirs, info(type).name);
  for (const int64_t count : {1, 2, 3, 4}) {
    for (int64_t r = 0; r < rows; r += args.rows) {
      args.rows = std::min(count, rows - r);
      args.out = &few[static_cast<size_t>(r * outputs)];
      table.matmul_float(args, &in[static_cast<size_t>(r * width)], width);
    }
    expect_same_bits(ours, few, "a few rows at a time");
  }
  if (table.reads_interleaved(type) && can_interleave(type, width) && !is_quantized(type)) {
    const auto repacked = interleaved(weight, args);
    PanelArgs again = args;
    again.weight = repacked.data();
    again.interleaved = true;
    for (const int64_t count : {1, 2, 3, 4, 17}) {
      std::ranges::fill(few, 0.0f);
      for (int64_t r = 0; r < rows; r += again.rows) {
        again.rows = std::min(count, rows - r);
        again.out = &few[static_cast<size_t>(r * outputs)];
        table.matmul_float(again, &in[static_cast<size_t>(r * width)], width);
      }
      expect_same_bits(ours, few, "interleaved");
    }
  }
  expect_products(ours, weight, args, rows, 3e-6,
                  [&](int64_t r, int64_t k) { return static_cast<double>(in[static_cast<size_t>(r * width + k)]); });
}

TEST_P(Kernels, FloatProductsOfEveryType) {
  for (int t = 0; t < kDTypes; ++t) {
    const auto type = static_cast<DType>(t);
    for (const int64_t outputs : {29, 32}) {
      check_float_products(table(), type, is_quantized(type) ? 3 * info(type).block : 259, outputs);
      if (!is_quantized(type)) check_float_products(table(), type, 544, outputs);
    }
  }
}

TEST_P(Kernels, Bf16Products) {
  if (table().matmul_bf16 == nullptr) GTEST_SKIP() << "no BF16 product";
  const auto scratch = make_scratch();
  const int64_t width = 547, padded = 576, outputs = 30, rows = 21;
  const auto weight = random_weight(DType::BF16, outputs, width, 5);
  Fenced<uint16_t> in(static_cast<size_t>(rows * padded));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < width; ++k) {
      in[static_cast<size_t>(r * padded + k)] = f32_to_bf16(normal(6, static_cast<uint64_t>(r * width + k)));
    }
  }
  PanelArgs args = panel_args(weight, DType::BF16, width, outputs, rows, scratch.get());
  Fenced<float> ours(static_cast<size_t>(rows * outputs)), single = ours;
  args.out = ours.data();
  table().matmul_bf16(args, in.data(), padded);
  args.rows = 1;
  for (int64_t r = 0; r < rows; ++r) {
    args.out = &single[static_cast<size_t>(r * outputs)];
    table().matmul_bf16(args, &in[static_cast<size_t>(r * padded)], padded);
  }
  expect_same_bits(ours, single, "single rows");
  // An even width, which interleaving needs, whose last stretch is no whole tile.
  const int64_t even = width - 1;
  const auto other = random_weight(DType::BF16, kPanelOutputs, even, 9);
  for (int64_t r = 0; r < rows; ++r) in[static_cast<size_t>(r * padded + even)] = 0;
  PanelArgs plain = panel_args(other, DType::BF16, even, kPanelOutputs, rows, scratch.get()), again = plain;
  Fenced<float> expected(static_cast<size_t>(rows * kPanelOutputs)), repacked_out = expected;
  plain.out = expected.data();
  table().matmul_bf16(plain, in.data(), padded);
  const auto repacked = interleaved(other, plain);
  again.weight = repacked.data();
  again.interleaved = true;
  again.out = repacked_out.data();
  table().matmul_bf16(again, in.data(), padded);
  expect_same_bits(expected, repacked_out, "interleaved");
  for (int64_t r = 0; r < rows; ++r) {
    in[static_cast<size_t>(r * padded + even)] = f32_to_bf16(normal(6, static_cast<uint64_t>(r * width + even)));
  }
  expect_products(ours, weight, args, rows, 3e-6, [&](int64_t r, int64_t k) {
    return static_cast<double>(bf16_to_f32(in[static_cast<size_t>(r * padded + k)]));
  });
}

TEST_P(Kernels, Rowwise) {
  for (const int64_t width : {1, 7, 16, 24, 64, 100, 577}) {
    const auto count = static_cast<size_t>(width);
    const Fenced<float> a = normals(7, width), b = normals(8, width);
    Fenced<float> ours(count), theirs(count);
    table().rms_norm(ours.data(), a.data(), b.data(), width, 1e-5f);
    portable().rms_norm(theirs.data(), a.data(), b.data(), width, 1e-5f);
    expect_same_bits(ours, theirs, "rms_norm");
    double squares = 0, mean = 0, variance = 0;
    for (const float x : a) squares += static_cast<double>(x) * x;
    for (const float x : a) mean += x / static_cast<double>(width);
    for (const float x : a) variance += (x - mean) * (x - mean) / static_cast<double>(width);
    for (size_t i = 0; i < count; ++i) {
      const double expected = b[i] * a[i] / std::sqrt(squares / static_cast<double>(width) + 1e-5);
      ASSERT_NEAR(ours[i], expected, 1e-6 * std::fabs(expected) + 1e-9);
    }
    table().layer_norm(ours.data(), a.data(), b.data(), width, 1e-5f);
    portable().layer_norm(theirs.data(), a.data(), b.data(), width, 1e-5f);
    expect_same_bits(ours, theirs, "layer_norm");
    for (size_t i = 0; i < count; ++i) ASSERT_NEAR(ours[i], b[i] * (a[i] - mean) / std::sqrt(variance + 1e-5), 1e-5);
    Fenced<float> wide = a;
    for (float& x : wide) x *= 20;
    table().swiglu(ours.data(), wide.data(), b.data(), width);
    portable().swiglu(theirs.data(), wide.data(), b.data(), width);
    expect_same_bits(ours, theirs, "swiglu");
    for (size_t i = 0; i < count; ++i) {
      const double expected = wide[i] / (1 + std::exp(-static_cast<double>(wide[i]))) * b[i];
      ASSERT_NEAR(ours[i], expected, 1e-6 * std::fabs(expected) + 1e-30) << wide[i];
    }
    table().geglu(ours.data(), wide.data(), b.data(), width);
    portable().geglu(theirs.data(), wide.data(), b.data(), width);
    expect_same_bits(ours, theirs, "geglu");
    table().clamped_swiglu(ours.data(), wide.data(), b.data(), width);
    portable().clamped_swiglu(theirs.data(), wide.data(), b.data(), width);
    expect_same_bits(ours, theirs, "clamped_swiglu");
    for (size_t i = 0; i < count; ++i) {
      const double gate = std::min(7.0, static_cast<double>(wide[i])), up = std::clamp<double>(b[i], -7, 7);
      const double expected = gate / (1 + std::exp(-1.702 * gate)) * (up + 1);
      ASSERT_NEAR(ours[i], expected, 2e-6 * std::fabs(expected) + 1e-7) << gate;
    }
    table().geglu(ours.data(), wide.data(), b.data(), width);
    for (size_t i = 0; i < count; ++i) {
      const double x = wide[i], z = std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x);
      const double expected = 0.5 * x * (1 + std::tanh(z)) * b[i];
      ASSERT_NEAR(ours[i], expected, 2e-6 * std::fabs(expected) + 1e-7) << x;
    }
    const std::array<int64_t, 3> rows = {1, 0, 1};
    const std::array<double, 3> weights = {0.3, -1.5, 0.25};
    Fenced<float> pair = a;
    pair.insert(pair.end(), b.begin(), b.end());
    table().weighted_sum(ours.data(), pair.data(), width, rows.data(), weights.data(), 3, width);
    for (size_t i = 0; i < count; ++i) {
      const auto x = static_cast<double>(a[i]), y = static_cast<double>(b[i]);
      ASSERT_EQ(ours[i], static_cast<float>(0.3 * y + -1.5 * x + 0.25 * y));
    }
    for (const DType type : {DType::F32, DType::F16, DType::BF16, DType::Q8_0}) {
      if (width % info(type).block != 0) continue;
      Fenced<std::byte> x(static_cast<size_t>(row_bytes(type, width))), y = x;
      table().from_float(x.data(), type, a.data(), width);
      portable().from_float(y.data(), type, a.data(), width);
      ASSERT_EQ(x, y) << info(type).name;
      Fenced<float> expected(count);
      table().to_float(ours.data(), x.data(), type, width);
      dequantize_row(type, x.data(), expected);
      expect_same_bits(ours, expected, info(type).name);
    }
  }
}

const std::byte* at_row(const Fenced<float>& values, int64_t at) {
  return reinterpret_cast<const std::byte*>(values.data() + at);
}

// Single positions of every type a cache may have, against the definition.
TEST_P(Kernels, AttentionSteps) {
  const auto scratch = make_scratch();
  for (const DType type : {DType::F32, DType::F16, DType::BF16, DType::Q8_0}) {
    for (const int64_t heads : {1, 2, 4, 5, 8, 9}) {
      const int64_t positions = 64 * 3 + 7 * heads, key_dim = 96, value_dim = heads == 2 ? 160 : 64;
      const auto row = [&](int64_t dim) { return row_bytes(type, dim); };
      const auto stored = [&](uint64_t stream, int64_t dim) {
        Fenced<std::byte> out(static_cast<size_t>(positions * row(dim)));
        const Fenced<float> in = normals(stream, positions * dim);
        for (int64_t p = 0; p < positions; ++p) {
          portable().from_float(&out[static_cast<size_t>(p * row(dim))], type, &in[static_cast<size_t>(p * dim)], dim);
        }
        return out;
      };
      const auto keys = stored(20, key_dim), values = stored(21, value_dim);
      const auto query = normals(22, heads * key_dim);
      const AttendRun runs[2] = {{keys.data(), values.data(), 0, 128},
                                 {&keys[static_cast<size_t>(128 * row(key_dim))],
                                  &values[static_cast<size_t>(128 * row(value_dim))], 128, positions - 128}};
      AttendArgs args = {};
      args.query = query.data();
      args.query_stride = heads * key_dim;
      args.out_stride = heads * value_dim;
      args.rows = 1;
      args.heads = heads;
      args.first_position = positions - 1;
      args.key_dim = key_dim;
      args.value_dim = value_dim;
      args.scale = 0.1f;
      args.window = heads == 5 ? 100 : 0;
      args.key_type = args.value_type = type;
      args.runs = runs;
      args.run_count = 2;
      args.key_row_bytes = row(key_dim);
      args.value_row_bytes = row(value_dim);
      args.scratch = scratch.get();
      Fenced<float> ours(static_cast<size_t>(args.out_stride)), theirs = ours;
      args.out = ours.data();
      table().attend(args);
      args.out = theirs.data();
      portable().attend(args);
      expect_same_bits(ours, theirs, info(type).name);
    }
  }
}

TEST_P(Kernels, Attention) {
  const auto scratch = make_scratch();
  struct Case {
    int64_t heads, key_dim, value_dim, rows, first, window;
    float cap;
    bool sinks = false;
  };
  for (const Case& c : {Case{4, 128, 128, 5, 0, 0, 0}, Case{3, 32, 48, 7, 150, 70, 0}, Case{3, 24, 24, 11, 60, 16, 0},
                        Case{1, 40, 16, 9, 200, 100, 0}, Case{2, 64, 80, 3, 130, 0, 5.0f},
                        Case{4, 64, 64, 5, 90, 30, 0, true}, Case{8, 64, 64, 1, 130, 0, 0, true}}) {
    const int64_t positions = c.first + c.rows;
    const Fenced<float> keys = normals(10, positions * c.key_dim), values = normals(11, positions * c.value_dim),
                        query = normals(12, c.rows * c.heads * c.key_dim);
    // Two runs, as a ring would give them.
    const int64_t cut = positions / 2 / 64 * 64;
    const AttendRun runs[2] = {
        {at_row(keys, 0), at_row(values, 0), 0, cut},
        {at_row(keys, cut * c.key_dim), at_row(values, cut * c.value_dim), cut, positions - cut}};
    AttendArgs args = {};
    args.query = query.data();
    args.query_stride = c.heads * c.key_dim;
    args.out_stride = c.heads * c.value_dim;
    args.rows = c.rows;
    args.heads = c.heads;
    args.first_position = c.first;
    args.key_dim = c.key_dim;
    args.value_dim = c.value_dim;
    args.scale = 0.2f;
    args.logit_cap = c.cap;
    args.window = c.window;
    const Fenced<float> sinks = normals(13, c.heads);
    args.sinks = c.sinks ? sinks.data() : nullptr;
    args.key_type = args.value_type = DType::F32;
    args.runs = runs;
    args.run_count = 2;
    args.key_row_bytes = 4 * c.key_dim;
    args.value_row_bytes = 4 * c.value_dim;
    args.scratch = scratch.get();
    Fenced<float> ours(static_cast<size_t>(c.rows * args.out_stride)), theirs = ours, single = ours;
    args.out = ours.data();
    table().attend(args);
    args.out = theirs.data();
    portable().attend(args);
    expect_same_bits(ours, theirs, "attend");
    args.rows = 1;
    for (int64_t r = 0; r < c.rows; ++r) {
      args.out = &single[static_cast<size_t>(r * args.out_stride)];
      args.query = &query[static_cast<size_t>(r * args.query_stride)];
      args.first_position = c.first + r;
      table().attend(args);
    }
    expect_same_bits(ours, single, "single queries");

    for (int64_t row = 0; row < c.rows * c.heads; ++row) {
      const int64_t position = c.first + row / c.heads;
      const int64_t low = c.window > 0 ? std::max<int64_t>(0, position - c.window + 1) : 0;
      Fenced<double> p;
      double total = c.sinks ? std::exp(static_cast<double>(sinks[static_cast<size_t>(row % c.heads)])) : 0;
      for (int64_t key = low; key <= position; ++key) {
        double s = 0;
        for (int64_t d = 0; d < c.key_dim; ++d) {
          s += static_cast<double>(query[static_cast<size_t>(row * c.key_dim + d)]) *
               keys[static_cast<size_t>(key * c.key_dim + d)];
        }
        s *= static_cast<double>(0.2f);
        if (c.cap > 0) s = c.cap * std::tanh(s / c.cap);
        p.push_back(std::exp(s));
        total += p.back();
      }
      for (int64_t d = 0; d < c.value_dim; ++d) {
        double expected = 0;
        for (int64_t key = low; key <= position; ++key) {
          expected += p[static_cast<size_t>(key - low)] / total * values[static_cast<size_t>(key * c.value_dim + d)];
        }
        ASSERT_NEAR(ours[static_cast<size_t>(row * c.value_dim + d)], expected, 5e-6);
      }
    }
  }
}

}  // namespace
}  // namespace ostro
