// Any bytes as a tokenizer.model: an Error, or a tokenizer that encodes and decodes.
#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "exercise_tokenizer.h"
#include "text/sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ostro;
  try {
    const auto bytes = std::as_bytes(std::span(data, size));
    exercise(*make_sentencepiece_tokenizer(read_sentencepiece_model(bytes, "fuzz"), "fuzz"));
  } catch (const Error&) {
  }
  return 0;
}
