#include "model/read_spec_published.h"

#include "base/error.h"
#include "model/read_spec_parts.h"

namespace ostro {
namespace {

struct Published {
  const char* name;
  const char* family;
  int64_t width, layers, heads, kv_heads, inner, experts, top_k, vocab, context;
};

// From the config.json of each release: Mistral-7B-v0.3, Mixtral-8x7B-v0.1, Mixtral-8x22B-v0.1. All have heads of 128,
// RoPE base 1e6 and an epsilon of 1e-5.
constexpr Published kPublished[] = {
    {"mistral-7b", "mistral", 4096, 32, 32, 8, 14336, 0, 0, 32768, 32768},
    {"mixtral-8x7b", "mixtral", 4096, 32, 32, 8, 14336, 8, 2, 32000, 32768},
    {"mixtral-8x22b", "mixtral", 6144, 56, 48, 8, 16384, 8, 2, 32000, 65536},
};

}  // namespace

std::vector<std::string> published_shapes() {
  std::vector<std::string> names;
  for (const auto& published : kPublished) names.emplace_back(published.name);
  return names;
}

ModelSpec published_shape(const std::string& name, int64_t layers) {
  for (const auto& published : kPublished) {
    if (published.name != name) continue;
    if (layers < 0 || layers > published.layers)
      throw_error(ErrorKind::Usage, "{} has {} layers, expected at most as many, not {}", name, published.layers,
                  layers);
    LlamaShape shape;
    shape.family = published.family;
    shape.width = published.width;
    shape.vocab = published.vocab;
    shape.layers = layers == 0 ? published.layers : layers;
    shape.context = published.context;
    shape.heads = published.heads;
    shape.kv_heads = published.kv_heads;
    shape.head_dim = 128;
    shape.inner = published.inner;
    shape.experts = published.experts;
    shape.top_k = published.top_k;
    shape.eps = 1e-5;
    shape.rope = make_rope(RopePairing::Interleaved, shape.head_dim, 1e6);
    shape.bos = 1;
    shape.eos = {2};
    return assemble(shape, name);
  }
  throw_error(ErrorKind::Usage, "no published shape {}: expected one of {}", name, fmt::join(published_shapes(), ", "));
}

void add_placeholder_tokenizer(GgufMetadata& metadata, const ModelSpec& spec) {
  enum Kind : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6 };
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int64_t> kinds = {kUnknown, kControl, kControl};
  for (int byte = 0; byte < 256; ++byte) {
    tokens.push_back(fmt::format("<0x{:02X}>", byte));
    kinds.push_back(kByte);
  }
  for (int64_t id = static_cast<int64_t>(tokens.size()); id < spec.vocab; ++id) {
    tokens.push_back(fmt::format("filler{}", id));
    kinds.push_back(kNormal);
  }
  CHECK(static_cast<int64_t>(tokens.size()) == spec.vocab);
  metadata.values["tokenizer.ggml.model"] = "llama";
  metadata.values["tokenizer.ggml.pre"] = "default";
  metadata.values["tokenizer.ggml.scores"] = GgufArray(std::vector<double>(tokens.size(), 0.0));
  metadata.values["tokenizer.ggml.tokens"] = GgufArray(std::move(tokens));
  metadata.values["tokenizer.ggml.token_type"] = GgufArray(std::move(kinds));
  metadata.values["tokenizer.ggml.unknown_token_id"] = uint64_t{0};
  metadata.values["tokenizer.ggml.bos_token_id"] = uint64_t{1};
  metadata.values["tokenizer.ggml.eos_token_id"] = uint64_t{2};
}

}  // namespace ostro
