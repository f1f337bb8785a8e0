// Any bytes as the pickle of an array or of 8-bit weights: an Error, or a tensor that can be read to its last byte.
#include "base/error.h"
#include "formats/array_pickle.h"
#include "formats/numbered_weights.h"
#include "touch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    const auto weight = ostro::parse_array_pickle(std::as_bytes(std::span(data, size)), "fuzz");
    touch(weight.values.bytes);
    if (weight.scales) touch(weight.scales->bytes);
    ostro::WeightCopies copies;
    const auto tensor = ostro::numbered_tensor(weight, "fuzz", "fuzz", copies);
    ostro::ThreadTeam team(1);
    copies.make_all(team);
    touch(tensor.bytes);
  } catch (const ostro::Error&) {
  }
  return 0;
}
