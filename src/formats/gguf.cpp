// The GGUF reader. Layout: magic, version, counts; key-value pairs; tensor descriptions; padding; tensor data.
// Every number of the file is bounded by the bytes that are left before anything is allocated for it.
#include "formats/gguf.h"

#include <algorithm>
#include <bit>
#include <set>

#include "base/checked.h"
#include "base/error.h"
#include "formats/untrusted.h"

namespace ostro {
namespace {

constexpr uint64_t kMostKeys = 65'536;
constexpr uint64_t kMostTensors = 1'048'576;
constexpr uint64_t kMostElements = 1u << 23;  // of all arrays together; large vocabularies have 2^18
constexpr uint64_t kLongestString = 64u << 20;
constexpr uint64_t kDefaultAlignment = 32;
constexpr uint64_t kLargestAlignment = 1u << 20;
constexpr uint32_t kMostDimensions = 4;
// Smallest descriptions: name length and one byte of name, then type and value, or rank, one size, type and offset.
constexpr uint64_t kSmallestPair = 8 + 1 + 4 + 1;
constexpr uint64_t kSmallestTensor = 8 + 1 + 4 + 8 + 4 + 8;
constexpr uint64_t kMostSigned = static_cast<uint64_t>(INT64_MAX);

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), in_(bytes, name) {}

  GgufFile parse() {
    GgufFile out;
    out.metadata.file = in_.file();
    out.version = read_version();
    const uint64_t tensors = read_count("tensor count", kMostTensors, kSmallestTensor);
    const uint64_t keys = read_count("key count", kMostKeys, kSmallestPair);
    for (uint64_t i = 0; i < keys; ++i) read_pair(out.metadata);
    const uint64_t alignment = read_alignment(out.metadata);
    out.tensors.reserve(tensors);
    for (uint64_t i = 0; i < tensors; ++i) read_tensor(out.tensors);
    place_tensors(out.tensors, alignment);
    return out;
  }

