// Functions of the CUDA Math API against definitions, bit by bit or in float64.
#include <cmath>
#include <limits>

#include "device_test.h"
#include "kernels/kernels.h"

namespace plumb::test {
namespace {

std::uint64_t byte_of(std::uint32_t a, std::uint32_t b, unsigned nibble) {
  const unsigned index = nibble & 7U;
  const std::uint32_t byte = ((index < 4 ? a : b) >> (index % 4 * 8)) & 0xffU;
  return (nibble & 8U) == 0 ? byte : byte >= 0x80U ? 0xffU : 0;
}

int bits_set(std::uint64_t x) {
  int count = 0;
  for (; x != 0; x >>= 1) count += static_cast<int>(x & 1U);
  return count;
}
int leading_zeros(std::uint64_t x, int width) {
  int count = 0;
  while (count < width && (x >> (width - 1 - count) & 1U) == 0) ++count;
  return count;
}
int first_set(std::uint64_t x) {
  for (int i = 0; i < 64; ++i) {
    if ((x >> i & 1U) != 0) return i + 1;
  }
  return 0;
}

TEST(DeviceFunctions, OfBits) {
  const std::vector<std::uint32_t> a{0, 1, 0xffffffffU, 0x80000000U, 0x12345678U, 0x00f0ff01U, 31, 32};
  const std::vector<std::uint32_t> b{0xffffffffU, 0, 0xffffffffU, 3, 0x9abcdef0U, 0x00007610U, 7, 0x3210U};
  std::vector<std::uint64_t> results(a.size() * kBitResults);
  run(dim3(1), dim3(static_cast<unsigned>(a.size())), 0, bit_functions, a.data(), b.data(), results.data());
  for (std::size_t i = 0; i < a.size(); ++i) {
    const std::uint32_t x = a[i], y = b[i];
    const std::uint64_t wide_x = std::uint64_t{x} << 32 | y, wide_y = std::uint64_t{y} << 32 | x;
    const std::uint64_t* found = &results[i * kBitResults];
    EXPECT_EQ(found[0], static_cast<std::uint64_t>(bits_set(x)));
    EXPECT_EQ(found[1], static_cast<std::uint64_t>(bits_set(wide_x)));
    EXPECT_EQ(found[2], static_cast<std::uint64_t>(leading_zeros(x, 32)));
    EXPECT_EQ(found[3], static_cast<std::uint64_t>(leading_zeros(wide_x, 64)));
    EXPECT_EQ(found[4], static_cast<std::uint64_t>(first_set(x)));
    EXPECT_EQ(found[5], static_cast<std::uint64_t>(first_set(wide_x)));
    for (int bit = 0; bit < 32; ++bit) EXPECT_EQ(found[6] >> bit & 1U, x >> (31 - bit) & 1U);
    EXPECT_EQ(found[7], std::uint64_t{x} * y >> 32);
    const std::int64_t product = std::int64_t{static_cast<std::int32_t>(x)} * static_cast<std::int32_t>(y);
    EXPECT_EQ(found[8], static_cast<std::uint64_t>(product) >> 32);
    // Schoolbook multiplication of the halves.
    const std::uint64_t low = std::uint64_t{y} * x, cross_a = std::uint64_t{x} * x,
                        cross_b = std::uint64_t{y} * y, high = std::uint64_t{x} * y;
    const std::uint64_t middle = (low >> 32) + (cross_a & 0xffffffffU) + (cross_b & 0xffffffffU);
    EXPECT_EQ(found[9], high + (cross_a >> 32) + (cross_b >> 32) + (middle >> 32));
    const unsigned shift = x & 31U;
    EXPECT_EQ(found[10], shift == 0 ? y : (y << shift | x >> (32 - shift)));
    EXPECT_EQ(found[11], shift == 0 ? x : (x >> shift | y << (32 - shift)));
    std::uint64_t permuted = 0;
    for (unsigned byte = 0; byte < 4; ++byte) permuted |= byte_of(x, y, y >> (4 * byte)) << (8 * byte);
    EXPECT_EQ(found[12], permuted);
    EXPECT_EQ(found[13], x);
    EXPECT_EQ(found[14], y);
    EXPECT_EQ(found[15], wide_y);
  }
}

TEST(DeviceFunctions, OfReals) {
  const std::vector<float> x{0.001F, 0.25F, 1.0F, 1.5F, 3.7F, 10.0F};
  std::vector<float> results(x.size() * kRealResults);
  run(dim3(1), dim3(static_cast<unsigned>(x.size())), 0, real_functions, x.data(), results.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    const double expected[kRealResults] = {std::exp(v),
                                           std::pow(10.0, v),
                                           std::log(v),
                                           std::log2(v),
                                           std::log10(v),
                                           std::pow(v, 1.5),
                                           std::sin(v),
                                           std::cos(v),
                                           std::tan(v),
                                           std::sin(v),
                                           std::cos(v),
                                           1 / std::sqrt(v),
                                           1 / std::sqrt(v),
                                           1 / v,
                                           std::sqrt(v),
                                           v / 3,
                                           v / 3,
                                           std::min(1.0, std::max(0.0, v - 1)),
                                           v * v,
                                           v + 0.1F,
                                           v - 0.1F,
                                           v * v + 1,
                                           std::exp2(v),
                                           std::exp(v),
                                           std::log(v),
                                           std::log1p(v),
                                           std::erf(v),
                                           std::tanh(v),
                                           std::min(v, 1.0),
                                           std::max(v, 1.0),
                                           1 / std::sqrt(v)};
    for (int function = 0; function < kRealResults; ++function) {
      const double found = results[i * kRealResults + static_cast<std::size_t>(function)];
      EXPECT_NEAR(found, expected[function], 3e-6 * std::max(1.0, std::abs(expected[function])))
          << function << " of " << v;
    }
  }
}

TEST(DeviceFunctions, FastExponentialHasTheErrorsOfTheGpus) {
  // Its argument is rounded after the multiplication by log2(e): about |x| / 2 units in the last place.
  EXPECT_EQ(__expf(0.0F), 1.0F);
  EXPECT_EQ(__expf(-200.0F), 0.0F);
  EXPECT_TRUE(std::isinf(__expf(200.0F)));
  EXPECT_TRUE(std::isnan(__expf(std::nanf(""))));
  double largest = 0;
  for (float x = -80; x < 80; x += 0.37F)
    largest = std::max(largest, std::abs(__expf(x) / std::exp(static_cast<double>(x)) - 1));
  EXPECT_GT(largest, 1e-6);
  EXPECT_LT(largest, 1e-5);
}

TEST(DeviceFunctions, Conversions) {
  const float infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> x{0,    0.5F,  1.5F,  2.5F,     -0.5F,     -1.5F,        1e6F,
                             3e9F, -3e9F, 1e20F, infinity, -infinity, std::nanf("")};
  std::vector<std::int64_t> results(x.size() * kConversions);
  run(dim3(1), dim3(static_cast<unsigned>(x.size())), 0, conversions, x.data(), results.data());
  const auto saturated = [](double rounded, double low, double high) -> std::int64_t {
    if (std::isnan(rounded)) return 0;
    if (rounded >= 0x1p63)
      return std::numeric_limits<std::int64_t>::max() < high ? std::numeric_limits<std::int64_t>::max()
                                                             : static_cast<std::int64_t>(high);
    return static_cast<std::int64_t>(std::min(std::max(rounded, low), high));
  };
  const auto to_int = [&](double v) { return saturated(v, -0x1p31, 0x1p31 - 1); };
  const auto to_unsigned = [&](double v) { return saturated(v, 0, 0x1p32 - 1); };
  const auto to_long = [&](double v) { return saturated(v, -0x1p63, 0x1p63); };
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double v = x[i];
    const std::vector<std::int64_t> expected{to_int(std::nearbyint(v)),
                                             to_int(std::trunc(v)),
                                             to_int(std::floor(v)),
                                             to_int(std::ceil(v)),
                                             to_unsigned(std::nearbyint(v)),
                                             to_unsigned(std::trunc(v)),
                                             to_long(std::nearbyint(v)),
                                             to_long(std::nearbyint(v)),
                                             16777216,
                                             4294967296,
                                             -16777220,
                                             33554436,
                                             16777216,
                                             7,
                                             43,
                                             43};
    const auto begin = results.begin() + static_cast<std::ptrdiff_t>(i) * kConversions;
    EXPECT_EQ(std::vector<std::int64_t>(begin, begin + kConversions), expected) << v;
  }
}

/// To `digits` bits of significand, ties to even.
float rounded_to(float value, int digits) {
  int exponent = 0;
  const float fraction = std::frexp(value, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(fraction, digits)), exponent - digits);
}

