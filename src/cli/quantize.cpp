// `ostro quantize`: weights in fewer bits.
#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/write_model.h"

namespace ostro {

void add_quantize(CLI::App& app) {
  auto* verb = app.add_subcommand("quantize", "Write a model as GGUF with weights of fewer bits");
  auto flags = std::make_shared<WriteFlags>();
  add_write_flags(*verb, *flags, "The GGUF file to write");
  add_type_flag(*verb, *flags, true);
  verb->footer(
      "Norms and routers stay f32. A mix such as q4_k_m gives some tensors more bits, by the same rules as "
      "llama.cpp's.\n"
      "Examples:\n"
      "  ostro quantize Mixtral-8x7B-Instruct-v0.1/ mixtral-q4.gguf --type q4_k_m\n"
      "  ostro quantize model-f16.gguf model-q8.gguf --type q8_0");
  verb->callback([flags] { write_model(*bind_model(flags->in), *flags, CheckpointFormat::Gguf); });
}

}  // namespace ostro
