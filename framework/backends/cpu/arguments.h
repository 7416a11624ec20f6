// How the cpu ops look at their arguments: checked typed views, dispatch on the compute dtype, grain sizes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/tensor_checks.h"
#include "core/error.h"
#include "core/tensor.h"

namespace plumb::cpu {

[[noreturn]] void fail_dtype(const char* op, DType dtype);

/// Calls body(element) with a float or a bfloat16 according to the compute dtype.
template <class Body>
void with_compute(const char* op, DType dtype, Body&& body) {
  if (dtype == DType::Float32) return body(float{});
  if (dtype == DType::BFloat16) return body(bfloat16{});
  fail_dtype(op, dtype);
}

/// A checked (rows, cols) view; false when the tensor is empty, which only optional() allows.
template <class T>
class Rows {
 public:
  Rows(const char* op, const char* name, const Tensor& tensor, std::int64_t rows, std::int64_t cols)
      : stride_(tensor.row_stride) {
    require_rows(op, name, tensor, dtype_of<T>, rows, cols);
    data_ = static_cast<T*>(tensor.data);
  }
  static Rows optional(const char* op, const char* name, const Tensor& tensor, std::int64_t rows,
                       std::int64_t cols) {
    return tensor.defined() ? Rows(op, name, tensor, rows, cols) : Rows();
  }
  T* operator[](std::int64_t row) const { return data_ + row * stride_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  Rows() = default;
  T* data_ = nullptr;
  std::int64_t stride_ = 0;
};

/// Checked pointer to a contiguous tensor of that many elements.
template <class T>
T* vector_of(const char* op, const char* name, const Tensor& tensor, std::int64_t elements) {
  require_vector(op, name, tensor, dtype_of<T>, elements);
  return static_cast<T*>(tensor.data);
}
/// The same, or null when the tensor is empty.
template <class T>
T* optional_vector(const char* op, const char* name, const Tensor& tensor, std::int64_t elements) {
  return tensor.defined() ? vector_of<T>(op, name, tensor, elements) : nullptr;
}

/// Elements that are worth a thread of their own: starting threads costs as much as about a microsecond of
/// work.
inline constexpr std::int64_t kCheapElements = 16384;     // a few arithmetic operations for each element
inline constexpr std::int64_t kExpensiveElements = 4096;  // exponentials

/// Rows of `cols` elements that make up a grain.
inline std::int64_t row_grain(std::int64_t cols, std::int64_t elements) {
  return std::max<std::int64_t>(1, elements / std::max<std::int64_t>(1, cols));
}

}  // namespace plumb::cpu
