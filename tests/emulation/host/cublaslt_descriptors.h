// Descriptors of the emulated cuBLASLt.
#pragma once

#include <cublasLt.h>

#include <array>
#include <cstdint>
#include <string>

namespace plumb::emulation {

struct MatmulDescription {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType_t scale = CUDA_R_32F;
  std::int32_t pointer_mode = CUBLASLT_POINTER_MODE_HOST;
  std::int32_t transpose_a = CUBLAS_OP_N;
  std::int32_t transpose_b = CUBLAS_OP_N;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;  ///< bias, or where the bias gradient goes
  std::int32_t bias_type = -1;
  void* aux = nullptr;
  std::int64_t aux_ld = 0;
};

/// Column-major: element (i, j) is at j * ld + i.
struct MatrixLayout {
  cudaDataType_t type = CUDA_R_32F;
  std::uint64_t rows = 0, columns = 0;
  std::int64_t ld = 0;
  std::int32_t batch = 1;
  std::int64_t stride = 0;  ///< between matrices of a batch, in elements
};

/// The defaults are those of cublasLtMatmulPreferenceAttributes_t.
struct MatmulPreference {
  std::uint64_t workspace = 0;
  std::array<std::uint32_t, 4> alignment{256, 256, 256, 256};  ///< of A, B, C, D in bytes
  std::uint32_t reduction_schemes =
      CUBLASLT_REDUCTION_SCHEME_MASK;  ///< taken note of: there is one algorithm
};

MatmulDescription* find(cublasLtMatmulDesc_t handle);
MatrixLayout* find(cublasLtMatrixLayout_t handle);
MatmulPreference* find(cublasLtMatmulPreference_t handle);
bool is_open(cublasLtHandle_t handle);

/// Remembers the reason, which cublasLtGetStatusString shows behind the library's own text; returns `status`.
cublasStatus_t refuse(cublasStatus_t status, std::string reason);

}  // namespace plumb::emulation
