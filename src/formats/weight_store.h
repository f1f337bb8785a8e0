// What a checkpoint on disk holds, whatever its format: named tensors over mapped files, metadata, side files.
// Readers (safetensors, torch zip, gguf) fill it; model/ gives it meaning. Everything here is checked: each tensor's
// bytes lie inside its file, are exactly as many as its type and shape need, and start at a multiple of its type's
// natural alignment. Names are printable UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "formats/gguf.h"
#include "formats/tensor_entry.h"
#include "formats/weight_copies.h"

namespace ostro {

// NumberedPickles: a tensor a file, tensor00000_000, ... (formats/numbered_weights.h); what JAX programs leave.
enum class CheckpointFormat { HuggingFace, Mistral, Gguf, NumberedPickles };

struct WeightStore {
  CheckpointFormat format = CheckpointFormat::HuggingFace;
  std::string path;                            // what the user named
  std::string folder;                          // where side files (tokenizer, templates) lie
  nlohmann::json config;                       // config.json or params.json; null for GGUF, or when absent
  nlohmann::json generation_config;            // generation_config.json; null if absent
  std::optional<GgufMetadata> gguf;            // metadata of a GGUF file (of the first split)
  std::map<std::string, TensorEntry> tensors;  // by the file's own names
  std::vector<std::shared_ptr<const MappedFile>> files;
  // Copies of tensors that lie at odd addresses in their file; rare.
  std::vector<std::shared_ptr<const std::vector<std::byte>>> copies;
  // Tensors that ostro holds in another order than their file does. Their bytes are there once they are made.
  WeightCopies reordered;

  uint64_t total_bytes() const;  // bytes of all tensors
};

// Opens a GGUF file (or any part of a split one), a safetensors / torch / config file inside its folder, or a folder
// that holds one of the layouts (numbered pickles may lie in its ckpt-0 or checkpoints/ckpt-0). A folder with both a
// Hugging Face and a Mistral layout is read as Hugging Face's, unless the path names a file of the latter. Throws
// Error(File), Error(Io).
WeightStore open_weights(const std::string& path);

// Reads every file that carries checksums (torch's do) and throws Error(File) where one does not fit. `done`, which may
// be null, is called with the bytes read so far of those that checked_bytes() announces.
void verify_checksums(const WeightStore& store, const std::function<void(uint64_t bytes)>& done = nullptr);
uint64_t checked_bytes(const WeightStore& store);

}  // namespace ostro
