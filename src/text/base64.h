// Base64 as tokenizer files and JSON lines use it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace ostro {

// nullopt where it is not base64; padding may be left out.
std::optional<std::string> from_base64(std::string_view text);

}  // namespace ostro
