// K types and IQ4: scales searched for the least weighted squared error.
//
// A group of weights x is stored as s q - m with few levels q, and a block's s and m are themselves small integers
// times one or two binary16 numbers. Per group we try scales around the one that fits the largest weight; each gives
// levels, and levels give the best s and m by least squares. Then the block's factors follow from the largest s and m,
// the integers around each s / d and m / dmin are tried with the error they really leave, and d, dmin are fitted once
// more to the levels found.
//
// The error of a weight counts importance * sqrt(mean square + x^2): large weights matter somewhat more.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "tensor/quant_tables.h"
#include "tensor/quantizers.h"

namespace ostro::quantizers {
namespace {

// Four floats in the notation that g++ and clang share; sums have a fixed order.
typedef float F4 __attribute__((vector_size(16)));

F4 splat(float value) { return F4{value, value, value, value}; }

F4 load(const float* from) {
  F4 value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

void store(float* to, F4 value) { std::memcpy(to, &value, sizeof value); }

float sum(F4 v) { return (v[0] + v[2]) + (v[1] + v[3]); }

F4 clamp(F4 v, F4 low, F4 high) {
  v = v > low ? v : low;  // NaN becomes low
  return v < high ? v : high;
}

// To the nearest whole number, for |v| < 2^22.
F4 nearest(F4 v) {
  const F4 magic = splat(12582912.0f);  // 1.5 * 2^23: its unit is 1
  return (v + magic) - magic;
}

// ---- levels

// Whole numbers from kLow to kHigh.
template <int kLow, int kHigh>
struct Uniform {
  static constexpr float kLargest = -kLow;
  static F4 quantize(F4 v) { return nearest(clamp(v, splat(kLow), splat(kHigh))); }
  static uint8_t code(float level) { return static_cast<uint8_t>(static_cast<int>(level) - kLow); }
};

// The sixteen values of the IQ4 types. Their midpoints are multiples of a half: entry floor(2 v) + 256 of the tables
// belongs to the value nearest v.
struct Iq4Tables {
  float value[512];
  uint8_t code[512];
};
constexpr Iq4Tables kIq4Tables = [] {
  Iq4Tables tables{};
  for (int i = 0, code = 0; i < 512; ++i) {
    while (code < 15 && i - 256 >= kIq4Values[code] + kIq4Values[code + 1]) ++code;
    tables.value[i] = static_cast<float>(kIq4Values[code]);
    tables.code[i] = static_cast<uint8_t>(code);
  }
  return tables;
}();

struct Iq4 {
  static constexpr float kLargest = 127;
  static F4 quantize(F4 v) {
    const F4 at = clamp(v + v, splat(-255), splat(255)) + splat(256);
    return F4{kIq4Tables.value[static_cast<int>(at[0])], kIq4Tables.value[static_cast<int>(at[1])],
              kIq4Tables.value[static_cast<int>(at[2])], kIq4Tables.value[static_cast<int>(at[3])]};
  }
  static uint8_t code(float level) { return kIq4Tables.code[static_cast<int>(level + level) + 256]; }
};

float inverse(float scale) { return scale == 0 ? 0 : 1 / scale; }

// An integer scale near `value / unit` in [low, high].
int nearest_integer(float value, float unit, int low, int high) {
  const float ratio = value * inverse(unit);
  const float low_f = static_cast<float>(low), high_f = static_cast<float>(high);
  return static_cast<int>(std::lrintf(!(ratio > low_f) ? low_f : ratio < high_f ? ratio : high_f));
}

template <int kCount>
void error_weights(const float* x, const float* importance, float mean_square, float* weight) {
  for (int i = 0; i < kCount; ++i) {
    weight[i] = std::sqrt(mean_square + x[i] * x[i]) * (importance == nullptr ? 1 : importance[i]);
  }
}

template <int kCount>
float mean_square(const float* x) {
  F4 total = {};
  for (int i = 0; i < kCount; i += 4) total += load(x + i) * load(x + i);
  return sum(total) / kCount;
}

// ---- s q: symmetric types

template <typename Levels, int kSize>
float symmetric_error(const float* x, const float* weight, float scale) {
  const F4 s = splat(scale), inverse_s = splat(inverse(scale));
  F4 error = {};
  for (int i = 0; i < kSize; i += 4) {
    const F4 rest = load(x + i) - s * Levels::quantize(load(x + i) * inverse_s);
    error += load(weight + i) * rest * rest;
  }
  return sum(error);
}

constexpr int kSteps = 8;

struct Fit {
  float xq, qq;  // sums of weight x q and weight q q: the best scale is xq / qq and takes xq^2 / qq off the error
};

template <typename Levels, int kSize>
Fit fit(const float* x, const float* weight, float inverse_scale) {
  F4 xq = {}, qq = {};
  for (int i = 0; i < kSize; i += 4) {
    const F4 level = Levels::quantize(load(x + i) * splat(inverse_scale));
    const F4 weighted = load(weight + i) * level;
    xq += weighted * load(x + i);
    qq += weighted * level;
  }
  return {sum(xq), sum(qq)};
}

// The best scale of a group: candidates that put the largest weight up to `reach` levels beyond or before the end of
// the levels, in 2 kSteps steps.
template <typename Levels, int kSize>
float symmetric_scale(const float* x, const float* weight, float reach) {
  float largest = 0;
  for (int i = 0; i < kSize; ++i) largest = std::fabs(x[i]) > std::fabs(largest) ? x[i] : largest;
  if (largest == 0) return 0;
  float best_gain = 0, best_scale = 0;
  const auto consider = [&](float inverse_scale) {
    const Fit sums = fit<Levels, kSize>(x, weight, inverse_scale);
    if (sums.qq > 0 && sums.xq * sums.xq > best_gain * sums.qq) {
      best_scale = sums.xq / sums.qq;
      best_gain = sums.xq * best_scale;
    }
  };
  for (int i = -kSteps; i <= kSteps; ++i) {
    const float inverse_scale = (Levels::kLargest + reach / kSteps * static_cast<float>(i)) / largest;
    consider(-inverse_scale);  // the largest weight at the end with one more level
    consider(inverse_scale);
  }
  if (best_scale != 0) consider(1 / best_scale);
  return best_scale;
}

// A block of kGroups groups with scales d * integer. Writes the integers and the levels; returns d as binary16.
template <typename Levels, int kGroups, int kLow, int kHigh>
uint16_t symmetric_block(const float* x, const float* importance, float reach, int* integer, float* level) {
  constexpr int kSize = 256 / kGroups;
  float weight[256], scale[kGroups];
  error_weights<256>(x, importance, mean_square<256>(x), weight);
  float largest = 0;
  for (int g = 0; g < kGroups; ++g) {
    scale[g] = symmetric_scale<Levels, kSize>(x + kSize * g, weight + kSize * g, reach);
    if (std::fabs(scale[g]) > std::fabs(largest)) largest = scale[g];
  }
  uint16_t d_bits = scale_to_f16(largest / kLow);
  float best_error = -1;
  uint16_t best_bits = d_bits;
  for (int pass = 0; pass < 3; ++pass) {
    const float d = f16_to_f32(d_bits);
    int tried[kGroups];
    float error = 0;
    double xa = 0, aa = 0;  // least squares of x against a = integer * level
    for (int g = 0; g < kGroups; ++g) {
      const float* xg = x + kSize * g;
      const float* wg = weight + kSize * g;
      const int middle = nearest_integer(scale[g], d, kLow, kHigh);
      float least = -1;
      for (int s = std::max(middle - 1, kLow); s <= std::min(middle + 1, kHigh); ++s) {
        const float e = symmetric_error<Levels, kSize>(xg, wg, d * static_cast<float>(s));
        if (least < 0 || e < least) {
          least = e;
          tried[g] = s;
        }
      }
      error += least;
      const float s = static_cast<float>(tried[g]);
      const Fit sums = fit<Levels, kSize>(xg, wg, inverse(d * s));
      xa += static_cast<double>(s * sums.xq);
      aa += static_cast<double>(s * s * sums.qq);
    }
    if (best_error < 0 || error < best_error) {
      best_error = error;
      best_bits = d_bits;
      std::copy(tried, tried + kGroups, integer);
    } else {
      break;
    }
    const uint16_t refined = aa > 0 ? scale_to_f16(static_cast<float>(xa / aa)) : d_bits;
    if (refined == d_bits) break;
    d_bits = refined;
  }
  const float d = f16_to_f32(best_bits);
  for (int g = 0; g < kGroups; ++g) {
    const F4 inverse_s = splat(inverse(d * static_cast<float>(integer[g])));
    for (int i = kSize * g; i < kSize * (g + 1); i += 4) store(level + i, Levels::quantize(load(x + i) * inverse_s));
  }
  return best_bits;
}

// ---- s q - m: types with a min, levels 0 to kTop

struct Affine {
  float scale = 0, min = 0;  // value = scale * level - min
};

struct AffineSums {
  float q, qq, xq;  // sums of weight times q, q q, x q
};

template <int kTop, int kSize>
AffineSums affine_sums(const float* x, const float* weight, float inverse_scale, float min) {
  F4 q = {}, qq = {}, xq = {};
  for (int i = 0; i < kSize; i += 4) {
    const F4 level = nearest(clamp((load(x + i) + splat(min)) * splat(inverse_scale), splat(0), splat(kTop)));
    const F4 weighted = load(weight + i) * level;
    q += weighted;
    qq += weighted * level;
    xq += weighted * load(x + i);
  }
  return {sum(q), sum(qq), sum(xq)};
}

template <int kTop, int kSize>
float affine_error(const float* x, const float* weight, Affine map) {
  const F4 s = splat(map.scale), m = splat(map.min), inverse_s = splat(inverse(map.scale));
  F4 error = {};
  for (int i = 0; i < kSize; i += 4) {
    const F4 level = nearest(clamp((load(x + i) + m) * inverse_s, splat(0), splat(kTop)));
    const F4 rest = load(x + i) - (s * level - m);
    error += load(weight + i) * rest * rest;
  }
  return sum(error);
}

// The best scale and min of a group: candidates for the number of levels across the range, each improved by least
// squares, the best of them assigned and fitted again.
template <int kTop, int kSize>
Affine affine_map(const float* x, const float* weight, int below, int above) {
  float low = 0, high = x[0];
  F4 w = {}, wx = {};
  for (int i = 0; i < kSize; i += 4) {
    w += load(weight + i);
    wx += load(weight + i) * load(x + i);
  }
  for (int i = 0; i < kSize; ++i) {
    low = std::min(low, x[i]);
    high = std::max(high, x[i]);
  }
  Affine best{0, -low};
  if (!(high > low)) return best;
  const float sum_w = sum(w), sum_wx = sum(wx);
  float best_error = 0;
  bool found = false;
  const auto consider = [&](float inverse_scale, float min) {
    const AffineSums s = affine_sums<kTop, kSize>(x, weight, inverse_scale, min);
    const float determinant = sum_w * s.qq - s.q * s.q;
    if (!(determinant > 0)) return;
    Affine map{(sum_w * s.xq - sum_wx * s.q) / determinant, (s.q * s.xq - s.qq * sum_wx) / determinant};
    if (map.min < 0) map = {s.xq / s.qq, 0};
    // The error less the constant sum of weight x^2.
    const float error =
        map.scale * (map.scale * s.qq - 2 * s.xq - 2 * map.min * s.q) + map.min * (map.min * sum_w + 2 * sum_wx);
    if (map.scale > 0 && (!found || error < best_error)) {
      found = true;
      best_error = error;
      best = map;
    }
  };
  for (int i = -below; i <= above; ++i) {
    consider((static_cast<float>(kTop) + 0.1f * static_cast<float>(i)) / (high - low), -low);
  }
  for (int i = 0; i < 2 && found; ++i) consider(1 / best.scale, best.min);
  return best;
}

struct AffineBlock {
  uint16_t d = 0, dmin = 0;  // binary16
  int scale[16] = {}, min[16] = {};
  uint8_t code[256] = {};
};

template <int kTop, int kGroups, int kHigh>
AffineBlock affine_block(const float* x, const float* importance, int below, int above) {
  constexpr int kSize = 256 / kGroups;
  float weight[256];
  Affine map[kGroups];
  error_weights<256>(x, importance, mean_square<256>(x), weight);
  float largest_scale = 0, largest_min = 0;
  for (int g = 0; g < kGroups; ++g) {
    map[g] = affine_map<kTop, kSize>(x + kSize * g, weight + kSize * g, below, above);
    largest_scale = std::max(largest_scale, map[g].scale);
    largest_min = std::max(largest_min, map[g].min);
  }
  AffineBlock tried, best;
  tried.d = scale_to_f16(largest_scale / kHigh);
  tried.dmin = scale_to_f16(largest_min / kHigh);
  float best_error = -1;
  for (int pass = 0; pass < 3; ++pass) {
    const float d = f16_to_f32(tried.d), dmin = f16_to_f32(tried.dmin);
    float error = 0;
    double aa = 0, ab = 0, bb = 0, xa = 0, xb = 0;  // least squares of x against a = scale * level and b = -min
    for (int g = 0; g < kGroups; ++g) {
      const float* xg = x + kSize * g;
      const float* wg = weight + kSize * g;
      const int s0 = nearest_integer(map[g].scale, d, 0, kHigh), m0 = nearest_integer(map[g].min, dmin, 0, kHigh);
      float least = -1;
      for (int s = std::max(s0 - 1, 0); s <= std::min(s0 + 1, kHigh); ++s) {
        for (int m = std::max(m0 - 1, 0); m <= std::min(m0 + 1, kHigh); ++m) {
          const float e = affine_error<kTop, kSize>(xg, wg, {d * static_cast<float>(s), dmin * static_cast<float>(m)});
          if (least < 0 || e < least) {
            least = e;
            tried.scale[g] = s;
            tried.min[g] = m;
          }
        }
      }
      error += least;
      const float s = static_cast<float>(tried.scale[g]), m = static_cast<float>(tried.min[g]);
      const AffineSums sums = affine_sums<kTop, kSize>(xg, wg, inverse(d * s), dmin * m);
      F4 w = {}, wx = {};
      for (int i = 0; i < kSize; i += 4) {
        w += load(wg + i);
        wx += load(wg + i) * load(xg + i);
      }
      aa += static_cast<double>(s * s * sums.qq);
      ab -= static_cast<double>(s * m * sums.q);
      bb += static_cast<double>(m * m * sum(w));
      xa += static_cast<double>(s * sums.xq);
      xb -= static_cast<double>(m * sum(wx));
    }
    if (best_error >= 0 && !(error < best_error)) break;
    best_error = error;
    best = tried;
    const double determinant = aa * bb - ab * ab;
    double fitted_d = aa > 0 ? xa / aa : 0, fitted_dmin = 0;
    if (determinant > 0) {
      fitted_d = (xa * bb - xb * ab) / determinant;
      fitted_dmin = (aa * xb - ab * xa) / determinant;
    }
    if (!(fitted_d > 0) || fitted_dmin < 0) break;
    tried.d = scale_to_f16(static_cast<float>(fitted_d));
    tried.dmin = scale_to_f16(static_cast<float>(fitted_dmin));
    if (tried.d == best.d && tried.dmin == best.dmin) break;
  }
  const float d = f16_to_f32(best.d), dmin = f16_to_f32(best.dmin);
  for (int g = 0; g < kGroups; ++g) {
    const F4 inverse_s = splat(inverse(d * static_cast<float>(best.scale[g])));
    const F4 m = splat(dmin * static_cast<float>(best.min[g]));
    for (int i = kSize * g; i < kSize * (g + 1); i += 4) {
      const F4 level = nearest(clamp((load(x + i) + m) * inverse_s, splat(0), splat(kTop)));
      for (int j = 0; j < 4; ++j) best.code[i + j] = static_cast<uint8_t>(level[j]);
    }
  }
  return best;
}

// ---- packing

// Two bits of weights i, i + 32, i + 64, i + 96 of each half in byte i.
void pack_pairs(const uint8_t* code, uint8_t* out) {
  for (int half = 0; half < 2; ++half) {
    for (int i = 0; i < 32; ++i) {
      const uint8_t* c = code + 128 * half + i;
      out[32 * half + i] = static_cast<uint8_t>((c[0] & 3) | (c[32] & 3) << 2 | (c[64] & 3) << 4 | (c[96] & 3) << 6);
    }
  }
}

// d, dmin, and 6-bit scales and mins as Q4_K and Q5_K store them: 16 bytes.
void pack_scales_mins(const AffineBlock& block, uint8_t* out) {
  store_u16(out, block.d);
  store_u16(out + 2, block.dmin);
  uint8_t* packed = out + 4;
  for (int i = 0; i < 4; ++i) {
    packed[i] = static_cast<uint8_t>(block.scale[i] | block.scale[4 + i] >> 4 << 6);
    packed[4 + i] = static_cast<uint8_t>(block.min[i] | block.min[4 + i] >> 4 << 6);
    packed[8 + i] = static_cast<uint8_t>((block.scale[4 + i] & 15) | (block.min[4 + i] & 15) << 4);
  }
}

// Low nibbles of 64 weights in 32 bytes: the first 32 low, the others high.
void pack_nibble_pairs(const uint8_t* code, uint8_t* out) {
  for (int pair = 0; pair < 4; ++pair) {
    for (int i = 0; i < 32; ++i) {
      const uint8_t* c = code + 64 * pair + i;
      out[32 * pair + i] = static_cast<uint8_t>((c[0] & 15) | (c[32] & 15) << 4);
    }
  }
}

const float* next_block(const float* importance) { return importance == nullptr ? nullptr : importance + 256; }

}  // namespace

void q2_k(const float* in, const float* importance, int64_t blocks, uint8_t* out) {
  for (int64_t b = 0; b < blocks; ++b, in += 256, out += 84, importance = next_block(importance)) {
    const AffineBlock block = affine_block<3, 16, 15>(in, importance, 6, 8);
    for (int g = 0; g < 16; ++g) out[g] = static_cast<uint8_t>(block.scale[g] | block.min[g] << 4);
    pack_pairs(block.code, out + 16);
    store_u16(out + 80, block.d);
    store_u16(out + 82, block.dmin);
  }
}

void q3_k(const float* in, const float* importance, int64_t blocks, uint8_t* out) {
  using Levels = Uniform<-4, 3>;
  int integer[16];
  float level[256];
  uint8_t code[256];
  for (int64_t b = 0; b < blocks; ++b, in += 256, out += 110, importance = next_block(importance)) {
    const uint16_t d = symmetric_block<Levels, 16, -32, 31>(in, importance, 1.2f, integer, level);
    for (int i = 0; i < 256; ++i) code[i] = Levels::code(level[i]);
    for (int i = 0; i < 32; ++i) {
      int bits = 0;
      for (int j = 0; j < 8; ++j) bits |= (code[32 * j + i] >> 2) << j;
      out[i] = static_cast<uint8_t>(bits);
    }
    pack_pairs(code, out + 32);
    uint8_t* packed = out + 96;
    std::memset(packed, 0, 12);
    for (int g = 0; g < 16; ++g) {
      const int s = integer[g] + 32;
      packed[g & 7] = static_cast<uint8_t>(packed[g & 7] | (s & 15) << (g >= 8 ? 4 : 0));
      packed[8 + (g & 3)] = static_cast<uint8_t>(packed[8 + (g & 3)] | s >> 4 << (2 * (g / 4)));
    }
    store_u16(out + 108, d);
  }
}

void q4_k(const float* in, const float* importance, int64_t blocks, uint8_t* out) {
  for (int64_t b = 0; b < blocks; ++b, in += 256, out += 144, importance = next_block(importance)) {
    const AffineBlock block = affine_block<15, 8, 63>(in, importance, 12, 4);
    pack_scales_mins(block, out);
    pack_nibble_pairs(block.code, out + 16);
  }
}

void q5_k(const float* in, const float* importance, int64_t blocks, uint8_t* out) {
  for (int64_t b = 0; b < blocks; ++b, in += 256, out += 176, importance = next_block(importance)) {
    const AffineBlock block = affine_block<31, 8, 63>(in, importance, 10, 4);
    pack_scales_mins(block, out);
    for (int i = 0; i < 32; ++i) {
      int bits = 0;
      for (int j = 0; j < 8; ++j) bits |= (block.code[32 * j + i] >> 4) << j;
      out[16 + i] = static_cast<uint8_t>(bits);
    }
    pack_nibble_pairs(block.code, out + 48);
  }
}

void q6_k(const float* in, const float* importance, int64_t blocks, uint8_t* out) {
  using Levels = Uniform<-32, 31>;
  int integer[16];
  float level[256];
  for (int64_t b = 0; b < blocks; ++b, in += 256, out += 210, importance = next_block(importance)) {
    const uint16_t d = symmetric_block<Levels, 16, -128, 127>(in, importance, 3.2f, integer, level);
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 32; ++i) {
        uint8_t c[4];
        for (int j = 0; j < 4; ++j) c[j] = Levels::code(level[128 * half + 32 * j + i]);
        out[64 * half + i] = static_cast<uint8_t>((c[0] & 15) | (c[2] & 15) << 4);
        out[64 * half + 32 + i] = static_cast<uint8_t>((c[1] & 15) | (c[3] & 15) << 4);
        out[128 + 32 * half + i] = static_cast<uint8_t>(c[0] >> 4 | c[1] >> 4 << 2 | c[2] >> 4 << 4 | c[3] >> 4 << 6);
      }
    }
    for (int g = 0; g < 16; ++g) out[192 + g] = static_cast<uint8_t>(integer[g]);
    store_u16(out + 208, d);
  }
}

