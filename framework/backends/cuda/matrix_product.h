// Matrix products by cuBLASLt.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb::cuda {

/// c = op(a) op(b) [+ c] [+ bias], all row-major with row_stride honoured; op transposes where asked. op(a)
/// is (M, K), op(b) is (K, N), c is (M, N). a and b have one dtype (fp32, bf16, fp16); c has it too or is
/// fp32. Sums are fp32 (of factors rounded to tf32 where the backend was asked for that).
struct MatrixProduct {
  const char* op = "matrix product";  ///< named by errors
  Tensor a = {};
  bool transpose_a = false;
  Tensor b = {};
  bool transpose_b = false;
  Tensor c = {};
  bool accumulate = false;  ///< c += instead of =
  /// (N), added to every row; empty = none. It has the dtype of c: the library takes no other. It, gelu_input
  /// and bias_gradient are aligned to 16 bytes.
  Tensor bias = {};
  /// (M, N) of the dtype of c, its row_stride a multiple of 8: receives all of the sum above, and c receives
  /// gelu (tanh form) of it; empty = no gelu.
  Tensor gelu_input = {};
  /// (M) of the dtype of c: receives (not +=) the sums over K of op(a), which are the gradient of a bias when
  /// a is dy transposed; empty = none. Not together with bias or gelu_input.
  Tensor bias_gradient = {};
  Workspace workspace = {};
};

/// Owns the cuBLASLt handle and the algorithms chosen so far: one choice per problem (shapes, strides, forms,
/// dtypes, alignment of the pointers), by the library's heuristic, on first use or when workspace() plans it.
/// The choice does not depend on values, on timing or on the workspace given, and only algorithms that add up
/// in fp32 and in a fixed order are admitted, so a product has the same bits in every run on one kind of GPU.
/// One host thread.
class MatrixProducts {
 public:
  explicit MatrixProducts(bool tf32);
  ~MatrixProducts();
  MatrixProducts(const MatrixProducts&) = delete;
  MatrixProducts& operator=(const MatrixProducts&) = delete;

  /// Error with op, shapes, strides and dtypes when the library refuses.
  void run(cudaStream_t stream, const MatrixProduct& product) const;
  /// Bytes of workspace for this product, wherever its tensors come to lie (pointers are not looked at).
  std::size_t workspace(const MatrixProduct& product) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace plumb::cuda
