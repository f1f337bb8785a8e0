// Quantisers: those that ggml defines bit for bit, the searched ones by the error they leave beside ggml's own.
// The fixture and the bounds come from make_quantize_vectors.py.
#include <cmath>
#include <cstring>
#include <limits>

#include "base/random.h"
#include "formats/weight_store.h"
#include "support/support.h"
#include "tensor/quant.h"

namespace ostro {
namespace {

constexpr DType kSearched[] = {DType::Q2_K, DType::Q3_K,   DType::Q4_K,  DType::Q5_K,
                               DType::Q6_K, DType::IQ4_NL, DType::IQ4_XS};

std::vector<float> input_row(const WeightStore& store, int64_t row) {
  const TensorEntry& input = store.tensors.at("input");
  std::vector<float> values(static_cast<size_t>(input.shape[1]));
  std::memcpy(values.data(), input.bytes.data() + static_cast<size_t>(row) * values.size() * sizeof(float),
              values.size() * sizeof(float));
  return values;
}

std::vector<std::byte> quantize(DType type, std::span<const float> in, std::span<const float> importance = {}) {
  std::vector<std::byte> out(static_cast<size_t>(row_bytes(type, static_cast<int64_t>(in.size()))));
  quantize_row(type, in, out.data(), importance);
  return out;
}

std::vector<float> there_and_back(DType type, std::span<const float> in, std::span<const float> importance = {}) {
  const std::vector<std::byte> bytes = quantize(type, in, importance);
  std::vector<float> out(in.size());
  dequantize_row(type, bytes.data(), out);
  return out;
}

double rms_error(std::span<const float> a, std::span<const float> b, std::span<const float> weight = {}) {
  double total = 0, weights = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double w = weight.empty() ? 1 : static_cast<double>(weight[i]);
    const double error = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    total += w * error * error;
    weights += w;
  }
  return std::sqrt(total / weights);
}

std::vector<float> normal_row(size_t size, uint64_t stream) {
  std::vector<float> row(size);
  for (size_t i = 0; i < size; ++i) row[i] = static_cast<float>(0.02 * random_normal(7, stream, i));
  return row;
}

TEST(Quantize, DirectTypesEqualReferenceBitForBit) {
  const WeightStore store = open_weights(test::fixture("quant/quantize.gguf"));
  int types = 0;
  for (const auto& [name, tensor] : store.tensors) {
    if (name == "input") continue;
    ++types;
    for (int64_t r = 0; r < tensor.shape[0]; ++r) {
      const std::vector<std::byte> bytes = quantize(tensor.dtype, input_row(store, r));
      EXPECT_EQ(std::memcmp(bytes.data(), tensor.bytes.data() + static_cast<size_t>(r) * bytes.size(), bytes.size()), 0)
          << name << " row " << r;
    }
  }
  EXPECT_EQ(types, 8);
}

// Row 0 is normal, row 1 has heavy tails (Student's t with 3 degrees of freedom).
TEST(Quantize, SearchedTypesLeaveLessErrorThanGgml) {
  const WeightStore store = open_weights(test::fixture("quant/quantize.gguf"));
  const struct {
    DType type;
    double normal, heavy;  // root mean square errors of ggml's quantisers
  } bounds[] = {
      {DType::Q2_K, 0.00593567, 0.0132265},    {DType::Q3_K, 0.00278535, 0.00798894},
      {DType::Q4_K, 0.00148121, 0.00360016},   {DType::Q5_K, 0.000722795, 0.00179645},
      {DType::Q6_K, 0.000341709, 0.000993825}, {DType::IQ4_NL, 0.00143048, 0.00443122},
      {DType::IQ4_XS, 0.00144337, 0.00446838},
  };
  for (const auto& bound : bounds) {
    const std::vector<float> normal = input_row(store, 0), heavy = input_row(store, 1);
    EXPECT_LE(rms_error(there_and_back(bound.type, normal), normal), bound.normal) << info(bound.type).name;
    EXPECT_LE(rms_error(there_and_back(bound.type, heavy), heavy), bound.heavy) << info(bound.type).name;
  }
}

TEST(Quantize, ImportanceShiftsErrorToWhereItMattersLess) {
  const std::vector<float> row = normal_row(2048, 1);
  std::vector<float> importance(row.size());
  for (size_t i = 0; i < row.size(); ++i) importance[i] = i % 2 == 0 ? 1.0f : 0.02f;
  for (const DType type : kSearched) {
    const double plain = rms_error(there_and_back(type, row), row, importance);
    const double weighed = rms_error(there_and_back(type, row, importance), row, importance);
    EXPECT_LT(weighed, 0.97 * plain) << info(type).name;
  }
}

TEST(Quantize, FloatsRoundToNearest) {
  const std::vector<float> row = {0.0f, -1.0f, 3.14159274f, 65504.0f, 1e-7f};
  EXPECT_EQ(there_and_back(DType::F32, row), row);
  EXPECT_EQ(there_and_back(DType::F16, row), (std::vector<float>{0.0f, -1.0f, 3.140625f, 65504.0f, 0x1p-23f}));
  EXPECT_EQ(there_and_back(DType::BF16, row), (std::vector<float>{0.0f, -1.0f, 3.140625f, 65536.0f, 0x1.aep-24f}));
}

// Constant rows, a single spike, numbers at both ends of float32, NaN: always finite scales, no undefined conversion.
TEST(Quantize, OddRowsGiveFiniteWeights) {
  const float huge = std::numeric_limits<float>::max(), tiny = std::numeric_limits<float>::denorm_min();
  std::vector<std::vector<float>> rows;
  for (const float value : {0.0f, 1.0f, -1.0f, 1e-30f, tiny, huge, -huge}) rows.emplace_back(256, value);
  rows.emplace_back(256, 0.0f)[77] = 3.0f;
  rows.emplace_back(256, 0.0f)[77] = -3.0f;
  rows.push_back(normal_row(256, 2));
  rows.back()[5] = huge;
  rows.push_back(normal_row(256, 3));
  rows.back()[200] = std::numeric_limits<float>::quiet_NaN();
  rows.push_back(normal_row(256, 4));
  rows.back()[0] = std::numeric_limits<float>::infinity();
  for (int t = 0; t < kDTypes; ++t) {
    const auto type = static_cast<DType>(t);
    if (!can_quantize(type) || !is_quantized(type)) continue;
    for (size_t r = 0; r < rows.size(); ++r) {
      for (const float value : there_and_back(type, rows[r])) {
        ASSERT_TRUE(std::isfinite(value)) << info(type).name << " row " << r;
      }
    }
    EXPECT_EQ(there_and_back(type, rows[0]), rows[0]) << info(type).name;
  }
}

}  // namespace
}  // namespace ostro
