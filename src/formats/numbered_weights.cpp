#include "formats/numbered_weights.h"

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/half.h"

namespace ostro {
namespace {

constexpr int64_t kBlock = 32;        // weights of a block of Q8_0
constexpr int64_t kBlockBytes = 34;   // a binary16 scale, then the codes
constexpr int64_t kTaskOutputs = 64;  // rows that a thread makes at a time: a cache line of codes

// values [matrices, in, out] times scales [matrices, groups, out].
struct Scaled {
  int64_t matrices = 1, in = 0, out = 0, groups = 0;
  const int8_t* values = nullptr;
  std::vector<float> scales;

  float scale(int64_t matrix, int64_t input, int64_t output) const {
    const int64_t group = input / (in / groups);
    return scales[static_cast<size_t>((matrix * groups + group) * out + output)];
  }
  int8_t value(int64_t matrix, int64_t input, int64_t output) const {
    return values[(matrix * in + input) * out + output];
  }
};

std::vector<float> floats(const PickledArray& array, const std::string& file) {
  const auto count = static_cast<size_t>(element_count(array.shape, file));
  std::vector<float> out(count);
  for (size_t i = 0; i < count; ++i) {
    if (array.type == PickledArray::Type::BF16) {
      uint16_t half;
      std::memcpy(&half, array.bytes.data() + i * sizeof(half), sizeof(half));
      out[i] = bf16_to_f32(half);
    } else {
      std::memcpy(&out[i], array.bytes.data() + i * sizeof(float), sizeof(float));
    }
    if (!std::isfinite(out[i])) throw_error(ErrorKind::File, "{}: a scale is not finite", file);
  }
  return out;
}

Scaled scaled(const PickledWeight& weight, const std::string& file) {
  const std::vector<int64_t>& shape = weight.values.shape;
  Scaled out;
  out.in = shape[shape.size() - 2];
  out.out = shape.back();
  for (size_t i = 0; i + 2 < shape.size(); ++i) out.matrices *= shape[i];
  out.groups = weight.scales->shape[shape.size() - 2];
  out.values = reinterpret_cast<const int8_t*>(weight.values.bytes.data());
  out.scales = floats(*weight.scales, file);
  return out;
}

bool fits_blocks(const Scaled& from) {
  if (from.in / from.groups % kBlock != 0) return false;
  for (const float scale : from.scales) {
    if (f16_to_f32(f32_to_f16(scale)) != scale) return false;
  }
  return true;
}

void write_blocks(const Scaled& from, int64_t matrix, int64_t first, int64_t last, std::byte* out) {
  const int64_t row_bytes = from.in / kBlock * kBlockBytes;
  for (int64_t input = 0; input < from.in; input += kBlock) {
    for (int64_t output = first; output < last; ++output) {
      std::byte* block = out + (matrix * from.out + output) * row_bytes + input / kBlock * kBlockBytes;
      const uint16_t scale = f32_to_f16(from.scale(matrix, input, output));
      std::memcpy(block, &scale, sizeof(scale));
      for (int64_t i = 0; i < kBlock; ++i) {
        block[2 + i] = static_cast<std::byte>(from.value(matrix, input + i, output));
      }
    }
  }
}

void write_floats(const Scaled& from, int64_t matrix, int64_t first, int64_t last, std::byte* out) {
  for (int64_t output = first; output < last; ++output) {
    std::byte* row = out + (matrix * from.out + output) * from.in * static_cast<int64_t>(sizeof(float));
    for (int64_t input = 0; input < from.in; ++input) {
      // Exact: 8 bits times the 8 of a bfloat16.
      const float value = static_cast<float>(from.value(matrix, input, output)) * from.scale(matrix, input, output);
      std::memcpy(row + input * static_cast<int64_t>(sizeof(float)), &value, sizeof(value));
    }
  }
}

}  // namespace

TensorEntry numbered_tensor(const PickledWeight& weight, const std::string& name, const std::string& file,
                            WeightCopies& copies) {
  const PickledArray& values = weight.values;
  if (!weight.scales) {
    if (values.type == PickledArray::Type::I8) {
      throw_error(ErrorKind::File, "{}: 8-bit integers without scales, expected both", file);
    }
    const DType type = values.type == PickledArray::Type::F32 ? DType::F32 : DType::BF16;
    return {name, type, values.shape, values.bytes, file};
  }
  const auto from = std::make_shared<const Scaled>(scaled(weight, file));
  const bool blocks = fits_blocks(*from);
  const DType type = blocks ? DType::Q8_0 : DType::F32;
  std::vector<int64_t> shape = values.shape;
  std::swap(shape[shape.size() - 2], shape.back());
  const size_t bytes = tensor_bytes(type, shape, file);
  const int64_t pieces = (from->out + kTaskOutputs - 1) / kTaskOutputs;
  const std::byte* copy = copies.plan(bytes, values.bytes,
                                      {from->matrices * pieces, [=](std::byte* out, int64_t task) {
                                         const int64_t first = task % pieces * kTaskOutputs;
                                         const int64_t last = std::min(first + kTaskOutputs, from->out);
                                         (blocks ? write_blocks : write_floats)(*from, task / pieces, first, last, out);
                                       }});
  return {name, type, shape, {copy, bytes}, file};
}

}  // namespace ostro
