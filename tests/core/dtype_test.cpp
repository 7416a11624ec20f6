#include "core/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace plumb {
namespace {

float rounded(float value) { return static_cast<float>(bfloat16(value)); }

TEST(BFloat16, RoundsToNearestEven) {
  EXPECT_EQ(bfloat16(1.0F).bits, 0x3f80);
  EXPECT_EQ(rounded(1 + 0x1p-8F), 1.0F);                      // a tie, down to even
  EXPECT_EQ(rounded(1 + 3 * 0x1p-8F), 1 + 0x1p-6F);           // a tie, up to even
  EXPECT_EQ(rounded(1 + 0x1p-8F + 0x1p-23F), 1 + 0x1p-7F);    // just above a tie
  EXPECT_EQ(rounded(1 + 0x1p-8F - 0x1p-23F), 1.0F);           // just below a tie
  EXPECT_EQ(rounded(-1 - 0x1p-8F - 0x1p-23F), -1 - 0x1p-7F);  // symmetric in the sign
  EXPECT_EQ(rounded(2 - 0x1p-20F), 2.0F);                     // carries into the exponent
}

TEST(BFloat16, EveryValueIsItsOwnRounding) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    bfloat16 value;
    value.bits = static_cast<std::uint16_t>(bits);
    const auto wide = static_cast<float>(value);
    if (std::isnan(wide)) continue;
    ASSERT_EQ(bfloat16(wide).bits, bits);
  }
}

TEST(BFloat16, KeepsWhatIsSpecial) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(rounded(infinity), infinity);
  EXPECT_EQ(rounded(-infinity), -infinity);
  EXPECT_EQ(rounded(std::numeric_limits<float>::max()), infinity);
  EXPECT_TRUE(std::signbit(rounded(-0.0F)));
  EXPECT_TRUE(std::isnan(rounded(std::numeric_limits<float>::quiet_NaN())));
  // NaNs whose payload sits in the lower half alone, or is all ones, must not become infinite or wrap.
  EXPECT_TRUE(std::isnan(rounded(std::bit_cast<float>(0x7f800001U))));
  EXPECT_TRUE(std::isnan(rounded(std::bit_cast<float>(0x7fffffffU))));
  EXPECT_TRUE(std::isnan(rounded(std::bit_cast<float>(0xffffffffU))));
}

TEST(DType, NamesAndSizes) {
  EXPECT_EQ(size_of(DType::Float64), 8U);
  EXPECT_EQ(size_of(DType::Float32), 4U);
  EXPECT_EQ(size_of(DType::BFloat16), 2U);
  EXPECT_EQ(size_of(DType::Int64), 8U);
  EXPECT_EQ(size_of(DType::Int32), 4U);
  EXPECT_EQ(name_of(DType::BFloat16), "bf16");
  EXPECT_EQ(dtype_of<double>, DType::Float64);
  EXPECT_EQ(dtype_of<bfloat16>, DType::BFloat16);
  EXPECT_EQ(dtype_of<std::int32_t>, DType::Int32);
}

}  // namespace
}  // namespace plumb
