#include "cli/terminal.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "base/error.h"

namespace ostro {

void write_out(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    throw_error(ErrorKind::Io, "stdout: {}", std::strerror(errno));
}

void report(std::string_view message) {
  std::string line = "ostro: " + std::string(message);
  for (auto& c : line)
    if (c == '\n' || c == '\r') c = ' ';
  while (line.back() == ' ') line.pop_back();
  std::fputs((line + "\n").c_str(), stderr);
}

bool stdin_is_terminal() { return ::isatty(STDIN_FILENO) == 1; }
bool stdout_is_terminal() { return ::isatty(STDOUT_FILENO) == 1; }

}  // namespace ostro
