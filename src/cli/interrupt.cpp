#include "cli/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "cli/commands.h"

namespace ostro {
namespace {

std::atomic<int> presses{0};
static_assert(std::atomic<int>::is_always_lock_free);

void on_interrupt(int) {
  if (presses.fetch_add(1) > 0) _exit(kExitInterrupted);
}

}  // namespace

void install_interrupt_handler() {
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  sigemptyset(&action.sa_mask);
  // No SA_RESTART: a read that waits for the keyboard returns.
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() { return presses.load() > 0; }
void clear_interrupt() { presses.store(0); }

}  // namespace ostro
