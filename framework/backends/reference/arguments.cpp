#include "backends/reference/arguments.h"

namespace plumb::reference {
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

void fail_dtype(const char* op, DType dtype) {
  fail("{}: the reference backend computes in fp64 and fp32, not in {}", op, name_of(dtype));
}

Scratch::Scratch(const char* op, const Workspace& workspace, std::size_t needed_bytes)
    : next_(static_cast<double*>(workspace.data)), end_(next_ + needed_bytes / sizeof(double)) {
  PLUMB_CHECK(workspace.bytes >= needed_bytes && (needed_bytes == 0 || workspace.data != nullptr),
              "{}: the workspace has {} bytes, needs {}", op, workspace.data ? workspace.bytes : 0,
              needed_bytes);
}

double* Scratch::take(std::int64_t elements) {
  PLUMB_CHECK(end_ - next_ >= elements, "workspace query too small by {} doubles", elements - (end_ - next_));
  double* array = next_;
  next_ += elements;
  std::fill(array, next_, 0.0);
  return array;
}

}  // namespace plumb::reference
