// Writes a bound model as GGUF, as a Hugging Face folder or in the publisher's own layout, with its tokenizer. Tensors
// are read, converted and written a few rows at a time; never is a second copy of the model in memory.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "model/load_model.h"
#include "model/quant_mix.h"

namespace ostro {

struct WriteOptions {
  CheckpointFormat format = CheckpointFormat::Gguf;
  // What types the matrices get. Without one each keeps its own; quantised ones become f16 in layouts that only hold
  // floats. Norms and routers are float32 in GGUF; elsewhere they have the type of the other weights unless that would
  // change their values.
  std::optional<QuantMix> mix;
  int threads = 1;
  // Called between rows with the bytes read so far of those that weight_bytes() announces; false stops the writing.
  std::function<bool(uint64_t done)> progress;
};

// What is written from other data than the source's own files describe.
struct WriteSummary {
  uint64_t bytes = 0;              // of all tensors written
  std::vector<std::string> notes;  // what a person should know
  bool complete = false;           // false: stopped by `progress`; nothing was written
};

// `out` is a file for GGUF, otherwise a folder: made where it is not there, refused where it already holds a model.
// Throws Error(File) for what the layout cannot hold and for weights that are not finite, Error(Usage), Error(Io).
WriteSummary write_checkpoint(const Model& model, const std::string& out, const WriteOptions& options);

}  // namespace ostro
