// SIGBUS: a mapped file became shorter while it was in use, or its disk failed.
#pragma once

namespace ostro {

// From now on it ends the process with one line that names the file, and the exit code of ErrorKind::Io.
void install_bus_error_handler();

}  // namespace ostro
