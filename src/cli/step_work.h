// What forward passes cost at least: the weights they must read and the products they must compute.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "model/load_model.h"
#include "model/routing.h"

namespace ostro {

// Indexed by Arithmetic.
using Operations = std::array<double, 3>;

// The weights of one type that products read. The routers' are float32, as which they are used.
struct TypeWork {
  DType type;
  int64_t parameters = 0;
  uint64_t bytes = 0;
  ProductKernel kernel;
};
std::vector<TypeWork> product_types(const Model& model, const Backend& backend);  // the most bytes first

// Counts over steps. Of the experts only those that some token chose are read; two operations for each weight that a
// token meets, logits only where they are asked for; attention, norms and activations are not counted.
class StepWork : public RoutingObserver {
 public:
  StepWork(const Model& model, const Backend& backend);

  void on_route(const BlockSpec& block, const Batch& batch, const Routing& routing) override;
  void add_step(const Batch& batch, uint64_t cached_bytes);

  uint64_t bytes() const { return bytes_; }
  const Operations& operations() const { return operations_; }

 private:
  void add_operations(const Matrix& matrix, int64_t rows);

  const Model& model_;
  Operations operations_ = {}, every_row_ = {};
  Operations every_logit_row_ = {};  // the logits, and what stands behind the last attention
  std::array<Arithmetic, kDTypes> arithmetic_ = {};
  uint64_t every_step_ = 0, bytes_ = 0;
};

}  // namespace ostro
