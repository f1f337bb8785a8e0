// What this machine can do at most, measured: how fast it reads memory, and how fast it multiplies.
#pragma once

#include "backend/backend.h"

namespace ostro {

// Bytes a second that `threads` threads read together from memory too large for the caches: the best of a few passes.
double read_bandwidth(int threads);

// Operations a second, a multiplication and an addition being two, of `threads` threads that repeat the widest
// instruction for such products, of the instruction sets the kernels know, on registers alone.
double peak_operations(Arithmetic arithmetic, int threads);

}  // namespace ostro
