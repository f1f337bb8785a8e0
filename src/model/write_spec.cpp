// ModelSpec -> configurations: which family's writer, and what the writers share.
#include "model/write_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "base/error.h"
#include "model/write_spec_parts.h"

namespace ostro {

namespace {

int64_t rope_dims(const GqaSpec& attention) {
  return 2 * static_cast<int64_t>(attention.rope.inverse_frequency.size());
}

// Llama 3.x files in GGUF list divisors; the rule behind them has one free number, a power of two.
std::optional<RopeScaling> rule_of_divisors(const GqaSpec& attention) {
  RopeScaling rule;
  rule.kind = RopeScaling::Kind::Bands;
  rule.low_frequency = 1;
  rule.high_frequency = 4;
  const std::vector<double>& divisors = attention.rope.scaling.divisors;
  rule.factor = divisors.back();
  for (double original = 64; original <= 1 << 24; original *= 2) {
    rule.original_context = original;
    const RopeSpec made = make_rope(attention.rope.pairing, attention.head_dim, attention.rope.theta, rule);
    bool same = true;
    for (size_t i = 0; i < divisors.size(); ++i) {
      const double ratio = made.inverse_frequency[i] / attention.rope.inverse_frequency[i];
      same = same && std::fabs(ratio - 1) < 1e-5;
    }
    if (same) return rule;
  }
  return std::nullopt;
}

constexpr std::array kWriters = {&kLlamaSpecWriter, &kOpenMoeSpecWriter, &kQwenSpecWriter,    &kDbrxSpecWriter,
                                 &kGrokSpecWriter,  &kGptOssSpecWriter,  &kDeepSeekSpecWriter};

const SpecWriter& writer_of(const ModelSpec& spec) {
  for (const SpecWriter* writer : kWriters) {
    if (std::ranges::find(writer->families, spec.family) != writer->families.end()) return *writer;
  }
  throw_error(ErrorKind::File, "a model of the family {} cannot be written", spec.family);
}

}  // namespace

Parts parts_of(const ModelSpec& spec) {
  Parts parts;
  for (const BlockSpec& block : spec.blocks) {
    if (const auto* gqa = std::get_if<GqaSpec>(&block.mixer)) {
      parts.attention = *gqa;
      parts.windows.push_back(gqa->window);
    } else if (const auto* dense = std::get_if<DenseSpec>(&block.mixer)) {
      parts.inner = dense->inner;
    } else if (const auto* moe = std::get_if<MoeSpec>(&block.mixer)) {
      parts.moe = moe;
      parts.inner = moe->expert.inner;
    }
  }
  return parts;
}

[[noreturn]] void cannot_say(std::string_view layout, const std::string& what) {
  throw_error(ErrorKind::File, "{} cannot hold this model: {}", layout, what);
}

void check_router(const Parts& parts, std::string_view layout) {
  if (parts.moe == nullptr) return;
  const RouterSpec& router = parts.moe->router;
  if (router.score != Score::Softmax || !router.renormalize || router.weight_scale != 1 || router.selection_bias ||
      router.groups != 1 || parts.moe->shared) {
    cannot_say(layout, "its router is not a softmax with renormalised weights");
  }
}

int64_t one_window(const Parts& parts, std::string_view layout) {
  for (const int64_t window : parts.windows) {
    if (window != parts.windows.front()) cannot_say(layout, "its layers have different sliding windows");
  }
  return parts.windows.front();
}

void check_whole_heads_turn(const GqaSpec& attention, std::string_view layout) {
  if (rope_dims(attention) != attention.head_dim) {
    cannot_say(layout, fmt::format("RoPE turns {} of {} dimensions", rope_dims(attention), attention.head_dim));
  }
}

double shortest(float value) { return std::strtod(fmt::format("{}", value).c_str(), nullptr); }

Json hugging_face_scaling(const GqaSpec& attention) {
  RopeScaling scaling = attention.rope.scaling;
  if (scaling.kind == RopeScaling::Kind::Divisors) {
    const auto rule = rule_of_divisors(attention);
    if (!rule) cannot_say("config.json", "its RoPE divisors follow no rule that can be named");
    scaling = *rule;
  }
  switch (scaling.kind) {
    case RopeScaling::Kind::None:
      break;
    case RopeScaling::Kind::Linear:
      return {{"rope_type", "linear"}, {"factor", scaling.factor}};
    case RopeScaling::Kind::Bands:
      return {{"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"low_freq_factor", scaling.low_frequency},
              {"high_freq_factor", scaling.high_frequency},
              {"original_max_position_embeddings", static_cast<int64_t>(scaling.original_context)}};
    case RopeScaling::Kind::Yarn: {
      Json yarn = {{"rope_type", "yarn"},
                   {"factor", scaling.factor},
                   {"original_max_position_embeddings", static_cast<int64_t>(scaling.original_context)},
                   {"beta_fast", scaling.beta_fast},
                   {"beta_slow", scaling.beta_slow},
                   {"attention_factor", scaling.magnitude}};
      if (!scaling.truncate) yarn["truncate"] = false;
      return yarn;
    }
    case RopeScaling::Kind::Divisors:
      CHECK(false);
  }
  return nullptr;
}

Json token_list(const std::vector<int32_t>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? Json(ids.front()) : Json(ids);
}
Json token_or_null(int32_t id) { return id < 0 ? Json(nullptr) : Json(id); }

void put(GgufMetadata& metadata, const std::string& key, GgufValue value) { metadata.values[key] = std::move(value); }

void put_gguf_sizes(const ModelSpec& spec, const std::string& architecture, GgufMetadata& metadata) {
  put(metadata, "general.architecture", architecture);
  put(metadata, architecture + ".vocab_size", spec.vocab);
  put(metadata, architecture + ".context_length", spec.context);
  put(metadata, architecture + ".embedding_length", spec.width);
  put(metadata, architecture + ".block_count", spec.layers);
}

void put_gguf_heads(const GqaSpec& attention, const std::string& architecture, GgufMetadata& metadata) {
  put(metadata, architecture + ".attention.head_count", attention.query_heads);
  put(metadata, architecture + ".attention.head_count_kv", attention.kv_heads);
  put(metadata, architecture + ".attention.key_length", attention.head_dim);
  put(metadata, architecture + ".attention.value_length", attention.head_dim);
}

void put_gguf_experts(const MoeSpec& moe, const std::string& architecture, GgufMetadata& metadata) {
  put(metadata, architecture + ".feed_forward_length", moe.expert.inner);
  put(metadata, architecture + ".expert_count", moe.router.experts);
  put(metadata, architecture + ".expert_used_count", moe.router.top_k);
}

void put_gguf_rope(const RopeSpec& rope, const std::string& architecture, GgufMetadata& metadata) {
  const RopeScaling& scaling = rope.scaling;
  const auto put_rope = [&](const char* key, GgufValue value) {
    put(metadata, fmt::format("{}.rope.{}", architecture, key), std::move(value));
  };
  put_rope("dimension_count", 2 * static_cast<int64_t>(rope.inverse_frequency.size()));
  put_rope("freq_base", rope.theta);
  if (scaling.kind == RopeScaling::Kind::Linear) {
    put_rope("scaling.type", std::string("linear"));
    put_rope("scaling.factor", scaling.factor);
  } else if (scaling.kind == RopeScaling::Kind::Yarn) {
    if (!scaling.truncate) cannot_say("GGUF", "the ramp of its YaRN scaling does not begin at a whole dimension");
    put_rope("scaling.type", std::string("yarn"));
    put_rope("scaling.factor", scaling.factor);
    put_rope("scaling.original_context_length", static_cast<int64_t>(scaling.original_context));
    const RopeScaling usual;
    if (scaling.beta_fast != usual.beta_fast) put_rope("scaling.yarn_beta_fast", scaling.beta_fast);
    if (scaling.beta_slow != usual.beta_slow) put_rope("scaling.yarn_beta_slow", scaling.beta_slow);
    const double extra = scaling.magnitude / yarn_magnitude(scaling.factor, 1);
    if (std::fabs(extra - 1) > 1e-6) put_rope("scaling.attn_factor", extra);
  }
}

GgufMetadata write_gguf_spec(const ModelSpec& spec, const std::string& name) {
  GgufMetadata metadata;
  writer_of(spec).gguf(spec, metadata);
  put(metadata, "general.type", std::string("model"));
  put(metadata, "general.name", name);
  static constexpr const char* kEnds[] = {"eos", "eot", "eom"};
  if (spec.eos.size() > std::size(kEnds)) cannot_say("GGUF", fmt::format("{} tokens end a text", spec.eos.size()));
  if (spec.bos >= 0) put(metadata, "tokenizer.ggml.bos_token_id", int64_t{spec.bos});
  for (size_t i = 0; i < spec.eos.size(); ++i) {
    put(metadata, fmt::format("tokenizer.ggml.{}_token_id", kEnds[i]), int64_t{spec.eos[i]});
  }
  return metadata;
}

std::vector<float> rope_divisors(const ModelSpec& spec) {
  const RopeSpec rope = parts_of(spec).attention.rope;
  std::vector<float> divisors;
  if (rope.scaling.kind == RopeScaling::Kind::Divisors) {
    divisors.assign(rope.scaling.divisors.begin(), rope.scaling.divisors.end());
  } else if (rope.scaling.kind == RopeScaling::Kind::Bands) {
    const auto dims = 2 * static_cast<int64_t>(rope.inverse_frequency.size());
    const RopeSpec plain = make_rope(rope.pairing, dims, rope.theta);
    for (size_t i = 0; i < rope.inverse_frequency.size(); ++i) {
      divisors.push_back(static_cast<float>(plain.inverse_frequency[i] / rope.inverse_frequency[i]));
    }
  }
  return divisors;
}

void update_gguf_spec(const ModelSpec& spec, GgufMetadata& metadata) {
  if (const auto update = writer_of(spec).update_gguf; update != nullptr) update(spec, metadata);
}

Json write_hugging_face_spec(const ModelSpec& spec, const FolderTypes& types) {
  const SpecWriter& writer = writer_of(spec);
  Json config = writer.hugging_face(spec, types.dtype);
  if (types.mxfp4) {
    config["quantization_config"] = {{"modules_to_not_convert", writer.not_mxfp4}, {"quant_method", "mxfp4"}};
  }
  return config;
}

Json write_generation_config(const ModelSpec& spec) {
  return {{"bos_token_id", token_or_null(spec.bos)}, {"eos_token_id", token_list(spec.eos)}};
}

}  // namespace ostro
