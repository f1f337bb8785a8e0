#include "formats/pickle.h"

namespace ostro::pickle {
namespace {

constexpr size_t kMostOpcodes = 1u << 24;

const char* kind_name(Kind kind) {
  static constexpr const char* kNames[] = {"None",      "a boolean", "an integer",      "a string",
                                           "bytes",     "a tuple",   "a dict",          "a class",
                                           "a storage", "a tensor",  "an element type", "a weight"};
  return kNames[static_cast<size_t>(kind)];
}

}  // namespace

Index Machine::run() {
  for (size_t count = 0; step(); ++count) {
    if (count == kMostOpcodes) fail("more than {} opcodes", kMostOpcodes);
  }
  return pop();
}

// Executes one opcode; false at STOP.
bool Machine::step() {
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
      return push_text(in_.read<uint32_t>("a length"));
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
    case 'R':
      return call_top();
    case 'b':
      return build();
    default:
      break;
  }
  if (protocol_ < 4 && opcode == 'c') return push_class_by_line();
  if (protocol_ < 4 && opcode == 'Q') {
    load_persistent(pop());
    return true;
  }
  if (protocol_ >= 4) {
    switch (opcode) {
      case 0x95:  // FRAME: a hint for readers of streams
        in_.take(sizeof(uint64_t), "a frame");
        return true;
      case 0x8c:
        return push_text(in_.read<uint8_t>("a length"));
      case 'C':
        return push_bytes(in_.read<uint8_t>("a length"));
      case 'B':
        return push_bytes(in_.read<uint32_t>("a length"));
      case 0x8e:
        return push_bytes(in_.read<uint64_t>("a length"));
      case 0x93:
        return push_class_by_stack();
      case 0x94:
        return put(static_cast<uint32_t>(memo_.size()));
      case 0x81:  // NEWOBJ: a call that makes an object
        return call_top();
      default:
        break;
    }
  }
  fail("opcode {:#04x} is not one of those that tensors need", opcode);
}

bool Machine::protocol() {
  const auto version = in_.read<uint8_t>("the protocol");
  if (version != protocol_) fail("protocol {}, expected {}", version, protocol_);
  return true;
}

bool Machine::push(Value value) {
  if (values_.size() == kMostValues) fail("more than {} values", kMostValues);
  values_.push_back(std::move(value));
  stack_.push_back(static_cast<Index>(values_.size() - 1));
  return true;
}

// Makes no value, but it may not fill the memory either.
bool Machine::push_again(Index index) {
  if (stack_.size() == kMostValues) fail("more than {} values on the stack", kMostValues);
  stack_.push_back(index);
  return true;
}

bool Machine::push_mark() {
  if (marks_.size() == kMostValues) fail("more than {} marks", kMostValues);
  marks_.push_back(stack_.size());
  return true;
}

bool Machine::push_text(uint64_t length) {
  return push({.kind = Kind::Text, .text = as_text(in_.take(length, "a string"))});
}

bool Machine::push_bytes(uint64_t length) { return push({.kind = Kind::Bytes, .bytes = in_.take(length, "bytes")}); }

// The stack below the innermost mark is out of reach of every opcode.
Index Machine::pop() {
  if (stack_.size() <= floor()) fail("the stack is empty");
  const Index last = stack_.back();
  stack_.pop_back();
  return last;
}

std::vector<Index> Machine::take_from(size_t begin) {
  std::vector<Index> taken(stack_.begin() + static_cast<std::ptrdiff_t>(begin), stack_.end());
  stack_.resize(begin);
  return taken;
}

std::vector<Index> Machine::top(size_t count) {
  if (stack_.size() - floor() < count) fail("the stack is empty");
  return take_from(stack_.size() - count);
}

std::vector<Index> Machine::take_mark() {
  if (marks_.empty()) fail("no mark on the stack");
  const size_t begin = marks_.back();
  marks_.pop_back();
  return take_from(begin);
}

