// JSON from untrusted files: depth and size are bounded, a repeated key is an error, errors are one line.
#pragma once

#include <cstdint>
#include <exception>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace ostro {

inline constexpr int kJsonDepth = 64;

// `where` begins the message of an Error(File).
nlohmann::json parse_json(std::string_view text, const std::string& where);

// What the library's exception says, without the error code in brackets that it begins with. Lives as long as `error`.
std::string_view json_reason(const std::exception& error);

nlohmann::json read_json_file(const std::string& path, uint64_t limit = 16u << 20);

}  // namespace ostro
