// Tokenizers from one kind of checkpoint to another: vocabularies are read as data and written as GGUF metadata,
// tokenizer.json or tokenizer.model.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "formats/weight_store.h"

namespace ostro {

// Adds the keys tokenizer.* for the tokenizer (and chat template) in a checkpoint's folder; keys that are there stay.
// Ids up to `vocab` that stand for nothing get placeholders. Where the folder has no tokenizer, a note says so.
// Throws Error(File) for a tokenizer that GGUF cannot hold, or of more than `vocab` tokens.
void describe_tokenizer(const WeightStore& store, int64_t vocab, GgufMetadata& metadata,
                        std::vector<std::string>& notes);

// The tokenizer files that belong into a folder of `format`, by name: those that the checkpoint has, or those made of a
// GGUF file's metadata.
std::map<std::string, std::string> tokenizer_files(const WeightStore& store, CheckpointFormat format,
                                                   std::vector<std::string>& notes);

}  // namespace ostro
