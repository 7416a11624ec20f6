// Elements of tensors in device code: conversions, 16-byte loads and stores, arithmetic in fp32.
#pragma once

#include <cstring>
#include <type_traits>

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

/// Words of up to 16 bytes: the compiler makes one access of each. Of a struct of elements it makes one only
/// as long as it can prove that all of them are wanted at the same place, and a branch is enough to lose
/// that.
template <int kBytes>
struct WordsOf;
template <>
struct WordsOf<2> {
  using Type = unsigned short;
};
template <>
struct WordsOf<4> {
  using Type = unsigned;
};
template <>
struct WordsOf<8> {
  using Type = uint2;
};
template <>
struct WordsOf<16> {
  using Type = uint4;
};

template <class PackType>
__device__ __forceinline__ PackType load_pack(const void* source) {
  const auto words = *static_cast<const typename WordsOf<sizeof(PackType)>::Type*>(source);
  PackType pack;
  memcpy(static_cast<void*>(&pack), &words, sizeof pack);
  return pack;
}

/// Two neighbours of 16 bits.
template <class T>
__device__ __forceinline__ unsigned word_of(const T* elements) {
  unsigned short low, high;
  memcpy(&low, static_cast<const void*>(elements), sizeof low);
  memcpy(&high, static_cast<const void*>(elements + 1), sizeof high);
  return low | static_cast<unsigned>(high) << 16;
}
template <class T, int kCount>
__device__ __forceinline__ typename WordsOf<kCount * sizeof(T)>::Type words_of(const Pack<T, kCount>& pack) {
  const T* const elements = pack.values;
  if constexpr (sizeof(T) == 2 && kCount == 8) {
    return {word_of(elements), word_of(elements + 2), word_of(elements + 4), word_of(elements + 6)};
  } else if constexpr (sizeof(T) == 2 && kCount == 4) {
    return {word_of(elements), word_of(elements + 2)};
  } else {
    typename WordsOf<sizeof(pack)>::Type words;
    memcpy(&words, static_cast<const void*>(elements), sizeof words);
    return words;
  }
}
/// To wherever the target is.
template <class T, int kCount>
__device__ __forceinline__ void store_pack(void* target, const Pack<T, kCount>& pack) {
  const auto words = words_of(pack);
  *static_cast<std::remove_const_t<decltype(words)>*>(target) = words;
}
/// To global memory, by the instruction itself: nothing can cut it up.
template <class T, int kCount>
__device__ __forceinline__ void store_pack_global(T* target, const Pack<T, kCount>& pack) {
  const auto words = words_of(pack);
  __stwb(reinterpret_cast<std::remove_const_t<decltype(words)>*>(target), words);
}

template <int kCount, class T>
__device__ __forceinline__ void load(const T* source, float (&out)[kCount]) {
  const auto pack = load_pack<Pack<T, kCount>>(source);
#pragma unroll
  for (int i = 0; i < kCount; ++i) out[i] = to_float(pack.values[i]);
}
/// Into global memory.
template <int kCount, class T>
__device__ __forceinline__ void store(T* target, const float (&values)[kCount]) {
  Pack<T, kCount> pack;
#pragma unroll
  for (int i = 0; i < kCount; ++i) pack.values[i] = from_float<T>(values[i]);
  store_pack_global(target, pack);
}

}  // namespace plumb::cuda
