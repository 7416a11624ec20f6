#include "backends/cuda/arguments.h"

namespace plumb::cuda {
void optional_rows(const char* op, const char* name, const Tensor& tensor, DType dtype, std::int64_t rows,
                   std::int64_t cols) {
  if (tensor.defined()) require_rows(op, name, tensor, dtype, rows, cols);
}
void optional_vector(const char* op, const char* name, const Tensor& tensor, DType dtype,
                     std::int64_t elements) {
  if (tensor.defined()) require_vector(op, name, tensor, dtype, elements);
}

void require_compute(const char* op, DType dtype) {
  if (dtype != DType::Float32 && dtype != DType::BFloat16 && dtype != DType::Float16) {
    fail("{}: the CUDA backend computes in fp32, bf16 and fp16, not in {}", op, name_of(dtype));
  }
}

void require_coefficient(const char* op, const char* name, const Coefficient& coefficient, std::int64_t rows,
                         std::int64_t cols, std::int64_t rows_per_sequence) {
  optional_vector(op, name, coefficient.scalar, DType::Float32, 1);
  optional_vector(op, name, coefficient.feature, DType::Float32,
                  coefficient.feature.elements() == 1 ? 1 : cols);
  optional_vector(op, name, coefficient.sequence, DType::Float32, sequences_of(rows, rows_per_sequence));
}

void require_coefficient_gradient(const char* op, const char* name, const Coefficient& coefficient,
                                  const CoefficientGradient& gradient) {
  optional_vector(op, name, gradient.feature, DType::Float32, coefficient.feature.elements());
}

void require_moments(const char* op, const MomentsView& view, std::int64_t cols) {
  if (!view.defined()) return;
  require_vector(op, "moments.scalars", view.scalars, DType::Float64, kMomentScalars);
  if (!view.column_sum.defined()) return;
  require_vector(op, "moments.column_sum", view.column_sum, DType::Float64, cols);
  require_vector(op, "moments.column_square", view.column_square, DType::Float64, cols);
  require_vector(op, "moments.shift", view.shift, DType::Float64, cols);
}

void* WorkspaceCarver::take_bytes(std::size_t bytes) {
  const std::size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const std::size_t begin = used_;
  used_ += padded;
  if (counting_ || bytes == 0) return nullptr;
  const auto start = reinterpret_cast<std::uintptr_t>(workspace_.data);
  const std::uintptr_t aligned = (start + kAlignment - 1) / kAlignment * kAlignment;
  PLUMB_CHECK(workspace_.data != nullptr && aligned - start + used_ <= workspace_.bytes,
              "the workspace has {} bytes, needs {}", workspace_.data != nullptr ? workspace_.bytes : 0,
              used_ + kAlignment);
  return reinterpret_cast<void*>(aligned + begin);
}

Workspace WorkspaceCarver::rest() const {
  if (counting_ || workspace_.data == nullptr) return {};
  const auto start = reinterpret_cast<std::uintptr_t>(workspace_.data);
  const std::uintptr_t next = (start + kAlignment - 1) / kAlignment * kAlignment + used_;
  if (next >= start + workspace_.bytes) return {};
  return {reinterpret_cast<void*>(next), static_cast<std::size_t>(start + workspace_.bytes - next)};
}

}  // namespace plumb::cuda
