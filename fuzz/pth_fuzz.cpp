// Any bytes as a torch file, and as the pickle of a sound one: an Error, or tensors that can be read.
#include "base/error.h"
#include "formats/torch_file.h"
#include "touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    for (const auto& tensor : ostro::parse_torch_file(bytes, "fuzz.pth")) touch(tensor.bytes);
  } catch (const ostro::Error&) {
  }
  // The archive's structure is a wall that random bytes seldom climb; this goes around it.
  static const std::vector<std::byte> content(64, std::byte{1});
  static const ostro::ZipMember storage{content};
  try {
    for (const auto& tensor :
         ostro::parse_torch_pickle(bytes, {{"m/data/0", storage}, {"m/data/1", storage}}, "m/", "")) {
      touch(tensor.bytes);
    }
  } catch (const ostro::Error&) {
  }
  return 0;
}
