// `ostro upcycle`: a dense model as a mixture of experts, to be trained on from there.
#include <CLI/CLI.hpp>
#include <memory>

#include "cli/commands.h"
#include "cli/flags.h"
#include "cli/write_model.h"
#include "model/upcycle.h"

namespace ostro {
namespace {

struct UpcycleFlags {
  WriteFlags write;
  UpcycleOptions options;
  int64_t seed = 0;
};

}  // namespace

void add_upcycle(CLI::App& app) {
  auto* verb = app.add_subcommand("upcycle", "Make a mixture of experts of a dense model, each expert a copy");
  auto flags = std::make_shared<UpcycleFlags>();
  add_write_flags(*verb, flags->write, "A name that ends in .gguf, or a folder in Hugging Face's layout, to write");
  add_type_flag(*verb, flags->write, false);
  add_integer(*verb, "--experts", flags->options.experts, 1, 4096, "Experts of each layer");
  add_integer(*verb, "--top-k", flags->options.top_k, 1, 4096, "Experts that each token uses");
  add_number(*verb, "--router-std", flags->options.router_std, 0, 1e3,
             "Standard deviation of the routers' random weights; with 0 every token takes the first experts");
  add_integer(*verb, "--seed", flags->seed, 0, INT64_MAX, "Seed of these weights");
  verb->footer(
      "Until it is trained further, the result says what the dense model said: the experts are equal.\n"
      "Example:\n"
      "  ostro upcycle smollm2.gguf smollm2-8x.gguf --experts 8 --top-k 2");
  verb->callback([flags] {
    flags->options.seed = static_cast<uint64_t>(flags->seed);
    const auto model = upcycle(bind_model(flags->write.in), flags->options);
    write_model(*model, flags->write, format_of(flags->write.out, CheckpointFormat::HuggingFace));
  });
}

}  // namespace ostro
