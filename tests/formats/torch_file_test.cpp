// torch files: what is read, and everything a pickle could try that must be refused without being executed.
#include "formats/torch_file.h"

#include <limits>
#include <set>

#include "base/mapped_file.h"
#include "formats/crc32.h"
#include "formats/support.h"
#include "support/support.h"

namespace ostro {
namespace {

using namespace std::string_literals;

struct Member {
  std::string name, content;
  uint16_t method = 0, flags = 0;
  bool zip64 = false;
  uint32_t checksum = 0;
};

std::string u16(size_t value) { return test::le(static_cast<uint16_t>(value)); }
std::string u32(size_t value) { return test::le(static_cast<uint32_t>(value)); }
std::string u64(size_t value) { return test::le(static_cast<uint64_t>(value)); }

std::string zip_of(const std::vector<Member>& members) {
  std::string out, directory;
  bool zip64 = false;
  for (const auto& member : members) {
    const size_t size = member.content.size(), offset = out.size();
    out += "PK\x03\x04"s + u16(20) + u16(member.flags) + u16(member.method) + u32(0) + u32(member.checksum) +
           u32(size) + u32(size) + u16(member.name.size()) + u16(0) + member.name + member.content;
    zip64 |= member.zip64;
    const std::string extra = member.zip64 ? u16(1) + u16(24) + u64(size) + u64(size) + u64(offset) : "";
    const size_t shown = member.zip64 ? 0xffffffffu : size;
    directory += "PK\x01\x02"s + u16(20) + u16(20) + u16(member.flags) + u16(member.method) + u32(0) +
                 u32(member.checksum) + u32(shown) + u32(shown) + u16(member.name.size()) + u16(extra.size()) + u16(0) +
                 u16(0) + u16(0) + u32(0) + u32(member.zip64 ? 0xffffffffu : offset) + member.name + extra;
  }
  const size_t start = out.size(), count = members.size();
  out += directory;
  if (zip64) {
    const size_t record = out.size();
    out += "PK\x06\x06"s + u64(44) + u16(45) + u16(45) + u32(0) + u32(0) + u64(count) + u64(count) +
           u64(directory.size()) + u64(start) + "PK\x06\x07"s + u32(0) + u64(record) + u32(1);
  }
  return out + "PK\x05\x06"s + u16(0) + u16(0) + u16(zip64 ? 0xffff : count) + u16(zip64 ? 0xffff : count) +
         u32(zip64 ? 0xffffffffu : directory.size()) + u32(zip64 ? 0xffffffffu : start) + u16(0);
}

// Pieces of a pickle.
std::string text(const std::string& content) { return "X"s + u32(content.size()) + content; }
std::string integer(int64_t value) { return "\x8a\x08"s + test::le(value); }
std::string global(const std::string& module, const std::string& name) { return "c" + module + "\n" + name + "\n"; }
std::string tuple(const std::string& items) { return "(" + items + "t"; }
std::string numbers(const std::vector<int64_t>& values) {
  std::string items;
  for (const int64_t value : values) items += integer(value);
  return tuple(items);
}
const std::string kNoHooks = global("collections", "OrderedDict") + ")R";

std::string storage(int64_t elements, const std::string& kind = "FloatStorage", const std::string& key = "0") {
  return tuple(text("storage") + global("torch", kind) + text(key) + text("cpu") + integer(elements)) + "Q";
}

std::string tensor(const std::string& from, int64_t offset, const std::vector<int64_t>& shape,
                   const std::vector<int64_t>& strides) {
  return global("torch._utils", "_rebuild_tensor_v2") +
         tuple(from + integer(offset) + numbers(shape) + numbers(strides) + "\x89" + kNoHooks) + "R";
}

std::string pickle(const std::string& body) { return "\x80\x02" + body + "."; }
std::string named(const std::string& value) { return pickle("}"s + text("w") + value + "s"); }

constexpr size_t kStorageBytes = 48;  // 12 floats

std::string file_of(const std::string& pickled, const std::string& order = "little") {
  return zip_of({{"m/data.pkl", pickled}, {"m/byteorder", order}, {"m/data/0", std::string(kStorageBytes, '\1')}});
}

std::vector<TensorEntry> parse(const std::string& content) {
  return parse_torch_file(test::bytes_of(content), "t.pth");
}

std::string message_of(const std::string& content) {
  return test::error_of([&] { parse(content); });
}

TEST(TorchFile, ReadsWhatPickleWrites) {
  const MappedFile file(test::fixture("formats/small.pth").string());
  const auto tensors = parse_torch_file(file.bytes(), "small.pth");
  ASSERT_EQ(tensors.size(), 4u);
  EXPECT_EQ(tensors[0].name, "brain");
  EXPECT_EQ(tensors[0].dtype, DType::BF16);
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{2, 2, 2}));
  EXPECT_EQ(tensors[1].dtype, DType::F16);
  EXPECT_EQ(tensors[2].name, "rows");
  EXPECT_EQ(tensors[2].bytes.data(), tensors[3].bytes.data() + 4 * sizeof(float));  // a view of the same storage
  float third = 0;
  std::memcpy(&third, tensors[3].bytes.data() + 2 * sizeof(float), sizeof(float));
  EXPECT_EQ(third, 2.0f / 8 - 3);
}

