// What NumPy and a class of two fields write (protocol 4):
//   array:  _reconstruct(ndarray, (0,), b'b'), then the state (1, shape, element type, in Fortran's order?, bytes)
//   type:   dtype('f4' | 'i1' | bfloat16, False, True), then the state (3, byte order, ...)
//   weight: QuantizedWeight8bit(), then the state {'weight': array, 'scales': array}
// Arguments as in numpy/core/multiarray.py and numpy/core/_internal.py.
#include "formats/array_pickle.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/checked.h"
#include "formats/pickle.h"
#include "formats/tensor_entry.h"

namespace ostro {
namespace {

using pickle::Index;
using pickle::Kind;
using pickle::Value;
using Type = PickledArray::Type;

enum class Class : uint8_t { Reconstruct, Array, ElementType, BFloat16, Weight };

// Every class a pickle may name. NumPy 2 renamed its inner modules.
constexpr std::array<std::pair<std::string_view, Class>, 6> kClasses = {{
    {"numpy.core.multiarray _reconstruct", Class::Reconstruct},
    {"numpy._core.multiarray _reconstruct", Class::Reconstruct},
    {"numpy ndarray", Class::Array},
    {"numpy dtype", Class::ElementType},
    {"ml_dtypes bfloat16", Class::BFloat16},
    {"__main__ QuantizedWeight8bit", Class::Weight},
}};

uint64_t element_bytes(Type type) { return type == Type::F32 ? 4 : type == Type::BF16 ? 2 : 1; }

class ArrayPickle final : public pickle::Machine {
 public:
  ArrayPickle(std::span<const std::byte> pickle, const std::string& name) : Machine(pickle, name, 4) {}

  PickledWeight read() {
    const Index top = run();
    if (left() > 0) fail("{} bytes after the end", left());
    if (kind_of(top) != Kind::Weight) return {array(top, "the outermost value"), std::nullopt};
    const std::vector<Index> parts = value(top, Kind::Weight, "the outermost value").items;
    if (parts.size() != 2) fail("8-bit weights without their fields");
    PickledWeight weight{array(parts[0], "weight"), array(parts[1], "scales")};
    check_scales(weight);
    return weight;
  }

 private:
  PickledArray array(Index index, std::string_view what) {
    const Value& found = value(index, Kind::Tensor, what);
    if (found.bytes.data() == nullptr) fail("{} is an array without data", what);
    return {static_cast<Type>(found.number), found.shape, found.bytes};
  }

  void check_scales(const PickledWeight& weight) const {
    const std::vector<int64_t>&values = weight.values.shape, &scales = weight.scales->shape;
    if (weight.values.type != Type::I8 || weight.scales->type == Type::I8) {
      fail("weights with scales are not 8-bit integers with scales that are floats");
    }
    bool fit = values.size() >= 2 && values.size() == scales.size();
    for (size_t i = 0; fit && i < values.size(); ++i) {
      const bool rows = i + 2 == values.size();
      fit = values[i] > 0 && (rows ? scales[i] > 0 && values[i] % scales[i] == 0 : scales[i] == values[i]);
    }
    if (!fit) {
      fail("scales of shape {} for weights of shape {}, expected the same but for a divisor of the rows",
           shape_text(scales), shape_text(values));
    }
  }

  std::optional<int64_t> find_class(std::string_view module, std::string_view name) const override {
    const std::string full = fmt::format("{} {}", module, name);
    const auto* found = std::ranges::find(kClasses, std::string_view(full), &std::pair<std::string_view, Class>::first);
    return found == kClasses.end() ? std::nullopt : std::optional(static_cast<int64_t>(found->second));
  }

