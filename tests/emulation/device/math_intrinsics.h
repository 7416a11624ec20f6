// Mathematical functions that the host's library lacks, or that CUDA computes less exactly (CUDA Math API,
// "Single Precision Intrinsics"). Those that both have (expf, erff, tanhf ...) are the host's.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

// C libraries keep __expf and its like for themselves and declare them in <math.h>.
#define __expf plumb_emulation_expf
#define __exp10f plumb_emulation_exp10f
#define __logf plumb_emulation_logf
#define __log2f plumb_emulation_log2f
#define __log10f plumb_emulation_log10f
#define __powf plumb_emulation_powf
#define __sinf plumb_emulation_sinf
#define __cosf plumb_emulation_cosf
#define __tanf plumb_emulation_tanf
#define __sincosf plumb_emulation_sincosf

// As the GPU does it, by powers and logarithms to the base of 2, so that the errors are of the same kind.
inline float plumb_emulation_expf(float x) { return exp2f(x * 1.4426950408889634F); }
inline float plumb_emulation_exp10f(float x) { return exp2f(x * 3.3219280948873623F); }
inline float plumb_emulation_logf(float x) { return log2f(x) * 0.6931471805599453F; }
inline float plumb_emulation_log2f(float x) { return log2f(x); }
inline float plumb_emulation_log10f(float x) { return log2f(x) * 0.3010299956639812F; }
inline float plumb_emulation_powf(float x, float y) { return exp2f(y * log2f(x)); }
inline float plumb_emulation_sinf(float x) { return sinf(x); }
inline float plumb_emulation_cosf(float x) { return cosf(x); }
inline float plumb_emulation_tanf(float x) { return sinf(x) / cosf(x); }
inline void plumb_emulation_sincosf(float x, float* sine, float* cosine) {
  *sine = sinf(x);
  *cosine = cosf(x);
}

/// sin(pi x) and cos(pi x), for any size of x.
inline void sincospif(float x, float* sine, float* cosine) {
  constexpr double kPi = 3.14159265358979323846;
  const double turn = kPi * fmod(static_cast<double>(x), 2.0);
  *sine = static_cast<float>(sin(turn));
  *cosine = static_cast<float>(cos(turn));
}

inline float rsqrtf(float x) { return 1.0F / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __frsqrt_rn(float x) { return 1.0F / sqrtf(x); }
inline float __frcp_rn(float x) { return 1.0F / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
/// To [0, 1]; NaN becomes 0.
inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1.0F) : 0.0F; }
/// Never contracted to a fused multiply-add.
inline float __fmul_rn(float a, float b) {
  volatile float product = a * b;
  return product;
}
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline double __dmul_rn(double a, double b) {
  volatile double product = a * b;
  return product;
}
inline double __dadd_rn(double a, double b) { return a + b; }

// Conversions. Out of range they saturate and NaN becomes 0, as the instruction does; the host's are
// undefined there.
namespace plumb::emulation {
template <class Integer, class Float>
Integer saturate_to(Float rounded) {
  using Limits = std::numeric_limits<Integer>;
  if (std::isnan(rounded)) return 0;
  if (rounded >= std::ldexp(Float{1}, Limits::digits)) return Limits::max();
  if (rounded < static_cast<Float>(Limits::min())) return Limits::min();
  return static_cast<Integer>(rounded);
}
}  // namespace plumb::emulation
inline int __float2int_rn(float x) { return plumb::emulation::saturate_to<int>(rintf(x)); }
inline int __float2int_rz(float x) { return plumb::emulation::saturate_to<int>(truncf(x)); }
inline int __float2int_rd(float x) { return plumb::emulation::saturate_to<int>(floorf(x)); }
inline int __float2int_ru(float x) { return plumb::emulation::saturate_to<int>(ceilf(x)); }
inline unsigned __float2uint_rn(float x) { return plumb::emulation::saturate_to<unsigned>(rintf(x)); }
inline unsigned __float2uint_rz(float x) { return plumb::emulation::saturate_to<unsigned>(truncf(x)); }
inline long long __float2ll_rn(float x) { return plumb::emulation::saturate_to<long long>(rintf(x)); }
inline long long __double2ll_rn(double x) { return plumb::emulation::saturate_to<long long>(rint(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __ll2float_rn(long long x) { return static_cast<float>(x); }
inline float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }
inline double __int2double_rn(int x) { return x; }
inline double __ll2double_rn(long long x) { return static_cast<double>(x); }

// CUDA's min and max are overloads, not templates: mixed arguments convert.
#define PLUMB_EMULATION_MIN_MAX(T)                 \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
PLUMB_EMULATION_MIN_MAX(int)
PLUMB_EMULATION_MIN_MAX(unsigned)
PLUMB_EMULATION_MIN_MAX(long)
PLUMB_EMULATION_MIN_MAX(unsigned long)
PLUMB_EMULATION_MIN_MAX(long long)
PLUMB_EMULATION_MIN_MAX(unsigned long long)
#undef PLUMB_EMULATION_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }
