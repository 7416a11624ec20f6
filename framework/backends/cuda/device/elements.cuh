// Elements of tensors in device code: conversions, 16-byte loads and stores, arithmetic in fp32.
#pragma once

#include "core/dtype.h"
#include "portability.cuh"

namespace plumb::cuda {

__device__ __forceinline__ float to_float(float value) { return value; }
__device__ __forceinline__ float to_float(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float to_float(__half value) { return __half2float(value); }

/// Round to nearest even.
template <class T>
__device__ __forceinline__ T from_float(float value);
template <>
__device__ __forceinline__ float from_float<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}
template <>
__device__ __forceinline__ __half from_float<__half>(float value) {
  return __float2half_rn(value);
}

/// kCount neighbours, loaded and stored as one access; kCount * sizeof(T) is at most 16 and the address a
/// multiple of it.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T values[kCount];
};
/// As many T as 16 bytes hold.
template <class T>
inline constexpr int kPackOf = 16 / static_cast<int>(sizeof(T));

template <int kCount, class T>
__device__ __forceinline__ void load(const T* source, float (&out)[kCount]) {
  const auto pack = *reinterpret_cast<const Pack<T, kCount>*>(source);
#pragma unroll
  for (int i = 0; i < kCount; ++i) out[i] = to_float(pack.values[i]);
}
template <int kCount, class T>
__device__ __forceinline__ void store(T* target, const float (&values)[kCount]) {
  Pack<T, kCount> pack;
#pragma unroll
  for (int i = 0; i < kCount; ++i) pack.values[i] = from_float<T>(values[i]);
  *reinterpret_cast<Pack<T, kCount>*>(target) = pack;
}

}  // namespace plumb::cuda
