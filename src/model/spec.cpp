#include "model/spec.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace ostro {

namespace {

// Larger than any model, small enough that no product of a few of these overflows.
constexpr int64_t kMostLayers = 4096, kMostHeads = 4096, kMostExperts = 65536;
constexpr int64_t kMostWidth = int64_t{1} << 20, kMostVocab = int64_t{1} << 26, kMostContext = int64_t{1} << 31;

struct Checker {
  const std::string& source;

  void range(const char* what, int64_t value, int64_t most) const {
    if (value < 1 || value > most) {
      throw_error(ErrorKind::File, "{}: {} is {}, expected 1 to {}", source, what, value, most);
    }
  }
  template <typename... Args>
  void require(bool holds, fmt::format_string<Args...> format, Args&&... args) const {
    if (!holds) throw_error(ErrorKind::File, "{}: {}", source, fmt::format(format, std::forward<Args>(args)...));
  }

  void norm(const NormSpec& norm) const {
    require(std::isfinite(norm.eps) && norm.eps > 0, "the epsilon of the norms is {}, expected a positive number",
            norm.eps);
  }
  void dense(const DenseSpec& dense) const { range("the feed-forward width", dense.inner, kMostWidth); }
  void operator()(const DenseSpec& spec) const { dense(spec); }

  void operator()(const GqaSpec& gqa) const {
    range("the number of attention heads", gqa.query_heads, kMostHeads);
    range("the number of key-value heads", gqa.kv_heads, kMostHeads);
    require(gqa.query_heads % gqa.kv_heads == 0, "{} attention heads are not a multiple of {} key-value heads",
            gqa.query_heads, gqa.kv_heads);
    range("the head dimension", gqa.head_dim, kMostAttendDim);
    require(gqa.head_dim % 2 == 0, "the head dimension is {}, expected an even number", gqa.head_dim);
    require(2 * static_cast<int64_t>(gqa.rope.inverse_frequency.size()) <= gqa.head_dim,
            "RoPE turns {} dimensions of a head of {}", 2 * gqa.rope.inverse_frequency.size(), gqa.head_dim);
    rope(gqa.rope);
    require(gqa.window >= 0 && gqa.window <= kMostContext, "the attention window is {}, expected 1 to {}", gqa.window,
            kMostContext);
    require(std::isfinite(gqa.scale) && gqa.scale > 0,
            "the scale of the attention scores is {}, expected a positive number", gqa.scale);
    require(std::isfinite(gqa.logit_cap) && gqa.logit_cap >= 0,
            "the cap of the attention scores is {}, expected a positive number", gqa.logit_cap);
    require(std::isfinite(gqa.clip_qkv) && gqa.clip_qkv >= 0,
            "queries, keys and values are clipped at {}, expected a positive number", gqa.clip_qkv);
  }

  void operator()(const MlaSpec& mla) const {
    range("the number of attention heads", mla.heads, kMostHeads);
    require(mla.query_rank >= 0 && mla.query_rank <= kMostWidth, "the rank of the queries is {}", mla.query_rank);
    range("the rank of keys and values", mla.kv_rank, kMostHeadDim);
    range("the head dimension without position", mla.nope_dim, kMostHeadDim);
    range("the head dimension with position", mla.rope_dim, kMostHeadDim);
    range("the head dimension of values", mla.value_dim, kMostHeadDim);
    require(mla.rope_dim % 2 == 0, "the head dimension with position is {}, expected an even number", mla.rope_dim);
    require(mla.kv_rank + mla.rope_dim <= kMostAttendDim,
            "a latent of {} and a key of {} are more than {} values together", mla.kv_rank, mla.rope_dim,
            kMostAttendDim);
    norm(mla.latent_norm);
    rope(mla.rope);
    require(std::isfinite(mla.scale), "the scale of the scores is {}", mla.scale);
  }

  void rope(const RopeSpec& rope) const {
    require(std::isfinite(rope.theta) && rope.theta > 0, "the base of RoPE is {}, expected a positive number",
            rope.theta);
    for (const double frequency : rope.inverse_frequency) {
      require(std::isfinite(frequency) && frequency > 0, "the scaling of RoPE gives the frequency {}", frequency);
    }
    require(std::isfinite(rope.magnitude), "the magnitude of RoPE is {}", rope.magnitude);
  }

  void operator()(const MoeSpec& moe) const {
    range("the number of experts", moe.router.experts, kMostExperts);
    range("the number of experts for each token", moe.router.top_k, moe.router.experts);
    require(std::isfinite(moe.router.weight_scale), "the scale of the expert weights is {}", moe.router.weight_scale);
    require(moe.router.score != Score::Logit || (moe.router.renormalize && !moe.router.selection_bias),
            "weights that are a softmax over the chosen experts must add up to 1 and have no selection bias");
    groups(moe.router);
    dense(moe.expert);
    if (moe.router.capacity) {
      const CapacitySpec& capacity = *moe.router.capacity;
      require(capacity.factor >= 0 && capacity.factor <= 1e6,
              "the capacity factor of the experts is {}, expected 0 to 1e6", capacity.factor);
      range("the least capacity of an expert", capacity.least, kMostContext);
    }
    if (moe.shared) range("the width of the shared expert", moe.shared->inner, kMostWidth);
  }

