// Types whose scale follows from the largest weight of a block; bit-equal to ggml's reference quantisers (and
// gguf-py's) for all finite input within the range of a binary16 scale.
#include <algorithm>
#include <cmath>

#include "tensor/quant_tables.h"
#include "tensor/quantizers.h"

namespace ostro::quantizers {
namespace {

// The weight of largest magnitude, the first of equals, with its sign.
float signed_max(const float* in, int count) {
  float largest = 0, value = 0;
  for (int i = 0; i < count; ++i) {
    if (std::fabs(in[i]) > largest) {
      largest = std::fabs(in[i]);
      value = in[i];
    }
  }
  return value;
}

float inverse(float scale) { return scale == 0 ? 0 : 1 / scale; }

// Truncates to [0, limit]; NaN becomes 0.
uint8_t to_code(float value, float limit) {
  return static_cast<uint8_t>(value > 0 ? (value < limit ? value : limit) : 0);
}

// Rounds halves away from zero into [-limit, limit]; NaN becomes 0.
int to_signed(float value, int limit) {
  const float magnitude = std::fabs(value);
  const int whole =
      magnitude >= 0 ? static_cast<int>(magnitude < static_cast<float>(limit) ? magnitude : static_cast<float>(limit))
                     : 0;
  const int rounded = whole + (whole < limit && magnitude - static_cast<float>(whole) >= 0.5f ? 1 : 0);
  return value < 0 ? -rounded : rounded;
}

void pack_nibbles(const uint8_t* code, uint8_t* out) {
  for (int i = 0; i < 16; ++i) out[i] = static_cast<uint8_t>((code[i] & 15) | code[16 + i] << 4);
}

void pack_fifth_bits(const uint8_t* code, uint8_t* out) {
  for (int i = 0; i < 4; ++i) {
    int bits = 0;
    for (int j = 0; j < 8; ++j) bits |= (code[8 * i + j] >> 4 & 1) << j;
    out[i] = static_cast<uint8_t>(bits);
  }
}

// Codes 0 to 2 half, scaled so that the largest weight has code 0.
void symmetric_codes(const float* in, float half, uint8_t* code, uint8_t* scale) {
  const float d = signed_max(in, 32) / -half;
  const float inverse_d = inverse(d);
  for (int i = 0; i < 32; ++i) code[i] = to_code(in[i] * inverse_d + (half + 0.5f), 2 * half - 1);
  store_u16(scale, scale_to_f16(d));
}

// Codes 0 to levels from the smallest to the largest weight.
void affine_codes(const float* in, float levels, uint8_t* code, uint8_t* scale) {
  const auto [low, high] = std::minmax_element(in, in + 32);
  const float min = *low;
  const float d = (*high - min) / levels;
  const float inverse_d = inverse(d);
  for (int i = 0; i < 32; ++i) code[i] = to_code((in[i] - min) * inverse_d + 0.5f, levels);
  store_u16(scale, scale_to_f16(d));
  store_u16(scale + 2, scale_to_f16(min));
}

// 0, 1, 2 for minus, nought, plus the largest magnitude of 256 weights.
float ternary_codes(const float* in, uint8_t* code) {
  const float d = std::fabs(signed_max(in, 256));
  const float inverse_d = inverse(d);
  for (int i = 0; i < 256; ++i) code[i] = static_cast<uint8_t>(to_signed(in[i] * inverse_d, 1) + 1);
  return d;
}

// Five (the last of all: four) digits, `step` weights apart, as ceil(256 n / 243).
uint8_t pack_ternary(const uint8_t* code, int digits, int step) {
  int n = 0;
  for (int i = 0; i < 5; ++i) n = 3 * n + (i < digits ? code[i * step] : 0);
  return static_cast<uint8_t>((n * 256 + 242) / 243);
}

}  // namespace

void q4_0(const float* in, int64_t blocks, uint8_t* out) {
  uint8_t code[32];
  for (int64_t b = 0; b < blocks; ++b, in += 32, out += 18) {
    symmetric_codes(in, 8, code, out);
    pack_nibbles(code, out + 2);
  }
}

void q4_1(const float* in, int64_t blocks, uint8_t* out) {
  uint8_t code[32];
  for (int64_t b = 0; b < blocks; ++b, in += 32, out += 20) {
    affine_codes(in, 15, code, out);
    pack_nibbles(code, out + 4);
  }
}

void q5_0(const float* in, int64_t blocks, uint8_t* out) {
  uint8_t code[32];
  for (int64_t b = 0; b < blocks; ++b, in += 32, out += 22) {
    symmetric_codes(in, 16, code, out);
    pack_fifth_bits(code, out + 2);
    pack_nibbles(code, out + 6);
  }
}

void q5_1(const float* in, int64_t blocks, uint8_t* out) {
  uint8_t code[32];
  for (int64_t b = 0; b < blocks; ++b, in += 32, out += 24) {
    affine_codes(in, 31, code, out);
    pack_fifth_bits(code, out + 4);
    pack_nibbles(code, out + 8);
  }
}

void q8_0(const float* in, int64_t blocks, uint8_t* out) {
  for (int64_t b = 0; b < blocks; ++b, in += 32, out += 34) {
    const float d = std::fabs(signed_max(in, 32)) / 127;
    const float inverse_d = inverse(d);
    store_u16(out, scale_to_f16(d));
    for (int i = 0; i < 32; ++i) out[2 + i] = static_cast<uint8_t>(to_signed(in[i] * inverse_d, 127));
  }
}

void tq1_0(const float* in, int64_t blocks, uint8_t* out) {
  uint8_t code[256];
  for (int64_t b = 0; b < blocks; ++b, in += 256, out += 54) {
    const float d = ternary_codes(in, code);
    for (int i = 0; i < 32; ++i) out[i] = pack_ternary(code + i, 5, 32);
    for (int i = 0; i < 16; ++i) out[32 + i] = pack_ternary(code + 160 + i, 5, 16);
    for (int i = 0; i < 4; ++i) out[48 + i] = pack_ternary(code + 240 + i, 4, 4);
    store_u16(out + 52, scale_to_f16(d));
  }
}

void tq2_0(const float* in, int64_t blocks, uint8_t* out) {
  uint8_t code[256];
  for (int64_t b = 0; b < blocks; ++b, in += 256, out += 66) {
    const float d = ternary_codes(in, code);
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 32; ++i) {
        const uint8_t* c = code + 128 * half + i;
        out[32 * half + i] = static_cast<uint8_t>(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
      }
    }
    store_u16(out + 64, scale_to_f16(d));
  }
}

void mxfp4(const float* in, int64_t blocks, uint8_t* out) {
  uint8_t code[32];
  for (int64_t b = 0; b < blocks; ++b, in += 32, out += 17) {
    // The power of two that puts the largest weight into e2m1's top binade, [4, 8) (doubled: [8, 16)).
    const float largest = std::fabs(signed_max(in, 32));
    int exponent = 0;
    if (largest > 0 && largest <= 3.4e38f)
      exponent = std::max(static_cast<int>(std::floor(std::log2(largest))) - 2 + 127, 0);
    const float d = std::ldexp(1.0f, exponent - 128);
    for (int i = 0; i < 32; ++i) {
      int best = 0;
      float best_error = std::fabs(in[i]);
      for (int c = 1; c < 16; ++c) {
        const float error = std::fabs(d * static_cast<float>(kMxfp4Values[c]) - in[i]);
        if (error < best_error) {
          best = c;
          best_error = error;
        }
      }
      code[i] = static_cast<uint8_t>(best);
    }
    out[0] = static_cast<uint8_t>(exponent);
    pack_nibbles(code, out + 1);
  }
}

}  // namespace ostro::quantizers
