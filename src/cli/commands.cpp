#include "cli/commands.h"

#include <CLI/CLI.hpp>
#include <new>
#include <system_error>

#include "base/error.h"
#include "build_info.h"
#include "cli/bus_error.h"
#include "cli/flags.h"
#include "cli/interrupt.h"
#include "cli/suggest.h"
#include "cli/terminal.h"

namespace ostro {
namespace {

// In the order of --help; each verb adds itself here.
constexpr void (*kVerbs[])(CLI::App&) = {
    add_run,   add_chat,     add_logits,  add_inspect, add_tokenize, add_template,
    add_bench, add_quantize, add_convert, add_upcycle, add_version,
};

// Shows one-dash names with their one dash, and leaves out what every reader knows.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    if (positional) return option->get_name(true, false);
    std::string out;
    for (const auto& name : option->get_snames()) out += (out.empty() ? "-" : ", -") + name;
    for (const auto& name : option->get_lnames())
      out += (out.empty() ? "" : ", ") + std::string(is_one_dash_name(name) ? "-" : "--") + name;
    return out;
  }
  std::string make_option_opts(const CLI::Option* option) const override {
    if (option->get_type_size() == 0) return "";
    std::string out = " " + option->get_type_name();
    if (!option->get_default_str().empty()) out += " [" + option->get_default_str() + "]";
    return out;
  }
};

std::vector<std::string> verb_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const auto* verb : app.get_subcommands([](const CLI::App*) { return true; })) names.push_back(verb->get_name());
  return names;
}

std::vector<std::string> flag_names(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const auto* option : verb.get_options()) {
    for (const auto& name : option->get_snames()) names.push_back("-" + name);
    for (const auto& name : option->get_lnames()) names.push_back((is_one_dash_name(name) ? "-" : "--") + name);
  }
  return names;
}

// What to say of an argument that nothing took: neither the program, before the command, nor the command.
std::string unexpected_argument(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  const auto before = app.remaining(false);
  const bool of_program = chosen.empty() || !before.empty();
  const CLI::App& owner = of_program ? app : *chosen.front();
  const std::string argument = of_program ? before.front() : owner.remaining().front();
  const std::string typed = argument.substr(0, argument.find('='));
  const bool flag = argument.size() > 1 && argument[0] == '-';
  std::string near, text;
  if (flag) {
    text = fmt::format("unknown flag {} {}", typed, of_program ? "before the command" : "of " + owner.get_name());
    near = nearest_name(typed, flag_names(owner));
  } else if (of_program) {
    text = fmt::format("unknown command '{}'", argument);
    near = nearest_name(argument, verb_names(app));
  } else {
    text = fmt::format("unexpected argument '{}' of {}", argument, owner.get_name());
  }
  if (!near.empty()) return text + "; did you mean " + near + "?";
  return text + "; see ostro " + (of_program ? "" : owner.get_name() + " ") + "--help";
}

int exit_code(ErrorKind kind) { return static_cast<int>(kind); }

int bad_use(const std::string& message) {
  report(message);
  return exit_code(ErrorKind::Usage);
}

std::vector<std::string> arguments(int argc, char** argv) {
  std::vector<std::string> out;
  for (int i = argc - 1; i > 0; --i) {  // CLI11 takes them in reverse
    const std::string argument = argv[i];
    const bool one_dash = argument.size() > 2 && argument[0] == '-' && is_one_dash_name(argument.substr(1));
    out.push_back(one_dash ? "-" + argument : argument);
  }
  return out;
}

int parse_and_run(CLI::App& app, int argc, char** argv) {
  try {
    app.parse(arguments(argc, argv));
  } catch (const CLI::CallForVersion&) {
    write_out("ostro " OSTRO_VERSION "\n");
  } catch (const CLI::CallForHelp&) {
    write_out(app.help());
  } catch (const CLI::ParseError& error) {
    return bad_use(app.remaining(true).empty() ? error.what() : unexpected_argument(app));
  }
  if (argc <= 1) {
    std::fputs(app.help().c_str(), stderr);
    return exit_code(ErrorKind::Usage);
  }
  return interrupted() ? kExitInterrupted : 0;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  try {
    install_interrupt_handler();
    install_bus_error_handler();
    CLI::App app("Runs, converts and explains sparse mixture-of-experts language models.", "ostro");
    app.formatter(std::make_shared<HelpFormatter>());
    app.get_formatter()->column_width(38);
    app.get_formatter()->label("SUBCOMMAND", "COMMAND");
    app.get_formatter()->label("Subcommands", "Commands");
    app.set_help_flag("-h,--help", "This help; after a command, the help of that command");
    app.set_version_flag("--version", OSTRO_VERSION, "Print the version");
    app.require_subcommand(0, 1);
    for (const auto add : kVerbs) add(app);  // before the footer, which they would inherit
    app.footer(
        "Examples:\n"
        "  ostro run -m model.gguf -p \"The mistral is a wind that\"\n"
        "  ostro chat -m Mixtral-8x7B-Instruct-v0.1/\n"
        "  ostro inspect model.gguf\n\n"
        "Exit codes: 0 ok, 1 bad use, 2 bad file, 3 does not fit in memory, 4 input or output failed.");
    return parse_and_run(app, argc, argv);
  } catch (const Error& error) {
    report(error.what());
    return interrupted() ? kExitInterrupted : exit_code(error.kind());
  } catch (const std::bad_alloc&) {
    report("out of memory");
    return exit_code(ErrorKind::Memory);
  } catch (const std::system_error& error) {
    report(error.what());
    return exit_code(ErrorKind::Io);
  } catch (const std::exception& error) {
    report(std::string("internal error: ") + error.what());
    return kExitBug;
  }
}

}  // namespace ostro