 private:
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw_error(ErrorKind::File, "{}: {}", in_.file(), fmt::format(format, std::forward<Args>(args)...));
  }

  uint32_t read_version() {
    if (in_.left() < 4 || as_text(in_.take(4, "magic")) != "GGUF") {
      fail("not a GGUF file: {}", appearance(bytes_));
    }
    const auto version = in_.read<uint32_t>("version");
    if (version != 0 && (version & 0xffffu) == 0) fail("version {:#x}: the file has the other byte order", version);
    if (version != 2 && version != 3) fail("GGUF version {}, versions 2 and 3 can be read", version);
    return version;
  }

  uint64_t read_count(const char* what, uint64_t most, uint64_t smallest) {
    const auto count = in_.read<uint64_t>(what);
    if (count > most) fail("{} is {}, at most {} allowed", what, count, most);
    if (count > in_.left() / smallest) fail("{} is {}, but only {} bytes follow", what, count, in_.left());
    return count;
  }

  std::string_view read_string(std::string_view what) {
    const auto length = in_.read<uint64_t>(what);
    if (length > kLongestString) fail("{}: string of {} bytes, at most {} allowed", what, length, kLongestString);
    return as_text(in_.take(length, what));
  }

  bool read_bool(std::string_view what) {
    const auto value = in_.read<uint8_t>(what);
    if (value > 1) fail("{}: boolean of value {}", what, value);
    return value == 1;
  }

  // Calls `use` with a reader of one value of the type, as it is widened in GgufValue.
  template <typename Use>
  void with_reader(GgufType type, const std::string& what, Use use) {
    const auto as = [&]<typename Wide, typename Narrow>(Wide, Narrow) {
      use([&] { return static_cast<Wide>(in_.read<Narrow>(what)); }, sizeof(Narrow));
    };
    switch (type) {
      case GgufType::U8:
        return as(uint64_t{}, uint8_t{});
      case GgufType::I8:
        return as(int64_t{}, int8_t{});
      case GgufType::U16:
        return as(uint64_t{}, uint16_t{});
      case GgufType::I16:
        return as(int64_t{}, int16_t{});
      case GgufType::U32:
        return as(uint64_t{}, uint32_t{});
      case GgufType::I32:
        return as(int64_t{}, int32_t{});
      case GgufType::F32:
        return as(double{}, float{});
      case GgufType::U64:
        return as(uint64_t{}, uint64_t{});
      case GgufType::I64:
        return as(int64_t{}, int64_t{});
      case GgufType::F64:
        return as(double{}, double{});
      case GgufType::Bool:
        return use([&] { return read_bool(what); }, sizeof(uint8_t));
      case GgufType::String:
        return use([&] { return std::string(read_string(what)); }, sizeof(uint64_t));
      case GgufType::Array:
        fail("{}: arrays of arrays cannot be read", what);
    }
    fail("{}: unknown value type {}", what, static_cast<uint32_t>(type));
  }

  GgufArray read_array(GgufType type, const std::string& what) {
    GgufArray out;
    const auto count = in_.read<uint64_t>(what);
    with_reader(type, what, [&](auto read, uint64_t smallest) {
      if (count > in_.left() / smallest) fail("{}: array of {} elements, {} bytes follow", what, count, in_.left());
      elements_ += count;
      if (elements_ > kMostElements) fail("{}: more than {} array elements in all", what, kMostElements);
      std::vector<decltype(read())> list;
      list.reserve(count);
      for (uint64_t i = 0; i < count; ++i) list.push_back(read());
      out = std::move(list);
    });
    return out;
  }

  void read_pair(GgufMetadata& metadata) {
    const std::string key(read_string("a key"));
    check_name(key, "a key", in_.file());
    if (metadata.has(key)) fail("key {} appears twice", quote(key));
    const std::string what = "key " + quote(key);
    auto type = static_cast<GgufType>(in_.read<uint32_t>(what));
    GgufValue value;
    if (type == GgufType::Array) {
      type = static_cast<GgufType>(in_.read<uint32_t>(what));
      value = read_array(type, what);
    } else {
      with_reader(type, what, [&](auto read, uint64_t) { value = read(); });
    }
    metadata.values.emplace(key, std::move(value));
    metadata.types.emplace(key, type);
  }

  uint64_t read_alignment(const GgufMetadata& metadata) const {
    const auto found = metadata.values.find("general.alignment");
    if (found == metadata.values.end()) return kDefaultAlignment;
    const auto* alignment = std::get_if<uint64_t>(&found->second);
    if (alignment == nullptr) fail("key 'general.alignment' is not an unsigned integer");
    if (!std::has_single_bit(*alignment) || *alignment > kLargestAlignment) {
      fail("key 'general.alignment' is {}, expected a power of two up to {}", *alignment, kLargestAlignment);
    }
    return *alignment;
  }

  void read_tensor(std::vector<TensorEntry>& tensors) {
    TensorEntry tensor;
    tensor.file = in_.file();
    tensor.name = std::string(read_string("a tensor name"));
    check_name(tensor.name, "a tensor name", in_.file());
    if (!names_.insert(tensor.name).second) fail("tensor '{}' appears twice", tensor.name);
    const std::string what = fmt::format("tensor '{}'", tensor.name);
    const auto dimensions = in_.read<uint32_t>(what);
    if (dimensions == 0 || dimensions > kMostDimensions) {
      fail("{} has {} dimensions, expected 1 to {}", what, dimensions, kMostDimensions);
    }
    for (uint32_t i = 0; i < dimensions; ++i) {
      const auto size = in_.read<uint64_t>(what);
      if (size == 0 || size > kMostSigned) fail("{} has a dimension of size {}", what, size);
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    const auto number = in_.read<uint32_t>(what);
    const auto type = dtype_from_ggml(number);
    if (!type) fail("{} has type number {}, which ostro does not know", what, number);
    tensor.dtype = *type;
    sizes_.push_back(tensor_bytes(*type, tensor.shape, in_.file() + ": " + what));
    offsets_.push_back(in_.read<uint64_t>(what));
    tensors.push_back(std::move(tensor));
  }

  // Gives each tensor its bytes. Sorted by offset, each must begin exactly where the one before ended, rounded up to
  // the alignment: a file that was written with other sizes than its shapes say is found here.
  void place_tensors(std::vector<TensorEntry>& tensors, uint64_t alignment) const {
    std::vector<size_t> order(tensors.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::sort(order, {}, [&](size_t i) { return offsets_[i]; });
    const auto start = checked_round_up(in_.position(), alignment);
    const auto data = start && *start <= bytes_.size() ? bytes_.subspan(*start) : std::span<const std::byte>();
    uint64_t expected = 0;
    for (const size_t i : order) {
      TensorEntry& tensor = tensors[i];
      if (offsets_[i] != expected) {
        fail("tensor '{}': offset {}, expected {}: it overlaps another or leaves a gap", tensor.name, offsets_[i],
             expected);
      }
      const auto end = checked_add(expected, sizes_[i]);
      if (!end || *end > data.size()) {
        fail("cut short: tensor '{}' needs {} bytes at offset {} of the data, which has {} bytes", tensor.name,
             sizes_[i], expected, data.size());
      }
      tensor.bytes = data.subspan(expected, sizes_[i]);
      const auto next = checked_round_up(*end, alignment);
      if (!next) fail("tensor '{}': its end overflows", tensor.name);
      expected = *next;
    }
    if (data.size() > expected) fail("{} bytes follow the last tensor", data.size() - expected);
  }

  std::span<const std::byte> bytes_;
  ByteReader in_;
  uint64_t elements_ = 0;  // of arrays, so far
  std::set<std::string> names_;
  std::vector<uint64_t> sizes_, offsets_;  // of the tensors, in the file's order
};

}  // namespace

GgufFile parse_gguf(std::span<const std::byte> bytes, const std::string& name) { return Parser(bytes, name).parse(); }

}  // namespace ostro
