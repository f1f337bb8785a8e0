#include "model/load_model.h"

#include "base/threads.h"
#include "model/read_spec.h"
#include "model/tensor_names.h"

namespace ostro {

WeightStore open_named_weights(const std::string& path) {
  WeightStore store = open_weights(path);
  if (store.format == CheckpointFormat::NumberedPickles) name_numbered_tensors(store);
  return store;
}

std::unique_ptr<Model> bind_model(const std::string& path, const std::function<void(Model& model)>& before_binding) {
  auto model = std::make_unique<Model>();
  model->store = open_named_weights(path);
  model->spec = read_spec(model->store);
  if (before_binding) before_binding(*model);
  model->weights = bind_weights(model->spec, model->store);
  return model;
}

void make_copies(Model& model) {
  ThreadTeam team(default_threads());
  model.weights.reordered.make_all(team);
}

std::unique_ptr<Model> load_model(const std::string& path) {
  auto model = bind_model(path);
  make_copies(*model);
  return model;
}

uint64_t weight_bytes(const Model& model) {
  uint64_t total = 0;
  visit_matrices(model.spec, model.weights, [&](const TensorId&, const Matrix& matrix) { total += matrix.bytes(); });
  return total;
}

}  // namespace ostro
