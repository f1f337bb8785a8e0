// The quantisers behind quantize_row, one function a type; for src/tensor only. Each writes `blocks` blocks.
#pragma once

#include <cstdint>

#include "base/half.h"

namespace ostro::quantizers {

// How ggml defines them (quantize_direct.cpp): the largest weight fixes the scale.
void q4_0(const float* in, int64_t blocks, uint8_t* out);
void q4_1(const float* in, int64_t blocks, uint8_t* out);
void q5_0(const float* in, int64_t blocks, uint8_t* out);
void q5_1(const float* in, int64_t blocks, uint8_t* out);
void q8_0(const float* in, int64_t blocks, uint8_t* out);
void tq1_0(const float* in, int64_t blocks, uint8_t* out);
void tq2_0(const float* in, int64_t blocks, uint8_t* out);
void mxfp4(const float* in, int64_t blocks, uint8_t* out);

// Those whose scales are searched for the least squared error (quantize_search.cpp), each column weighed by its
// importance, or all alike where that is null.
void q2_k(const float* in, const float* importance, int64_t blocks, uint8_t* out);
void q3_k(const float* in, const float* importance, int64_t blocks, uint8_t* out);
void q4_k(const float* in, const float* importance, int64_t blocks, uint8_t* out);
void q5_k(const float* in, const float* importance, int64_t blocks, uint8_t* out);
void q6_k(const float* in, const float* importance, int64_t blocks, uint8_t* out);
void iq4_nl(const float* in, const float* importance, int64_t blocks, uint8_t* out);
void iq4_xs(const float* in, const float* importance, int64_t blocks, uint8_t* out);

// A scale as binary16. Overflow stops at the largest finite number: an infinite scale would make every weight of the
// block NaN.
inline uint16_t scale_to_f16(float scale) {
  const float limit = 65504;
  return f32_to_f16(scale > limit ? limit : scale < -limit ? -limit : scale);
}

inline void store_u16(uint8_t* out, uint16_t value) {
  out[0] = static_cast<uint8_t>(value);
  out[1] = static_cast<uint8_t>(value >> 8);
}

}  // namespace ostro::quantizers
