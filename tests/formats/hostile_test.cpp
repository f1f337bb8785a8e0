// Files that lie. Whatever the bytes are, a reader returns tensors that lie inside the file or throws one clear line,
// and never asks for much memory. The sanitizer build runs this too.
#include <algorithm>
#include <array>
#include <functional>

#include "formats/gguf.h"
#include "formats/safetensors.h"
#include "formats/support.h"
#include "formats/torch_file.h"
#include "support/support.h"

namespace ostro {
namespace {

constexpr size_t kMemoryForSmallFile = 1u << 16;

// The values of the field sweep: small ones, the borders of every width, and what is left of a file.
std::vector<uint64_t> field_values(uint64_t left) {
  return {0,          1,          2,          3,          ~0ull,
          1ull << 7,  255,        1ull << 15, 1ull << 16, 0x7fffffff,
          0x80000000, 0xffffffff, 1ull << 32, 1ull << 61, (1ull << 53) + 1,
          INT64_MAX,  1ull << 63, left,       left + 1};
}

using Parse = std::function<void(std::span<const std::byte>)>;

void expect_inside(std::span<const std::byte> tensor, std::span<const std::byte> file) {
  if (tensor.empty()) return;
  ASSERT_GE(tensor.data(), file.data());
  ASSERT_LE(tensor.data() + tensor.size(), file.data() + file.size());
}

void gguf(std::span<const std::byte> file) {
  for (const auto& tensor : parse_gguf(file, "test.gguf").tensors) expect_inside(tensor.bytes, file);
}

void safetensors(std::span<const std::byte> file) {
  for (const auto& [name, tensor] : parse_safetensors(file, "test.safetensors").tensors) {
    expect_inside(tensor.bytes, file);
  }
}

void torch(std::span<const std::byte> file) {
  for (const auto& tensor : parse_torch_file(file, "test.pth")) expect_inside(tensor.bytes, file);
}

// Parses a copy of exactly these bytes, so that a sanitizer sees any read beyond them. The message, if it is an error.
std::optional<std::string> try_parse(const Parse& parse, std::string_view content) {
  const std::vector<std::byte> bytes(test::bytes_of(content).begin(), test::bytes_of(content).end());
  test::largest_request();
  std::optional<std::string> message;
  try {
    parse(bytes);
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_LE(test::largest_request(), kMemoryForSmallFile);
  for (const char c : message.value_or("")) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << *message;
  return message;
}

std::string message_of(const Parse& parse, std::string_view content) {
  const auto message = try_parse(parse, content);
  EXPECT_TRUE(message) << "accepted";
  return message.value_or("");
}

struct Format {
  const char* file;
  Parse parse;
};
const std::array<Format, 3> kFormats = {
    {{"formats/small.gguf", gguf}, {"formats/small.safetensors", safetensors}, {"formats/small.pth", torch}}};

TEST(Hostile, EveryPrefixIsAnError) {
  for (const auto& [file, parse] : kFormats) {
    const std::string whole = test::read_bytes(test::fixture(file));
    EXPECT_FALSE(try_parse(parse, whole)) << file;
    for (size_t length = 0; length < whole.size(); ++length) {
      EXPECT_TRUE(try_parse(parse, std::string_view(whole).substr(0, length))) << file << " of " << length << " bytes";
    }
    EXPECT_TRUE(try_parse(parse, whole + std::string(64, '\0'))) << file << " with bytes after its end";
  }
}

TEST(Hostile, EveryBitFlipIsAnErrorOrHarmless) {
  for (const auto& [file, parse] : kFormats) {
    std::string content = test::read_bytes(test::fixture(file));
    size_t refused = 0;
    for (size_t bit = 0; bit < content.size() * 8; ++bit) {
      const char flip = static_cast<char>(1u << (bit % 8));
      content[bit / 8] = static_cast<char>(content[bit / 8] ^ flip);
      refused += try_parse(parse, content) ? 1 : 0;
      content[bit / 8] = static_cast<char>(content[bit / 8] ^ flip);
    }
    EXPECT_GT(refused, content.size() / 2) << file;
  }
}

// Every place of a header, as if a field of 1, 2, 4 or 8 bytes were there: more than all fields.
void sweep(const Parse& parse, const std::string& whole, size_t begin, size_t end) {
  for (size_t place = begin; place < end; ++place) {
    for (const uint64_t value : field_values(whole.size() - place)) {
      for (const size_t width : {1u, 2u, 4u, 8u}) {
        std::string content = whole;
        content.replace(place, std::min(width, content.size() - place),
                        test::le(value).substr(0, std::min(width, content.size() - place)));
        try_parse(parse, content);
        if (testing::Test::HasFailure()) FAIL() << "value " << value << " of width " << width << " at " << place;
      }
    }
  }
}

TEST(Hostile, EveryFieldOfGgufTakesEveryValue) {
  const std::string whole = test::read_bytes(test::fixture("formats/small.gguf"));
  const size_t data = whole.size() - 288;  // float 24, half 10, quant 102, cube 96 bytes, each padded to 32
  sweep(gguf, whole, 0, data);
}

TEST(Hostile, EveryFieldOfTorchFilesTakesEveryValue) {
  const std::string whole = test::read_bytes(test::fixture("formats/small.pth"));
  sweep(torch, whole, 0, whole.size());
}

std::string safetensors_file(const std::string& header, const std::string& data) {
  return test::le<uint64_t>(header.size()) + header + data;
}

TEST(Hostile, EveryNumberOfSafetensorsTakesEveryValue) {
  const std::string whole = test::read_bytes(test::fixture("formats/small.safetensors"));
  uint64_t length = 0;
  std::memcpy(&length, whole.data(), 8);
  const std::string header = whole.substr(8, length), data = whole.substr(8 + length);
  for (const uint64_t value : field_values(whole.size() - 8)) {
    if (value == length) continue;
    EXPECT_TRUE(try_parse(safetensors, test::le(value) + whole.substr(8))) << value;
  }
  size_t swept = 0;
  for (size_t begin = 0; begin < header.size(); ++begin) {
    const auto digit = [&](size_t i) { return header[i] >= '0' && header[i] <= '9'; };
    if (!digit(begin) || (header[begin - 1] != '[' && header[begin - 1] != ',')) continue;
    size_t end = begin;
    while (digit(end)) ++end;
    const std::string old = header.substr(begin, end - begin);
    std::vector<std::string> replacements = {
        "-1", "1e3", "2.0", "\"2\"", "null", "[]", "{}", "true", "NaN", "", "99999999999999999999999999"};
    for (const uint64_t value : field_values(data.size())) replacements.push_back(fmt::format("{}", value));
    for (const auto& text : replacements) {
      if (text == old) continue;
      std::string changed = header;
      changed.replace(begin, end - begin, text);
      const bool gone = text.empty() && (header[begin - 1] == '[' && header[end] == ']');  // [3] to []
      EXPECT_TRUE(gone || try_parse(safetensors, safetensors_file(changed, data))) << changed;
      ++swept;
    }
    begin = end;
  }
  EXPECT_GT(swept, 300u);
}

// ---- GGUF by hand

std::string text(std::string_view content) { return test::le<uint64_t>(content.size()) + std::string(content); }

std::string gguf_start(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
  return "GGUF" + test::le(version) + test::le(tensors) + test::le(keys);
}

std::string gguf_tensor(std::string_view name, const std::vector<uint64_t>& sizes, uint32_t type, uint64_t offset) {
  std::string out = text(name) + test::le<uint32_t>(static_cast<uint32_t>(sizes.size()));
  for (const uint64_t size : sizes) out += test::le(size);
  return out + test::le(type) + test::le(offset);
}

std::string padded(std::string content, size_t alignment = 32) {
  content.resize((content.size() + alignment - 1) / alignment * alignment);
  return content;
}

TEST(HostileGguf, NamesWhatIsWrong) {
  const auto one = [](const std::vector<uint64_t>& sizes, uint32_t type, uint64_t offset = 0, size_t data = 64) {
    return padded(gguf_start(1, 0) + gguf_tensor("w", sizes, type, offset)) + std::string(data, '\0');
  };
  const auto key = [](const std::string& pair) { return gguf_start(0, 1) + pair + std::string(16, '\0'); };
  const auto u32_key = [](std::string_view name, uint32_t value) {
    return text(name) + test::le(4u) + test::le(value);
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "not a GGUF file: it is empty"},
      {"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
      {"<!DOCTYPE html>", "an HTML page"},
      {"PK\x03\x04", "a zip archive"},
      {"GGUX\1" + std::string(20, '\0'), "not a GGUF file: it begins with 'GGUX\\x01\\x00"},
      {gguf_start(0, 0, 1), "GGUF version 1"},
      {gguf_start(0, 0, 4), "GGUF version 4"},
      {gguf_start(0, 0, 0x03000000), "other byte order"},
      {gguf_start(1u << 30, 0), "tensor count is 1073741824, at most"},
      {gguf_start(0, ~0ull), "key count is 18446744073709551615, at most"},
      {gguf_start(0, 60'000), "but only 0 bytes follow"},
      {key(u32_key("", 1)), "a key is empty"},
      {key(u32_key("a\nb", 1)), "'a\\x0ab' is not UTF-8"},
      {key(u32_key(std::string_view("a\0b", 3), 1)), "'a\\x00b'"},
      {key(u32_key("a\xff", 1)), "'a\\xff'"},
      {key(u32_key(std::string(65'536, 'k'), 1)), "65536 bytes, at most 65535"},
      {key(text("k") + test::le(13u)), "unknown value type 13"},
      {key(text("k") + test::le(9u) + test::le(9u) + test::le<uint64_t>(1)), "arrays of arrays"},
      {key(text("k") + test::le(9u) + test::le(10u) + test::le(1ull << 61)), "array of 2305843009213693952 elements"},
      {key(text("k") + test::le(8u) + test::le(~0ull)), "string of 18446744073709551615 bytes, at most"},
      {key(text("k") + test::le(8u) + test::le(1000ull)), "cut short: key 'k'"},
      {key(text("k") + test::le(7u) + "\2"), "boolean of value 2"},
      {gguf_start(0, 2) + u32_key("k", 1) + u32_key("k", 1), "key 'k' appears twice"},
      {key(u32_key("general.alignment", 0)), "'general.alignment' is 0"},
      {key(u32_key("general.alignment", 3)), "'general.alignment' is 3"},
      {key(u32_key("general.alignment", 1u << 30)), "'general.alignment' is 1073741824"},
      {key(text("general.alignment") + test::le(5u) + test::le(32)), "not an unsigned integer"},
      {key(text("general.alignment") + test::le(8u) + text("32")), "not an unsigned integer"},
      {one({}, 0), "'w' has 0 dimensions"},
      {one({1, 1, 1, 1, 1}, 0), "'w' has 5 dimensions"},
      {padded(gguf_start(1, 0) + text("w") + test::le(~0u) + std::string(64, '\0')), "'w' has 4294967295 dimensions"},
      {one({0, 4}, 0), "'w' has a dimension of size 0"},
      {one({1ull << 63}, 0), "'w' has a dimension of size 9223372036854775808"},
      {one({INT64_MAX, 2, 1, 1}, 0), "tensor 'w': the element count of shape [1, 1, 2, 9223372036854775807] overflows"},
      {one({1ull << 32, 1ull << 32, 1, 1}, 0), "overflows"},
      {one({1ull << 32, 1ull << 30}, 0), "the size in bytes of shape"},
      {one({16}, 4), "'w' has type number 4, which"},
      {one({16}, ~0u), "'w' has type number 4294967295"},
      {one({33}, 8), "'w': rows of 33 weights, q8_0 needs a multiple of 32"},
      {one({16}, 0, 32), "'w': offset 32, expected 0"},
      {one({16}, 0, ~31ull), "offset 18446744073709551584, expected 0"},
      {one({17}, 0), "cut short: tensor 'w' needs 68 bytes at offset 0 of the data, which has 64 bytes"},
      {one({16}, 0, 0, 128), "64 bytes follow the last tensor"},
      {padded(gguf_start(2, 0) + gguf_tensor("w", {16}, 0, 0) + gguf_tensor("w", {16}, 0, 64)) + std::string(128, '\0'),
       "tensor 'w' appears twice"},
      // The second begins inside the first, as when sizes were computed for another type.
      {padded(gguf_start(2, 0) + gguf_tensor("v", {16}, 0, 0) + gguf_tensor("w", {8}, 0, 32)) + std::string(64, '\0'),
       "tensor 'w': offset 32, expected 64"},
      {padded(gguf_start(2, 0) + gguf_tensor("v", {8}, 0, 0) + gguf_tensor("w", {8}, 0, 64)) + std::string(96, '\0'),
       "tensor 'w': offset 64, expected 32"},
  };
  for (const auto& [content, expected] : cases) {
    if (content.size() > kMemoryForSmallFile) {
      EXPECT_THAT(test::error_of([bytes = test::bytes_of(content)] { gguf(bytes); }), testing::HasSubstr(expected));
    } else {
      EXPECT_THAT(message_of(gguf, content), testing::HasSubstr(expected));
    }
  }
}

TEST(HostileGguf, ArraysAreBoundedTogether) {
  const uint64_t count = 5u << 20;
  std::string content = gguf_start(0, 2);
  for (const char* name : {"a", "b"}) {
    content += text(name) + test::le(9u) + test::le(0u) + test::le(count) + std::string(count, '\1');
  }
  EXPECT_THAT(test::error_of([&] { gguf(test::bytes_of(content)); }),
              testing::HasSubstr("key 'b': more than 8388608 array elements in all"));
}

TEST(HostileGguf, HalfAMillionTensors) {
  constexpr uint64_t kCount = 500'000;
  std::string content = gguf_start(kCount, 0);
  for (uint64_t i = 0; i < kCount; ++i) content += gguf_tensor(fmt::format("{}", i), {8}, 0, i * 32);
  content = padded(content) + std::string(kCount * 32, '\0');
  EXPECT_EQ(parse_gguf(test::bytes_of(content), "test").tensors.size(), kCount);
}

// ---- safetensors by hand

TEST(HostileSafetensors, NamesWhatIsWrong) {
  const auto one = [](const std::string& fields, size_t data = 8) {
    return safetensors_file("{\"w\":{" + fields + "}}", std::string(data, '\0'));
  };
  const auto shaped = [&](const std::string& shape, const std::string& offsets) {
    return one("\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":" + offsets);
  };
  const std::string good = "\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "0 bytes"},
      {"1234567", "7 bytes"},
      {test::le<uint64_t>(0) + "{}", "does not begin with '{'"},
      {test::le<uint64_t>(100'000'001) + "{}", "header of 100000001 bytes, at most 100000000 allowed"},
      {"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
      {test::le<uint64_t>(3) + "{}", "the header at byte 8 needs 3 bytes, 2 left"},
      {safetensors_file("[]", ""), "does not begin with '{'"},
      {safetensors_file("{} x", ""), "not valid JSON"},
      {safetensors_file("{\"a\xff\":1}", ""), "not valid JSON"},
      {safetensors_file("{", ""), "not valid JSON"},
      {safetensors_file("{\"w\":" + std::string(50'000, '['), ""), "tensor 'w' holds an array, expected an object"},
      {safetensors_file("{\"w\":{" + good + "},\"w\":{" + good + "}}", std::string(8, '\0')), "tensor 'w'"},
      {safetensors_file("{\"\":{" + good + "}}", std::string(8, '\0')), "a tensor name is empty"},
      {safetensors_file("{\"a\\nb\":{" + good + "}}", std::string(8, '\0')), "'a\\x0ab' is not UTF-8 text without"},
      {safetensors_file("{\"__metadata__\":{\"a\":1}}", ""),
       "__metadata__, field 'a' holds a number, expected a string"},
      {safetensors_file("{\"__metadata__\":{\"a\":{}}}", ""), "holds an object, expected a string"},
      {safetensors_file("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", ""), "key 'a' of __metadata__ appears twice"},
      {safetensors_file("{\"__metadata__\":{},\"__metadata__\":{}}", ""), "__metadata__ appears twice"},
      {one(good, 9), "1 bytes follow the last tensor"},
      {one(good, 7), "cut short: it ends at 8, the data has 7 bytes"},
      {one(good + ",\"shape\":[2]"), "tensor 'w': field 'shape' appears twice"},
      {one(good + ",\"extra\":[2]"), "tensor 'w' has an unknown field 'extra'"},
      {one("\"dtype\":\"F32\",\"shape\":[2]"), "tensor 'w' lacks one of"},
      {one("\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]"), "unknown dtype 'F33'"},
      {one("\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]"), "does not fill whole bytes"},
      {one("\"dtype\":1,\"shape\":[2],\"data_offsets\":[0,8]"), "field 'dtype' holds a number, expected a string"},
      {shaped("[4194305,4194305,211106198978564]", "[0,8]"), "element count of shape"},
      {shaped("[0,4194305,4194305,211106198978564]", "[0,0]"), "element count of shape"},
      {shaped("[2305843009213693952]", "[0,8]"), "overflows"},
      {shaped("[9223372036854775808]", "[0,8]"), "field 'shape' holds 9223372036854775808, expected whole numbers"},
      {shaped("[1,1,1,1,1,1,1,1,2]", "[0,8]"), "more than 8 dimensions"},
      {shaped("[-2]", "[0,8]"), "holds -2, expected whole numbers"},
      {shaped("[2.0]", "[0,8]"), "holds '2.0', expected whole numbers"},
      {shaped("[[2]]", "[0,8]"), "holds an array, expected whole numbers"},
      {shaped("[2]", "[8,0]"), "data_offsets [8, 0], F32 of shape [2] needs 8 bytes"},
      {shaped("[2]", "[0,4]"), "data_offsets [0, 4], F32 of shape [2] needs 8 bytes"},
      {shaped("[2]", "[0,8,8]"), "more than two numbers"},
      {shaped("[2]", "[0]"), "not two numbers"},
      {shaped("[1]", "[4,8]"), "begins at 4, expected 0"},
      {safetensors_file("{\"v\":{" + good + "},\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
                        std::string(8, '\0')),
       "tensor 'w': begins at 4, expected 8: it overlaps"},
  };
  for (const auto& [content, expected] : cases) {
    EXPECT_THAT(test::error_of([bytes = test::bytes_of(content)] { safetensors(bytes); }),
                testing::HasSubstr(expected));
  }
}

TEST(HostileSafetensors, EmptyTensorsShareAPlaceWithOthers) {
  const std::string content = safetensors_file(
      R"({"a":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
      R"("c":{"dtype":"F32","shape":[0],"data_offsets":[2,2]}})",
      "xy");
  const auto tensors = parse_safetensors(test::bytes_of(content), "test").tensors;
  EXPECT_EQ(tensors.size(), 3u);
  EXPECT_TRUE(tensors.at("a").bytes.empty());
}

}  // namespace
}  // namespace ostro
