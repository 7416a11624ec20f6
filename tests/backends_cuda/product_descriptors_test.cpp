// The descriptors of matrix products, made by the real cuBLASLt: that takes no GPU. It refuses attributes
// whose size is wrong and hands back what it has taken.
#include "backends/cuda/product_descriptors.h"

#include <gtest/gtest.h>

namespace plumb::cuda {
namespace {

template <class T>
T get(const MatmulDescriptor& descriptor, cublasLtMatmulDescAttributes_t attribute) {
  T value{};
  std::size_t written = 0;
  EXPECT_EQ(cublasLtMatmulDescGetAttribute(descriptor.get(), attribute, &value, sizeof value, &written),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(written, sizeof value) << attribute;
  return value;
}
template <class T>
T get(const MatrixLayout& layout, cublasLtMatrixLayoutAttribute_t attribute) {
  T value{};
  std::size_t written = 0;
  EXPECT_EQ(cublasLtMatrixLayoutGetAttribute(layout.get(), attribute, &value, sizeof value, &written),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(written, sizeof value) << attribute;
  return value;
}
template <class T>
T get(const MatmulPreference& preference, cublasLtMatmulPreferenceAttributes_t attribute) {
  T value{};
  std::size_t written = 0;
  EXPECT_EQ(cublasLtMatmulPreferenceGetAttribute(preference.get(), attribute, &value, sizeof value, &written),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(written, sizeof value) << attribute;
  return value;
}

void expect_layout(const MatrixLayout& layout, cudaDataType_t type, std::uint64_t rows, std::uint64_t cols,
                   std::int64_t stride) {
  EXPECT_EQ(get<std::uint32_t>(layout, CUBLASLT_MATRIX_LAYOUT_TYPE), static_cast<std::uint32_t>(type));
  EXPECT_EQ(get<std::int32_t>(layout, CUBLASLT_MATRIX_LAYOUT_ORDER), CUBLASLT_ORDER_COL);
  EXPECT_EQ(get<std::uint64_t>(layout, CUBLASLT_MATRIX_LAYOUT_ROWS), rows);
  EXPECT_EQ(get<std::uint64_t>(layout, CUBLASLT_MATRIX_LAYOUT_COLS), cols);
  EXPECT_EQ(get<std::int64_t>(layout, CUBLASLT_MATRIX_LAYOUT_LD), stride);
}

/// c (5, 7) = a^T b, a stored (3, 5), b stored (3, 7).
ProductProblem problem_of_dtypes(DType factors, DType result) {
  ProductProblem problem;
  problem.m = 5, problem.n = 7, problem.k = 3;
  problem.stride_a = 8, problem.stride_b = 9, problem.stride_c = 10;
  problem.factors = factors, problem.result = result;
  problem.transpose_a = true;
  return problem;
}

TEST(ProductDescriptors, LayoutsAreTheTransposedMatricesInSwappedOrder) {
  const ProductDescriptors made =
      make_descriptors("test", problem_of_dtypes(DType::BFloat16, DType::Float32));
  expect_layout(made.left, CUDA_R_16BF, 7, 3, 9);
  expect_layout(made.right, CUDA_R_16BF, 5, 3, 8);
  expect_layout(made.result, CUDA_R_32F, 7, 5, 10);
  EXPECT_EQ(get<std::int32_t>(made.operation, CUBLASLT_MATMUL_DESC_TRANSA), CUBLAS_OP_N);
  EXPECT_EQ(get<std::int32_t>(made.operation, CUBLASLT_MATMUL_DESC_TRANSB), CUBLAS_OP_T);
  EXPECT_EQ(get<std::int32_t>(made.operation, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE), CUBLAS_COMPUTE_32F);
  EXPECT_EQ(get<std::int32_t>(made.operation, CUBLASLT_MATMUL_DESC_SCALE_TYPE), CUDA_R_32F);
  EXPECT_EQ(get<std::uint32_t>(made.operation, CUBLASLT_MATMUL_DESC_EPILOGUE),
            static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_DEFAULT));
}

TEST(ProductDescriptors, EveryDtypeHasItsType) {
  ProductProblem problem = problem_of_dtypes(DType::Float16, DType::Float16);
  expect_layout(make_descriptors("test", problem).result, CUDA_R_16F, 7, 5, 10);
  problem = problem_of_dtypes(DType::Float32, DType::Float32);
  problem.tf32 = true;
  const ProductDescriptors made = make_descriptors("test", problem);
  expect_layout(made.left, CUDA_R_32F, 7, 3, 9);
  EXPECT_EQ(get<std::int32_t>(made.operation, CUBLASLT_MATMUL_DESC_COMPUTE_TYPE),
            CUBLAS_COMPUTE_32F_FAST_TF32);
}

TEST(ProductDescriptors, EpiloguesAndTheirPointers) {
  ProductProblem problem = problem_of_dtypes(DType::BFloat16, DType::BFloat16);
  problem.bias = problem.gelu = true;
  problem.stride_gelu_input = 16;
  const ProductDescriptors made = make_descriptors("test", problem);
  const auto pointer = [&](cublasLtMatmulDescAttributes_t attribute) {
    return reinterpret_cast<std::uintptr_t>(get<void*>(made.operation, attribute));
  };
  EXPECT_EQ(get<std::uint32_t>(made.operation, CUBLASLT_MATMUL_DESC_EPILOGUE),
            static_cast<std::uint32_t>(CUBLASLT_EPILOGUE_GELU_AUX_BIAS));
  EXPECT_EQ(get<std::int32_t>(made.operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE), CUDA_R_16BF);
  EXPECT_EQ(get<std::int64_t>(made.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD), 16);
  // The heuristic looks at their alignment.
  EXPECT_EQ(pointer(CUBLASLT_MATMUL_DESC_BIAS_POINTER) % 16, 0U);
  EXPECT_NE(pointer(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER), 0U);
  int vector = 0, input = 0;
  set_pointers("test", problem, made, &vector, &input);
  EXPECT_EQ(get<void*>(made.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER), &vector);
  EXPECT_EQ(get<void*>(made.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER), &input);

  for (const auto& [bias, gelu, gradient, epilogue] :
       {std::tuple{true, false, false, CUBLASLT_EPILOGUE_BIAS},
        std::tuple{false, true, false, CUBLASLT_EPILOGUE_GELU_AUX},
        std::tuple{false, false, true, CUBLASLT_EPILOGUE_BGRADB}}) {
    problem.bias = bias, problem.gelu = gelu, problem.bias_gradient = gradient;
    EXPECT_EQ(get<std::uint32_t>(make_descriptors("test", problem).operation, CUBLASLT_MATMUL_DESC_EPILOGUE),
              static_cast<std::uint32_t>(epilogue));
  }
}

TEST(ProductDescriptors, PreferenceAdmitsOnlySumsInFp32) {
  ProductProblem problem = problem_of_dtypes(DType::BFloat16, DType::BFloat16);
  problem.alignment_a = 2, problem.alignment_b = 8, problem.alignment_c = 4;
  const MatmulPreference made = make_preference("test", problem, 12345);
  EXPECT_EQ(get<std::uint64_t>(made, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES), 12345U);
  EXPECT_EQ(get<std::uint32_t>(made, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK),
            static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  EXPECT_EQ(get<std::uint32_t>(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES), 8U);  // swapped
  EXPECT_EQ(get<std::uint32_t>(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES), 2U);
  EXPECT_EQ(get<std::uint32_t>(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES), 4U);
  EXPECT_EQ(get<std::uint32_t>(made, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES), 4U);
}

}  // namespace
}  // namespace plumb::cuda
