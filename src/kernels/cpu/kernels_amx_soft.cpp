// The kernels with products over AMX tiles (flags: src/kernels/kernels.cmake). Exports kernels_amx_soft and nothing
// else.
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/half.h"
#include "kernels/cpu/kernel_table.h"
#include "tensor/quant_tables.h"

namespace ostro {

extern const KernelTable kernels_portable;

namespace {

constexpr const KernelTable& kVectorKernels = kernels_portable;

// Each builds on those above it.
// clang-format off
#include "kernels/cpu/simd_portable.inc"
#include "kernels/cpu/tile_soft.inc"
#include "tensor/unpack.inc"
#include "kernels/cpu/common.inc"
#include "kernels/cpu/matmul.inc"
#include "kernels/cpu/bf16_panel.inc"
#include "kernels/cpu/matmul_tiles.inc"
#include "kernels/cpu/attention.inc"
#include "kernels/cpu/definition_only.inc"
// clang-format on

}  // namespace

extern const KernelTable kernels_amx_soft;
const KernelTable kernels_amx_soft = make_tile_table("amx-soft");

}  // namespace ostro
