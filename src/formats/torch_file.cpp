// The pickle machine: a stack, a memo, and values that refer to each other by index. What torch.save writes for a
// dictionary of tensors (pickle protocol 2) is all that is understood:
//   {name: _rebuild_tensor_v2(persistent("storage", class, key, device, elements), offset, size, stride, ...)}
// Opcodes as in CPython's Lib/pickletools.py, arguments as in torch/_utils.py and torch/serialization.py.
#include "formats/torch_file.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "formats/untrusted.h"
#include "formats/zip.h"

namespace ostro {
namespace {

constexpr uint64_t kLongestPickle = 16u << 20;
constexpr size_t kMostValues = 1u << 20;  // a checkpoint of 2000 tensors has about 40,000
constexpr size_t kMostDimensions = 8;

using Members = std::map<std::string, std::span<const std::byte>>;
using Index = uint32_t;

enum class Kind : uint8_t { None, Bool, Int, Text, Tuple, Dict, Class, Storage, Tensor };

enum class Class : uint8_t { OrderedDict, RebuildTensor, RebuildParameter, FloatStorage, HalfStorage, BFloat16Storage };

// Every class a pickle may name.
constexpr std::array<std::pair<std::string_view, Class>, 6> kClasses = {{
    {"collections OrderedDict", Class::OrderedDict},
    {"torch._utils _rebuild_tensor_v2", Class::RebuildTensor},
    {"torch._utils _rebuild_parameter", Class::RebuildParameter},
    {"torch FloatStorage", Class::FloatStorage},
    {"torch HalfStorage", Class::HalfStorage},
    {"torch BFloat16Storage", Class::BFloat16Storage},
}};

struct Value {
  Kind kind = Kind::None;
  int64_t number = 0;             // Bool, Int; the Class; the dtype of a Storage or Tensor
  std::string_view text = {};     // Text, in the pickle itself
  std::vector<Index> items = {};  // Tuple; Dict: key, value, key, value, ...
  std::vector<int64_t> shape = {};
  std::span<const std::byte> bytes = {};  // Storage, Tensor
};

const char* kind_name(Kind kind) {
  static constexpr const char* kNames[] = {"None",   "a boolean", "an integer", "a string", "a tuple",
                                           "a dict", "a class",   "a storage",  "a tensor"};
  return kNames[static_cast<size_t>(kind)];
}

class Unpickler {
 public:
  // `root` is the folder of the archive ("consolidated.00/").
  Unpickler(std::span<const std::byte> pickle, const Members& members, std::string root, const std::string& name)
      : in_(pickle, name + ": pickle"), members_(members), root_(std::move(root)) {}

  std::vector<TensorEntry> run(const std::string& file) {
    if (in_.left() > kLongestPickle) fail("{} bytes, at most {} allowed", in_.left(), kLongestPickle);
    while (step()) {
    }
    std::vector<TensorEntry> out;
    const Value& all = value(pop(), Kind::Dict, "the outermost value");
    for (size_t i = 0; i < all.items.size(); i += 2) {
      const std::string key(value(all.items[i], Kind::Text, "a tensor's name").text);
      check_name(key, "a tensor's name", file);
      const Value& tensor = value(all.items[i + 1], Kind::Tensor, fmt::format("entry '{}'", key));
      out.push_back({key, static_cast<DType>(tensor.number), tensor.shape, tensor.bytes, file});
    }
    std::ranges::sort(out, {}, &TensorEntry::name);
    const auto twice = std::ranges::adjacent_find(out, {}, &TensorEntry::name);
    if (twice != out.end()) fail("tensor '{}' appears twice", twice->name);
    return out;
  }

 private:
  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw_error(ErrorKind::File, "{}: {} (byte {})", in_.file(), fmt::format(format, std::forward<Args>(args)...),
                in_.position());
  }

