// A machine for pickles that executes nothing. The opcodes are a closed list, the classes a closed list of each dialect
// (a subclass), and what calling one of them means is code of ours: no name in a file reaches anything else.
// Opcodes as in CPython's Lib/pickletools.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "formats/untrusted.h"

namespace ostro::pickle {

using Index = uint32_t;  // values refer to each other by number, so that they may be shared but never form a deep tree

enum class Kind : uint8_t { None, Bool, Int, Text, Bytes, Tuple, Dict, Class, Storage, Tensor, ElementType, Weight };

struct Value {
  Kind kind = Kind::None;
  int64_t number = 0;             // Bool, Int; of a Class, Storage, Tensor and ElementType what the dialect makes of it
  std::string_view text = {};     // Text, in the pickle itself
  std::vector<Index> items = {};  // Tuple, Weight; Dict: key, value, key, value, ...
  std::vector<int64_t> shape = {};
  std::span<const std::byte> bytes = {};  // Bytes, Storage, Tensor
};

inline constexpr size_t kMostValues = 1u << 20;  // a checkpoint of 2000 tensors has about 40,000
inline constexpr size_t kMostDimensions = 8;

class Machine {
 public:
  virtual ~Machine() = default;

 protected:
  // `name` begins the messages of Error(File). A dialect is written in one protocol.
  Machine(std::span<const std::byte> pickle, const std::string& name, int protocol)
      : in_(pickle, name + ": pickle"), protocol_(protocol) {}

  // Runs to STOP and returns the value left on top.
  Index run();

  // What a dialect knows. The number of a class it allows, or nullopt.
  virtual std::optional<int64_t> find_class(std::string_view module, std::string_view name) const = 0;
  // A class is called, or made by NEWOBJ: pushes what comes of it.
  virtual void call(int64_t number, const std::vector<Index>& arguments) = 0;
  // BUILD: `object` gets `state`.
  virtual void set_state(Index object, Index state) = 0;
  // BINPERSID: pushes what a persistent id stands for.
  virtual void load_persistent(Index id);

  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw_error(ErrorKind::File, "{}: {} (byte {})", in_.file(), fmt::format(format, std::forward<Args>(args)...),
                in_.position());
  }
  bool push(Value value);
  bool push_again(Index index);
  // The value, which must be of a kind; `what` says what it was to be.
  Value& value(Index index, Kind kind, std::string_view what);
  Kind kind_of(Index index) const { return values_[index].kind; }
  std::vector<int64_t> integers(Index tuple, std::string_view what);
  // The value of a key that is text, or nullopt.
  std::optional<Index> item(Index dict, std::string_view key);
  const std::string& file() const { return in_.file(); }
  uint64_t left() const { return in_.left(); }

 private:
  bool step();
  bool protocol();
  bool push_mark();
  bool push_int(int64_t number) { return push({.kind = Kind::Int, .number = number}); }
  bool push_text(uint64_t length);
  bool push_bytes(uint64_t length);
  bool push_tuple(std::vector<Index> items) { return push({.kind = Kind::Tuple, .items = std::move(items)}); }
  bool push_class(std::string_view module, std::string_view name);
  bool push_class_by_line();
  bool push_class_by_stack();
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Index pop();
  std::vector<Index> take_from(size_t begin);
  std::vector<Index> top(size_t count);
  std::vector<Index> take_mark();
  bool put(uint32_t number);
  bool get(uint32_t number);
  int64_t read_long();
  std::string_view read_line();
  bool set_items(std::vector<Index> items);
  bool call_top();
  bool build();

  ByteReader in_;
  int protocol_;
  std::vector<Value> values_;
  std::vector<Index> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, Index> memo_;
};

}  // namespace ostro::pickle
