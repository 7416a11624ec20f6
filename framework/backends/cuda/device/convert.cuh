// Conversions between all element types, as ElementwiseOps::copy and add define them.
#pragma once

#include <cstdint>
#include <type_traits>

#include "backends/cuda/device/dispatch.cuh"
#include "backends/cuda/device/elements.cuh"

namespace plumb::cuda {

template <class T>
inline constexpr bool kIsHalf = std::is_same_v<T, __nv_bfloat16> || std::is_same_v<T, __half>;

/// What an element is computed in: bf16 and fp16 count as float.
template <class T>
using Arithmetic = std::conditional_t<kIsHalf<T>, float, T>;

template <class T>
__host__ __device__ __forceinline__ Arithmetic<T> widen(T value) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __bfloat162float(value);
  } else if constexpr (std::is_same_v<T, __half>) {
    return __half2float(value);
  } else {
    return value;
  }
}

/// To nearest even; what becomes bf16 or fp16 goes by way of float.
template <class T, class Number>
__host__ __device__ __forceinline__ T narrow(Number value) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(static_cast<float>(value));
  } else if constexpr (std::is_same_v<T, __half>) {
    return __float2half_rn(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

/// Calls body(element) with an element of any dtype.
template <class Body>
void with_any_element(DType dtype, Body&& body) {
  if (dtype == DType::Float64) return body(double{});
  if (dtype == DType::Int64) return body(std::int64_t{});
  if (dtype == DType::Int32) return body(std::int32_t{});
  with_element(dtype, body);
}

}  // namespace plumb::cuda
