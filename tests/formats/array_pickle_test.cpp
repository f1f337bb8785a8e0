// Pickled arrays: what is read, and everything a pickle could try that must be refused without being executed.
#include "formats/array_pickle.h"

#include <filesystem>
#include <set>

#include "base/half.h"
#include "base/mapped_file.h"
#include "formats/numbered_weights.h"
#include "formats/support.h"
#include "formats/weight_store.h"
#include "support/support.h"
#include "tensor/quant.h"

namespace ostro {
namespace {

using namespace std::string_literals;
using test::le;
using testing::HasSubstr;

// Pieces of a pickle of protocol 4.
std::string text(const std::string& content) { return "\x8c"s + static_cast<char>(content.size()) + content; }
std::string global(const std::string& module, const std::string& name) { return text(module) + text(name) + "\x93"; }
std::string tuple(const std::string& items) { return "(" + items + "t"; }
std::string integer(int64_t value) { return "\x8a\x08"s + le(value); }
std::string data(const std::string& bytes) { return "B" + le(static_cast<uint32_t>(bytes.size())) + bytes; }
std::string pickle(const std::string& body) { return "\x80\x04" + body + "."; }

std::string dtype(const std::string& code, const std::string& order = "<") {
  return global("numpy", "dtype") + tuple(code + "\x89\x88") + "R" +
         tuple("K\x03" + text(order) + "NNN" + integer(-1) + integer(-1) + integer(0)) + "b";
}
const std::string kFloat = dtype(text("f4")), kInt8 = dtype(text("i1"), "|"),
                  kBrain = dtype(global("ml_dtypes", "bfloat16"));

std::string array(const std::string& type, const std::vector<int64_t>& shape, const std::string& bytes,
                  const std::string& fortran = "\x89") {
  std::string sizes;
  for (const int64_t size : shape) sizes += integer(size);
  return global("numpy.core.multiarray", "_reconstruct") +
         tuple(global("numpy", "ndarray") + "K" + "\0"s + "\x85" +
               "C\x01"
               "b") +
         "R" + tuple("K\x01" + tuple(sizes) + type + fortran + data(bytes)) + "b";
}

std::string weight(const std::string& values, const std::string& scales) {
  return global("__main__", "QuantizedWeight8bit") + ")\x81}(" + text("weight") + values + text("scales") + scales +
         "ub";
}

std::string floats(size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += le(static_cast<float>(i) / 4);
  return out;
}
std::string brains(const std::vector<float>& values) {
  std::string out;
  for (const float value : values) out += le(f32_to_bf16(value));
  return out;
}

PickledWeight parse(const std::string& content) { return parse_array_pickle(test::bytes_of(content), "t"); }
std::string message_of(const std::string& content) {
  return test::error_of([&] { parse(content); });
}

TEST(ArrayPickle, ReadsArraysAndWeightsWithScales) {
  const std::string plain = pickle(array(kFloat, {2, 3}, floats(6)));
  const PickledWeight one = parse(plain);
  EXPECT_EQ(one.values.type, PickledArray::Type::F32);
  EXPECT_EQ(one.values.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(one.values.bytes.size(), 24u);
  EXPECT_FALSE(one.scales.has_value());

  const std::string scaled = pickle(weight(array(kInt8, {2, 4, 3}, std::string(24, '\2')),
                                           array(kBrain, {2, 2, 3}, brains(std::vector<float>(12, 0.5f)))));
  const PickledWeight two = parse(scaled);
  EXPECT_EQ(two.values.type, PickledArray::Type::I8);
  EXPECT_EQ(two.scales->type, PickledArray::Type::BF16);
  EXPECT_EQ(two.scales->shape, (std::vector<int64_t>{2, 2, 3}));
}

// Each is what Python's pickle module, or a hand, writes to run a command.
TEST(ArrayPickle, ExecutesNothing) {
  const std::string victim = (test::temporary_folder() / "executed").string();
  const std::string command = text("touch " + victim);
  const char* refused = "is not one of the classes that tensors need; nothing was executed";
  const std::vector<std::pair<std::string, std::string>> exploits = {
      {pickle(global("os", "system") + command + "\x85R"), refused},
      {pickle(global("posix", "system") + command + "\x85R"), refused},
      {pickle(global("builtins", "eval") + command + "\x85R"), refused},
      {pickle(global("builtins", "getattr") + tuple(global("os", "system") + text("__call__")) + "R"), refused},
      {pickle(global("subprocess", "Popen") + tuple(tuple(text("touch") + text(victim))) + "R"), refused},
      {pickle(global("numpy.testing._private.utils", "runstring") + tuple(command + "}") + "R"), refused},
      {pickle(global("numpy", "ndarray.__reduce__") + ")R"), refused},
      {pickle(global("numpy.core.multiarray", "_reconstruct.__globals__") + ")R"), refused},
      {pickle(global("numpy", "load") + command + "\x85R"), refused},
      {pickle(global("__main__", "exec") + command + "\x85R"), refused},
      {pickle(global("__main__", "QuantizedWeight8bit.__init__") + ")R"), refused},
      // A module and a name that only together spell an allowed class.
      {pickle(global("numpy ", "dtype") + ")R"), refused},
      {pickle(global("", "numpy dtype") + ")R"), refused},
      // As protocols 0 and 1 name and call: GLOBAL, INST, OBJ, and the extension registry.
      {pickle("cos\nsystem\n" + command + "\x85R"), "opcode 0x63 is not one of those"},
      {pickle("(" + command + "ios\nsystem\n"), "opcode 0x69 is not one of those"},
      {pickle("(cos\nsystem\n" + command + "o"), "opcode 0x63 is not one of those"},
      {pickle("(" + global("os", "system") + command + "o"), refused},
      {pickle("\x82\x01"), "opcode 0x82 is not one of those"},
      {pickle(command + "Q"), "opcode 0x51 is not one of those"},
      {pickle("P" + victim + "\n"), "opcode 0x50 is not one of those"},
      // States that Python would hand to __setstate__, or put into __dict__.
      {pickle(weight("N", "N") + "}" + text("__class__") + command + "sb"), "8-bit weights with 1 fields"},
      {pickle(")}" + text("__reduce__") + command + "sb"), "an object of another kind gets a state"},
      {pickle(global("numpy", "dtype") + "}b"), "an object of another kind gets a state"},
      // Allowed classes that are only to be named, and arguments that are not theirs.
      {pickle(global("numpy", "ndarray") + tuple("K\x04") + "R"), "a class is called that may only be named"},
      {pickle(global("ml_dtypes", "bfloat16") + command + "\x85R"), "a class is called that may only be named"},
      {pickle(global("numpy", "dtype") + tuple(text("O") + "\x89\x88") + "R"), "elements of type 'O', expected"},
      {pickle(global("numpy", "dtype") + tuple(text("V8") + "\x89\x88") + "R"), "elements of type 'V8', expected"},
      {pickle(global("numpy.core.multiarray", "_reconstruct") + tuple(global("numpy", "dtype") + "NN") + "R"),
       "what is reconstructed is not an array"},
      {pickle(global("__main__", "QuantizedWeight8bit") + command + "\x85\x81"), "with 1 arguments"},
  };
  for (const auto& [content, expected] : exploits) {
    EXPECT_THAT(message_of(content), HasSubstr(expected)) << expected;
  }
  EXPECT_FALSE(std::filesystem::exists(victim));
}

TEST(ArrayPickle, KnowsAClosedListOfOpcodes) {
  const std::string known(
      "\x80(.}t)\x85\x86\x87N\x88\x89JKM\x8aXqrhjsuRb\x95\x8c"
      "CB\x8e\x93\x94\x81");
  const std::set<char> allowed(known.begin(), known.end());
  ASSERT_EQ(allowed.size(), known.size());
  for (int opcode = 0; opcode < 256; ++opcode) {
    if (allowed.contains(static_cast<char>(opcode))) continue;
    EXPECT_THAT(message_of(pickle(std::string(1, static_cast<char>(opcode)))),
                HasSubstr(fmt::format("opcode {:#04x} is not one of those", opcode)));
  }
}

TEST(ArrayPickle, NamesWhatIsWrong) {
  const std::string four = array(kInt8, {2, 2}, "abcd");
  const auto scales = [&](const std::vector<int64_t>& shape, size_t count) {
    return pickle(weight(four, array(kBrain, shape, brains(std::vector<float>(count, 1)))));
  };
  std::string deep = ")", doubling = ")\x94", wide = ")\x94";
  deep.append(2'000'000, '\x85');
  // Every tuple holds the last one twice: 2^100000 leaves for whoever would walk them.
  for (int i = 0; i < 100'000; ++i) doubling += "h"s + static_cast<char>(i < 255 ? i : 255) + "\x86\x94";
  for (int i = 0; i < 2'000'000; ++i) wide += "h\0"s;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "cut short: an opcode"},
      {"\x80\x02.", "protocol 2, expected 4"},
      {pickle(""), "the stack is empty"},
      {pickle("N"), "the outermost value is None, expected a tensor"},
      {pickle(")"), "the outermost value is a tuple, expected a tensor"},
      {pickle(array(kFloat, {2}, floats(2))) + "x", "1 bytes after the end"},
      {pickle(array(kFloat, {2}, floats(3))), "12 bytes for an array of shape [2] with elements of 4"},
      {pickle(array(kFloat, {-2}, floats(2))), "negative size"},
      {pickle(array(kFloat, {int64_t{1} << 40, int64_t{1} << 40}, "")), "overflows"},
      {pickle(array(kFloat, {int64_t{1} << 62}, "")), "0 bytes for an array"},
      {pickle(array(kFloat, std::vector<int64_t>(9, 1), floats(1))), "more than 8 numbers"},
      {pickle(array(kFloat, {2}, floats(2), "\x88")), "an array in Fortran's order"},
      {pickle(array(dtype(text("f4"), ">"), {2}, floats(2))), "byte order '>', expected '<'"},
      {pickle(array(dtype(text("f8")), {1}, floats(2))), "elements of type 'f8', expected f4, i1 or bfloat16"},
      {pickle(global("numpy.core.multiarray", "_reconstruct") + tuple(global("numpy", "ndarray") + ")" + data("b")) +
              "R"),
       "the outermost value is an array without data"},
      {pickle(weight(four, "N")), "scales is None, expected a tensor"},
      {pickle(global("__main__", "QuantizedWeight8bit") + ")\x81"), "8-bit weights without their fields"},
      {pickle(weight(array(kFloat, {2, 2}, floats(4)), array(kBrain, {1, 2}, brains({1, 1})))),
       "weights with scales are not 8-bit integers"},
      {pickle(weight(four, four)), "weights with scales are not 8-bit integers"},
      {scales({1, 3}, 3), "scales of shape [1, 3] for weights of shape [2, 2]"},
      {scales({2}, 2), "scales of shape [2] for weights of shape [2, 2]"},
      {scales({0, 2}, 0), "scales of shape [0, 2]"},
      {scales({3, 2}, 6), "scales of shape [3, 2]"},
      {pickle("C\x01"
              "ah\1"),
       "memo 1 was never set"},
      {pickle("t"), "no mark on the stack"},
      {pickle("B" + le(uint32_t{100})), "bytes"},
      {pickle("\x8e" + le(~uint64_t{0})), "bytes"},
      {pickle("K\x01K\x01\x93"), "a class is an integer, expected a string"},
      {pickle(deep), "more than 1048576 values"},
      {pickle(doubling), "the outermost value is a tuple"},
      {pickle(wide), "more than 1048576 values on the stack"},
  };
  for (const auto& [content, expected] : cases) {
    EXPECT_THAT(message_of(content), HasSubstr(expected)) << fmt::format("{:.60}", content);
  }
}

TEST(ArrayPickle, EveryTruncationIsOneError) {
  const std::string whole =
      pickle(weight(array(kInt8, {64, 2}, std::string(128, '\3')), array(kBrain, {2, 2}, brains({1, 2, 3, 4}))));
  EXPECT_NO_THROW(parse(whole));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THAT(message_of(whole.substr(0, size)), testing::Not(HasSubstr("internal"))) << size;
  }
}

void make_all(WeightCopies& copies) {
  ThreadTeam team(2);
  copies.make_all(team);
}

// The values that the pickle says, one by one, transposed.
void expect_values(const TensorEntry& tensor, const PickledWeight& weight) {
  const std::vector<int64_t>& shape = weight.values.shape;
  const int64_t out = shape.back(), in = shape[shape.size() - 2], groups = weight.scales->shape[shape.size() - 2];
  std::vector<float> values(element_count(shape, ""));
  dequantize_row(tensor.dtype, tensor.bytes.data(), values);
  const auto* codes = reinterpret_cast<const int8_t*>(weight.values.bytes.data());
  const auto* scales = reinterpret_cast<const uint16_t*>(weight.scales->bytes.data());
  for (int64_t at = 0; at < std::ssize(values); ++at) {
    const int64_t matrix = at / (in * out), o = at / in % out, i = at % in;
    const float scale = bf16_to_f32(scales[(matrix * groups + i / (in / groups)) * out + o]);
    ASSERT_EQ(values[static_cast<size_t>(at)], static_cast<float>(codes[(matrix * in + i) * out + o]) * scale) << at;
  }
}

TEST(NumberedTensor, StaysEightBitsWideAndExact) {
  const int64_t experts = 2, in = 128, out = 70;
  std::string codes;
  for (int64_t i = 0; i < experts * in * out; ++i) codes += static_cast<char>(i * 37 % 255 - 127);
  for (const int64_t groups : {1, 2, 4}) {
    std::vector<float> scales;
    for (int64_t i = 0; i < experts * groups * out; ++i) scales.push_back(0.001f * static_cast<float>(i % 13 + 1));
    const std::string content =
        pickle(weight(array(kInt8, {experts, in, out}, codes), array(kBrain, {experts, groups, out}, brains(scales))));
    const PickledWeight read = parse(content);
    WeightCopies copies;
    const TensorEntry tensor = numbered_tensor(read, "w", "file", copies);
    EXPECT_EQ(tensor.dtype, DType::Q8_0);
    make_all(copies);
    EXPECT_EQ(tensor.shape, (std::vector<int64_t>{experts, out, in}));
    expect_values(tensor, read);
  }
}

// Groups that are no whole blocks, and scales that binary16 would round.
TEST(NumberedTensor, IsExactInFloatsWhereBlocksWouldNotBe) {
  for (const auto& [groups, scale] : {std::pair<int64_t, float>{8, 0.01f}, {1, 1e-7f}, {1, 1e6f}}) {
    const std::string content =
        pickle(weight(array(kInt8, {64, 3}, std::string(192, '\x85')),
                      array(kBrain, {groups, 3}, brains(std::vector<float>(static_cast<size_t>(3 * groups), scale)))));
    const PickledWeight read = parse(content);
    WeightCopies copies;
    const TensorEntry tensor = numbered_tensor(read, "w", "file", copies);
    make_all(copies);
    EXPECT_EQ(tensor.dtype, DType::F32) << scale;
    expect_values(tensor, read);
  }
}

TEST(NumberedTensor, RefusesScalesThatAreNoNumbers) {
  const std::string content =
      pickle(weight(array(kInt8, {32, 1}, std::string(32, '\1')), array(kBrain, {1, 1}, "\xc0\x7f")));
  WeightCopies copies;
  EXPECT_EQ(test::error_of([&] { numbered_tensor(parse(content), "w", "file", copies); }),
            "file: a scale is not finite");
  const std::string bare = pickle(array(kInt8, {1}, "x"));
  EXPECT_EQ(test::error_of([&] { numbered_tensor(parse(bare), "w", "file", copies); }),
            "file: 8-bit integers without scales, expected both");
}

TEST(NumberedPickles, AGapInTheNumbersIsNamed) {
  const auto folder = test::temporary_folder();
  for (const char* name : {"tensor00000_000", "tensor00002_000"}) {
    test::write_text((folder / name).string(), pickle(array(kFloat, {2}, floats(2))));
  }
  EXPECT_THAT(test::error_of([&] { open_weights(folder.string()); }),
              HasSubstr("tensor00002_000 is there, expected tensor00001_000 next"));
  std::filesystem::rename(folder / "tensor00002_000", folder / "tensor00001_000");
  const WeightStore store = open_weights(folder.string());
  EXPECT_EQ(store.format, CheckpointFormat::NumberedPickles);
  EXPECT_EQ(store.tensors.size(), 2u);
}

// The released files' own kinds, from the shared fixtures.
TEST(NumberedPickles, ReadsAFolderAsItWasReleased) {
  OSTRO_SHARED_OR_SKIP(folder, "fixtures/models-grok-openmoe/grok-1-original");
  for (const auto& path : {folder, folder / "ckpt-0"}) {
    const WeightStore store = open_weights(path.string());
    EXPECT_EQ(store.tensors.size(), 146u);
    EXPECT_FALSE(store.config.is_null());
    EXPECT_EQ(store.tensors.at("tensor00005_000").dtype, DType::Q8_0);
    EXPECT_EQ(store.tensors.at("tensor00005_000").shape, (std::vector<int64_t>{16, 64}));
  }
}

}  // namespace
}  // namespace ostro
