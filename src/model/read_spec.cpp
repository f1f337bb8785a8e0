#include "model/read_spec.h"

#include <cmath>

#include "base/error.h"
#include "model/read_spec_parts.h"

namespace ostro {

int64_t default_head_dim(int64_t width, int64_t heads, const std::string& source) {
  if (heads < 1 || width < 1 || width % heads != 0) {
    throw_error(ErrorKind::File, "{}: a width of {} does not divide into {} heads, and no head dimension is given",
                source, width, heads);
  }
  return width / heads;
}

namespace {

Mixer feed_forward(const LlamaShape& shape, int64_t layer) {
  if (shape.experts == 0 || shape.dense_layers.contains(layer)) return DenseSpec{shape.inner};
  const auto scale = static_cast<float>(shape.weight_scale);
  const int64_t inner = shape.expert_inner == 0 ? shape.inner : shape.expert_inner;
  return MoeSpec{{shape.experts, shape.top_k, Score::Softmax, shape.renormalize, scale}, {inner}, shape.shared};
}

}  // namespace

ModelSpec assemble(const LlamaShape& shape, const std::string& source) {
  // Checked before the list of blocks is made; validate checks the rest.
  constexpr int64_t kMostLayers = 4096;
  if (shape.layers < 1 || shape.layers > kMostLayers) {
    throw_error(ErrorKind::File, "{}: the number of layers is {}, expected 1 to {}", source, shape.layers, kMostLayers);
  }
  ModelSpec spec;
  spec.family = shape.family;
  spec.width = shape.width;
  spec.vocab = shape.vocab;
  spec.layers = shape.layers;
  spec.context = shape.context;
  spec.tied_embeddings = shape.tied_embeddings;
  spec.bos = shape.bos;
  spec.eos = shape.eos;
  spec.notes = shape.notes;
  spec.final_norm = {NormKind::Rms, static_cast<float>(shape.eps)};

  GqaSpec attention;
  attention.query_heads = shape.heads;
  attention.kv_heads = shape.kv_heads;
  attention.head_dim = shape.head_dim;
  attention.rope = shape.rope;
  attention.query_key_norm = shape.query_key_norm;
  attention.qkv_bias = shape.qkv_bias;
  attention.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)));
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    const auto windows = static_cast<int64_t>(shape.window.size());
    attention.window = windows == 0 ? 0 : shape.window[static_cast<size_t>(layer % windows)];
    spec.blocks.push_back({layer, spec.final_norm, attention});
    spec.blocks.push_back({layer, spec.final_norm, feed_forward(shape, layer)});
  }
  validate(spec, source);
  return spec;
}

ModelSpec read_spec(const WeightStore& store) {
  switch (store.format) {
    case CheckpointFormat::HuggingFace:
      return read_hugging_face_spec(store);
    case CheckpointFormat::Mistral:
      return read_mistral_spec(store);
    case CheckpointFormat::NumberedPickles:
      return read_numbered_spec(store);
    case CheckpointFormat::Gguf:
      break;
  }
  return read_gguf_spec(store);
}

}  // namespace ostro