Value& Machine::value(Index index, Kind kind, std::string_view what) {
  Value& found = values_[index];
  if (found.kind != kind) fail("{} is {}, expected {}", what, kind_name(found.kind), kind_name(kind));
  return found;
}

bool Machine::put(uint32_t number) {
  const Index last = pop();
  stack_.push_back(last);
  if (memo_.size() == kMostValues) fail("more than {} values in the memo", kMostValues);
  memo_[number] = last;
  return true;
}

bool Machine::get(uint32_t number) {
  const auto found = memo_.find(number);
  if (found == memo_.end()) fail("memo {} was never set", number);
  return push_again(found->second);
}

// LONG1: little-endian two's complement of a given length.
int64_t Machine::read_long() {
  const auto length = in_.read<uint8_t>("a length");
  if (length > sizeof(int64_t)) fail("an integer of {} bytes", length);
  const auto bytes = in_.take(length, "an integer");
  if (length == 0) return 0;
  uint64_t bits = (std::to_integer<uint8_t>(bytes[length - 1u]) & 0x80u) != 0 ? ~uint64_t{0} : 0;
  for (size_t i = length; i-- > 0;) bits = bits << 8 | std::to_integer<uint8_t>(bytes[i]);
  return static_cast<int64_t>(bits);
}

std::string_view Machine::read_line() {
  const uint64_t begin = in_.position();
  ByteReader start = in_;
  while (in_.read<char>("a class name") != '\n') {
    if (in_.position() - begin > 256) fail("a class name of more than 256 bytes");
  }
  return as_text(start.take(in_.position() - begin - 1, "a class name"));
}

bool Machine::push_class(std::string_view module, std::string_view name) {
  const auto number = find_class(module, name);
  if (!number) {
    fail("it wants {}.{}, which is not one of the classes that tensors need; nothing was executed", quote(module),
         quote(name));
  }
  return push({.kind = Kind::Class, .number = *number});
}

bool Machine::push_class_by_line() {
  const std::string_view module = read_line();
  return push_class(module, read_line());
}

bool Machine::push_class_by_stack() {
  const std::vector<Index> names = top(2);
  return push_class(value(names[0], Kind::Text, "a class's module").text, value(names[1], Kind::Text, "a class").text);
}

bool Machine::set_items(std::vector<Index> items) {
  const Index dict = pop();
  stack_.push_back(dict);
  if (items.size() % 2 != 0) fail("a key without a value");
  auto& all = value(dict, Kind::Dict, "what gets items").items;
  all.insert(all.end(), items.begin(), items.end());
  return true;
}

bool Machine::call_top() {
  const Index arguments = pop();
  const int64_t number = value(pop(), Kind::Class, "what is called").number;
  // A copy: what the call pushes may move the values.
  const std::vector<Index> items = value(arguments, Kind::Tuple, "the arguments of a call").items;
  call(number, items);
  return true;
}

bool Machine::build() {
  const Index state = pop();
  const Index object = pop();
  set_state(object, state);
  return push_again(object);
}

void Machine::load_persistent(Index) { fail("a persistent id, which no value of this kind has"); }

std::vector<int64_t> Machine::integers(Index tuple, std::string_view what) {
  std::vector<int64_t> out;
  for (const Index item : value(tuple, Kind::Tuple, what).items) {
    if (out.size() == kMostDimensions) fail("{} of more than {} numbers", what, kMostDimensions);
    out.push_back(value(item, Kind::Int, what).number);
  }
  return out;
}

std::optional<Index> Machine::item(Index dict, std::string_view key) {
  const std::vector<Index>& items = value(dict, Kind::Dict, "what has items").items;
  for (size_t i = 0; i < items.size(); i += 2) {
    if (kind_of(items[i]) == Kind::Text && values_[items[i]].text == key) return items[i + 1];
  }
  return std::nullopt;
}

}  // namespace ostro::pickle