  // Executes one opcode; false at STOP.
  bool step() {
    const auto opcode = in_.read<uint8_t>("an opcode");
    switch (opcode) {
      case 0x80:
        return protocol();
      case '(':
        return push_mark();
      case '.':
        return false;
      case '}':
        return push({.kind = Kind::Dict});
      case ')':
        return push({.kind = Kind::Tuple});
      case 't':
        return push_tuple(take_mark());
      case 0x85:
        return push_tuple(top(1));
      case 0x86:
        return push_tuple(top(2));
      case 0x87:
        return push_tuple(top(3));
      case 'N':
        return push({.kind = Kind::None});
      case 0x88:
        return push({.kind = Kind::Bool, .number = 1});
      case 0x89:
        return push({.kind = Kind::Bool, .number = 0});
      case 'J':
        return push_int(in_.read<int32_t>("an integer"));
      case 'K':
        return push_int(in_.read<uint8_t>("an integer"));
      case 'M':
        return push_int(in_.read<uint16_t>("an integer"));
      case 0x8a:
        return push_int(read_long());
      case 'X':
        return push({.kind = Kind::Text, .text = as_text(in_.take(in_.read<uint32_t>("a length"), "a string"))});
      case 'q':
        return put(in_.read<uint8_t>("a memo number"));
      case 'r':
        return put(in_.read<uint32_t>("a memo number"));
      case 'h':
        return get(in_.read<uint8_t>("a memo number"));
      case 'j':
        return get(in_.read<uint32_t>("a memo number"));
      case 's':
        return set_items(top(2));
      case 'u':
        return set_items(take_mark());
      case 'c':
        return push_class();
      case 'R':
        return reduce();
      case 'b':
        return build();
      case 'Q':
        return push_storage();
      default:
        fail("opcode {:#04x} is not one of those that tensors need", opcode);
    }
  }

  bool protocol() {
    const auto version = in_.read<uint8_t>("the protocol");
    if (version != 2) fail("protocol {}, expected 2", version);
    return true;
  }

  bool push(Value value) {
    if (values_.size() == kMostValues) fail("more than {} values", kMostValues);
    values_.push_back(std::move(value));
    stack_.push_back(static_cast<Index>(values_.size() - 1));
    return true;
  }
  bool push_mark() {
    if (marks_.size() == kMostValues) fail("more than {} marks", kMostValues);
    marks_.push_back(stack_.size());
    return true;
  }
  bool push_int(int64_t number) { return push({.kind = Kind::Int, .number = number}); }
  bool push_tuple(std::vector<Index> items) { return push({.kind = Kind::Tuple, .items = std::move(items)}); }

  // The stack below the innermost mark is out of reach of every opcode.
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }

  Index pop() {
    if (stack_.size() <= floor()) fail("the stack is empty");
    const Index last = stack_.back();
    stack_.pop_back();
    return last;
  }

