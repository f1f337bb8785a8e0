// Sparse upcycling (Komatsuzaki et al. 2022): a dense model becomes a mixture of experts, each a copy of its
// feed-forward network, behind new routers. With equal experts and weights that add up to 1, the sparse model computes
// exactly what the dense one does, up to the rounding of that sum.
#pragma once

#include <cstdint>
#include <memory>

#include "model/load_model.h"

namespace ostro {

struct UpcycleOptions {
  int64_t experts = 8, top_k = 2;
  double router_std = 0.02;  // of the normal numbers in the routers; the usual deviation of new weights
  uint64_t seed = 0;
};

// The result points into the dense model, which it takes. Throws Error(File) for a model that has experts already,
// Error(Usage) for impossible numbers.
std::unique_ptr<Model> upcycle(std::unique_ptr<Model> dense, const UpcycleOptions& options);

}  // namespace ostro
