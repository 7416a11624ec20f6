// Elementary functions that stay vectorised: no branches, no calls, no tables. Written for the inside of
// `#pragma omp simd` loops. Relative error below 2e-7, in the far tails of the normal distribution (beyond 3
// deviations) up to 4e-6; NaN gives NaN, infinities their limits.
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "core/dtype.h"

/// Functions for the inside of `#pragma omp simd` loops: one call that is left in the body stops the
/// vectoriser.
#define PLUMB_VECTOR [[gnu::always_inline]] inline

namespace plumb::cpu {

/// *out = value, rounded to nearest even. Loops store through this: a temporary bfloat16 in the loop body
/// would stop the vectoriser.
PLUMB_VECTOR void store(float value, float* out) { *out = value; }
PLUMB_VECTOR void store(float value, bfloat16* out) {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = word + 0x7fffU + ((word >> 16) & 1U);
  const std::uint32_t quiet = word | 0x400000U;
  out->bits = static_cast<std::uint16_t>(((word & 0x7fffffffU) > 0x7f800000U ? quiet : rounded) >> 16);
}

namespace detail {

/// The integers that share the bits of Real, a float or a vector of floats.
template <class Real>
struct WordsOf {
  using Signed __attribute__((vector_size(sizeof(Real)))) = std::int32_t;
  using Unsigned __attribute__((vector_size(sizeof(Real)))) = std::uint32_t;
};
template <>
struct WordsOf<float> {
  using Signed = std::int32_t;
  using Unsigned = std::uint32_t;
};

/// x = n ln 2 + r with |r| <= ln 2 / 2 for |x| < 2^20 or so.
template <class Real>
struct ExpReduction {
  Real r;
  typename WordsOf<Real>::Signed n;
};

template <class Real>
PLUMB_VECTOR ExpReduction<Real> reduce_exp(Real x) {
  using Words = typename WordsOf<Real>::Unsigned;
  // Adding 1.5 * 2^23 rounds to an integer that stands in the low bits: no conversion, so NaN is harmless.
  constexpr float kShifter = 12582912.0F;
  const Real shifted = x * 1.44269504F + kShifter;
  const Real n = shifted - kShifter;
  // ln 2 in two parts, the first with so few bits that n * part is exact.
  const Real r = (x - n * 0.693359375F) - n * -2.12194440e-4F;
  return {r, std::bit_cast<typename WordsOf<Real>::Signed>(std::bit_cast<Words>(shifted) -
                                                           std::bit_cast<std::uint32_t>(kShifter))};
}

/// exp(r) - 1 for |r| <= ln 2 / 2: the Taylor series to r^7, whose remainder is below 5e-9 relative. In pairs
/// (Estrin's scheme): a processor holds few iterations of a loop this long at once, so that its time is the
/// length of the chain of operations that wait for each other.
template <class Real>
PLUMB_VECTOR Real expm1_reduced(Real r) {
  const Real square = r * r;
  const Real low = r * (1.0F / 6) + 0.5F, middle = r * (1.0F / 120) + 1.0F / 24,
             high = r * (1.0F / 5040) + 1.0F / 720;
  return ((high * square + middle) * square + low) * square + r;
}

/// 2^n for -126 <= n <= 127.
template <class Words>
PLUMB_VECTOR auto power_of_two(Words n) {
  if constexpr (std::is_integral_v<Words>) {
    return std::bit_cast<float>((static_cast<std::uint32_t>(n) + 127U) << 23);
  } else {
    using Real __attribute__((vector_size(sizeof(Words)))) = float;
    return std::bit_cast<Real>((n + 127) << 23);
  }
}

}  // namespace detail

/// e^x; subnormal results too, +inf above 88.73.
PLUMB_VECTOR float vector_exp(float x) {
  const float low = x < -104.0F ? -104.0F : x;  // comparisons in this order keep NaN
  const float clamped = low > 89.0F ? 89.0F : low;
  const auto [r, n] = detail::reduce_exp(clamped);
  // Two factors: 2^n alone overflows or underflows before the result does.
  const std::int32_t half = n >> 1;
  return (1.0F + detail::expm1_reduced(r)) * detail::power_of_two(half) * detail::power_of_two(n - half);
}

/// e^x for x <= 88, and 0 where it is below the least normal number (x < -87.33): subnormal results, which a
/// softmax would have many of, cost some processors a hundred cycles each. Real: a float or a vector of them.
template <class Real>
PLUMB_VECTOR Real vector_exp_or_zero(Real x) {
  const auto [r, n] = detail::reduce_exp<Real>(x < -87.33F ? Real{} : x);
  const Real scale = detail::power_of_two(n);
  const Real value = scale * detail::expm1_reduced(r) + scale;
  return x < -87.33F ? Real{} : value;
}

/// tanh x = (e^2x - 1) / (e^2x + 1), from e^2x - 1 so that small x keep their digits.
PLUMB_VECTOR float vector_tanh(float x) {
  const float low = x < -10.0F ? -10.0F : x;
  const float clamped = low > 10.0F ? 10.0F : low;
  const auto [r, n] = detail::reduce_exp(2.0F * clamped);
  const float scale = detail::power_of_two(n);
  const float expm1 = scale * detail::expm1_reduced(r) + (scale - 1.0F);
  return expm1 / (expm1 + 2.0F);
}

PLUMB_VECTOR float vector_sigmoid(float x) { return 1.0F / (1.0F + vector_exp(-x)); }

/// The standard normal distribution at t.
struct NormalDistribution {
  float density;     ///< exp(-t^2/2) / sqrt(2 pi)
  float cumulative;  ///< Phi(t), with full relative accuracy in the lower tail
};

/// Phi(-u) = exp(-u^2/2) k P(k) with k = 1 / (1 + 0.3 u), u >= 0: P is our own minimax fit of
/// erfcx(u / sqrt 2) / 2 for u in [0, 14.5] (degree 7, relative error 1.7e-7).
PLUMB_VECTOR NormalDistribution vector_normal(float t) {
  const float u = __builtin_fabsf(t);
  const float k = 1.0F / (1.0F + 0.3F * u);
  float p = 0.035423707F;
  p = p * k - 0.15615834F;
  p = p * k + 0.20455661F;
  p = p * k - 0.052033870F;
  p = p * k + 0.12769170F;
  p = p * k + 0.10017597F;
  p = p * k + 0.12071213F;
  p = p * k + 0.11963201F;
  const float exponential = vector_exp_or_zero(-0.5F * t * t);
  const float tail = exponential * (p * k);
  return {exponential * 0.398942280F, t < 0.0F ? tail : 1.0F - tail};
}

/// Our own minimax fit of erf(x)/x in x^2 below 1 (relative error 4e-8), the normal tail above.
PLUMB_VECTOR float vector_erf(float x) {
  const float square = x * x;
  float p = -5.6314223e-4F;
  p = p * square + 4.9175516e-3F;
  p = p * square - 2.6711311e-2F;
  p = p * square + 1.1280182e-1F;
  p = p * square - 3.7612326e-1F;
  p = p * square + 1.12837912F;
  const float upper = 2.0F * vector_normal(1.41421356F * x).cumulative - 1.0F;
  return square < 1.0F ? x * p : upper;
}

}  // namespace plumb::cpu