TEST(TorchFile, ReadsViewsParametersAndStateDicts) {
  EXPECT_EQ(parse(file_of(named(tensor(storage(12), 4, {2, 4}, {4, 1})))).at(0).bytes.size(), 32u);
  EXPECT_EQ(parse(file_of(named(tensor(storage(12), 0, {3, 1, 4}, {4, 999, 1})))).size(), 1u);  // stride of a size 1
  EXPECT_EQ(parse(file_of(named(tensor(storage(12), 12, {0, 7}, {1, 1})))).at(0).bytes.size(), 0u);
  EXPECT_EQ(parse(file_of(named(tensor(storage(12), 3, {}, {})))).at(0).bytes.size(), 4u);
  const std::string parameter =
      global("torch._utils", "_rebuild_parameter") + tuple(tensor(storage(12), 0, {12}, {1}) + "\x88" + kNoHooks) + "R";
  EXPECT_EQ(parse(file_of(named(parameter))).at(0).shape, std::vector<int64_t>{12});
  // An OrderedDict with the attribute that Module.state_dict() hangs on it.
  const std::string state = pickle(kNoHooks + "(" + text("w") + tensor(storage(12), 0, {12}, {1}) + "u}" +
                                   text("_metadata") + kNoHooks + "sb");
  EXPECT_EQ(parse(file_of(state)).size(), 1u);
}

TEST(Crc32, HasTheKnownValues) {
  EXPECT_EQ(crc32({}), 0u);
  EXPECT_EQ(crc32(test::bytes_of("123456789")), 0xcbf43926u);  // the check value of the published parameters
  const std::string text = "The quick brown fox jumps over the lazy dog";
  EXPECT_EQ(crc32(test::bytes_of(text)), 0x414fa339u);
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(crc32(test::bytes_of(text.substr(cut)), crc32(test::bytes_of(text.substr(0, cut)))), 0x414fa339u);
  }
}

TEST(TorchFile, ComparesTheChecksumsThatAreWritten) {
  const std::string pickled = named(tensor(storage(12), 0, {12}, {1})), data(kStorageBytes, '\1');
  std::vector<Member> members = {{"m/data.pkl", pickled}, {"m/data/0", data}};
  members[0].checksum = crc32(test::bytes_of(pickled));
  members[1].checksum = crc32(test::bytes_of(data)) ^ 1;
  const std::string content = zip_of(members);
  EXPECT_EQ(parse(content).size(), 1u);
  const auto found = parse_stored_zip(test::bytes_of(content), "t.pth");
  check_zip_member("m/data.pkl", found.at("m/data.pkl"), "t.pth");
  EXPECT_THAT(test::error_of([&] { check_zip_member("m/data/0", found.at("m/data/0"), "t.pth"); }),
              testing::HasSubstr("t.pth: zip archive: member 'm/data/0' is damaged: its CRC-32 is"));
  members[0].checksum ^= 1;
  EXPECT_THAT(message_of(zip_of(members)), testing::HasSubstr("member 'm/data.pkl' is damaged"));
}

