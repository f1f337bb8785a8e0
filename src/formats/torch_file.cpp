// The pickle that torch.save writes for a dictionary of tensors (protocol 2):
//   {name: _rebuild_tensor_v2(persistent("storage", class, key, device, elements), offset, size, stride, ...)}
// Arguments as in torch/_utils.py and torch/serialization.py.
#include "formats/torch_file.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/checked.h"
#include "base/error.h"
#include "formats/pickle.h"
#include "formats/untrusted.h"
#include "formats/zip.h"

namespace ostro {
namespace {

using pickle::Index;
using pickle::Kind;
using pickle::Value;

constexpr uint64_t kLongestPickle = 16u << 20;

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

class TorchPickle final : public pickle::Machine {
 public:
  // `root` is the folder of the archive ("consolidated.00/").
  TorchPickle(std::span<const std::byte> pickle, const ZipMembers& members, std::string root, const std::string& name)
      : Machine(pickle, name, 2), members_(members), root_(std::move(root)) {}

  std::vector<TensorEntry> read(const std::string& name) {
    if (left() > kLongestPickle) fail("{} bytes, at most {} allowed", left(), kLongestPickle);
    std::vector<TensorEntry> out;
    const Value& all = value(run(), Kind::Dict, "the outermost value");
    for (size_t i = 0; i < all.items.size(); i += 2) {
      const std::string key(value(all.items[i], Kind::Text, "a tensor's name").text);
      check_name(key, "a tensor's name", name);
      const Value& tensor = value(all.items[i + 1], Kind::Tensor, fmt::format("entry '{}'", key));
      out.push_back({key, static_cast<DType>(tensor.number), tensor.shape, tensor.bytes, name});
    }
    std::ranges::sort(out, {}, &TensorEntry::name);
    const auto twice = std::ranges::adjacent_find(out, {}, &TensorEntry::name);
    if (twice != out.end()) fail("tensor '{}' appears twice", twice->name);
    return out;
  }

 private:
  std::optional<int64_t> find_class(std::string_view module, std::string_view name) const override {
    const std::string full = fmt::format("{} {}", module, name);
    const auto* found = std::ranges::find(kClasses, std::string_view(full), &std::pair<std::string_view, Class>::first);
    return found == kClasses.end() ? std::nullopt : std::optional(static_cast<int64_t>(found->second));
  }

  // Module.state_dict() hangs version numbers on its dictionary as an attribute; they mean nothing here.
  void set_state(Index object, Index state) override {
    value(state, Kind::Dict, "the state of an object");
    value(object, Kind::Dict, "what gets a state");
  }

  void call(int64_t number, const std::vector<Index>& items) override {
    switch (static_cast<Class>(number)) {
      case Class::OrderedDict:
        if (!items.empty()) fail("OrderedDict with {} arguments, expected 0", items.size());
        push({.kind = Kind::Dict});
        return;
      case Class::RebuildParameter:
        if (items.size() != 3) fail("_rebuild_parameter with {} arguments, expected 3", items.size());
        value(items[0], Kind::Tensor, "a parameter's data");
        push_again(items[0]);
        return;
      case Class::RebuildTensor:
        return rebuild_tensor(items);
      default:
        fail("a storage class is called");
    }
  }

  void load_persistent(Index persistent) override {
    const std::vector<Index>& id = value(persistent, Kind::Tuple, "a persistent id").items;
    if (id.size() != 5 || value(id[0], Kind::Text, "a persistent id's tag").text != "storage") {
      fail("a persistent id that is not a storage");
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
    const uint64_t needed = tensor_bytes(type, std::array{elements}, fmt::format("{}: storage {}", file(), quote(key)));
    const auto bytes = member->second.bytes;
    if (needed != bytes.size()) {
      fail("storage {} has {} bytes, {} elements of {} need {}", quote(key), bytes.size(), elements, info(type).name,
           needed);
    }
    push({.kind = Kind::Storage, .number = static_cast<int64_t>(type), .bytes = bytes});
  }

  // (storage, offset, size, stride, requires_grad, backward_hooks[, metadata])
  void rebuild_tensor(const std::vector<Index>& arguments) {
    if (arguments.size() != 6 && arguments.size() != 7) {
      fail("_rebuild_tensor_v2 with {} arguments, expected 6 or 7", arguments.size());
    }
    const Value& storage = value(arguments[0], Kind::Storage, "a tensor's storage");
    const auto type = static_cast<DType>(storage.number);
    const int64_t offset = value(arguments[1], Kind::Int, "a tensor's offset").number;
    std::vector<int64_t> shape = integers(arguments[2], "a tensor's shape");
    const std::vector<int64_t> stride = integers(arguments[3], "a tensor's stride");
    const uint64_t needed = tensor_bytes(type, shape, file());
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
    push({.kind = Kind::Tensor, .number = static_cast<int64_t>(type), .shape = std::move(shape), .bytes = bytes});
  }

  const ZipMembers& members_;
  std::string root_;
};

}  // namespace

std::vector<TensorEntry> parse_torch_file(std::span<const std::byte> bytes, const std::string& name) {
  constexpr std::string_view kPickle = "data.pkl";
  const ZipMembers members = parse_stored_zip(bytes, name);
  const auto is_pickle = [&](const auto& member) {
    const std::string_view path = member.first;
    return path.substr(path.find('/') + 1) == kPickle;
  };
  const auto pickle = std::ranges::find_if(members, is_pickle);
  if (pickle == members.end()) throw_error(ErrorKind::File, "{}: the archive holds no {}", name, kPickle);
  const std::string root = pickle->first.substr(0, pickle->first.size() - kPickle.size());
  const auto order = members.find(root + "byteorder");
  if (order != members.end() && as_text(order->second.bytes) != "little") {
    throw_error(ErrorKind::File, "{}: byte order {}, expected 'little'", name, quote(as_text(order->second.bytes)));
  }
  check_zip_member(pickle->first, pickle->second, name);
  return parse_torch_pickle(pickle->second.bytes, members, root, name);
}

std::vector<TensorEntry> parse_torch_pickle(std::span<const std::byte> pickle, const ZipMembers& members,
                                            const std::string& root, const std::string& name) {
  return TorchPickle(pickle, members, root, name).read(name);
}

}  // namespace ostro
