#include "cli/bus_error.h"

#include <signal.h>
#include <unistd.h>

#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"

namespace ostro {
namespace {

void say(const char* text) { static_cast<void>(::write(STDERR_FILENO, text, std::strlen(text)) < 0); }

void on_bus_error(int signal, siginfo_t* info, void*) {
  const char* path = mapped_path_at(info->si_addr);
  if (path == nullptr) {  // our own mistake: end as without a handler
    ::signal(signal, SIG_DFL);
    return;
  }
  say("ostro: ");
  say(path);
  say(": cannot be read any more: the file became shorter while it was in use, or its disk failed\n");
  _exit(static_cast<int>(ErrorKind::Io));
}

}  // namespace

void install_bus_error_handler() {
  struct sigaction action = {};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, nullptr);
}

}  // namespace ostro