TEST(TorchFile, ReadsZip64) {
  std::vector<Member> members = {{"m/data.pkl", named(tensor(storage(12), 0, {12}, {1}))},
                                 {"m/data/0", std::string(kStorageBytes, '\1')}};
  members[1].zip64 = true;
  EXPECT_EQ(parse(zip_of(members)).at(0).bytes.size(), kStorageBytes);
}

TEST(TorchFile, ExecutesNothing) {
  const auto call = [](const std::string& module, const std::string& name, const std::string& arguments) {
    return message_of(file_of(pickle(global(module, name) + tuple(arguments) + "R")));
  };
  const char* refused = "is not one of the classes that tensors need; nothing was executed";
  for (const auto& [module, name] : std::vector<std::pair<std::string, std::string>>{
           {"os", "system"},
           {"posix", "system"},
           {"builtins", "eval"},
           {"__builtin__", "exec"},
           {"torch", "load"},
           {"torch", "DoubleStorage"},
           {"torch._utils", "_rebuild_tensor_v3"},
           {"torch._utils._rebuild_tensor_v2", ""},
           {"torch", "_utils _rebuild_tensor_v2"},
           {"collections", "OrderedDict.fromkeys"},
           {"", "collections OrderedDict"},
       }) {
    const std::string message = call(module, name, text("echo pwned"));
    EXPECT_THAT(message, testing::HasSubstr(refused));
    EXPECT_THAT(message, testing::HasSubstr("'"s + module + "'.'" + name + "'"));
  }
  EXPECT_THAT(call("collections", "OrderedDict", text("x")), testing::HasSubstr("OrderedDict with 1 arguments"));
  EXPECT_THAT(call("torch", "FloatStorage", ""), testing::HasSubstr("a storage class is called"));
  EXPECT_THAT(message_of(file_of(pickle(global("os", std::string(1000, 'x'))))), testing::HasSubstr("256 bytes"));
}

TEST(TorchFile, KnowsAClosedListOfOpcodes) {
  const std::string known("\x80(.}t)\x85\x86\x87N\x88\x89JKM\x8aXqrhjsucRbQ");
  const std::set<char> allowed(known.begin(), known.end());
  ASSERT_EQ(allowed.size(), known.size());
  for (int opcode = 0; opcode < 256; ++opcode) {
    if (allowed.contains(static_cast<char>(opcode))) continue;
    EXPECT_THAT(message_of(file_of(pickle(std::string(1, static_cast<char>(opcode))))),
                testing::HasSubstr(fmt::format("opcode {:#04x} is not one of those", opcode)));
  }
}

