// Which kernel tables this build has, which the machine can run, and which one to use.
#pragma once

#include <string>
#include <vector>

#include "kernels/cpu/kernel_table.h"

namespace ostro {

struct InstructionSet {
  std::string name;         // "avx512", as OSTRO_ISA takes it
  std::string description;  // "AVX-512 with VNNI"
  const KernelTable* table;
  bool available;  // this machine can run it
  bool automatic;  // may be chosen without being asked for
};

// All sets of this build, best first.
const std::vector<InstructionSet>& instruction_sets();

// The best available one, or the one that the environment variable OSTRO_ISA names. Throws Error(Usage) when that name
// is unknown or this machine cannot run it.
const InstructionSet& select_instruction_set();

}  // namespace ostro
