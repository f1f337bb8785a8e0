// A model, opened: its files, what it is, and its weights.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "formats/weight_store.h"
#include "model/spec.h"
#include "model/weights.h"

namespace ostro {

struct Model {
  WeightStore store;
  ModelSpec spec;
  Weights weights;
};

// open_weights, with the tensors under the publisher's names where the files have only numbers.
WeightStore open_named_weights(const std::string& path);
// open_named_weights, read_spec, bind_weights. Copies of weights are planned, not made. `before_binding`, which may be
// null, may change what was read of the model, or throw to refuse it.
std::unique_ptr<Model> bind_model(const std::string& path,
                                  const std::function<void(Model& model)>& before_binding = nullptr);
// Makes the planned copies: now the model is ready for a forward pass.
void make_copies(Model& model);
// Both.
std::unique_ptr<Model> load_model(const std::string& path);
// Of all matrices as they are bound, those yet to be copied too.
uint64_t weight_bytes(const Model& model);

}  // namespace ostro
