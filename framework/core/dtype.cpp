#include "core/dtype.h"

#include "core/error.h"

namespace plumb {

std::size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::Float64:
    case DType::Int64:
      return 8;
    case DType::Float32:
    case DType::Int32:
      return 4;
    case DType::BFloat16:
    case DType::Float16:
      return 2;
  }
  fail("size_of: unknown dtype {}", static_cast<int>(dtype));
}

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::Float64:
      return "fp64";
    case DType::Float32:
      return "fp32";
    case DType::BFloat16:
      return "bf16";
    case DType::Float16:
      return "fp16";
    case DType::Int64:
      return "int64";
    case DType::Int32:
      return "int32";
  }
  return "unknown";
}

float16::float16(float value) {
  const auto word = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>((word >> 16) & 0x8000U);
  const std::uint32_t magnitude = word & 0x7fffffffU;
  if (magnitude > 0x7f800000U) {  // NaN
    bits = sign | 0x7e00U;
  } else if (magnitude >= 0x477ff000U) {  // 65520 and more round to infinity
    bits = sign | 0x7c00U;
  } else if (magnitude < 0x38800000U) {  // below 2^-14: a multiple of 2^-24, rounded by the addition
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    bits = sign | static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(shifted) - 0x3f000000U);
  } else {
    const std::uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
    bits = sign | static_cast<std::uint16_t>((rounded - 0x38000000U) >> 13);
  }
}

float16::operator float() const {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fU, fraction = bits & 0x3ffU;
  if (exponent == 0) {
    const float small = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -small : small;
  }
  const std::uint32_t rebiased = exponent == 0x1fU ? 0xffU : exponent + 112;
  return std::bit_cast<float>(sign | (rebiased << 23) | (fraction << 13));
}

}  // namespace plumb
