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

// A rule that stretches RoPE to longer contexts. Kept beside the frequencies it gives so that writers can say it again.
struct RopeScaling {
  enum class Kind : uint8_t {
    None,
    Linear,    // all frequencies / factor
    Bands,     // long wavelengths / factor, short ones kept, blended between two wavelengths
    Yarn,      // a ramp over the pairs from kept to / factor, and a factor on cos and sin (Peng et al. 2023)
    Divisors,  // frequency i / divisors[i], as some GGUF files list them
  };
  Kind kind = Kind::None;
  double factor = 1;
  double original_context = 0;  // Bands, Yarn: positions before stretching
  double low_frequency = 1,
         high_frequency = 4;             // Bands: original_context / wavelength below and above which is no blend
  double beta_fast = 32, beta_slow = 1;  // Yarn: turns within original_context at both ends of the ramp
  bool truncate = true;                  // Yarn: the ramp begins and ends at whole dimensions
  double magnitude = 1;                  // Yarn: factor on cos and sin
  double score_mscale = 0;               // Yarn: scores times yarn_magnitude(factor, score_mscale)^2 (latent attention)
  std::vector<double> divisors;
};

struct RopeSpec {
  RopePairing pairing = RopePairing::HalfSplit;
  double theta = 10000;
  RopeScaling scaling;
  std::vector<double> inverse_frequency;  // one per pair; the scaling is already applied
  float magnitude = 1;                    // factor on cos and sin
};
inline constexpr int64_t kMostHeadDim = 4096;
// The frequencies theta^(-2i/dims), scaled; of at most kMostHeadDim dimensions.
RopeSpec make_rope(RopePairing pairing, int64_t dims, double theta, const RopeScaling& scaling = {});

// 0.1 * mscale * ln(factor) + 1, or 1 where nothing is stretched.
double yarn_magnitude(double factor, double mscale);

// Norms of queries and keys before RoPE, of their block's kind and epsilon: of every head, or of the whole projection.
enum class QueryKeyNorm : uint8_t { None, PerHead, Whole };

// Grouped-query attention.
struct GqaSpec {
  int64_t query_heads = 0, kv_heads = 0, head_dim = 0;
  RopeSpec rope;
  float scale = 0;      // of the scores, usually head_dim^-1/2
  int64_t window = 0;   // each query sees this many keys, itself included; 0: all
  float logit_cap = 0;  // score = cap * tanh(score / cap); 0: none
  float clip_qkv = 0;   // queries, keys and values are cut to [-clip, clip] before RoPE; 0: none
  QueryKeyNorm query_key_norm = QueryKeyNorm::None;
  bool qkv_bias = false, output_bias = false;
  bool sinks = false;  // of each query head one more score in the softmax, of a key without a value
};

// Multi-head latent attention (DeepSeek-V2, 2024): one latent holds what the keys and values of all heads are made
// from. It is cached, with one key that carries the position; nothing else is.
struct MlaSpec {
  int64_t heads = 0;
  int64_t query_rank = 0;  // queries too come from a latent, of this size; 0: straight from the input
  int64_t kv_rank = 0;     // size of the latent
  int64_t nope_dim = 0;    // of a head's query and key: the part made from the latent, without position,
  int64_t rope_dim = 0;    // and the part that RoPE turns, whose key all heads share
  int64_t value_dim = 0;   // of a head
  NormSpec latent_norm;
  RopeSpec rope;
  float scale = 0;  // of the scores
};

// down(activation(gate(x), up(x)))
struct DenseSpec {
  int64_t inner = 0;
  Activation activation = Activation::SwiGlu;
  bool bias = false;  // on gate, up and down

  int64_t gate_rows() const { return activation == Activation::GatedSwiGlu ? 2 * inner : inner; }
};

// How many tokens of one pass an expert takes (Lepikhin et al. 2021, GShard): floor(top_k * factor * tokens / experts),
// made even upwards, at least `least`. First choices go before second ones, each in the order of the tokens; what finds
// its expert full is dropped. A pass is the whole prompt of one sequence, or one decode step.
struct CapacitySpec {
  double factor = 0;
  int64_t least = 0;
};

// Each choice of a router is its own field; no field means two things.
enum class Score : uint8_t {
  Softmax,
  Sigmoid,
  Logit,  // as it is; the weights are the softmax over the chosen experts alone
};
enum class GroupRank : uint8_t { Max, TopTwoSum };  // a group counts as its best score, or as the sum of its two best
struct RouterSpec {
  int64_t experts = 0, top_k = 0;
  Score score = Score::Softmax;
  bool renormalize = true;  // divide the kept weights by their sum
  float weight_scale = 1;   // then multiply by this
  bool bias = false;        // on the logits
  // A learned bias of each expert is added to its score where experts and groups are chosen, not in the weights.
  bool selection_bias = false;
  // Experts stand in `groups` equal groups of neighbours; only those of the best `groups_kept` can be chosen.
  int64_t groups = 1, groups_kept = 1;
  GroupRank group_rank = GroupRank::Max;
  std::optional<CapacitySpec> capacity = std::nullopt;
};

// Runs for every token beside the chosen experts; its output is added as it is, or times the sigmoid of a learned
// projection of its input.
struct SharedExpertSpec {
  int64_t inner = 0;
  bool gated = false;
};

struct MoeSpec {
  RouterSpec router;
  DenseSpec expert;
  std::optional<SharedExpertSpec> shared = std::nullopt;
};

using Mixer = std::variant<GqaSpec, MlaSpec, DenseSpec, MoeSpec>;
bool is_attention(const Mixer& mixer);

// x += mix(norm(x)), or x += post_norm(mix(norm(x)))
struct BlockSpec {
  int64_t layer = 0;  // the file's layer number; attention and feed-forward of one layer are two blocks
  NormSpec norm;
  Mixer mixer;
  std::optional<NormSpec> post_norm = std::nullopt;
  bool extra = false;  // a second feed-forward block of its layer: its tensors have names of their own
};

struct ModelSpec {
  std::string family;  // for people and for the name tables only
  int64_t width = 0, vocab = 0, layers = 0;
  int64_t context = 0;  // positions the model was made for
  std::vector<BlockSpec> blocks;
  // The last of the blocks are not the decoder's: they belong to a module of multi-token prediction (DeepSeek-V3,
  // 2024), layer number `layers`, that from the state of one position and the next token predicts the token after it.
  size_t mtp_blocks = 0;
  NormSpec final_norm;
  bool tied_embeddings = false;
  bool begins_with_bos = false;                // every text, whatever the tokenizer says
  float embedding_scale = 1, logit_scale = 1;  // factors on the embeddings and on the logits
  // Special tokens, -1 when the files name none. Generation ends at any of `eos`.
  int32_t bos = -1;
  std::vector<int32_t> eos;
  std::vector<std::string> notes;  // fields that were ignored or assumed, and why; for `ostro inspect`

  size_t decoder_blocks() const { return blocks.size() - mtp_blocks; }
  int64_t parameters() const;         // all of the decoder
  int64_t active_parameters() const;  // used for one token: k of the experts, all embeddings counted
  // Experts have a capacity. A prompt must then go through in one batch: what of its first rows finds an expert full
  // depends on the last ones.
  bool whole_prompts() const;
};

// Throws Error(File) where a spec contradicts itself: sizes positive, heads divide, top_k <= experts, ...
void validate(const ModelSpec& spec, const std::string& source);

}  // namespace ostro
