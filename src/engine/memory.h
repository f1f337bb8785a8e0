// Memory of this machine and this process.
#pragma once

#include <cstdint>
#include <string>

namespace ostro {

// Bytes that can still be used without swapping: what the kernel calls available, within the limits of the control
// group.
uint64_t available_memory();
// The largest resident size this process has had. Mapped weights count once they were read.
uint64_t peak_memory();

std::string in_gigabytes(uint64_t bytes);  // "26.4 GB"

}  // namespace ostro
