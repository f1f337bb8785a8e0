// Checked integers for sizes that come from files: every product, sum and rounding of such a number goes through here.
#pragma once

#include <cstdint>
#include <optional>

namespace ostro {

inline std::optional<uint64_t> checked_mul(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out)) return std::nullopt;
  return out;
}

inline std::optional<uint64_t> checked_add(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  if (__builtin_add_overflow(a, b, &out)) return std::nullopt;
  return out;
}

// a rounded up to a multiple of `step` (step > 0).
inline std::optional<uint64_t> checked_round_up(uint64_t a, uint64_t step) {
  const uint64_t rest = a % step;
  return rest == 0 ? std::optional<uint64_t>(a) : checked_add(a, step - rest);
}

}  // namespace ostro
