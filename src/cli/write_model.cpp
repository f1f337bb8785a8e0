#include "cli/write_model.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/progress.h"
#include "base/threads.h"
#include "cli/flags.h"
#include "cli/interrupt.h"
#include "cli/terminal.h"

namespace ostro {
namespace {

std::string size_text(uint64_t bytes) {
  const auto value = static_cast<double>(bytes);
  return value >= 1e9 ? fmt::format("{:.2f} GB", value / 1e9) : fmt::format("{:.2f} MB", value / 1e6);
}

}  // namespace

void add_write_flags(CLI::App& verb, WriteFlags& flags, const std::string& out_help) {
  verb.add_option("in", flags.in, "The model: a GGUF file or a folder")->type_name("IN")->required();
  verb.add_option("out", flags.out, out_help)->type_name("OUT")->required();
  add_integer(verb, "-t,--threads", flags.threads, 0, 4096, "Threads; 0: one for each core");
  verb.add_flag("--json", flags.json, "One JSON object at the end: out, bytes, seconds, notes");
}

void add_type_flag(CLI::App& verb, WriteFlags& flags, bool required) {
  auto* option = add_choice(verb, "--type", flags.type, quant_mix_names(), "Type of the weights");
  if (required) option->required();
}

CheckpointFormat format_of(const std::string& out, CheckpointFormat folder) {
  return out.ends_with(".gguf") ? CheckpointFormat::Gguf : folder;
}

void write_model(const Model& model, const WriteFlags& flags, CheckpointFormat format) {
  WriteOptions options;
  options.format = format;
  if (!flags.type.empty()) options.mix = find_quant_mix(flags.type);
  CHECK(flags.type.empty() || options.mix);
  options.threads = flags.threads > 0 ? static_cast<int>(flags.threads) : default_threads();
  const uint64_t total = weight_bytes(model);
  const auto start = std::chrono::steady_clock::now();
  WriteSummary summary;
  {
    Progress bar("write", total, "B");
    options.progress = [&](uint64_t done) {
      bar.set(std::min(done, total));
      return !interrupted();
    };
    summary = write_checkpoint(model, flags.out, options);
  }
  if (!summary.complete) return report("stopped; nothing was written");
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::vector<std::string> notes = model.spec.notes;
  notes.insert(notes.end(), summary.notes.begin(), summary.notes.end());
  if (flags.json) {
    const nlohmann::ordered_json out = {
        {"out", flags.out}, {"bytes", summary.bytes}, {"seconds", seconds}, {"notes", notes}};
    return write_out(out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
  for (const std::string& note : notes) std::fputs(fmt::format("note: {}\n", note).c_str(), stderr);
  const auto parameters = static_cast<double>(model.spec.parameters());
  write_out(fmt::format("{}: {} of weights, {:.2f} bits each, in {:.1f} s\n", flags.out, size_text(summary.bytes),
                        8 * static_cast<double>(summary.bytes) / parameters, seconds));
}

}  // namespace ostro
