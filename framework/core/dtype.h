// Element types of tensors.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace plumb {

enum class DType : std::uint8_t { Float64, Float32, BFloat16, Float16, Int64, Int32 };

std::size_t size_of(DType dtype);
/// "fp64", "fp32", "bf16", "fp16", "int64", "int32".
std::string_view name_of(DType dtype);

/// bfloat16 storage: the upper half of a float. Conversion from float rounds to nearest even and keeps NaN.
struct bfloat16 {
  std::uint16_t bits = 0;

  bfloat16() = default;
  explicit bfloat16(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    const bool is_nan = (word & 0x7fffffffU) > 0x7f800000U;
    bits = is_nan ? static_cast<std::uint16_t>((word >> 16) | 0x40U)
                  : static_cast<std::uint16_t>((word + 0x7fffU + ((word >> 16) & 1U)) >> 16);
  }
  explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};
static_assert(sizeof(bfloat16) == 2);

/// IEEE binary16 storage. Conversion from float rounds to nearest even, overflows to infinity and keeps NaN.
struct float16 {
  std::uint16_t bits = 0;

  float16() = default;
  explicit float16(float value);
  explicit operator float() const;
};
static_assert(sizeof(float16) == 2);
/// The largest finite float16; activations beyond it overflow.
inline constexpr float kLargestFloat16 = 65504;

template <class T>
struct NotAnElementType;
/// The DType of a C++ type; for other types than these it does not compile.
template <class T>
inline constexpr DType dtype_of = NotAnElementType<T>::value;
template <>
inline constexpr DType dtype_of<double> = DType::Float64;
template <>
inline constexpr DType dtype_of<float> = DType::Float32;
template <>
inline constexpr DType dtype_of<bfloat16> = DType::BFloat16;
template <>
inline constexpr DType dtype_of<float16> = DType::Float16;
template <>
inline constexpr DType dtype_of<std::int64_t> = DType::Int64;
template <>
inline constexpr DType dtype_of<std::int32_t> = DType::Int32;

}  // namespace plumb
