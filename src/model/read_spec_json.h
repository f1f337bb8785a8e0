// What the families' readers of config.json share. Each family has one reader, in read_spec_<family>.cpp.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/weight_store.h"
#include "model/config_fields.h"
#include "model/read_spec_parts.h"
#include "model/spec.h"

namespace ostro {

// The readers. The fields that name the family are read, those of mark_harmless marked.
ModelSpec read_llama_config(const WeightStore& store, ConfigFields& config);
ModelSpec read_mistral_config(const WeightStore& store, ConfigFields& config);
ModelSpec read_mixtral_config(const WeightStore& store, ConfigFields& config);
ModelSpec read_dbrx_config(const WeightStore& store, ConfigFields& config);
ModelSpec read_grok_config(const WeightStore& store, ConfigFields& config);
ModelSpec read_gpt_oss_config(const WeightStore& store, ConfigFields& config);
ModelSpec read_deepseek2_config(const WeightStore& store, ConfigFields& config);
ModelSpec read_deepseek3_config(const WeightStore& store, ConfigFields& config);

ModelSpec read_olmoe_config(const WeightStore& store, ConfigFields& config);
ModelSpec read_openmoe_config(const WeightStore& store, ConfigFields& config);
ModelSpec read_qwen_moe_config(const WeightStore& store, ConfigFields& config);

// The fields that all decoders of Llama's shape have, but for the windows, the experts and RoPE.
LlamaShape read_config_shape(const WeightStore& store, ConfigFields& config,
                             std::initializer_list<std::string_view> activations = {"silu", "swish"},
                             bool attention_bias = false);
// Fields of config.json that cannot change what a forward pass computes.
void mark_harmless(ConfigFields& config);
// A field that ostro has never heard of is only noted, unless its name speaks of what a forward pass does: then it is
// refused. To be called when the reader has read all it knows.
void judge_unread(const ConfigFields& config, std::vector<std::string>& notes);
// RoPE over `dims` dimensions: theta stands in rope_theta or, since Transformers 5, inside rope_parameters.
RopeSpec read_config_rope(ConfigFields& config, int64_t dims, double default_theta, std::vector<std::string>& notes);
// The tokens that end a text: those of generation_config.json and of config.json together.
std::vector<int32_t> read_eos(const WeightStore& store, ConfigFields& config);
// Whole numbers that some files wrote as strings.
std::optional<int64_t> lenient_whole(ConfigFields& fields, std::string_view name);

}  // namespace ostro