  void call(int64_t number, const std::vector<Index>& items) override {
    switch (static_cast<Class>(number)) {
      case Class::Reconstruct:  // an empty array, to be filled by its state
        if (items.size() != 3) fail("_reconstruct with {} arguments, expected 3", items.size());
        if (class_of(items[0], "what is reconstructed") != Class::Array) fail("what is reconstructed is not an array");
        push({.kind = Kind::Tensor});
        return;
      case Class::ElementType:
        if (items.size() != 3) fail("dtype with {} arguments, expected 3", items.size());
        push({.kind = Kind::ElementType, .number = static_cast<int64_t>(element_type(items[0]))});
        return;
      case Class::Weight:
        if (!items.empty()) fail("QuantizedWeight8bit with {} arguments, expected 0", items.size());
        push({.kind = Kind::Weight});
        return;
      case Class::Array:
      case Class::BFloat16:
        break;
    }
    fail("a class is called that may only be named");
  }

  Class class_of(Index index, std::string_view what) {
    return static_cast<Class>(value(index, Kind::Class, what).number);
  }

  Type element_type(Index index) {
    if (kind_of(index) == Kind::Class) {
      if (class_of(index, "an element type") == Class::BFloat16) return Type::BF16;
      fail("an element type is another class than bfloat16");
    }
    const std::string_view name = value(index, Kind::Text, "an element type").text;
    if (name == "f4") return Type::F32;
    if (name == "i1") return Type::I8;
    fail("elements of type {}, expected f4, i1 or bfloat16", quote(name));
  }

  void set_state(Index object, Index state) override {
    switch (kind_of(object)) {
      case Kind::ElementType:
        return check_byte_order(state);
      case Kind::Tensor:
        return fill_array(object, state);
      case Kind::Weight:
        return fill_weight(object, state);
      default:
        fail("an object of another kind gets a state");
    }
  }

  void check_byte_order(Index state) {
    const std::vector<Index>& items = value(state, Kind::Tuple, "the state of an element type").items;
    if (items.size() != 8) fail("the state of an element type has {} parts, expected 8", items.size());
    const std::string_view order = value(items[1], Kind::Text, "a byte order").text;
    if (order != "<" && order != "|") fail("byte order {}, expected '<'", quote(order));
    for (size_t i = 2; i < 5; ++i) {
      if (kind_of(items[i]) != Kind::None) fail("an element type with parts of its own");
    }
  }

  // (version, shape, element type, in Fortran's order?, bytes)
  void fill_array(Index object, Index state) {
    const std::vector<Index> items = value(state, Kind::Tuple, "the state of an array").items;
    if (items.size() != 5) fail("the state of an array has {} parts, expected 5", items.size());
    if (value(items[0], Kind::Int, "the version of an array").number != 1) fail("an array of another version than 1");
    std::vector<int64_t> shape = integers(items[1], "a shape");
    const auto type = static_cast<Type>(value(items[2], Kind::ElementType, "an array's element type").number);
    if (value(items[3], Kind::Bool, "the order of an array").number != 0) fail("an array in Fortran's order");
    const std::span<const std::byte> bytes = value(items[4], Kind::Bytes, "the data of an array").bytes;
    const auto needed = checked_mul(element_count(shape, file()), element_bytes(type));
    if (needed != bytes.size()) {
      fail("{} bytes for an array of shape {} with elements of {}", bytes.size(), shape_text(shape),
           element_bytes(type));
    }
    Value& array = value(object, Kind::Tensor, "an array");
    array.number = static_cast<int64_t>(type);
    array.shape = std::move(shape);
    array.bytes = bytes;
  }

  void fill_weight(Index object, Index state) {
    if (value(state, Kind::Dict, "the state of 8-bit weights").items.size() != 4) {
      fail("8-bit weights with {} fields, expected weight and scales", value(state, Kind::Dict, "").items.size() / 2);
    }
    const auto weight = item(state, "weight"), scales = item(state, "scales");
    if (!weight || !scales) fail("8-bit weights without weight or scales");
    value(object, Kind::Weight, "8-bit weights").items = {*weight, *scales};
  }
};

}  // namespace

PickledWeight parse_array_pickle(std::span<const std::byte> bytes, const std::string& name) {
  return ArrayPickle(bytes, name).read();
}

}  // namespace ostro
