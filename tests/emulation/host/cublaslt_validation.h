// What cuBLASLt accepts. Where the documentation leaves room, the stricter reading.
#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <string>

#include "host/cublaslt_descriptors.h"

namespace plumb::emulation {

/// D = epilogue(alpha op(A) op(B) + beta C), all descriptors as they were at the call.
struct MatmulProblem {
  MatmulDescription description;
  MatrixLayout a, b, c, d;

  std::uint64_t m() const { return d.rows; }
  std::uint64_t n() const { return d.columns; }
  std::uint64_t k() const { return description.transpose_a == CUBLAS_OP_N ? a.columns : a.rows; }
};

struct MatmulPointers {
  const void* a = nullptr;
  const void* b = nullptr;
  const void* c = nullptr;
  void* d = nullptr;
  bool reads_c = false;  ///< beta is not known to be 0
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
};

struct Verdict {
  cublasStatus_t status = CUBLAS_STATUS_SUCCESS;
  std::string reason;
};

bool has_bias(const MatmulDescription& description);
bool has_aux(const MatmulDescription& description);
bool has_bias_gradient(const MatmulDescription& description);
std::size_t element_bytes(cudaDataType_t type);  ///< 0: not a type that is modelled
/// From the first element of a matrix (or batch) to behind its last.
std::size_t extent_bytes(const MatrixLayout& layout);

/// The problem alone: shapes, types, epilogue.
Verdict check_problem(const MatmulProblem& problem);
/// Every range in one live device allocation, alignment, overlaps. Empty when nothing is wrong; also asked
/// when the product runs, since a graph may be replayed after memory was freed.
std::string pointer_fault(const MatmulProblem& problem, const MatmulPointers& pointers);

}  // namespace plumb::emulation
