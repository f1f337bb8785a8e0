// The trie is a double array as darts-clone writes it. A unit has, from its lowest bit: the label of the byte that
// leads to it (8 bits), whether a value hangs below it (1), and the offset to its children (22 bits, times 256 where
// bit 9 is set). The value's own unit has its top bit set; the other bits are the value.
#include "text/charsmap.h"

#include <fmt/format.h>

#include <cstring>

#include "base/error.h"

namespace ostro {
namespace {

uint32_t label_of(uint32_t unit) { return unit & 0x800000FFu; }
uint32_t offset_of(uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }
bool has_value(uint32_t unit) { return (unit & 0x100u) != 0; }
uint32_t value_of(uint32_t unit) { return unit & 0x7FFFFFFFu; }

// A rule replaces a character or a few; the bound keeps the time linear whatever a file says.
constexpr size_t kLongestRule = 128;

}  // namespace

CharsMap::CharsMap(std::string_view blob, const std::string& where) {
  uint32_t bytes = 0;
  if (blob.size() > sizeof(bytes)) std::memcpy(&bytes, blob.data(), sizeof(bytes));
  if (bytes == 0 || bytes % sizeof(uint32_t) != 0 || bytes >= blob.size() - sizeof(bytes)) {
    throw_error(ErrorKind::File, "{}: a table of normalisation of {} bytes with a trie of {}: it is damaged", where,
                blob.size(), bytes);
  }
  units_.resize(bytes / sizeof(uint32_t));
  std::memcpy(units_.data(), blob.data() + sizeof(bytes), bytes);
  replacements_ = blob.substr(sizeof(bytes) + bytes);
  if (replacements_.back() != '\0') {
    throw_error(ErrorKind::File, "{}: the table of normalisation does not end with a zero byte", where);
  }
}

CharsMap::Rule CharsMap::longest(std::string_view text) const {
  Rule best;
  size_t node = offset_of(units_[0]);
  const size_t end = std::min(text.size(), kLongestRule);
  for (size_t i = 0; i < end; ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    node ^= byte;
    if (node >= units_.size() || label_of(units_[node]) != byte) break;
    const uint32_t unit = units_[node];
    node ^= offset_of(unit);
    if (!has_value(unit) || node >= units_.size()) continue;
    const uint32_t value = value_of(units_[node]);
    if (value < replacements_.size()) best = {i + 1, replacements_.c_str() + value};
  }
  return best;
}

}  // namespace ostro
