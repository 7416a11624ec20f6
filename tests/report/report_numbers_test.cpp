#include "report/report_numbers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace plumb {
namespace {

TEST(ReportNumbers, FiveSignificantDigitsAndNullForWhatIsNotFinite) {
  EXPECT_EQ(rounded(2.0 / 3).dump(), "0.66667");
  EXPECT_EQ(rounded(-123456.7).dump(), "-123460");
  EXPECT_EQ(rounded(1e-12 / 3).dump(), "3.3333e-13");
  EXPECT_EQ(rounded(1e300).dump(), "1e+300");
  EXPECT_EQ(rounded(0).dump(), "0");
  EXPECT_EQ(rounded(4096).dump(), "4096");
  EXPECT_EQ(rounded(std::nan("")).dump(), "null");
  EXPECT_EQ(rounded(-std::numeric_limits<double>::infinity()).dump(), "null");
}

TEST(ReportNumbers, Base64OfLittleEndianFloats) {
  // By Python: base64.b64encode(struct.pack("<1f", 1.0)), and so on.
  EXPECT_EQ(base64_floats({}), "");
  EXPECT_EQ(base64_floats(std::vector<float>{1.0F}), "AACAPw==");
  EXPECT_EQ(base64_floats(std::vector<float>{1.0F, -2.5F}), "AACAPwAAIMA=");
  EXPECT_EQ(base64_floats(std::vector<float>{1.0F, -2.5F, 3.1415927F}), "AACAPwAAIMDbD0lA");
}

}  // namespace
}  // namespace plumb
