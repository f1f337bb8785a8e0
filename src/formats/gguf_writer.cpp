#include "formats/gguf_writer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "base/checked.h"
#include "base/error.h"

namespace ostro {
namespace {

constexpr uint32_t kVersion = 3;
constexpr uint64_t kDefaultAlignment = 32;
constexpr size_t kMostDimensions = 4;

template <typename Narrow, typename Wide>
bool fits(Wide value) {
  if constexpr (std::is_floating_point_v<Narrow>) {
    return !std::isfinite(value) || std::abs(value) <= static_cast<double>(std::numeric_limits<Narrow>::max());
  } else {
    return std::in_range<Narrow>(value);
  }
}

template <typename Narrow, typename Wide>
bool all_fit(std::span<const Wide> values) {
  return std::ranges::all_of(values, [](Wide value) { return fits<Narrow>(value); });
}

// Whether `type` can hold the values without loss of kind or range.
bool holds(GgufType type, std::span<const int64_t> values) {
  switch (type) {
    case GgufType::I8:
      return all_fit<int8_t>(values);
    case GgufType::I16:
      return all_fit<int16_t>(values);
    case GgufType::I32:
      return all_fit<int32_t>(values);
    case GgufType::I64:
      return true;
    case GgufType::U32:
      return all_fit<uint32_t>(values);
    default:
      return false;
  }
}

bool holds(GgufType type, std::span<const uint64_t> values) {
  switch (type) {
    case GgufType::U8:
      return all_fit<uint8_t>(values);
    case GgufType::U16:
      return all_fit<uint16_t>(values);
    case GgufType::U32:
      return all_fit<uint32_t>(values);
    case GgufType::U64:
      return true;
    default:
      return false;
  }
}

bool holds(GgufType type, std::span<const double> values) {
  return type == GgufType::F64 || (type == GgufType::F32 && all_fit<float>(values));
}

template <typename T>
GgufType choose(std::span<const T> values, std::initializer_list<GgufType> candidates) {
  return *std::ranges::find_if(candidates, [&](GgufType type) { return holds(type, values); });
}

std::optional<GgufType> noted_type(const GgufMetadata& metadata, const std::string& key) {
  const auto found = metadata.types.find(key);
  return found == metadata.types.end() ? std::nullopt : std::optional(found->second);
}

// The start of the file, gathered in memory.
class Header {
 public:
  std::string bytes;

  template <typename T>
  void put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }

  void put_string(std::string_view text) {
    put<uint64_t>(text.size());
    bytes += text;
  }

  void put_pair(const std::string& key, const GgufValue& value, std::optional<GgufType> noted) {
    noted_ = noted;
    put_string(key);
    std::visit([&](const auto& held) { put_value(held); }, value);
  }

 private:
  void put_type(GgufType type) { put(static_cast<uint32_t>(type)); }

  template <typename T>
  void put_number(GgufType type, T value) {
    switch (type) {
      case GgufType::U8:
        return put(static_cast<uint8_t>(value));
      case GgufType::I8:
        return put(static_cast<int8_t>(value));
      case GgufType::U16:
        return put(static_cast<uint16_t>(value));
      case GgufType::I16:
        return put(static_cast<int16_t>(value));
      case GgufType::U32:
        return put(static_cast<uint32_t>(value));
      case GgufType::I32:
        return put(static_cast<int32_t>(value));
      case GgufType::F32:
        return put(static_cast<float>(value));
      case GgufType::U64:
        return put(static_cast<uint64_t>(value));
      case GgufType::I64:
        return put(static_cast<int64_t>(value));
      case GgufType::F64:
        return put(static_cast<double>(value));
      case GgufType::Bool:
      case GgufType::String:
      case GgufType::Array:
        break;
    }
    CHECK(false);
  }

  // The noted type where it can hold the values, else the first of the candidates that can.
  template <typename T>
  GgufType type_for(std::span<const T> values, std::initializer_list<GgufType> candidates) const {
    return noted_ && holds(*noted_, values) ? *noted_ : choose(values, candidates);
  }

