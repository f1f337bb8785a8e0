// What a model is, as data: the list of its residual blocks. No code outside read_spec (and the tables of tensor names
// and chat formats) knows a family by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "backend/backend.h"

namespace ostro {

struct NormSpec {
  NormKind kind = NormKind::Rms;
  float eps = 1e-5f;
};

struct RopeSpec {
  RopePairing pairing = RopePairing::HalfSplit;
  std::vector<double> inverse_frequency;  // one per pair; scaling rules are already applied
  float magnitude = 1;                    // factor on cos and sin
};

// Grouped-query attention.
struct GqaSpec {
  int64_t query_heads = 0, kv_heads = 0, head_dim = 0;
  RopeSpec rope;
  float scale = 0;     // of the scores, usually head_dim^-1/2
  int64_t window = 0;  // each query sees this many keys, itself included; 0: all
};

// down(silu(gate(x)) * up(x))
struct DenseSpec {
  int64_t inner = 0;
};

// Each choice of a router is its own field; no field means two things.
enum class Score : uint8_t { Softmax, Sigmoid };
struct RouterSpec {
  int64_t experts = 0, top_k = 0;
  Score score = Score::Softmax;
  bool renormalize = true;  // divide the kept weights by their sum
  float weight_scale = 1;   // then multiply by this
};

struct MoeSpec {
  RouterSpec router;
  DenseSpec expert;
};

using Mixer = std::variant<GqaSpec, DenseSpec, MoeSpec>;

// x += mix(norm(x))
struct BlockSpec {
  int64_t layer = 0;  // the file's layer number; attention and feed-forward of one layer are two blocks
  NormSpec norm;
  Mixer mixer;
};

struct ModelSpec {
  std::string family;  // "mistral", "mixtral", "llama": for people and for the name tables only
  int64_t width = 0, vocab = 0, layers = 0;
  int64_t context = 0;  // positions the model was made for
  std::vector<BlockSpec> blocks;
  NormSpec final_norm;
  bool tied_embeddings = false;
  // Special tokens, -1 when the files name none. Generation ends at any of `eos`.
  int32_t bos = -1;
  std::vector<int32_t> eos;

  int64_t parameters() const;         // all
  int64_t active_parameters() const;  // used for one token: k of the experts, all embeddings counted
};

// Throws Error(File) where a spec contradicts itself: sizes positive, heads divide, top_k <= experts, ...
void validate(const ModelSpec& spec, const std::string& source);

}  // namespace ostro
