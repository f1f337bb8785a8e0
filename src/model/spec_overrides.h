// What a user may change about a model when it is opened, over what its files say.
#pragma once

#include <cstdint>
#include <optional>

#include "model/spec.h"

namespace ostro {

struct SpecOverrides {
  // Of RoPE; what is not given stays as the files have it. The kinds are None, Linear and Yarn; a factor without a kind
  // is that of the files' own rule, or linear where they have none. YaRN without a context takes the model's.
  std::optional<RopeScaling::Kind> scaling = std::nullopt;
  std::optional<double> factor = std::nullopt;
  std::optional<int64_t> original_context = std::nullopt;
  std::optional<double> theta = std::nullopt;
  bool no_capacity = false;  // experts take all tokens that choose them

  bool change_rope() const { return scaling || factor || original_context || theta; }
};

// Throws Error(Usage) where the changes contradict each other or the model.
void apply_overrides(ModelSpec& spec, const SpecOverrides& overrides);

}  // namespace ostro
