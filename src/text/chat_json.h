// JSON as Python's json module reads and writes it, which is how tool calls and results reach the models.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ostro {

// json.dumps(json.loads(text), ensure_ascii=False): numbers, escapes, spaces and repeated keys as Python has them.
// nullopt where Python finds no JSON. Throws Error(Usage) where Python raises something else (depth, huge integers).
std::optional<std::string> rewrite_json(std::string_view text);
// The text as a JSON string, with its quotes.
std::string json_string(std::string_view text);

}  // namespace ostro
