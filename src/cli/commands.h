// The verbs of `ostro`, one file each. A verb registers its flags and a callback; whatever goes wrong inside is an
// Error, which run_command_line turns into one line on stderr and an exit code.
#pragma once

namespace CLI {
class App;
}

namespace ostro {

void add_run(CLI::App& app);
void add_chat(CLI::App& app);
void add_logits(CLI::App& app);
void add_inspect(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_template(CLI::App& app);
void add_bench(CLI::App& app);
void add_quantize(CLI::App& app);
void add_convert(CLI::App& app);
void add_upcycle(CLI::App& app);
void add_version(CLI::App& app);

// Exit codes: 0 ok, otherwise ErrorKind (base/error.h), and these two.
inline constexpr int kExitBug = 70;           // an exception that should have been an Error
inline constexpr int kExitInterrupted = 130;  // Ctrl-C

// All of main: parses, runs the verb, reports.
int run_command_line(int argc, char** argv);

}  // namespace ostro
