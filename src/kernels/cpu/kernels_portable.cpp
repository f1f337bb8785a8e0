// The kernels compiled for one instruction set (flags: src/kernels/kernels.cmake). Exports kernels_portable and nothing
// else.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/half.h"
#include "kernels/cpu/kernel_table.h"
#include "tensor/quant_tables.h"

namespace ostro {
namespace {

// Each builds on those above it.
// clang-format off
#include "kernels/cpu/simd_portable.inc"
#include "tensor/unpack.inc"
#include "kernels/cpu/common.inc"
#include "kernels/cpu/matmul.inc"
#include "kernels/cpu/rowwise.inc"
#include "kernels/cpu/attention.inc"
#include "kernels/cpu/definition_only.inc"
#include "kernels/cpu/table.inc"
// clang-format on

}  // namespace

extern const KernelTable kernels_portable;
const KernelTable kernels_portable = make_table("portable");

}  // namespace ostro
