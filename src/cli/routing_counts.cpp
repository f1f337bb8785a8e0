#include "cli/routing_counts.h"

#include <fmt/format.h>

namespace ostro {

void RoutingCounts::on_route(const BlockSpec& block, const Batch&, const Routing& routing) {
  Layer& layer = layers_[block.layer];
  layer.chosen.resize(static_cast<size_t>(routing.experts));
  layer.tokens += routing.tokens;
  for (const int32_t expert : routing.expert) ++layer.chosen[static_cast<size_t>(expert)];
}

std::string RoutingCounts::table() const {
  constexpr size_t kColumns = 16;  // experts a line
  std::string out;
  size_t experts = 0;
  for (const auto& [number, layer] : layers_) {
    if (layer.chosen.size() != experts) {
      experts = layer.chosen.size();
      out += "layer  expert";
      for (size_t e = 0; e < std::min(experts, kColumns); ++e) out += fmt::format("{:>4}", e);
      out += '\n';
    }
    for (size_t e = 0; e < experts; ++e) {
      if (e % kColumns == 0) out += e == 0 ? fmt::format("{:>5}        ", number) : fmt::format("\n{:>12} ", e);
      out += fmt::format("{:>3.0f}%", 100 * static_cast<double>(layer.chosen[e]) /
                                          static_cast<double>(std::max<int64_t>(1, layer.tokens)));
    }
    out += '\n';
  }
  return out;
}

}  // namespace ostro
