#include "model/load_model.h"

#include "model/read_spec.h"

namespace ostro {

std::unique_ptr<Model> load_model(const std::string& path) {
  auto model = std::make_unique<Model>();
  model->store = open_weights(path);
  model->spec = read_spec(model->store);
  model->weights = bind_weights(model->spec, model->store);
  return model;
}

}  // namespace ostro