TEST(TorchFile, NamesWhatIsWrongInThePickle) {
  const std::string big(2'000'000, '(');
  std::string deep = ")";
  deep.append(2'000'000, '\x85');
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "cut short: an opcode"},
      {"\x80\x04.", "protocol 4, expected 2"},
      {pickle(""), "the stack is empty"},
      {pickle("N"), "the outermost value is None, expected a dict"},
      {pickle("}"s + text("w") + "Ns"), "entry 'w' is None, expected a tensor"},
      {pickle("}N"s + tensor(storage(12), 0, {12}, {1}) + "s"), "a tensor's name is None"},
      {pickle("}(Nu"), "a key without a value"},
      {pickle("Nq\1h\2"), "memo 2 was never set"},
      {pickle("t"), "no mark on the stack"},
      {pickle("N(\x85"), "the stack is empty"},
      {pickle("N)R"), "what is called is None, expected a class"},
      {pickle(big), "marks"},
      {pickle(deep), "more than 1048576 values"},
      {pickle("}q\1"s + text("w") + "h\1s"), "entry 'w' is a dict"},  // contains itself
      {pickle("X"s + u32(100)), "a string"},
      {pickle("\x8a\x09"s + std::string(9, '\1')), "an integer of 9 bytes"},
      {pickle("}("s + text("w") + tensor(storage(12), 0, {12}, {1}) + text("w") + tensor(storage(12), 0, {12}, {1}) +
              "u"),
       "tensor 'w' appears twice"},
      {pickle("}"s + text("a\nb") + tensor(storage(12), 0, {12}, {1}) + "s"), "'a\\x0ab'"},
      {named(storage(12)), "entry 'w' is a storage"},
      {named(storage(11)), "storage '0' has 48 bytes, 11 elements of f32 need 44"},
      {named(storage(-12)), "negative size"},
      {named(storage(std::numeric_limits<int64_t>::max())), "overflows"},
      {named(storage(12, "FloatStorage", "7")), "storage '7' is not in the archive"},
      {named(storage(12, "FloatStorage", "../0")), "is not in the archive"},
      {pickle("NQ"), "a persistent id is None"},
      {pickle(tuple(text("module") + "NNNN") + "Q"), "a persistent id that is not a storage"},
      {named(tensor(storage(12), 1, {12}, {1})), "leaves its storage of 48 bytes"},
      {named(tensor(storage(12), -1, {12}, {1})), "leaves its storage"},
      {named(tensor(storage(12), int64_t{1} << 62, {1}, {1})), "leaves its storage"},
      {named(tensor(storage(12), 0, {3, 4}, {1, 3})), "only contiguous tensors"},
      {named(tensor(storage(12), 0, {12}, {0})), "only contiguous tensors"},
      {named(tensor(storage(12), 0, {12}, {1, 1})), "1 sizes, 2 strides"},
      {named(tensor(storage(12), 0, {-1}, {1})), "negative size"},
      {named(tensor(storage(12), 0, {int64_t{1} << 40, int64_t{1} << 40}, {1, 1})), "overflows"},
      {named(tensor(storage(12), 0, std::vector<int64_t>(9, 1), std::vector<int64_t>(9, 1))), "more than 8 numbers"},
      {named(global("torch._utils", "_rebuild_tensor_v2") + tuple(storage(12)) + "R"), "with 1 arguments"},
  };
  for (const auto& [content, expected] : cases) {
    EXPECT_THAT(message_of(file_of(content)), testing::HasSubstr(expected)) << fmt::format("{:.60}", content);
  }
}

TEST(TorchFile, NamesWhatIsWrongInTheArchive) {
  const std::string good = named(tensor(storage(12), 0, {12}, {1}));
  const std::string data(kStorageBytes, '\1');
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "it is empty"},
      {"\x80\x02}.", "a pickle (a torch file from before torch 1.6?)"},
      {"PK\x03\x04", "no end record: cut short?"},
      {zip_of({}), "holds no data.pkl"},
      {file_of(good, "big"), "byte order 'big', expected 'little'"},
      {zip_of({{"m/data.pkl", good, 8, 0, false}}), "member 'm/data.pkl' is compressed (method 8)"},
      {zip_of({{"m/data.pkl", good, 0, 1, false}}), "member 'm/data.pkl' is encrypted"},
      {zip_of({{"m/data.pkl", good}, {"m/data.pkl", good}}), "member 'm/data.pkl' appears twice"},
      {zip_of({{"m/data.pkl", good}, {"n/data/0", data}}), "storage '0' is not in the archive"},
  };
  for (const auto& [content, expected] : cases) EXPECT_THAT(message_of(content), testing::HasSubstr(expected));

  // A member whose size runs into the directory: the size lies 24 bytes into its directory entry, the last member's.
  std::string long_member = zip_of({{"m/data.pkl", good}});
  const size_t entry = long_member.rfind("PK\x01\x02");
  for (const size_t place : {20u, 24u}) long_member.replace(entry + place, 4, u32(good.size() + 1));
  EXPECT_THAT(message_of(long_member), testing::HasSubstr("run into the directory"));
}

}  // namespace
}  // namespace ostro
