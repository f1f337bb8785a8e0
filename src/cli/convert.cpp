// `ostro convert`: the same model in another layout.
#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/write_model.h"

namespace ostro {
namespace {

struct ConvertFlags {
  WriteFlags write;
  std::string to;
};

CheckpointFormat target(const std::string& to) {
  if (to == "gguf") return CheckpointFormat::Gguf;
  return to == "hf" ? CheckpointFormat::HuggingFace : CheckpointFormat::Mistral;
}

}  // namespace

void add_convert(CLI::App& app) {
  auto* verb = app.add_subcommand("convert", "Write a model in another layout");
  auto flags = std::make_shared<ConvertFlags>();
  add_write_flags(*verb, flags->write, "The GGUF file, or the folder, to write");
  const std::vector<std::string> layouts = {"gguf", "hf", "mistral"};
  add_choice(*verb, "--to", flags->to, layouts, "GGUF; a Hugging Face folder; Mistral's own layout")->required();
  add_type_flag(*verb, flags->write, false);
  verb->footer(
      "Without --type weights keep theirs; quantised ones become f16 in folders, which hold f32, f16, bf16 and, where\n"
      "the publisher has experts so, mxfp4.\n"
      "Examples:\n"
      "  ostro convert Mixtral-8x7B-Instruct-v0.1/ mixtral.gguf --to gguf\n"
      "  ostro convert model.gguf folder/ --to hf --type bf16");
  verb->callback([flags] {
    const auto model = bind_model(flags->write.in);
    write_model(*model, flags->write, target(flags->to));
  });
}

}  // namespace ostro
