// The CPU backend: the same bits for any number of threads and any grouping of rows; rotations against float64.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

#include "backend/backend.h"
#include "base/random.h"
#include "tensor/quant.h"

namespace ostro {
namespace {

std::vector<float> normals(uint64_t stream, int64_t count) {
  std::vector<float> out(static_cast<size_t>(count));
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<float>(random_normal(7, stream, i));
  return out;
}

// A [rows, cols] weight that owns its memory.
struct OwnedMatrix {
  std::vector<std::byte> bytes;
  Matrix view;
  OwnedMatrix(DType type, int64_t rows, int64_t cols, uint64_t stream) {
    const int64_t stride = row_bytes(type, cols);
    const std::vector<float> values = normals(stream, rows * cols);
    bytes.resize(static_cast<size_t>(rows * stride));
    for (int64_t r = 0; r < rows; ++r) {
      quantize_row(type, std::span(values).subspan(static_cast<size_t>(r * cols), static_cast<size_t>(cols)),
                   &bytes[static_cast<size_t>(r * stride)]);
    }
    view = {bytes.data(), type, rows, cols, stride};
  }
};

struct OwnedRows {
  std::vector<float> values;
  Rows view;
  OwnedRows(int64_t rows, int64_t width) : values(static_cast<size_t>(rows * width)) {
    view = {values.data(), rows, width};
  }
  OwnedRows(int64_t rows, int64_t width, uint64_t stream) : values(normals(stream, rows * width)) {
    view = {values.data(), rows, width};
  }
};

TEST(CpuBackend, SaysHowItMultiplies) {
  const auto automatic = make_cpu_backend({1, Compute::Auto}), exact = make_cpu_backend({1, Compute::F32});
  EXPECT_EQ(automatic->product_kernel(DType::Q4_K, true).arithmetic, Arithmetic::Int8);
  EXPECT_THAT(automatic->product_kernel(DType::TQ1_0, true).words, testing::HasSubstr("row by row"));
  EXPECT_THAT(automatic->product_kernel(DType::IQ2_S, false).words, testing::HasSubstr("row by row"));
  EXPECT_EQ(automatic->product_kernel(DType::F32, true).arithmetic, Arithmetic::Float32);
  EXPECT_THAT(automatic->product_kernel(DType::F8_E4M3, true).words, testing::HasSubstr("dequantised"));
  EXPECT_EQ(exact->product_kernel(DType::BF16, true).arithmetic, Arithmetic::Float32);
  EXPECT_THAT(exact->product_kernel(DType::Q4_K, true).words, testing::HasSubstr("dequantised"));
  EXPECT_THAT(exact->product_kernel(DType::F32, true).words, testing::Not(testing::HasSubstr("dequantised")));
}

TEST(CpuBackend, LinearIsTheSameForAnyThreadsAndBatch) {
  const int64_t width = 256, outputs = 70, rows = 37;
  for (const DType type : {DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_1}) {
    const OwnedMatrix weight(type, outputs, width, 1), other(DType::Q8_0, 33, width, 2);
    const OwnedRows in(rows, width, 3);
    for (const Compute compute : {Compute::Auto, Compute::F32}) {
      OwnedRows expected(rows, outputs), expected_other(rows, 33);
      const auto single = make_cpu_backend({1, compute});
      for (int64_t r = 0; r < rows; ++r) {
        single->linear(std::array{Product{weight.view, expected.view.slice(r, 1)},
                                  Product{other.view, expected_other.view.slice(r, 1)}},
                       in.view.slice(r, 1));
      }
      for (const int threads : {1, 2, 3, 5}) {
        const auto backend = make_cpu_backend({threads, compute});
        OwnedRows out(rows, outputs), out_other(rows, 33);
        backend->linear(std::array{Product{weight.view, out.view}, Product{other.view, out_other.view}}, in.view);
        EXPECT_EQ(std::memcmp(out.values.data(), expected.values.data(), out.values.size() * 4), 0) << threads;
        EXPECT_EQ(out_other.values, expected_other.values);
      }
    }
  }
}

// 16 bits of each input leave a hundredth of the error that 8 bits leave, and the same bits for any threads and batch.
TEST(CpuBackend, LinearFineRoundsLess) {
  const int64_t width = 576, outputs = 70, rows = 19;
  for (const DType type : {DType::Q8_0, DType::Q4_1, DType::F16}) {
    const OwnedMatrix weight(type, outputs, width, 1), other(DType::Q8_0, 33, width, 2);
    const OwnedRows in(rows, width, 3);
    const auto exact = make_cpu_backend({1, Compute::F32}), single = make_cpu_backend({1, Compute::Auto});
    OwnedRows reference(rows, outputs), coarse(rows, outputs), fine(rows, outputs), fine_other(rows, 33);
    exact->linear(std::array{Product{weight.view, reference.view}}, in.view);
    single->linear(std::array{Product{weight.view, coarse.view}}, in.view);
    for (int64_t r = 0; r < rows; ++r) {
      single->linear_fine(
          std::array{Product{weight.view, fine.view.slice(r, 1)}, Product{other.view, fine_other.view.slice(r, 1)}},
          in.view.slice(r, 1));
    }
    double coarse_error = 0, fine_error = 0;
    for (size_t i = 0; i < reference.values.size(); ++i) {
      coarse_error += std::pow(coarse.values[i] - reference.values[i], 2);
      fine_error += std::pow(fine.values[i] - reference.values[i], 2);
    }
    if (is_quantized(type)) {
      EXPECT_GT(coarse_error, 0);
      EXPECT_LT(std::sqrt(fine_error), 0.01 * std::sqrt(coarse_error)) << info(type).name;
    } else {
      EXPECT_EQ(fine.values, coarse.values);
    }
    for (const int threads : {1, 2, 3}) {
      OwnedRows out(rows, outputs), out_other(rows, 33);
      make_cpu_backend({threads, Compute::Auto})
          ->linear_fine(std::array{Product{weight.view, out.view}, Product{other.view, out_other.view}}, in.view);
      EXPECT_EQ(std::memcmp(out.values.data(), fine.values.data(), out.values.size() * 4), 0) << threads;
      EXPECT_EQ(out_other.values, fine_other.values);
    }
  }
}

TEST(CpuBackend, GroupedLinearRunsEachExpertOverItsRows) {
  const int64_t width = 64, inner = 40;
  const std::vector<int64_t> first_row = {0, 3, 3, 4, 11};  // one expert has no rows
  std::vector<OwnedMatrix> gate, up;
  std::vector<Matrix> gate_views, up_views;
  for (uint64_t e = 0; e < 4; ++e) {
    gate.emplace_back(DType::Q4_0, inner, width, 10 + e);
    up.emplace_back(DType::F16, inner, width, 20 + e);
  }
  for (size_t e = 0; e < 4; ++e) {
    gate_views.push_back(gate[e].view);
    up_views.push_back(up[e].view);
  }
  const OwnedRows in(11, width, 30);
  OwnedRows gate_out(11, inner), up_out(11, inner), expected(1, inner);
  const auto backend = make_cpu_backend({2, Compute::Auto});
  backend->grouped_linear(std::array{GroupedProduct{gate_views, gate_out.view}, GroupedProduct{up_views, up_out.view}},
                          in.view, first_row);
  for (size_t e = 0; e < 4; ++e) {
    for (int64_t r = first_row[e]; r < first_row[e + 1]; ++r) {
      backend->linear(std::array{Product{gate_views[e], expected.view}}, in.view.slice(r, 1));
      EXPECT_EQ(std::memcmp(gate_out.view.row(r), expected.values.data(), 4 * inner), 0);
      backend->linear(std::array{Product{up_views[e], expected.view}}, in.view.slice(r, 1));
      EXPECT_EQ(std::memcmp(up_out.view.row(r), expected.values.data(), 4 * inner), 0);
    }
  }
}

TEST(CpuBackend, RopeTurnsPairsByTheirAngles) {
  const int64_t heads = 3, head_dim = 10;
  const std::vector<double> frequency = {1.0, 0.1, 0.01, 0.001};  // the last two values of a head stay
  const std::vector<int64_t> positions = {0, 1, 1000, 1'000'000};
  for (const RopePairing pairing : {RopePairing::Interleaved, RopePairing::HalfSplit}) {
    const OwnedRows in(4, heads * head_dim, 5);
    OwnedRows out = in;
    out.view.data = out.values.data();
    make_cpu_backend({2, Compute::Auto})->rope(out.view, positions, head_dim, frequency, 1.5f, pairing);
    for (int64_t r = 0; r < 4; ++r) {
      for (int64_t h = 0; h < heads; ++h) {
        const float* before = in.view.data + r * heads * head_dim + h * head_dim;
        const float* after = out.view.row(r) + h * head_dim;
        for (int64_t i = 0; i < 4; ++i) {
          const int64_t a = pairing == RopePairing::Interleaved ? 2 * i : i;
          const int64_t b = pairing == RopePairing::Interleaved ? 2 * i + 1 : i + 4;
          const double t = static_cast<double>(positions[static_cast<size_t>(r)]) * frequency[static_cast<size_t>(i)];
          EXPECT_NEAR(after[i], 1.5 * (before[a] * std::cos(t) - before[b] * std::sin(t)), 1e-6);
          EXPECT_NEAR(after[i + 4], 1.5 * (before[b] * std::cos(t) + before[a] * std::sin(t)), 1e-6);
        }
        EXPECT_EQ(after[8], before[8]);
        EXPECT_EQ(after[9], before[9]);
      }
    }
  }
}

TEST(CpuBackend, MovesAndSums) {
  const auto backend = make_cpu_backend({2, Compute::Auto});
  const OwnedRows in(5, 600, 6);
  OwnedRows gathered(3, 600), sum(2, 600);
  backend->gather(gathered.view, in.view, std::vector<int64_t>{4, 0, 4});
  EXPECT_EQ(std::memcmp(gathered.view.row(0), in.view.row(4), 2400), 0);
  EXPECT_EQ(std::memcmp(gathered.view.row(1), in.view.row(0), 2400), 0);
  backend->weighted_sum(sum.view, in.view, std::vector<int64_t>{0, 3, 2, 2}, std::vector<double>{0.25, 2, 1, -1}, 2);
  for (int64_t i = 0; i < 600; ++i) {
    EXPECT_EQ(sum.view.row(0)[i], std::fma(2.0f, in.view.row(3)[i], 0.25f * in.view.row(0)[i]));
    EXPECT_EQ(sum.view.row(1)[i], 0.0f);
  }
  const OwnedMatrix table(DType::BF16, 9, 600, 8);
  backend->embed(sum.view, table.view, std::vector<int32_t>{8, 2}, 2.0f);
  std::vector<float> row(600);
  dequantize_row(DType::BF16, table.view.row(8), row);
  for (int64_t i = 0; i < 600; ++i) EXPECT_EQ(sum.view.row(0)[i], 2 * row[static_cast<size_t>(i)]);
}

}  // namespace
}  // namespace ostro
