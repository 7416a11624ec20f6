#include "kernels/kernels.h"

namespace plumb::test {

__global__ void bit_functions(const std::uint32_t* a, const std::uint32_t* b, std::uint64_t* results) {
  const std::uint32_t x = a[threadIdx.x], y = b[threadIdx.x];
  const unsigned long long wide_x = static_cast<unsigned long long>(x) << 32 | y;
  const unsigned long long wide_y = static_cast<unsigned long long>(y) << 32 | x;
  std::uint64_t* mine = results + threadIdx.x * kBitResults;
  mine[0] = static_cast<std::uint64_t>(__popc(x));
  mine[1] = static_cast<std::uint64_t>(__popcll(wide_x));
  mine[2] = static_cast<std::uint64_t>(__clz(static_cast<int>(x)));
  mine[3] = static_cast<std::uint64_t>(__clzll(static_cast<long long>(wide_x)));
  mine[4] = static_cast<std::uint64_t>(__ffs(static_cast<int>(x)));
  mine[5] = static_cast<std::uint64_t>(__ffsll(static_cast<long long>(wide_x)));
  mine[6] = __brev(x);
  mine[7] = __umulhi(x, y);
  mine[8] = static_cast<std::uint32_t>(__mulhi(static_cast<int>(x), static_cast<int>(y)));
  mine[9] = __umul64hi(wide_x, wide_y);
  mine[10] = __funnelshift_l(x, y, x & 63U);
  mine[11] = __funnelshift_r(x, y, x & 63U);
  mine[12] = __byte_perm(x, y, y);
  mine[13] = __float_as_uint(__uint_as_float(x));
  mine[14] = static_cast<std::uint32_t>(__float_as_int(__int_as_float(static_cast<int>(y))));
  mine[15] =
      static_cast<std::uint64_t>(__double_as_longlong(__longlong_as_double(static_cast<long long>(wide_y))));
}

__global__ void real_functions(const float* x, float* results) {
  const float value = x[threadIdx.x];
  float* mine = results + threadIdx.x * kRealResults;
  float sine, cosine;
  __sincosf(value, &sine, &cosine);
  const float values[kRealResults] = {__expf(value),
                                      __exp10f(value),
                                      __logf(value),
                                      __log2f(value),
                                      __log10f(value),
                                      __powf(value, 1.5F),
                                      __sinf(value),
                                      __cosf(value),
                                      __tanf(value),
                                      sine,
                                      cosine,
                                      rsqrtf(value),
                                      __frsqrt_rn(value),
                                      __frcp_rn(value),
                                      __fsqrt_rn(value),
                                      __fdiv_rn(value, 3.0F),
                                      __fdividef(value, 3.0F),
                                      __saturatef(value - 1),
                                      __fmul_rn(value, value),
                                      __fadd_rn(value, 0.1F),
                                      __fsub_rn(value, 0.1F),
                                      __fmaf_rn(value, value, 1.0F),
                                      exp2f(value),
                                      expf(value),
                                      logf(value),
                                      log1pf(value),
                                      erff(value),
                                      tanhf(value),
                                      min(value, 1.0F),
                                      max(value, 1.0F),
                                      static_cast<float>(rsqrt(static_cast<double>(value)))};
  for (int i = 0; i < kRealResults; ++i) mine[i] = values[i];
}

__global__ void conversions(const float* x, std::int64_t* results) {
  const float value = x[threadIdx.x];
  std::int64_t* mine = results + threadIdx.x * kConversions;
  mine[0] = __float2int_rn(value);
  mine[1] = __float2int_rz(value);
  mine[2] = __float2int_rd(value);
  mine[3] = __float2int_ru(value);
  mine[4] = __float2uint_rn(value);
  mine[5] = __float2uint_rz(value);
  mine[6] = __float2ll_rn(value);
  mine[7] = __double2ll_rn(value);
  mine[8] = static_cast<std::int64_t>(__int2float_rn(16777217));
  mine[9] = static_cast<std::int64_t>(__uint2float_rn(4294967295U));
  mine[10] = static_cast<std::int64_t>(__ll2float_rn(-16777219));
  mine[11] = static_cast<std::int64_t>(__ull2float_rn(33554435));
  mine[12] = static_cast<std::int64_t>(__double2float_rn(16777217.0));
  mine[13] = static_cast<std::int64_t>(__int2double_rn(7));
  mine[14] = min(3, 4) + max(3, 4) * 10;
  mine[15] = static_cast<std::int64_t>(min(3ULL, 4ULL) + max(3U, 4U) * 10);
}

__global__ void half_conversions(const float* x, float* results) {
  const float value = x[threadIdx.x];
  float* mine = results + threadIdx.x * 8;
  mine[0] = __bfloat162float(__float2bfloat16_rn(value));
  mine[1] = __half2float(__float2half_rn(value));
  const float2 bfloat_pair = __bfloat1622float2(__floats2bfloat162_rn(value, -value));
  mine[2] = bfloat_pair.x;
  mine[3] = bfloat_pair.y;
  const float2 half_pair = __half22float2(__floats2half2_rn(value, -value));
  mine[4] = half_pair.x;
  mine[5] = half_pair.y;
  const float2 swapped = __bfloat1622float2(__float22bfloat162_rn(make_float2(-value, value)));
  mine[6] = swapped.x;
  mine[7] = __low2float(__halves2half2(__float2half(value), __float2half(0)));
}

__global__ void cached_accesses(const float4* x, float4* y, const double* a, double* b) {
  const unsigned i = threadIdx.x;
  const float4 p = __ldg(&x[2 * i]), q = __ldcs(&x[2 * i + 1]);
  __stcs(&y[2 * i], q);
  __stcg(&y[2 * i + 1], p);
  b[i] = __ldg(&a[i]) + __ldcg(&a[i]) + __ldca(&a[i]);
}

}  // namespace plumb::test
