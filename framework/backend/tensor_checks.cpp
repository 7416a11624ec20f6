#include "backend/tensor_checks.h"

#include "core/error.h"

namespace plumb {
namespace {
std::string describe(const Tensor& tensor) {
  if (!tensor.defined()) return "empty";
  return fmt::format("{} {}{}", name_of(tensor.dtype), to_string(tensor.shape),
                     tensor.data == nullptr ? " without data" : "");
}
}  // namespace

void require_rows(const char* op, const char* name, const Tensor& tensor, DType dtype, std::int64_t rows,
                  std::int64_t cols) {
  PLUMB_CHECK(tensor.data != nullptr && tensor.dtype == dtype && tensor.cols() == cols &&
                  tensor.elements() == rows * cols,
              "{}: {} is {}, expected {} with {} rows of {}", op, name, describe(tensor), name_of(dtype),
              rows, cols);
  PLUMB_CHECK(tensor.row_stride >= cols, "{}: {} has a row stride of {}, less than its {} columns", op, name,
              tensor.row_stride, cols);
}

void require_vector(const char* op, const char* name, const Tensor& tensor, DType dtype,
                    std::int64_t elements) {
  PLUMB_CHECK(tensor.data != nullptr && tensor.dtype == dtype && tensor.elements() == elements,
              "{}: {} is {}, expected {} with {} elements", op, name, describe(tensor), name_of(dtype),
              elements);
  PLUMB_CHECK(tensor.contiguous(), "{}: {} must be contiguous", op, name);
}

}  // namespace plumb
