// Ctrl-C: the first press asks the running work to stop, the second ends the process.
#pragma once

namespace ostro {

void install_interrupt_handler();
// True once Ctrl-C was pressed since the last clear_interrupt().
bool interrupted();
void clear_interrupt();

}  // namespace ostro
