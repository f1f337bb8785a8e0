// A model's weights, bound: each tensor the spec wants is there with its exact shape, and nothing in the files is left
// unexplained. After bind_weights forward cannot fail on its data.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "formats/weight_store.h"
#include "model/spec.h"
#include "tensor/views.h"

namespace ostro {

// What a tensor is for: the common tongue of the tables of tensor names, of binding and of writing.
enum class Role : uint8_t {
  Embedding,
  FinalNorm,
  Output,
  AttentionNorm,
  Query,
  Key,
  Value,
  AttentionOutput,
  QueryNorm,
  KeyNorm,
  QueryBias,
  KeyBias,
  ValueBias,
  AttentionOutputBias,
  FeedForwardNorm,
  Gate,
  Up,
  Down,
  Router,
  ExpertGate,
  ExpertUp,
  ExpertDown,
  // Of some families only.
  AttentionPostNorm,
  FeedForwardPostNorm,
  QueryDown,
  QueryDownNorm,
  QueryUp,
  KvDown,
  KvDownNorm,
  KvUp,     // of all heads: the rows of a head's keys, then those of its values
  KeyUp,    // of one head, transposed; the number of the head stands where that of an expert does
  ValueUp,  // of one head
  SelectionBias,
  SharedGate,
  SharedUp,
  SharedDown,
  SharedScale,
  ExtraNorm,  // of a layer's second feed-forward block
  ExtraGate,
  ExtraUp,
  ExtraDown,
  Sinks,
  RouterBias,
  ExpertGateBias,
  ExpertUpBias,
  ExpertDownBias,
  MtpEmbedding,
  MtpEmbeddingNorm,
  MtpHiddenNorm,
  MtpJoin,
  MtpFinalNorm,
  MtpOutput,
};
struct TensorId {
  Role role = Role::Embedding;
  int64_t layer = -1;   // -1: of no layer
  int64_t expert = -1;  // -1: of no expert; a head's number for KeyUp and ValueUp
};
std::string to_text(const TensorId& id);  // "layer 3, expert 5, gate projection"
// The roles of a block's norms and, of a dense feed-forward block, its matrices.
struct DenseRoles {
  Role gate, up, down;
};
Role norm_role(const BlockSpec& block);
Role post_norm_role(const BlockSpec& block);
DenseRoles dense_roles(const BlockSpec& block);

struct GqaWeights {
  Matrix query;       // [heads * head_dim, width]
  Matrix key, value;  // [kv_heads * head_dim, width]
  Matrix output;      // [width, heads * head_dim]
  // Empty where the spec has none. A norm is as long as a head or as the whole projection.
  std::vector<float> query_norm, key_norm;
  std::vector<float> query_bias, key_bias, value_bias, output_bias;
  std::vector<float> sinks;  // [heads]
};
struct MlaWeights {
  Matrix query_down;              // [query_rank, width], where queries come from a latent
  std::vector<float> query_norm;  // [query_rank]
  Matrix query;                   // [heads * (nope_dim + rope_dim), query_rank or width]
  Matrix kv_down;                 // [kv_rank + rope_dim, width]
  std::vector<float> kv_norm;     // [kv_rank]
  std::vector<Matrix> key_up;     // per head [kv_rank, nope_dim]: transposed, as it is applied to queries
  std::vector<Matrix> value_up;   // per head [value_dim, kv_rank]
  Matrix output;                  // [width, heads * value_dim]
};
struct DenseWeights {
  Matrix gate, up, down;  // [inner, width] x2, [width, inner]
};
struct MoeWeights {
  Matrix router;                     // [experts, width] as the file has it
  std::vector<float> router_values;  // the same in float32: the choice does not depend on how the rest is computed
  std::vector<float> router_bias, selection_bias;    // [experts], or empty
  std::vector<float> gate_bias, up_bias, down_bias;  // [experts, inner] x2, [experts, width], or empty
  std::vector<Matrix> gate, up, down;                // per expert
  DenseWeights shared;                               // where the spec has a shared expert
  std::vector<float> shared_scale;                   // [width], or empty
};
using MixerWeights = std::variant<GqaWeights, MlaWeights, DenseWeights, MoeWeights>;

struct BlockWeights {
  std::vector<float> norm;       // [width]
  std::vector<float> post_norm;  // [width]; empty where there is none
  MixerWeights mixer;
};

// What a module of multi-token prediction has beside its blocks.
struct MtpWeights {
  Matrix embedding;                                // [vocab, width]; the decoder's where the files have no copy
  std::vector<float> embedding_norm, hidden_norm;  // [width]
  Matrix join;                                     // [width, 2 * width], of [embedding | hidden state]
  std::vector<float> final_norm;                   // [width]
  Matrix output;                                   // [vocab, width]; as the embedding
};

struct Weights {
  Matrix embedding;  // [vocab, width]
  std::vector<BlockWeights> blocks;
  std::vector<float> final_norm;  // [width]
  Matrix output;                  // [vocab, width]; the embedding where tied
  MtpWeights mtp;                 // where the spec has mtp_blocks
  // Keeps what the views point to alive: mapped files, and tables made here.
  std::vector<std::shared_ptr<const void>> owners;
  WeightCopies reordered;                            // the store's, and matrices that lie transposed in the files
  std::vector<std::span<const std::byte>> in_place;  // tensors that are read where the files have them, by address
  uint64_t bytes = 0;                                // of both
  std::vector<std::string> notes;                    // what was found and how it was mapped, for `ostro inspect`
};

// Copies are only planned: `reordered` is to be made before a forward pass. Throws Error(File) naming file, tensor,
// shape found and shape expected.
Weights bind_weights(const ModelSpec& spec, const WeightStore& store);

// Every weight matrix, and every vector (norms and biases), in the order of the forward pass; tied embeddings once.
void visit_matrices(const ModelSpec& spec, const Weights& weights,
                    const std::function<void(const TensorId& id, const Matrix& matrix)>& visit);
void visit_vectors(const ModelSpec& spec, const Weights& weights,
                   const std::function<void(const TensorId& id, std::span<const float> values)>& visit);

// Reads every weight and throws Error(File) naming the first that is NaN or infinite. `done` is called with the number
// of bytes read so far; it may be null.
void verify_finite(const ModelSpec& spec, const Weights& weights, const std::string& source, int threads,
                   const std::function<void(uint64_t bytes)>& done = nullptr);

}  // namespace ostro
