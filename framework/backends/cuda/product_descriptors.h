// The cuBLASLt descriptors of a matrix product. Nothing here needs a GPU or a handle of the library.
#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <memory>

#include "backends/cuda/product_problem.h"

namespace plumb::cuda {

struct DestroyDescriptor {
  void operator()(cublasLtMatmulDescOpaque_t* descriptor) const;
  void operator()(cublasLtMatrixLayoutOpaque_t* layout) const;
  void operator()(cublasLtMatmulPreferenceOpaque_t* preference) const;
};
using MatmulDescriptor = std::unique_ptr<cublasLtMatmulDescOpaque_t, DestroyDescriptor>;
using MatrixLayout = std::unique_ptr<cublasLtMatrixLayoutOpaque_t, DestroyDescriptor>;
using MatmulPreference = std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, DestroyDescriptor>;

/// The library's matrices are column-major, so a row-major matrix is to it the transposed one, and
/// c = op(a) op(b) is asked as c^T = op(b)^T op(a)^T: its first factor is our b, its second our a, and both
/// keep their transposition. `left` and `right` are in the library's order.
struct ProductDescriptors {
  MatmulDescriptor operation;
  MatrixLayout left, right, result;
};

/// Vectors and gelu_input get stand-in addresses, whose alignment the heuristic looks at; set_pointers()
/// replaces them. Error when the library refuses a value.
ProductDescriptors make_descriptors(const char* op, const ProductProblem& problem);
void set_pointers(const char* op, const ProductProblem& problem, const ProductDescriptors& descriptors,
                  void* vector, void* gelu_input);
/// What algorithms may be chosen: with at most so much workspace, with these alignments, and with partial
/// sums, where K is split, in fp32 in the workspace, added up by a step of its own.
MatmulPreference make_preference(const char* op, const ProductProblem& problem, std::size_t workspace_limit);

}  // namespace plumb::cuda
