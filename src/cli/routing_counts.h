// How often each expert was chosen, counted while a model runs.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/routing.h"

namespace ostro {

class RoutingCounts : public RoutingObserver {
 public:
  void on_route(const BlockSpec& block, const Batch& batch, const Routing& routing) override;
  void clear() { layers_.clear(); }
  // Each layer a line: the share of its tokens that each expert took part in, in percent. Empty where nothing was
  // counted.
  std::string table() const;

 private:
  struct Layer {
    int64_t tokens = 0;
    std::vector<int64_t> chosen;  // [experts]
  };
  std::map<int64_t, Layer> layers_;
};

}  // namespace ostro
