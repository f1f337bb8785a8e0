// The BF16 product of AVX-512's BF16 extension (flags: src/kernels/kernels.cmake). Exports kernels_avx512_bf16 and
// nothing else.
#include <immintrin.h>

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
#include "kernels/cpu/simd_avx512.inc"
#include "tensor/unpack.inc"
#include "kernels/cpu/common.inc"
#include "kernels/cpu/unpack_grid.inc"
#include "kernels/cpu/unpack_panel.inc"
#include "kernels/cpu/matmul.inc"
#include "kernels/cpu/matmul_few_floats.inc"
#include "kernels/cpu/bf16_panel.inc"
#include "kernels/cpu/matmul_bf16_dots.inc"
// clang-format on

// The product alone; all else is that of kernels_avx512 (cpu/select.cpp).
constexpr KernelTable make_bf16_table() {
  KernelTable table = {};
  table.name = "avx512-bf16";
  table.matmul_bf16 = matmul_bf16_dots;
  return table;
}

}  // namespace

extern const KernelTable kernels_avx512_bf16;
const KernelTable kernels_avx512_bf16 = make_bf16_table();

}  // namespace ostro
