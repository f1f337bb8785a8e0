// Layout: u64 header length; JSON object of that many bytes {name: {dtype, shape, data_offsets}}, perhaps padded with
// spaces; data. The header is read event by event, so its memory stays small and repeated keys are seen.
#include "formats/safetensors.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "formats/tensor_entry.h"
#include "formats/untrusted.h"

namespace ostro {
namespace {

constexpr uint64_t kLongestHeader = 100'000'000;  // the reference implementation's limit
constexpr size_t kMostTensors = 1'048'576;
constexpr size_t kMostDimensions = 8;
constexpr const char* kMetadataKey = "__metadata__";

struct Described {
  std::string name;
  SafetensorsTensor tensor;
  std::vector<uint64_t> offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

// The events of the JSON parser, in the one nesting that a header has.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(const std::string& name) : name_(name) {}

  std::vector<Described> tensors;
  std::map<std::string, std::string> metadata;

  bool null() override {
    if (place_ == Place::Top && in_metadata_) return true;  // the reference takes null for no metadata
    unexpected("null");
  }
  bool boolean(bool) override { unexpected("a boolean"); }
  bool number_float(double, const std::string& text) override { unexpected(quote(text)); }
  bool number_integer(int64_t value) override { unexpected(fmt::format("{}", value)); }  // negative
  bool binary(nlohmann::json::binary_t&) override { unexpected("binary"); }

  bool number_unsigned(uint64_t value) override {
    if (place_ == Place::Shape) {
      if (value > static_cast<uint64_t>(INT64_MAX)) unexpected(fmt::format("{}", value));
      if (tensors.back().tensor.shape.size() == kMostDimensions) {
        fail("{} has more than {} dimensions", where(), kMostDimensions);
      }
      tensors.back().tensor.shape.push_back(static_cast<int64_t>(value));
    } else if (place_ == Place::Offsets) {
      if (tensors.back().offsets.size() == 2) fail("{}: data_offsets holds more than two numbers", where());
      tensors.back().offsets.push_back(value);
    } else {
      unexpected("a number");
    }
    return true;
  }

  bool string(std::string& text) override {
    if (place_ == Place::Metadata) {
      if (!metadata.emplace(key_, text).second) fail("key {} of {} appears twice", quote(key_), kMetadataKey);
    } else if (place_ == Place::Tensor && key_ == "dtype") {
      tensors.back().tensor.dtype = text;
    } else {
      unexpected("a string");
    }
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::Outside) {
      place_ = Place::Top;
    } else if (place_ == Place::Top) {
      place_ = in_metadata_ ? Place::Metadata : Place::Tensor;
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(std::string& text) override {
    key_ = text;
    if (place_ == Place::Tensor) {
      Described& tensor = tensors.back();
      bool* seen = text == "dtype"          ? &tensor.has_dtype
                   : text == "shape"        ? &tensor.has_shape
                   : text == "data_offsets" ? &tensor.has_offsets
                                            : nullptr;
      if (seen == nullptr) fail("{} has an unknown field {}", where(), quote(text));
      if (std::exchange(*seen, true)) fail("{}: field {} appears twice", where(), quote(text));
    } else if (place_ == Place::Top) {
      in_metadata_ = text == kMetadataKey;
      if (in_metadata_) {
        if (std::exchange(metadata_seen_, true)) fail("{} appears twice", kMetadataKey);
        return true;
      }
      check_name(text, "a tensor name", name_);
      if (tensors.size() == kMostTensors) fail("more than {} tensors", kMostTensors);
      tensors.emplace_back().name = text;
    }
    return true;
  }

  bool end_object() override {
    if (place_ == Place::Tensor) {
      const Described& tensor = tensors.back();
      if (!tensor.has_dtype || !tensor.has_shape || !tensor.has_offsets) {
        fail("{} lacks one of dtype, shape, data_offsets", where());
      }
      if (tensor.offsets.size() != 2) fail("{}: data_offsets is not two numbers", where());
    }
    place_ = place_ == Place::Top ? Place::Outside : Place::Top;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::Tensor || key_ == "dtype") unexpected("an array");
    place_ = key_ == "shape" ? Place::Shape : Place::Offsets;
    return true;
  }

  bool end_array() override {
    place_ = Place::Tensor;
    return true;
  }

  bool parse_error(size_t position, const std::string& token, const nlohmann::json::exception&) override {
    fail("the header is not valid JSON at its byte {}, near {}", position, quote(token));
  }

 private:
  enum class Place { Outside, Top, Metadata, Tensor, Shape, Offsets };

  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw_error(ErrorKind::File, "{}: {}", name_, fmt::format(format, std::forward<Args>(args)...));
  }

  std::string where() const {
    if (place_ == Place::Outside) return "the header";
    if (in_metadata_ || tensors.empty()) return kMetadataKey;
    return fmt::format("tensor '{}'", tensors.back().name);
  }

  std::string_view expected() const {
    if (place_ == Place::Shape || place_ == Place::Offsets) return "whole numbers below 2^63";
    if (place_ == Place::Tensor && key_ != "dtype") return "a list of whole numbers";
    return place_ == Place::Tensor || place_ == Place::Metadata ? "a string" : "an object";
  }

