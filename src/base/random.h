// Random numbers as pure functions of (seed, stream, counter), so that batching or threads cannot change a draw.
#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

namespace ostro {

// SplitMix64's finaliser (Steele, Lea, Flood 2014): a bijection of 64-bit words with good avalanche.
inline uint64_t mix64(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

inline uint64_t random_bits(uint64_t seed, uint64_t stream, uint64_t counter) {
  return mix64(mix64(mix64(seed) ^ stream) ^ counter);
}

// Uniform in [0, 1) with 53 bits.
inline double random_uniform(uint64_t seed, uint64_t stream, uint64_t counter) {
  return static_cast<double>(random_bits(seed, stream, counter) >> 11) * 0x1p-53;
}

// Standard normal by Box-Muller.
inline double random_normal(uint64_t seed, uint64_t stream, uint64_t counter) {
  const double u = 1.0 - random_uniform(seed, stream, 2 * counter);
  const double v = random_uniform(seed, stream, 2 * counter + 1);
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

}  // namespace ostro
