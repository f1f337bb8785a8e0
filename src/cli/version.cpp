// `ostro version`: what was built, what this machine offers, what is used of it.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/core.h>
#include <histedit.h>
#include <pcre2.h>
#include <utf8proc.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "build_info.h"
#include "cli/commands.h"
#include "cli/terminal.h"
#include "kernels/cpu/select.h"

namespace ostro {
namespace {

nlohmann::ordered_json libraries() {
  char pcre2[64] = "";
  pcre2_config(PCRE2_CONFIG_VERSION, pcre2);
  return {{"CLI11", CLI11_VERSION},
          {"fmt", fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100)},
          {"libedit", fmt::format("{}.{}", LIBEDIT_MAJOR, LIBEDIT_MINOR)},
          {"nlohmann-json", fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR,
                                        NLOHMANN_JSON_VERSION_PATCH)},
          {"pcre2", std::string(pcre2).substr(0, std::string(pcre2).find(' '))},
          {"utf8proc", utf8proc_version()}};
}

void print_version(bool json) {
  const nlohmann::ordered_json used = libraries();
  const std::string selected = select_instruction_set().name;
  if (json) {
    nlohmann::ordered_json sets;
    for (const auto& set : instruction_sets())
      sets.push_back({{"name", set.name}, {"description", set.description}, {"available", set.available}});
    const nlohmann::ordered_json out = {{"version", OSTRO_VERSION}, {"commit", OSTRO_COMMIT},
                                        {"compiler", __VERSION__},  {"instruction_set", selected},
                                        {"instruction_sets", sets}, {"libraries", used}};
    return write_out(out.dump() + "\n");
  }
  std::string text =
      fmt::format("ostro {}{}\n", OSTRO_VERSION, *OSTRO_COMMIT == '\0' ? "" : fmt::format(" ({})", OSTRO_COMMIT));
  text += fmt::format("compiler   {}\n", __VERSION__);
  std::string label = "kernels";
  for (const auto& set : instruction_sets()) {
    const char* state = set.name == selected ? "used" : set.available ? "available" : "not on this machine";
    text += fmt::format("{:<11}{:<13}{} ({})\n", std::exchange(label, ""), set.name, set.description, state);
  }
  text += "libraries ";
  for (const auto& [name, version] : used.items()) text += fmt::format(" {} {}", name, version.get<std::string>());
  write_out(text + "\n");
}

}  // namespace

void add_version(CLI::App& app) {
  auto* verb = app.add_subcommand("version", "Version, commit, instruction sets found and used, libraries");
  auto json = std::make_shared<bool>(false);
  verb->add_flag("--json", *json, "One JSON object");
  verb->callback([json] { print_version(*json); });
}

}  // namespace ostro