  template <typename T>
  void put_one(T value, std::initializer_list<GgufType> candidates) {
    const GgufType type = type_for(std::span<const T>(&value, 1), candidates);
    put_type(type);
    put_number(type, value);
  }
  void put_value(int64_t value) { put_one(value, {GgufType::U32, GgufType::I32, GgufType::I64}); }
  void put_value(uint64_t value) { put_one(value, {GgufType::U32, GgufType::U64}); }
  void put_value(double value) { put_one(value, {GgufType::F32, GgufType::F64}); }
  void put_value(bool value) {
    put_type(GgufType::Bool);
    put<uint8_t>(value ? 1 : 0);
  }
  void put_value(const std::string& value) {
    put_type(GgufType::String);
    put_string(value);
  }
  void put_value(const GgufArray& value) {
    put_type(GgufType::Array);
    std::visit([&](const auto& list) { put_list(list); }, value);
  }

  template <typename T>
  void put_numbers(const std::vector<T>& list, std::initializer_list<GgufType> candidates) {
    const GgufType type = type_for(std::span<const T>(list), candidates);
    put_type(type);
    put<uint64_t>(list.size());
    for (const T value : list) put_number(type, value);
  }
  void put_list(const std::vector<int64_t>& list) { put_numbers(list, {GgufType::I32, GgufType::I64}); }
  void put_list(const std::vector<uint64_t>& list) { put_numbers(list, {GgufType::U32, GgufType::U64}); }
  void put_list(const std::vector<double>& list) { put_numbers(list, {GgufType::F32, GgufType::F64}); }
  void put_list(const std::vector<bool>& list) {
    put_type(GgufType::Bool);
    put<uint64_t>(list.size());
    for (const bool value : list) put<uint8_t>(value ? 1 : 0);
  }
  void put_list(const std::vector<std::string>& list) {
    put_type(GgufType::String);
    put<uint64_t>(list.size());
    for (const auto& value : list) put_string(value);
  }

  std::optional<GgufType> noted_;
};

uint64_t alignment_of(const GgufMetadata& metadata) {
  const int64_t alignment = metadata.integer("general.alignment").value_or(kDefaultAlignment);
  CHECK(alignment > 0);
  return static_cast<uint64_t>(alignment);
}

uint64_t rounded_up(uint64_t size, uint64_t alignment, const std::string& name) {
  const auto rounded = checked_round_up(size, alignment);
  if (!rounded) throw_error(ErrorKind::File, "tensor '{}': the file's size overflows", name);
  return *rounded;
}

}  // namespace

GgufWriter::GgufWriter(const std::string& path, const GgufMetadata& metadata,
                       const std::vector<GgufTensorPlan>& tensors)
    : file_(path), alignment_(alignment_of(metadata)) {
  const auto kept = [](const auto& pair) { return !pair.first.starts_with("split."); };
  Header header;
  header.bytes = "GGUF";
  header.put(kVersion);
  header.put<uint64_t>(tensors.size());
  header.put(static_cast<uint64_t>(std::ranges::count_if(metadata.values, kept)));
  for (const auto& pair : metadata.values) {
    if (kept(pair)) header.put_pair(pair.first, pair.second, noted_type(metadata, pair.first));
  }
  uint64_t offset = 0;
  std::set<std::string_view> names;
  for (const auto& tensor : tensors) {
    CHECK(names.insert(tensor.name).second);
    if (tensor.shape.empty() || tensor.shape.size() > kMostDimensions) {
      throw_error(ErrorKind::File, "tensor '{}' has {} dimensions, GGUF holds 1 to {}", tensor.name,
                  tensor.shape.size(), kMostDimensions);
    }
    const uint64_t size = tensor_bytes(tensor.dtype, tensor.shape, fmt::format("tensor '{}'", tensor.name));
    if (size == 0) throw_error(ErrorKind::File, "tensor '{}' is empty, GGUF cannot hold it", tensor.name);
    header.put_string(tensor.name);
    header.put(static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) header.put(tensor.shape[i]);
    header.put(static_cast<uint32_t>(info(tensor.dtype).ggml_type));
    header.put(offset);
    order_.add(tensor.name, size);
    const auto end = checked_add(offset, size);
    offset = rounded_up(end.value_or(UINT64_MAX), alignment_, tensor.name);
  }
  file_.write(header.bytes);
  pad();
}

void GgufWriter::pad() {
  const std::string zeros(rounded_up(file_.written(), alignment_, "") - file_.written(), '\0');
  file_.write(zeros);
}

void GgufWriter::write(std::string_view tensor, std::span<const std::byte> bytes) {
  const bool complete = order_.advance(tensor, bytes.size());
  file_.write(bytes);
  if (complete) pad();
}

void GgufWriter::commit() {
  CHECK(order_.complete());
  file_.commit();
}

}  // namespace ostro
