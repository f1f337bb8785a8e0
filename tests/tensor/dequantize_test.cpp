// Every storage type against gguf-py's values, bit for bit. The fixture holds random blocks of each type.
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/half.h"
#include "support/support.h"
#include "tensor/quant.h"
#include "tensor/quant_tables.h"

namespace ostro {
namespace {

#include "tensor/unpack.inc"

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Tensor {
  DType type = DType::F32;
  int64_t rows = 0, cols = 0;
  std::string bytes;
};

// Just enough of GGUF for a file of two-dimensional tensors and string or number metadata.
class TinyGguf {
 public:
  explicit TinyGguf(const std::filesystem::path& path) : data_(read_file(path)) {
    at_ = 8;
    const auto tensors = take<uint64_t>();
    const auto keys = take<uint64_t>();
    for (uint64_t i = 0; i < keys; ++i) {
      text();
      skip_value(take<uint32_t>());
    }
    std::map<std::string, uint64_t> offset;
    for (uint64_t i = 0; i < tensors; ++i) {
      const std::string name = text();
      EXPECT_EQ(take<uint32_t>(), 2u);
      Tensor tensor;
      tensor.cols = take<int64_t>();
      tensor.rows = take<int64_t>();
      tensor.type = dtype_from_ggml(take<uint32_t>()).value();
      offset[name] = take<uint64_t>();
      tensors_[name] = tensor;
    }
    const size_t start = (at_ + 31) / 32 * 32;
    for (auto& [name, tensor] : tensors_) {
      const auto size = static_cast<size_t>(tensor.rows * row_bytes(tensor.type, tensor.cols));
      tensor.bytes = data_.substr(start + offset[name], size);
    }
  }
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }

 private:
  template <typename T>
  T take() {
    T value{};
    std::memcpy(&value, data_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string text() {
    const auto size = take<uint64_t>();
    at_ += size;
    return data_.substr(at_ - size, size);
  }
  void skip_value(uint32_t type) {
    if (type == 8) {
      text();
    } else {
      EXPECT_EQ(type, 4u);  // uint32
      take<uint32_t>();
    }
  }

  std::string data_;
  size_t at_ = 0;
  std::map<std::string, Tensor> tensors_;
};

std::vector<float> reference(const std::string& file, const std::string& name) {
  uint64_t header = 0;
  std::memcpy(&header, file.data(), sizeof header);
  const auto entry = nlohmann::json::parse(file.substr(8, header)).at(name);
  const auto first = entry.at("data_offsets")[0].get<size_t>(), last = entry.at("data_offsets")[1].get<size_t>();
  std::vector<float> values((last - first) / sizeof(float));
  std::memcpy(values.data(), file.data() + 8 + header + first, last - first);
  return values;
}

TEST(Dequantize, EveryTypeEqualsReference) {
  const TinyGguf gguf(test::fixture("quant/quant-blocks.gguf"));
  const std::string expected_file = read_file(test::fixture("quant/quant-blocks.reference.safetensors"));
  std::vector<bool> seen(kDTypes);
  for (const auto& [name, tensor] : gguf.tensors()) {
    SCOPED_TRACE(name);
    seen[static_cast<size_t>(tensor.type)] = true;
    const std::vector<float> expected = reference(expected_file, name);
    ASSERT_EQ(expected.size(), static_cast<size_t>(tensor.rows * tensor.cols));
    std::vector<float> row(static_cast<size_t>(tensor.cols));
    for (int64_t r = 0; r < tensor.rows; ++r) {
      const auto* bytes =
          reinterpret_cast<const std::byte*>(tensor.bytes.data()) + r * row_bytes(tensor.type, tensor.cols);
      dequantize_row(tensor.type, bytes, row);
      for (size_t i = 0; i < row.size(); ++i) {
        const float want = expected[static_cast<size_t>(r) * row.size() + i];
        ASSERT_EQ(__builtin_bit_cast(uint32_t, row[i]), __builtin_bit_cast(uint32_t, want))
            << "row " << r << " weight " << i << ": " << row[i] << ", expected " << want;
      }
    }
  }
  EXPECT_EQ(std::ranges::count(seen, true), kDTypes);
}

// The kernels rely on codes of at most 7 bits, or signed 8-bit codes around 128.
TEST(Unpack, CodesFitTheirType) {
  const TinyGguf gguf(test::fixture("quant/quant-blocks.gguf"));
  for (const auto& [name, tensor] : gguf.tensors()) {
    if (!is_quantized(tensor.type)) continue;
    const DTypeInfo& type = info(tensor.type);
    EXPECT_TRUE(type.group == 16 || type.group == 32) << name;
    if (type.zero == 128) continue;
    uint8_t code[256];
    float scale[16], min[16];
    unpack_function(tensor.type)(reinterpret_cast<const uint8_t*>(tensor.bytes.data()), 256, code, scale, min);
    EXPECT_LE(*std::max_element(code, code + 256), 127) << name;
  }
}

TEST(Dequantize, RowsShorterThanAnUnpackersChunk) {
  // 288 = 256 + 32 weights of a type with blocks of 32.
  std::vector<std::byte> blocks(static_cast<size_t>(row_bytes(DType::Q8_0, 288)));
  for (size_t b = 0; b < 9; ++b) {
    const uint16_t scale = f32_to_f16(static_cast<float>(b + 1));
    std::memcpy(&blocks[34 * b], &scale, 2);
    for (size_t i = 0; i < 32; ++i) blocks[34 * b + 2 + i] = static_cast<std::byte>(i - 16);
  }
  std::vector<float> row(288);
  dequantize_row(DType::Q8_0, blocks.data(), row);
  for (size_t i = 0; i < 288; ++i) {
    EXPECT_EQ(row[i], static_cast<float>(i / 32 + 1) * (static_cast<float>(i % 32) - 16)) << i;
  }
}

}  // namespace
}  // namespace ostro
