// What the families' writers of configurations share. Each group of families has its writers in
// write_spec_<family>.cpp.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "formats/gguf.h"
#include "model/spec.h"

namespace ostro {

using Json = nlohmann::ordered_json;

struct SpecWriter {
  std::span<const std::string_view> families;
  // Puts the keys of the architecture, and its name.
  void (*gguf)(const ModelSpec& spec, GgufMetadata& metadata);
  // Brings metadata copied from another file in line with what upcycling changes; null: nothing to do.
  void (*update_gguf)(const ModelSpec& spec, GgufMetadata& metadata);
  // config.json
  Json (*hugging_face)(const ModelSpec& spec, const std::string& dtype);
  // The modules that stay as they are where experts are MXFP4, as config.json lists them.
  std::span<const std::string_view> not_mxfp4 = {};
};
extern const SpecWriter kDeepSeekSpecWriter;
extern const SpecWriter kLlamaSpecWriter;
extern const SpecWriter kOpenMoeSpecWriter;
extern const SpecWriter kQwenSpecWriter;
extern const SpecWriter kDbrxSpecWriter;
extern const SpecWriter kGrokSpecWriter;
extern const SpecWriter kGptOssSpecWriter;

// For models whose attention blocks, and whose feed-forward blocks, are alike (but for windows).
struct Parts {
  GqaSpec attention;
  int64_t inner = 0;
  const MoeSpec* moe = nullptr;
  std::vector<int64_t> windows;  // of the layers
};

Parts parts_of(const ModelSpec& spec);

// Throws Error(File): `layout` has no words for this model.
[[noreturn]] void cannot_say(std::string_view layout, const std::string& what);
// Refuses what is not the routing that programs hard-code for Mixtral: softmax, renormalised, not scaled.
void check_router(const Parts& parts, std::string_view layout);
int64_t one_window(const Parts& parts, std::string_view layout);
void check_whole_heads_turn(const GqaSpec& attention, std::string_view layout);

// A float32 as the shortest decimal that means it: 1e-05, not 9.99999974e-06.
double shortest(float value);
Json token_list(const std::vector<int32_t>& ids);
Json token_or_null(int32_t id);
// rope_scaling; null where there is none.
Json hugging_face_scaling(const GqaSpec& attention);

void put(GgufMetadata& metadata, const std::string& key, GgufValue value);
// general.architecture, <architecture>.{vocab_size,context_length,embedding_length,block_count}
void put_gguf_sizes(const ModelSpec& spec, const std::string& architecture, GgufMetadata& metadata);
// <architecture>.attention.head_count and the like
void put_gguf_heads(const GqaSpec& attention, const std::string& architecture, GgufMetadata& metadata);
// <architecture>.feed_forward_length, .expert_count, .expert_used_count
void put_gguf_experts(const MoeSpec& moe, const std::string& architecture, GgufMetadata& metadata);
// <architecture>.rope.*
void put_gguf_rope(const RopeSpec& rope, const std::string& architecture, GgufMetadata& metadata);

}  // namespace ostro
