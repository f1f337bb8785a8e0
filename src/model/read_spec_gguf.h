// The families' readers of GGUF metadata, each in read_spec_<family>.cpp.
#pragma once

#include "model/gguf_fields.h"
#include "model/read_spec_parts.h"
#include "model/spec.h"

namespace ostro {

ModelSpec read_deepseek_gguf(GgufFields& fields);
ModelSpec read_llama_gguf(GgufFields& fields);  // Llama, Mistral and, with an expert_count, Mixtral
ModelSpec read_olmoe_gguf(GgufFields& fields);
ModelSpec read_openmoe_gguf(GgufFields& fields);
ModelSpec read_qwen_moe_gguf(GgufFields& fields);
ModelSpec read_dbrx_gguf(GgufFields& fields);
ModelSpec read_grok_gguf(GgufFields& fields);
ModelSpec read_gpt_oss_gguf(GgufFields& fields);

// The keys that all decoders of Llama's shape have, but for the windows, the experts and RoPE.
LlamaShape read_gguf_shape(GgufFields& fields);
// Experts, if there are any. Where the file does not say if weights are renormalised, `shape` does.
void read_gguf_experts(GgufFields& fields, LlamaShape& shape);

}  // namespace ostro
