#include "model/spec_overrides.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/read_spec_parts.h"

namespace ostro {

namespace {

using Kind = RopeScaling::Kind;

RopeScaling changed(RopeScaling scaling, const SpecOverrides& overrides, int64_t context) {
  const Kind kind =
      overrides.scaling.value_or(scaling.kind == Kind::None && overrides.factor ? Kind::Linear : scaling.kind);
  if (kind != scaling.kind) {
    const double factor = scaling.factor;
    scaling = {};
    scaling.kind = kind;
    scaling.factor = factor;
  }
  if (overrides.factor) scaling.factor = *overrides.factor;
  const bool stretches = kind == Kind::Linear || kind == Kind::Yarn;
  if (overrides.factor && !stretches) {
    throw_error(ErrorKind::Usage, "--rope-scale goes with --rope-scaling linear or yarn");
  }
  if (overrides.original_context && kind != Kind::Yarn) {
    throw_error(ErrorKind::Usage, "--yarn-orig-ctx goes with --rope-scaling yarn");
  }
  if (kind != Kind::Yarn) return scaling;
  if (overrides.original_context) scaling.original_context = static_cast<double>(*overrides.original_context);
  if (scaling.original_context == 0) scaling.original_context = static_cast<double>(context);
  // Peng et al. 2023; what files say of it belongs to their own factor.
  // With a factor of its own on the scores the one on cos and sin cancels out (DeepSeek).
  const bool changes = overrides.factor || overrides.scaling;
  if (changes && scaling.score_mscale == 0) scaling.magnitude = 1 + 0.1 * std::log(std::max(scaling.factor, 1.0));
  return scaling;
}

}  // namespace

void apply_overrides(ModelSpec& spec, const SpecOverrides& overrides) {
  double longest = 0;
  for (BlockSpec& block : spec.blocks) {
    if (auto* moe = std::get_if<MoeSpec>(&block.mixer); moe != nullptr && overrides.no_capacity) {
      moe->router.capacity.reset();
    }
    if (!overrides.change_rope()) continue;
    std::visit(
        [&](auto& mixer) {
          if constexpr (requires { mixer.rope; }) {
            const RopeScaling scaling = changed(mixer.rope.scaling, overrides, spec.context);
            const auto dims = 2 * static_cast<int64_t>(mixer.rope.inverse_frequency.size());
            const double theta = overrides.theta.value_or(mixer.rope.theta);
            mixer.rope = make_rope(mixer.rope.pairing, dims, theta, scaling);
            if constexpr (requires { mixer.kv_rank; }) mixer.scale = latent_scale(mixer);
            const double original =
                scaling.kind == Kind::Yarn ? scaling.original_context : static_cast<double>(spec.context);
            if (scaling.kind != Kind::None) longest = std::max(longest, original * scaling.factor);
          }
        },
        block.mixer);
  }
  if (!overrides.change_rope()) return;
  // A longer context was asked for.
  constexpr double kMostContext = 0x1p31;
  if (overrides.scaling || overrides.factor) {
    spec.context = std::max(spec.context, static_cast<int64_t>(std::min(longest, kMostContext)));
  }
  validate(spec, "RoPE as given by the flags");
}

}  // namespace ostro
