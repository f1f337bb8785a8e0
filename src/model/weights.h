// A model's weights, bound: each tensor the spec wants is there with its exact shape, and nothing in the files is left
// unexplained. After bind_weights forward cannot fail on its data.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "formats/weight_store.h"
#include "model/spec.h"
#include "tensor/views.h"

namespace ostro {

struct GqaWeights {
  Matrix query, key, value,
      output;  // [heads * head_dim, width], [kv_heads * head_dim, width] x2, [width, heads * head_dim]
};
struct DenseWeights {
  Matrix gate, up, down;  // [inner, width] x2, [width, inner]
};
struct MoeWeights {
  Matrix router;                       // [experts, width]
  std::vector<Matrix> gate, up, down;  // per expert
};
using MixerWeights = std::variant<GqaWeights, DenseWeights, MoeWeights>;

struct BlockWeights {
  std::vector<float> norm;  // [width]
  MixerWeights mixer;
};

struct Weights {
  Matrix embedding;  // [vocab, width]
  std::vector<BlockWeights> blocks;
  std::vector<float> final_norm;  // [width]
  Matrix output;                  // [vocab, width]; the embedding where tied
  // Keeps what the views point to alive: mapped files, and rows that had to be copied (transposed or permuted).
  std::vector<std::shared_ptr<const void>> owners;
  std::vector<std::string> notes;  // what was found and how it was mapped, for `ostro inspect`
};

// Throws Error(File) naming file, tensor, shape found and shape expected.
Weights bind_weights(const ModelSpec& spec, const WeightStore& store);

// Calls visit(name for people, matrix) for every weight matrix: counting, writing, verifying.
void visit_matrices(const ModelSpec& spec, const Weights& weights,
                    const std::function<void(const std::string& role, const Matrix& matrix)>& visit);

}  // namespace ostro
