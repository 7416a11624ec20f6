// How the CUDA ops look at their arguments on the host: checks, dispatch on the compute dtype, workspaces.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/ops/coefficient.h"
#include "backend/ops/moments.h"
#include "backend/stream.h"
#include "backend/tensor_checks.h"
#include "core/error.h"
#include "core/tensor.h"

namespace plumb::cuda {

/// As require_rows and require_vector (backend/tensor_checks.h), but an empty tensor passes.
void optional_rows(const char* op, const char* name, const Tensor& tensor, DType dtype, std::int64_t rows,
                   std::int64_t cols);
void optional_vector(const char* op, const char* name, const Tensor& tensor, DType dtype,
                     std::int64_t elements);
/// Unless it is fp32, bf16 or fp16.
void require_compute(const char* op, DType dtype);
void require_coefficient(const char* op, const char* name, const Coefficient& coefficient, std::int64_t rows,
                         std::int64_t cols, std::int64_t rows_per_sequence);
/// Of the trainable factor of `coefficient`.
void require_coefficient_gradient(const char* op, const char* name, const Coefficient& coefficient,
                                  const CoefficientGradient& gradient);
/// A view that is not defined passes.
void require_moments(const char* op, const MomentsView& view, std::int64_t cols);

/// Cuts arrays out of a workspace, each aligned to 256 bytes. A carver without a workspace counts only, and
/// gives null pointers, so that one function both plans and takes.
class WorkspaceCarver {
 public:
  WorkspaceCarver() = default;
  explicit WorkspaceCarver(const Workspace& workspace) : workspace_(workspace), counting_(false) {}

  template <class T>
  T* take(std::int64_t elements) {
    return static_cast<T*>(take_bytes(static_cast<std::size_t>(elements) * sizeof(T)));
  }
  /// What is left, for a library.
  Workspace rest() const;
  /// What has been taken so far, with room to align a start that is aligned to 64 bytes only.
  std::size_t bytes() const { return used_ == 0 ? 0 : used_ + kAlignment; }

 private:
  static constexpr std::size_t kAlignment = 256;
  void* take_bytes(std::size_t bytes);

  Workspace workspace_;
  bool counting_ = true;
  std::size_t used_ = 0;
};

}  // namespace plumb::cuda
