#include "backends/reference/arguments.h"

#include "core/error.h"

namespace plumb::reference {

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
