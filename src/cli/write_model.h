// What quantize, convert and upcycle share: writing a model with a bar, and saying what came of it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/checkpoint_writer.h"

namespace CLI {
class App;
}

namespace ostro {

struct WriteFlags {
  std::string in, out;
  std::string type;  // of the weights; empty: kept
  int64_t threads = 0;
  bool json = false;
};
// IN, OUT, -t, --json.
void add_write_flags(CLI::App& verb, WriteFlags& flags, const std::string& out_help);
// --type with the names of all mixes.
void add_type_flag(CLI::App& verb, WriteFlags& flags, bool required);

// GGUF for a name that ends in .gguf, otherwise `folder`.
CheckpointFormat format_of(const std::string& out, CheckpointFormat folder);

// Returns quietly when Ctrl-C stopped it; then nothing was written.
void write_model(const Model& model, const WriteFlags& flags, CheckpointFormat format);

}  // namespace ostro
