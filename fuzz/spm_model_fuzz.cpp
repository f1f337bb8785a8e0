// tokenizer.model: read, then encode and decode three texts.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "text/sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ostro;
  try {
    const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
    const auto tokenizer = make_sentencepiece_tokenizer(read_sentencepiece_model(bytes, "fuzz"), "fuzz");
    for (const char* text :
         {"ab  ba <s>\xff\xe2\x96\x81 ", "\u2581aaaaaaaaaaaaaaaaaaaaaaaaaa", "\xed\xa0\x80 \U0001F999\n"}) {
      EncodeOptions options;
      for (options.parse_special = false;; options.parse_special = true) {
        const auto ids = tokenizer->encode(text, options);
        if (!is_utf8(tokenizer->decode(ids))) __builtin_trap();
        if (options.parse_special) break;
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
