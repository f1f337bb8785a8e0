#include "model/upcycle.h"

#include <vector>

#include "base/error.h"
#include "base/random.h"

namespace ostro {

std::unique_ptr<Model> upcycle(std::unique_ptr<Model> dense, const UpcycleOptions& options) {
  if (options.top_k < 1 || options.top_k > options.experts) {
    throw_error(ErrorKind::Usage, "each token to {} experts, expected 1 to {}, the number of experts", options.top_k,
                options.experts);
  }
  ModelSpec& spec = dense->spec;
  Weights& weights = dense->weights;
  int64_t dropped_window = 0;
  for (size_t b = 0; b < spec.blocks.size(); ++b) {
    BlockSpec& block = spec.blocks[b];
    if (std::holds_alternative<MoeSpec>(block.mixer)) {
      throw_error(ErrorKind::File, "{}: layer {} has experts already, expected a dense model", dense->store.path,
                  block.layer);
    }
    if (auto* gqa = std::get_if<GqaSpec>(&block.mixer); gqa != nullptr && gqa->window > 0) {
      dropped_window = gqa->window;
      gqa->window = 0;
    }
    const auto* dense_spec = std::get_if<DenseSpec>(&block.mixer);
    if (dense_spec == nullptr) continue;
    MoeSpec moe;
    moe.router.experts = options.experts;
    moe.router.top_k = options.top_k;
    moe.expert = *dense_spec;
    const auto numbers = std::make_shared<std::vector<float>>(static_cast<size_t>(options.experts * spec.width));
    for (size_t i = 0; i < numbers->size(); ++i) {
      const double normal = random_normal(options.seed, static_cast<uint64_t>(block.layer), i);
      (*numbers)[i] = static_cast<float>(options.router_std * normal);
    }
    const auto copies = static_cast<size_t>(options.experts);
    const DenseWeights mixer = std::get<DenseWeights>(weights.blocks[b].mixer);
    MoeWeights sparse;
    sparse.router = {reinterpret_cast<const std::byte*>(numbers->data()), DType::F32, options.experts, spec.width,
                     row_bytes(DType::F32, spec.width)};
    sparse.router_values = *numbers;
    sparse.gate.assign(copies, mixer.gate);
    sparse.up.assign(copies, mixer.up);
    sparse.down.assign(copies, mixer.down);
    weights.blocks[b].mixer = std::move(sparse);
    weights.owners.push_back(numbers);
    block.mixer = moe;
  }
  if (dropped_window > 0) {
    spec.notes.push_back(fmt::format(
        "the sliding window of {} keys is dropped, as readers of sparse models know none; shorter texts do not notice",
        dropped_window));
  }
  return dense;
}

}  // namespace ostro