  [[noreturn]] void unexpected(std::string_view what) const {
    const bool within = place_ != Place::Outside && place_ != Place::Top;
    fail("{}{} holds {}, expected {}", where(), within ? ", field " + quote(key_) : "", what, expected());
  }

  const std::string& name_;
  Place place_ = Place::Outside;
  bool in_metadata_ = false, metadata_seen_ = false;
  std::string key_;
};

// Exact size of the tensor in bytes.
uint64_t needed_bytes(const Described& tensor, const std::string& where) {
  const auto bits = safetensors_bits(tensor.tensor.dtype);
  if (!bits) throw_error(ErrorKind::File, "{}: unknown dtype {}", where, quote(tensor.tensor.dtype));
  const auto total = checked_mul(element_count(tensor.tensor.shape, where), *bits);
  if (!total) {
    throw_error(ErrorKind::File, "{}: the size in bytes of shape {} overflows", where, shape_text(tensor.tensor.shape));
  }
  if (*total % 8 != 0) {
    throw_error(ErrorKind::File, "{}: shape {} of {} does not fill whole bytes", where, shape_text(tensor.tensor.shape),
                tensor.tensor.dtype);
  }
  return *total / 8;
}

}  // namespace

std::optional<uint64_t> safetensors_bits(std::string_view dtype) {
  static constexpr std::array<std::pair<std::string_view, uint64_t>, 21> kBits = {{
      {"BOOL", 8},    {"U8", 8},      {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F4", 4},
      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"I16", 16}, {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},
      {"U32", 32},    {"F32", 32},    {"F64", 64}, {"I64", 64},    {"U64", 64},    {"C64", 64},    {"F8_E4M3FNUZ", 8},
  }};
  const auto* found = std::ranges::find(kBits, dtype, &std::pair<std::string_view, uint64_t>::first);
  return found == kBits.end() ? std::nullopt : std::optional(found->second);
}

std::optional<DType> dtype_from_safetensors(std::string_view dtype) {
  if (dtype == "F32") return DType::F32;
  if (dtype == "F16") return DType::F16;
  if (dtype == "BF16") return DType::BF16;
  if (dtype == "F8_E4M3") return DType::F8_E4M3;
  return std::nullopt;
}

SafetensorsFile parse_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  ByteReader in(bytes, name);
  if (bytes.size() < 8) throw_error(ErrorKind::File, "{}: not a safetensors file: {} bytes", name, bytes.size());
  const auto length = in.read<uint64_t>("the header's length");
  if (length > kLongestHeader) {
    throw_error(ErrorKind::File, "{}: header of {} bytes, at most {} allowed; {}", name, length, kLongestHeader,
                appearance(bytes));
  }
  const std::string_view text = as_text(in.take(length, "the header"));
  if (!text.starts_with('{')) {
    throw_error(ErrorKind::File, "{}: the header does not begin with '{{'; {}", name, appearance(bytes));
  }
  HeaderReader header(name);
  nlohmann::json::sax_parse(text, &header);

  // The bytes: sorted by place, each tensor begins where the one before ended.
  std::ranges::sort(header.tensors, {}, [](const Described& tensor) { return tensor.offsets; });
  const auto data = bytes.subspan(in.position());
  SafetensorsFile out;
  uint64_t expected = 0;
  for (Described& tensor : header.tensors) {
    const std::string where = fmt::format("{}: tensor '{}'", name, tensor.name);
    const uint64_t begin = tensor.offsets[0], end = tensor.offsets[1];
    const uint64_t needed = needed_bytes(tensor, where);
    if (begin > end || end - begin != needed) {
      throw_error(ErrorKind::File, "{}: data_offsets [{}, {}], {} of shape {} needs {} bytes", where, begin, end,
                  tensor.tensor.dtype, shape_text(tensor.tensor.shape), needed);
    }
    if (begin != expected) {
      throw_error(ErrorKind::File, "{}: begins at {}, expected {}: it overlaps another or leaves a gap", where, begin,
                  expected);
    }
    if (end > data.size()) {
      throw_error(ErrorKind::File, "{}: cut short: it ends at {}, the data has {} bytes", where, end, data.size());
    }
    tensor.tensor.bytes = data.subspan(begin, needed);
    expected = end;
    if (!out.tensors.emplace(tensor.name, std::move(tensor.tensor)).second) {
      throw_error(ErrorKind::File, "{} appears twice", where);
    }
  }
  if (expected != data.size()) {
    throw_error(ErrorKind::File, "{}: {} bytes follow the last tensor", name, data.size() - expected);
  }
  out.metadata = std::move(header.metadata);
  return out;
}

SafetensorsFile open_safetensors(const std::string& path) {
  auto mapping = std::make_shared<const MappedFile>(path);
  SafetensorsFile out = parse_safetensors(mapping->bytes(), path);
  out.mapping = std::move(mapping);
  return out;
}

}  // namespace ostro