  std::vector<Index> take_from(size_t begin) {
    std::vector<Index> taken(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
    stack_.resize(begin);
    return taken;
  }
  std::vector<Index> top(size_t count) {
    if (stack_.size() - floor() < count) fail("the stack is empty");
    return take_from(stack_.size() - count);
  }
  std::vector<Index> take_mark() {
    if (marks_.empty()) fail("no mark on the stack");
    const size_t begin = marks_.back();
    marks_.pop_back();
    return take_from(begin);
  }

  Value& value(Index index, Kind kind, std::string_view what) {
    Value& found = values_[index];
    if (found.kind != kind) fail("{} is {}, expected {}", what, kind_name(found.kind), kind_name(kind));
    return found;
  }

  bool put(uint32_t number) {
    const Index last = pop();
    stack_.push_back(last);
    if (memo_.size() == kMostValues) fail("more than {} values in the memo", kMostValues);
    memo_[number] = last;
    return true;
  }

  bool get(uint32_t number) {
    const auto found = memo_.find(number);
    if (found == memo_.end()) fail("memo {} was never set", number);
    // A memo read makes no value, but it may not fill the memory either.
    if (stack_.size() == kMostValues) fail("more than {} values on the stack", kMostValues);
    stack_.push_back(found->second);
    return true;
  }

  // LONG1: little-endian two's complement of a given length.
  int64_t read_long() {
    const auto length = in_.read<uint8_t>("a length");
    if (length > sizeof(int64_t)) fail("an integer of {} bytes", length);
    const auto bytes = in_.take(length, "an integer");
    if (length == 0) return 0;
    uint64_t bits = (std::to_integer<uint8_t>(bytes[length - 1u]) & 0x80u) != 0 ? ~uint64_t{0} : 0;
    for (size_t i = length; i-- > 0;) bits = bits << 8 | std::to_integer<uint8_t>(bytes[i]);
    return static_cast<int64_t>(bits);
  }

  std::string_view read_line() {
    const uint64_t begin = in_.position();
    ByteReader start = in_;
    while (in_.read<char>("a class name") != '\n') {
      if (in_.position() - begin > 256) fail("a class name of more than 256 bytes");
    }
    return as_text(start.take(in_.position() - begin - 1, "a class name"));
  }

  bool push_class() {
    const std::string_view module = read_line();
    const std::string_view name = read_line();
    const std::string full = fmt::format("{} {}", module, name);
    const auto* found = std::ranges::find(kClasses, std::string_view(full), &std::pair<std::string_view, Class>::first);
    if (found == kClasses.end()) {
      fail("it wants {}.{}, which is not one of the classes that tensors need; nothing was executed", quote(module),
           quote(name));
    }
    return push({.kind = Kind::Class, .number = static_cast<int64_t>(found->second)});
  }

  bool set_items(std::vector<Index> items) {
    const Index dict = pop();
    stack_.push_back(dict);
    if (items.size() % 2 != 0) fail("a key without a value");
    auto& all = value(dict, Kind::Dict, "what gets items").items;
    all.insert(all.end(), items.begin(), items.end());
    return true;
  }

  // Module.state_dict() hangs version numbers on its dictionary as an attribute; they mean nothing here.
  bool build() {
    const Index state = pop();
    value(state, Kind::Dict, "the state of an object");
    const Index object = pop();
    value(object, Kind::Dict, "what gets a state");
    stack_.push_back(object);
    return true;
  }

  bool reduce() {
    const Index arguments = pop();
    const auto callable = static_cast<Class>(value(pop(), Kind::Class, "what is called").number);
    const std::vector<Index>& items = value(arguments, Kind::Tuple, "the arguments of a call").items;
    switch (callable) {
      case Class::OrderedDict:
        if (!items.empty()) fail("OrderedDict with {} arguments, expected 0", items.size());
        return push({.kind = Kind::Dict});
      case Class::RebuildParameter:
        if (items.size() != 3) fail("_rebuild_parameter with {} arguments, expected 3", items.size());
        value(items[0], Kind::Tensor, "a parameter's data");
        stack_.push_back(items[0]);
        return true;
      case Class::RebuildTensor:
        return rebuild_tensor(items);
      default:
        fail("a storage class is called");
    }
  }

  bool push_storage() {
    const std::vector<Index>& id = value(pop(), Kind::Tuple, "a persistent id").items;
    if (id.size() != 5 || value(id[0], Kind::Text, "a persistent id's tag").text != "storage") {
      fail("a persistent id that is no storage");
    }
    DType type = DType::F32;
    switch (static_cast<Class>(value(id[1], Kind::Class, "a storage's class").number)) {
      case Class::FloatStorage:
        type = DType::F32;
        break;
      case Class::HalfStorage:
        type = DType::F16;
        break;
      case Class::BFloat16Storage:
        type = DType::BF16;
        break;
      default:
        fail("a storage's class is none of FloatStorage, HalfStorage, BFloat16Storage");
    }
    const std::string_view key = value(id[2], Kind::Text, "a storage's key").text;
    const int64_t elements = value(id[4], Kind::Int, "a storage's element count").number;
    const auto member = members_.find(fmt::format("{}data/{}", root_, key));
    if (member == members_.end()) fail("storage {} is not in the archive", quote(key));
    const uint64_t needed =
        tensor_bytes(type, std::array{elements}, fmt::format("{}: storage {}", in_.file(), quote(key)));
    if (needed != member->second.size()) {
      fail("storage {} has {} bytes, {} elements of {} need {}", quote(key), member->second.size(), elements,
           info(type).name, needed);
    }
    return push({.kind = Kind::Storage, .number = static_cast<int64_t>(type), .bytes = member->second});
  }

  std::vector<int64_t> integers(Index tuple, std::string_view what) {
    std::vector<int64_t> out;
    for (const Index item : value(tuple, Kind::Tuple, what).items) {
      if (out.size() == kMostDimensions) fail("{} of more than {} numbers", what, kMostDimensions);
      out.push_back(value(item, Kind::Int, what).number);
    }
    return out;
  }

  // (storage, offset, size, stride, requires_grad, backward_hooks[, metadata])
  bool rebuild_tensor(const std::vector<Index>& arguments) {
    if (arguments.size() != 6 && arguments.size() != 7) {
      fail("_rebuild_tensor_v2 with {} arguments, expected 6 or 7", arguments.size());
    }
    const Value& storage = value(arguments[0], Kind::Storage, "a tensor's storage");
    const auto type = static_cast<DType>(storage.number);
    const int64_t offset = value(arguments[1], Kind::Int, "a tensor's offset").number;
    std::vector<int64_t> shape = integers(arguments[2], "a tensor's shape");
    const std::vector<int64_t> stride = integers(arguments[3], "a tensor's stride");
    const uint64_t needed = tensor_bytes(type, shape, in_.file());
    if (stride.size() != shape.size()) fail("{} sizes, {} strides", shape.size(), stride.size());
    int64_t expected = 1;
    for (size_t i = shape.size(); i-- > 0 && needed > 0;) {
      if (shape[i] != 1 && stride[i] != expected) {
        fail("a tensor of shape {} with strides {}: only contiguous tensors can be read", shape_text(shape),
             shape_text(stride));
      }
      expected *= shape[i];
    }
    const auto begin =
        offset < 0 ? std::nullopt : checked_mul(static_cast<uint64_t>(offset), static_cast<uint64_t>(info(type).bytes));
    if (!begin || *begin > storage.bytes.size() || needed > storage.bytes.size() - *begin) {
      fail("a tensor of shape {} at element {} leaves its storage of {} bytes", shape_text(shape), offset,
           storage.bytes.size());
    }
    const auto bytes = storage.bytes.subspan(*begin, needed);
    return push(
        {.kind = Kind::Tensor, .number = static_cast<int64_t>(type), .shape = std::move(shape), .bytes = bytes});
  }

  ByteReader in_;
  const Members& members_;
  std::string root_;
  std::vector<Value> values_;
  std::vector<Index> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Index> memo_;
};

}  // namespace

std::vector<TensorEntry> parse_torch_file(std::span<const std::byte> bytes, const std::string& name) {
  constexpr std::string_view kPickle = "data.pkl";
  const Members members = parse_stored_zip(bytes, name);
  const auto is_pickle = [&](const auto& member) {
    const std::string_view path = member.first;
    return path.substr(path.find('/') + 1) == kPickle;
  };
  const auto pickle = std::ranges::find_if(members, is_pickle);
  if (pickle == members.end()) throw_error(ErrorKind::File, "{}: the archive holds no {}", name, kPickle);
  const std::string root = pickle->first.substr(0, pickle->first.size() - kPickle.size());
  const auto order = members.find(root + "byteorder");
  if (order != members.end() && as_text(order->second) != "little") {
    throw_error(ErrorKind::File, "{}: byte order {}, expected 'little'", name, quote(as_text(order->second)));
  }
  return parse_torch_pickle(pickle->second, members, root, name);
}

std::vector<TensorEntry> parse_torch_pickle(std::span<const std::byte> pickle, const Members& members,
                                            const std::string& root, const std::string& name) {
  return Unpickler(pickle, members, root, name).run(name);
}

}  // namespace ostro
