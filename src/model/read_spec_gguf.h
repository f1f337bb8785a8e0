// The families' readers of GGUF metadata, each in read_spec_<family>.cpp.
#pragma once

#include "model/gguf_fields.h"
#include "model/spec.h"

namespace ostro {

ModelSpec read_llama_gguf(GgufFields& fields);  // Llama, Mistral and, with an expert_count, Mixtral

}  // namespace ostro
