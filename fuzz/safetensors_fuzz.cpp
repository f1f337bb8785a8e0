// Any bytes as a safetensors file: an Error, or tensors that cover the data exactly.
#include "base/error.h"
#include "formats/safetensors.h"
#include "touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    uint64_t covered = 0;
    for (const auto& [name, tensor] : ostro::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz").tensors) {
      touch(tensor.bytes);
      covered += tensor.bytes.size();
    }
    uint64_t header = 0;
    std::memcpy(&header, data, sizeof(header));
    CHECK(sizeof(header) + header + covered == size);
  } catch (const ostro::Error&) {
  }
  return 0;
}