void iq4_nl(const float* in, const float* importance, int64_t blocks, uint8_t* out) {
  float weight[32], level[32];
  for (int64_t b = 0; b < blocks; ++b, in += 32, out += 18) {
    error_weights<32>(in, importance, mean_square<32>(in), weight);
    const uint16_t d = scale_to_f16(symmetric_scale<Iq4, 32>(in, weight, 20));
    const F4 inverse_d = splat(inverse(f16_to_f32(d)));
    for (int i = 0; i < 32; i += 4) store(level + i, Iq4::quantize(load(in + i) * inverse_d));
    store_u16(out, d);
    for (int i = 0; i < 16; ++i) {
      out[2 + i] = static_cast<uint8_t>(Iq4::code(level[i]) | Iq4::code(level[16 + i]) << 4);
    }
    if (importance != nullptr) importance += 32;
  }
}

void iq4_xs(const float* in, const float* importance, int64_t blocks, uint8_t* out) {
  int integer[8];
  float level[256];
  for (int64_t b = 0; b < blocks; ++b, in += 256, out += 136, importance = next_block(importance)) {
    store_u16(out, symmetric_block<Iq4, 8, -32, 31>(in, importance, 20, integer, level));
    int high = 0;
    std::memset(out + 4, 0, 4);
    for (int g = 0; g < 8; ++g) {
      const int s = integer[g] + 32;
      out[4 + g / 2] = static_cast<uint8_t>(out[4 + g / 2] | (s & 15) << (4 * (g & 1)));
      high |= s >> 4 << (2 * g);
      for (int i = 0; i < 16; ++i) {
        const float* l = level + 32 * g + i;
        out[8 + 16 * g + i] = static_cast<uint8_t>(Iq4::code(l[0]) | Iq4::code(l[16]) << 4);
      }
    }
    store_u16(out + 2, static_cast<uint16_t>(high));
  }
}

}  // namespace ostro::quantizers
