// The frequencies of RoPE and the rules that stretch them to longer contexts, in float64.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"
#include "model/spec.h"

namespace ostro {

namespace {

// Wavelengths longer than original_context / low_frequency are stretched, those shorter than
// original_context / high_frequency kept, the ones between blended in proportion.
double bands(double frequency, const RopeScaling& scaling) {
  const double turns = scaling.original_context * frequency / (2 * std::numbers::pi);
  if (turns < scaling.low_frequency) return frequency / scaling.factor;
  if (turns > scaling.high_frequency) return frequency;
  const double keep = (turns - scaling.low_frequency) / (scaling.high_frequency - scaling.low_frequency);
  return (1 - keep) * frequency / scaling.factor + keep * frequency;
}

// YaRN (Peng et al. 2023): the dimension at which RoPE turns `turns` times within the original context.
double yarn_dimension(double turns, int64_t dims, double theta, double original_context) {
  return static_cast<double>(dims) * std::log(original_context / (turns * 2 * std::numbers::pi)) /
         (2 * std::log(theta));
}

void yarn(std::vector<double>& frequency, int64_t dims, double theta, const RopeScaling& scaling) {
  double low = yarn_dimension(scaling.beta_fast, dims, theta, scaling.original_context);
  double high = yarn_dimension(scaling.beta_slow, dims, theta, scaling.original_context);
  if (scaling.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dims - 1));
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequency.size(); ++i) {
    const double stretch = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequency[i] = frequency[i] / scaling.factor * stretch + frequency[i] * (1 - stretch);
  }
}

}  // namespace

double yarn_magnitude(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1; }

RopeSpec make_rope(RopePairing pairing, int64_t dims, double theta, const RopeScaling& scaling) {
  RopeSpec rope;
  rope.pairing = pairing;
  rope.theta = theta;
  rope.scaling = scaling;
  std::vector<double>& frequency = rope.inverse_frequency;
  // A file may claim any size. validate() refuses larger heads; their table is not made before.
  const int64_t pairs = std::min(dims, kMostHeadDim) / 2;
  for (int64_t i = 0; i < pairs; ++i) {
    frequency.push_back(std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(dims)));
  }
  switch (scaling.kind) {
    case RopeScaling::Kind::None:
      break;
    case RopeScaling::Kind::Linear:
      for (double& f : frequency) f /= scaling.factor;
      break;
    case RopeScaling::Kind::Bands:
      // Through divisors in float32, as GGUF holds them, so that a model gives the same bits from either layout.
      for (double& f : frequency) f /= static_cast<double>(static_cast<float>(f / bands(f, scaling)));
      break;
    case RopeScaling::Kind::Yarn:
      yarn(frequency, dims, theta, scaling);
      rope.magnitude = static_cast<float>(scaling.magnitude);
      break;
    case RopeScaling::Kind::Divisors:
      CHECK(scaling.divisors.size() >= frequency.size());
      for (size_t i = 0; i < frequency.size(); ++i) frequency[i] /= scaling.divisors[i];
      break;
  }
  return rope;
}

}  // namespace ostro
