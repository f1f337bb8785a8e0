// Scalar definition of every storage type: rows to and from float32. The kernels unpack with the same code
// (tensor/unpack.inc), compiled for each instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "tensor/dtype.h"
#include "tensor/views.h"

namespace ostro {

// One row of a matrix as float32, with its scales where it has some.
void dequantize_row(const Matrix& matrix, int64_t row, std::span<float> out);

// One row of `out.size()` weights (a multiple of the type's block) as float32.
void dequantize_row(DType type, const std::byte* row, std::span<float> out);

// True for the types that quantize_row writes (F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K, IQ4_NL, IQ4_XS, TQ1_0,
// TQ2_0, MXFP4).
bool can_quantize(DType type);

// One row of float32 as `type`; out holds row_bytes(type, in.size()). `importance` weighs the squared error of each
// column (an importance matrix), or is empty.
void quantize_row(DType type, std::span<const float> in, std::byte* out, std::span<const float> importance = {});

}  // namespace ostro
