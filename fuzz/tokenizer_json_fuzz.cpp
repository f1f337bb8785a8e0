// tokenizer.json (and tekken.json): read, then encode and decode three texts.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json_file.h"
#include "text/tokenizer_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ostro;
  try {
    const nlohmann::json json = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    const bool tekken = json.is_object() && json.contains("config");
    const auto tokenizer = tekken ? tokenizer_from_tekken(json, "fuzz") : tokenizer_from_json(json, {}, "fuzz");
    for (const char* text :
         {"ab  ba <s>\xff\xe2\x96\x81 12", "\u2581aaaaaaaaaaaaaaaaaaaaaaaaaa\n\n", "\xed\xa0\x80 \U0001F999\n"}) {
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
