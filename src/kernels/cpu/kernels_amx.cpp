// The kernels with products over AMX tiles (flags: src/kernels/kernels.cmake). Exports kernels_amx and nothing else.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "kernels/cpu/kernel_table.h"
#include "tensor/quant_tables.h"

namespace ostro {
namespace {

// Each builds on those above it.
// clang-format off
#include "kernels/cpu/simd_avx512.inc"
#include "kernels/cpu/tile_amx.inc"
#include "tensor/unpack.inc"
#include "kernels/cpu/common.inc"
#include "kernels/cpu/unpack_panel.inc"
#include "kernels/cpu/matmul.inc"
#include "kernels/cpu/matmul_few_floats.inc"
#include "kernels/cpu/matmul_tiles.inc"
#include "kernels/cpu/rowwise.inc"
#include "kernels/cpu/attention.inc"
#include "kernels/cpu/attention_step.inc"
#include "kernels/cpu/table.inc"
// clang-format on

constexpr KernelTable make_tile_table(const char* name) {
  KernelTable table = make_table(name);
  table.matmul_int8 = matmul_int8_tiles;
  table.matmul_bf16 = matmul_bf16_tiles;
  return table;
}

}  // namespace

extern const KernelTable kernels_amx;
const KernelTable kernels_amx = make_tile_table("amx");

}  // namespace ostro
