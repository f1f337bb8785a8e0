// The kernels compiled for one instruction set (flags: src/kernels/kernels.cmake). Exports kernels_avx2 and nothing
// else.
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
#include "kernels/cpu/simd_avx2.inc"
#include "tensor/unpack.inc"
#include "kernels/cpu/common.inc"
#include "kernels/cpu/unpack_grid.inc"
#include "kernels/cpu/unpack_panel.inc"
#include "kernels/cpu/matmul.inc"
#include "kernels/cpu/matmul_few_floats.inc"
#include "kernels/cpu/rowwise.inc"
#include "kernels/cpu/attention.inc"
#include "kernels/cpu/attention_step.inc"
#include "kernels/cpu/table.inc"
// clang-format on

}  // namespace

extern const KernelTable kernels_avx2;
const KernelTable kernels_avx2 = make_table("avx2");

}  // namespace ostro
