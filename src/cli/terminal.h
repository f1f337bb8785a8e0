// Text to the terminal: checked writes to stdout, errors in one line. Nothing is coloured.
#pragma once

#include <string_view>

namespace ostro {

// Writes and flushes; throws Error(Io) when stdout does not take it (a full disk).
void write_out(std::string_view text);
// One line on stderr: "ostro: ...". Line breaks inside become spaces.
void report(std::string_view message);

bool stdin_is_terminal();
bool stdout_is_terminal();

}  // namespace ostro
