// Matrix products by cuBLASLt.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>

#include "backend/stream.h"
#include "core/tensor.h"

namespace plumb::cuda {

/// What is fused behind a product. GeluAux: c = gelu_tanh(product + bias) and `aux` holds what gelu was taken
/// of. BiasGradient: `bias` receives (not +=) the sums over rows of op(b) seen as dy.
enum class Epilogue { None, Bias, GeluAux, BiasGradient };

/// c = op(a) op(b) [+ bias] [+ c], all row-major with row_stride honoured; op transposes where asked. op(a)
/// is (M, K), op(b) is (K, N), c is (M, N). a and b have one dtype (fp32, bf16, fp16); c has it too or is
/// fp32. Sums are fp32 (tf32 products where the backend was asked for them).
struct MatrixProduct {
  const char* op = "matrix product";  ///< named by errors
  Tensor a;
  bool transpose_a = false;
  Tensor b;
  bool transpose_b = false;
  Tensor c;
  Tensor bias;  ///< (N) fp32, added to every row; empty = none
  Tensor aux;
  Epilogue epilogue = Epilogue::None;
  bool accumulate = false;  ///< c += instead of =
  Workspace workspace;
};

/// Owns the cuBLASLt handle and the algorithms chosen so far: one choice per problem (shapes, strides, forms,
/// dtypes, alignment), by the library's heuristic, on first use or when workspace() plans it. One host
/// thread.
class MatrixProducts {
 public:
  explicit MatrixProducts(bool tf32);
  ~MatrixProducts();
  MatrixProducts(const MatrixProducts&) = delete;
  MatrixProducts& operator=(const MatrixProducts&) = delete;

  void run(cudaStream_t stream, const MatrixProduct& product) const;
  /// Bytes of workspace for these shapes (data pointers are not looked at).
  std::size_t workspace(const MatrixProduct& product) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace plumb::cuda
