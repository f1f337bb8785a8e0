// gpt-oss: ModelSpec -> the metadata of GGUF. Its folders alternate the rows of two matrices, which is not written.
#include <array>

#include "base/error.h"
#include "model/write_spec_parts.h"

namespace ostro {

namespace {

void put_gpt_oss_keys(const ModelSpec& spec, GgufMetadata& metadata) {
  const Parts parts = parts_of(spec);
  CHECK(parts.moe != nullptr);
  for (size_t layer = 0; layer < parts.windows.size(); ++layer) {
    if (parts.windows[layer] != (layer % 2 == 0 ? parts.windows.front() : 0)) {
      cannot_say("GGUF", "its layers do not see a window and everything in turn");
    }
  }
  put_gguf_sizes(spec, "gpt-oss", metadata);
  put_gguf_heads(parts.attention, "gpt-oss", metadata);
  put_gguf_experts(*parts.moe, "gpt-oss", metadata);
  put(metadata, "gpt-oss.expert_feed_forward_length", parts.moe->expert.inner);
  put(metadata, "gpt-oss.attention.sliding_window", parts.windows.front());
  put(metadata, "gpt-oss.attention.layer_norm_rms_epsilon", shortest(spec.final_norm.eps));
  RopeSpec rope = parts.attention.rope;
  if (rope.scaling.kind == RopeScaling::Kind::Yarn && rope.scaling.truncate) {
    cannot_say("GGUF", "readers of this architecture know that the ramp of its YaRN scaling is not truncated");
  }
  rope.scaling.truncate = true;
  put_gguf_rope(rope, "gpt-oss", metadata);
}

[[noreturn]] Json gpt_oss_config(const ModelSpec&, const std::string&) {
  cannot_say("a Hugging Face folder", "the rows of its experts' gates alternate with others, which is only read");
}

constexpr std::array<std::string_view, 1> kFamilies = {"gpt-oss"};

}  // namespace

const SpecWriter kGptOssSpecWriter = {kFamilies, put_gpt_oss_keys, nullptr, gpt_oss_config};

}  // namespace ostro
