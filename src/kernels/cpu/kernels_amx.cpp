// The kernels with products over AMX tiles (flags: src/kernels/kernels.cmake). Exports kernels_amx and nothing else.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/half.h"
#include "kernels/cpu/kernel_table.h"
#include "tensor/quant_tables.h"

namespace ostro {

extern const KernelTable kernels_avx512;

namespace {

constexpr const KernelTable& kVectorKernels = kernels_avx512;

// Each builds on those above it.
// clang-format off
#include "kernels/cpu/simd_avx512.inc"
#include "kernels/cpu/tile_amx.inc"
#include "tensor/unpack.inc"
#include "kernels/cpu/common.inc"
#include "kernels/cpu/unpack_grid.inc"
#include "kernels/cpu/unpack_panel.inc"
#include "kernels/cpu/matmul.inc"
#include "kernels/cpu/matmul_few_floats.inc"
#include "kernels/cpu/bf16_panel.inc"
#include "kernels/cpu/matmul_tiles.inc"
// clang-format on

}  // namespace

extern const KernelTable kernels_amx;
const KernelTable kernels_amx = make_tile_table("amx");

}  // namespace ostro
