// What the fuzz targets of tokenizers do with one: encode texts with and without special tokens, and decode the ids.
#pragma once

#include "text/tokenizer.h"
#include "text/utf8.h"

inline void exercise(const ostro::Tokenizer& tokenizer) {
  for (const char* text :
       {"ab  ba <s>\xff\xe2\x96\x81 12", "\u2581aaaaaaaaaaaaaaaaaaaaaaaaaa\n\n", "\xed\xa0\x80 \U0001F999\n"}) {
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(text, {.parse_special = special});
      if (!ostro::is_utf8(tokenizer.decode(ids))) __builtin_trap();
    }
  }
}
