// Zip archives whose members are stored, not compressed: what torch writes.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

namespace ostro {

// The members by name. `name` begins the messages of Error(File).
std::map<std::string, std::span<const std::byte>> parse_stored_zip(std::span<const std::byte> bytes,
                                                                   const std::string& name);

}  // namespace ostro
