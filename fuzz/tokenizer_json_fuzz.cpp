// Any bytes as a tokenizer.json or a tekken.json: an Error, or a tokenizer that encodes and decodes.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "exercise_tokenizer.h"
#include "formats/json_file.h"
#include "text/tokenizer_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ostro;
  try {
    const nlohmann::json json = parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
    const bool tekken = json.is_object() && json.contains("config");
    exercise(*(tekken ? tokenizer_from_tekken(json, "fuzz") : tokenizer_from_json(json, {}, "fuzz")));
  } catch (const Error&) {
  }
  return 0;
}
