// Half floats against the definition: every bit pattern goes to float32 and back.
#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>

namespace ostro {
namespace {

TEST(Half, EveryF16PatternRoundTrips) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = f16_to_f32(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
      continue;
    }
    ASSERT_EQ(f32_to_f16(value), half) << bits;
    // The definition: (-1)^s * 2^(e-15) * 1.m, or 2^-14 * 0.m
    const int exponent = static_cast<int>((bits >> 10) & 31);
    const double mantissa = (bits & 1023) / 1024.0;
    double expected = exponent == 0 ? std::ldexp(mantissa, -14) : std::ldexp(1 + mantissa, exponent - 15);
    if (exponent == 31) expected = INFINITY;
    if (bits & 0x8000) expected = -expected;
    ASSERT_EQ(static_cast<double>(value), expected) << bits;
  }
}

TEST(Half, F16RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const auto low = static_cast<uint16_t>(bits);
    const float a = f16_to_f32(low), b = f16_to_f32(static_cast<uint16_t>(bits + 1));
    const float middle = (a + b) / 2;
    ASSERT_EQ(f32_to_f16(middle), bits % 2 == 0 ? low : low + 1) << bits;
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 0.0f)), low) << bits;
    ASSERT_EQ(f32_to_f16(std::nextafter(middle, 1e9f)), low + 1) << bits;
  }
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
}

TEST(Half, Bf16RoundsToNearestEven) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(1.00390625f), 0x3f80);  // halfway, to even
  EXPECT_EQ(f32_to_bf16(1.01171875f), 0x3f82);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(NAN))));
}

}  // namespace
}  // namespace ostro
