// The shapes of published models, by name: for benchmarks and plans without a download.
#pragma once

#include <string>
#include <vector>

#include "formats/gguf.h"
#include "model/spec.h"

namespace ostro {

std::vector<std::string> published_shapes();

// `layers` of them, or all when 0; RoPE pairs as in GGUF. Throws Error(Usage) for another name or more layers than the
// model has.
ModelSpec published_shape(const std::string& name, int64_t layers = 0);

// A tokenizer for a model that has none, so that other programs load the file: all bytes, three special tokens, filler.
void add_placeholder_tokenizer(GgufMetadata& metadata, const ModelSpec& spec);

}  // namespace ostro
