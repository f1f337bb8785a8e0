// The readers of tokenizer files, one for each format.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "formats/gguf.h"
#include "text/sentencepiece.h"
#include "text/tokenizer.h"

namespace ostro {

// All throw Error(File), with `where` at the front of the message.

std::unique_ptr<Tokenizer> tokenizer_from_gguf(const GgufMetadata& metadata, const std::string& where);

// tokenizer.json, with the tokenizer_config.json that lies beside it (null when there is none).
std::unique_ptr<Tokenizer> tokenizer_from_json(const nlohmann::json& json, const nlohmann::json& config,
                                               const std::string& where);

// The model of a tokenizer.json whose model is of type Unigram.
SentencePieceModel unigram_model_from_json(const nlohmann::json& json, const std::string& where);

// Lines of a token in base64 and its rank.
std::unique_ptr<Tokenizer> tokenizer_from_tiktoken(std::string_view text, const std::string& where);

std::unique_ptr<Tokenizer> tokenizer_from_tekken(const nlohmann::json& json, const std::string& where);

}  // namespace ostro
