// Any bytes as a GGUF file: an Error, or tensors that can be read to their last byte, the same ones each time.
#include "base/error.h"
#include "formats/gguf.h"
#include "touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto file = ostro::parse_gguf(bytes, "fuzz.gguf");
    uint64_t sum = 0;
    for (const auto& tensor : file.tensors) sum += touch(tensor.bytes);
    const auto again = ostro::parse_gguf(bytes, "fuzz.gguf");
    for (const auto& tensor : again.tensors) sum -= touch(tensor.bytes);
    CHECK(sum == 0 && again.metadata.types == file.metadata.types);
    for (const auto& [key, value] : file.metadata.values) {
      try {
        file.metadata.integer(key);
        file.metadata.number(key);
        file.metadata.numbers(key);
      } catch (const ostro::Error&) {
      }
    }
  } catch (const ostro::Error&) {
  }
  return 0;
}
