// One element of a tensor of any dtype, as a double.
#pragma once

#include "core/error.h"
#include "core/tensor.h"

namespace plumb::reference {

/// Element i of a row; row strides are honoured.
inline double load(const Tensor& tensor, std::int64_t row, std::int64_t i) {
  const std::int64_t at = row * tensor.row_stride + i;
  switch (tensor.dtype) {
    case DType::Float64:
      return tensor.as<double>()[at];
    case DType::Float32:
      return tensor.as<float>()[at];
    case DType::BFloat16:
      return static_cast<float>(tensor.as<bfloat16>()[at]);
    case DType::Float16:
      return static_cast<float>(tensor.as<float16>()[at]);
    case DType::Int64:
      return static_cast<double>(tensor.as<std::int64_t>()[at]);
    case DType::Int32:
      return tensor.as<std::int32_t>()[at];
  }
  fail("load: unknown dtype {}", static_cast<int>(tensor.dtype));
}

/// Rounds to nearest even; a double becomes bf16 or fp16 by way of float.
inline void store(const Tensor& tensor, std::int64_t row, std::int64_t i, double value) {
  const std::int64_t at = row * tensor.row_stride + i;
  switch (tensor.dtype) {
    case DType::Float64:
      tensor.as<double>()[at] = value;
      return;
    case DType::Float32:
      tensor.as<float>()[at] = static_cast<float>(value);
      return;
    case DType::BFloat16:
      tensor.as<bfloat16>()[at] = bfloat16(static_cast<float>(value));
      return;
    case DType::Float16:
      tensor.as<float16>()[at] = float16(static_cast<float>(value));
      return;
    case DType::Int64:
      tensor.as<std::int64_t>()[at] = static_cast<std::int64_t>(value);
      return;
    case DType::Int32:
      tensor.as<std::int32_t>()[at] = static_cast<std::int32_t>(value);
      return;
  }
  fail("store: unknown dtype {}", static_cast<int>(tensor.dtype));
}

}  // namespace plumb::reference
