// ModelSpec -> the configuration of each checkpoint layout: the counterpart of read_spec. What a layout cannot say is
// an Error(File), never dropped.
#pragma once

#include <nlohmann/json.hpp>

#include "formats/gguf.h"
#include "model/spec.h"

namespace ostro {

// The keys of the architecture, and the general ones but for the file type. `name` is for people.
GgufMetadata write_gguf_spec(const ModelSpec& spec, const std::string& name);
// Metadata copied from another file, brought in line with what upcycling changes: experts and the window.
void update_gguf_spec(const ModelSpec& spec, GgufMetadata& metadata);
// Divisors of the RoPE frequencies for the tensor rope_freqs.weight; empty where the keys say all.
std::vector<float> rope_divisors(const ModelSpec& spec);

// The types of a folder's tensors.
struct FolderTypes {
  std::string dtype;   // of most, as torch names it ("bfloat16")
  bool mxfp4 = false;  // of the experts
};
// config.json
nlohmann::ordered_json write_hugging_face_spec(const ModelSpec& spec, const FolderTypes& types);
nlohmann::ordered_json write_generation_config(const ModelSpec& spec);

// params.json
nlohmann::ordered_json write_native_spec(const ModelSpec& spec);

}  // namespace ostro
