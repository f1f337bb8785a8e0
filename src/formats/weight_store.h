// What a checkpoint on disk holds, whatever its format: named tensors over mapped files, metadata, side files.
// Readers (safetensors, torch zip, gguf) fill it; model/ gives it meaning. Everything here is checked: each tensor's
// bytes lie inside its file and are exactly as many as its type and shape need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "formats/gguf.h"
#include "tensor/dtype.h"

namespace ostro {

enum class CheckpointFormat { HuggingFace, Mistral, Gguf };

// A tensor as the file has it: shape in row-major order, outermost first ([out, in] for a linear layer; GGUF's
// dimensions are reversed on reading, so a merged expert tensor is [experts, out, in] in every format).
struct TensorEntry {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  std::string file;  // for error messages
};

struct WeightStore {
  CheckpointFormat format = CheckpointFormat::HuggingFace;
  std::string path;                            // what the user named
  std::string folder;                          // where side files (tokenizer, templates) lie
  nlohmann::json config;                       // config.json or params.json; null for GGUF
  nlohmann::json generation_config;            // generation_config.json; null if absent
  std::optional<GgufMetadata> gguf;            // metadata of a GGUF file (of the first split)
  std::map<std::string, TensorEntry> tensors;  // by the file's own names
  std::vector<std::shared_ptr<const MappedFile>> files;

  uint64_t total_bytes() const;  // bytes of all tensors
};

// Opens a GGUF file (or any part of a split one), a safetensors / torch file inside its folder, or a folder that holds
// one of the layouts. A folder with both a Hugging Face and a Mistral layout is read as Hugging Face's.
// Throws Error(File), Error(Io).
WeightStore open_weights(const std::string& path);

}  // namespace ostro
