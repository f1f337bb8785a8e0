// How fast this machine reads memory, measured.
#pragma once

namespace ostro {

// Bytes a second that `threads` threads read together from memory too large for the caches: the best of a few passes.
double read_bandwidth(int threads);

}  // namespace ostro