  void groups(const RouterSpec& router) const {
    range("the number of expert groups", router.groups, router.experts);
    range("the number of expert groups kept", router.groups_kept, router.groups);
    require(router.experts % router.groups == 0, "{} experts do not divide into {} groups", router.experts,
            router.groups);
    const int64_t size = router.experts / router.groups;
    require(router.group_rank != GroupRank::TopTwoSum || router.groups == 1 || size >= 2,
            "{} groups of {} expert are ranked by their two best", router.groups, size);
    require(router.top_k <= router.groups_kept * size, "{} experts for each token, but {} groups of {} have only {}",
            router.top_k, router.groups_kept, size, router.groups_kept * size);
  }
};

// Counts in float64: exact up to 2^53, and it cannot overflow.
struct Counter {
  double width;
  bool active;

  double operator()(const GqaSpec& gqa) const {
    const int64_t heads = gqa.query_heads + gqa.kv_heads;
    double sum = 2 * width * static_cast<double>(gqa.head_dim * heads);
    if (gqa.query_key_norm == QueryKeyNorm::PerHead) sum += 2 * static_cast<double>(gqa.head_dim);
    if (gqa.query_key_norm == QueryKeyNorm::Whole) sum += static_cast<double>(gqa.head_dim * heads);
    if (gqa.qkv_bias) sum += static_cast<double>(gqa.head_dim * (heads + gqa.kv_heads));
    if (gqa.output_bias) sum += width;
    if (gqa.sinks) sum += static_cast<double>(gqa.query_heads);
    return sum;
  }
  double operator()(const MlaSpec& mla) const {
    const auto heads = static_cast<double>(mla.heads);
    const auto kv = static_cast<double>(mla.kv_rank), query = static_cast<double>(mla.query_rank);
    const double queries = heads * static_cast<double>(mla.nope_dim + mla.rope_dim);
    double sum = width * (kv + static_cast<double>(mla.rope_dim)) + kv;
    sum += kv * heads * static_cast<double>(mla.nope_dim + mla.value_dim);
    sum += mla.query_rank > 0 ? width * query + query + query * queries : width * queries;
    return sum + width * heads * static_cast<double>(mla.value_dim);
  }
  double operator()(const DenseSpec& dense) const {
    const auto biases =
        static_cast<double>(dense.bias ? dense.gate_rows() + dense.inner : 0) + (dense.bias ? width : 0);
    return width * static_cast<double>(dense.gate_rows() + 2 * dense.inner) + biases;
  }
  double operator()(const MoeSpec& moe) const {
    const int64_t used = active ? moe.router.top_k : moe.router.experts;
    double sum = static_cast<double>(moe.router.experts) * width + static_cast<double>(used) * (*this)(moe.expert);
    if (moe.router.bias) sum += static_cast<double>(moe.router.experts);
    if (moe.router.selection_bias) sum += static_cast<double>(moe.router.experts);
    if (moe.shared)
      sum += (*this)(DenseSpec{moe.shared->inner, moe.expert.activation}) + (moe.shared->gated ? width : 0);
    return sum;
  }
};
constexpr double kMostParameters = 0x1p53;

double count(const ModelSpec& spec, bool active) {
  const auto width = static_cast<double>(spec.width);
  double sum = (spec.tied_embeddings ? 1 : 2) * static_cast<double>(spec.vocab) * width + width;
  for (size_t b = 0; b < spec.decoder_blocks(); ++b) {
    const BlockSpec& block = spec.blocks[b];
    sum += (block.post_norm ? 2 : 1) * width + std::visit(Counter{width, active}, block.mixer);
  }
  return sum;
}

}  // namespace

bool is_attention(const Mixer& mixer) {
  return std::holds_alternative<GqaSpec>(mixer) || std::holds_alternative<MlaSpec>(mixer);
}

bool ModelSpec::whole_prompts() const {
  return std::ranges::any_of(blocks, [](const BlockSpec& block) {
    const auto* moe = std::get_if<MoeSpec>(&block.mixer);
    return moe != nullptr && moe->router.capacity.has_value();
  });
}

int64_t ModelSpec::parameters() const { return static_cast<int64_t>(count(*this, false)); }
int64_t ModelSpec::active_parameters() const { return static_cast<int64_t>(count(*this, true)); }

void validate(const ModelSpec& spec, const std::string& source) {
  const Checker check{source};
  check.range("the width", spec.width, kMostWidth);
  check.range("the vocabulary size", spec.vocab, kMostVocab);
  check.range("the number of layers", spec.layers, kMostLayers);
  check.range("the context length", spec.context, kMostContext);
  check.norm(spec.final_norm);
  for (const float scale : {spec.embedding_scale, spec.logit_scale}) {
    check.require(std::isfinite(scale) && scale != 0, "a factor on embeddings or logits is {}, expected another number",
                  scale);
  }
  for (const BlockSpec& block : spec.blocks) {
    check.norm(block.norm);
    if (block.post_norm) check.norm(*block.post_norm);
    std::visit(check, block.mixer);
  }
  check.require(count(spec, false) < kMostParameters, "the sizes give {:.2g} parameters", count(spec, false));
  check.require(spec.bos >= -1 && spec.bos < spec.vocab, "the BOS token is {}, outside the vocabulary of {}", spec.bos,
                spec.vocab);
  for (const int32_t eos : spec.eos) {
    check.require(eos >= 0 && eos < spec.vocab, "an EOS token is {}, outside the vocabulary of {}", eos, spec.vocab);
  }
}

}  // namespace ostro
