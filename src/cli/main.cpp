// The `ostro` binary.
#include "cli/commands.h"

int main(int argc, char** argv) { return ostro::run_command_line(argc, argv); }
