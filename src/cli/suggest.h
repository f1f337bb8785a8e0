// "Did you mean": the known name nearest to a mistyped one.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace ostro {

// Insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal string alignment).
size_t edit_distance(std::string_view a, std::string_view b);

// The nearest of `known`, or empty where nothing is near enough to be what was meant.
std::string nearest_name(std::string_view typed, const std::vector<std::string>& known);

}  // namespace ostro
