// A unigram SentencePiece model that the input describes: a first byte with its switches, a table of normalisation as
// long as the second says (in fours), then pieces, each a score, a length, a kind and its text. Loaded, then encoded.
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "text/sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ostro;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto take = [&](size_t count) {
    const std::string_view part = rest.substr(0, std::min(count, rest.size()));
    rest.remove_prefix(part.size());
    return part;
  };
  const auto byte = [&] {
    const std::string_view one = take(1);
    return one.empty() ? uint8_t{0} : static_cast<uint8_t>(one[0]);
  };
  SentencePieceModel model;
  model.unigram = true;
  const uint8_t switches = byte();
  model.add_dummy_prefix = (switches & 1) != 0;
  model.remove_extra_whitespaces = (switches & 2) != 0;
  model.charsmap = take(size_t{4} * byte());
  model.pieces.push_back({"<unk>", 0, TokenKind::Unknown});
  while (!rest.empty()) {
    float score = 0;
    const std::string_view bits = take(4);
    std::memcpy(&score, bits.data(), bits.size());
    const size_t length = byte();
    const auto kind = static_cast<TokenKind>(byte() % 6);
    model.pieces.push_back({std::string(take(length)), score, kind});
  }
  try {
    const auto tokenizer = make_sentencepiece_tokenizer(std::move(model), "fuzz");
    for (const char* text :
         {"ab  ba <s>\xff\xe2\x96\x81 ", "aaaaaaaaaaaaaaaaaaaaaaaaaa", "\xed\xa0\x80 \U0001F999\n"}) {
      const auto ids = tokenizer->encode(text, {.parse_special = (switches & 4) != 0});
      if (!is_utf8(tokenizer->decode(ids))) __builtin_trap();
    }
  } catch (const Error&) {
  }
  return 0;
}