TEST(DeviceFunctions, Halves) {
  const std::vector<float> x{0, 1, -2.71828F, 1.00390625F, 1.01171875F, 100.5F, 0.33333F};
  std::vector<float> results(8 * x.size());
  run(dim3(1), dim3(static_cast<unsigned>(x.size())), 0, half_conversions, x.data(), results.data());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float bfloat = rounded_to(x[i], 8), half = rounded_to(x[i], 11);
    const std::vector<float> expected{bfloat, half, bfloat, -bfloat, half, -half, -bfloat, half};
    const auto begin = results.begin() + static_cast<std::ptrdiff_t>(i) * 8;
    EXPECT_EQ(std::vector<float>(begin, begin + 8), expected);
  }
}

TEST(DeviceFunctions, LoadsAndStoresWithHints) {
  std::vector<float4> x, y(64);
  std::vector<double> a, b(32);
  for (int i = 0; i < 64; ++i) {
    const auto v = static_cast<float>(i);
    x.push_back(make_float4(v, v + 0.25F, v + 0.5F, v + 0.75F));
  }
  for (int i = 0; i < 32; ++i) a.push_back(i / 3.0);
  run(dim3(1), dim3(32), 0, cached_accesses, x.data(), y.data(), a.data(), b.data());
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_EQ(std::memcmp(&y[2 * i], &x[2 * i + 1], sizeof(float4)), 0);
    EXPECT_EQ(std::memcmp(&y[2 * i + 1], &x[2 * i], sizeof(float4)), 0);
    EXPECT_EQ(b[i], a[i] + a[i] + a[i]);
  }
}

}  // namespace
}  // namespace plumb::test
