// What the readers of the sources share: the shape of a Llama-like decoder as numbers, and its assembly into blocks.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "formats/weight_store.h"
#include "model/spec.h"

namespace ostro {

struct LlamaShape {
  std::string family;
  int64_t width = 0, vocab = 0, layers = 0, context = 0;
  int64_t heads = 0, kv_heads = 0, head_dim = 0;
  int64_t inner = 0;
  int64_t experts = 0, top_k = 0;  // 0 experts: dense
  int64_t expert_inner = 0;        // 0: inner
  std::set<int64_t> dense_layers;  // of a sparse model
  bool renormalize = true;
  double weight_scale = 1;
  std::vector<int64_t> window;  // of the layers, repeated; empty: none. 0: all keys
  double eps = 0;
  RopeSpec rope;
  QueryKeyNorm query_key_norm = QueryKeyNorm::None;
  bool qkv_bias = false;
  std::optional<SharedExpertSpec> shared;
  bool tied_embeddings = false;
  int32_t bos = -1;
  std::vector<int32_t> eos;
  std::vector<std::string> notes;
};

ModelSpec assemble(const LlamaShape& shape, const std::string& source);

// width / heads, or an error.
int64_t default_head_dim(int64_t width, int64_t heads, const std::string& source);

// The softmax scale of latent attention: YaRN adds the square of a factor that grows with the stretch.
float latent_scale(const MlaSpec& mla);

ModelSpec read_hugging_face_spec(const WeightStore& store);
ModelSpec read_mistral_spec(const WeightStore& store);
ModelSpec read_gguf_spec(const WeightStore& store);
ModelSpec read_numbered_spec(const WeightStore& store);

}  // namespace ostro
