// A matrix product for tests of the emulated cuBLASLt: descriptors, data and a result by plain loops.
#pragma once

#include <cublasLt.h>

#include <cmath>
#include <memory>
#include <random>

#include "core/dtype.h"
#include "host_fixture.h"

namespace plumb::emulation {

template <class T>
inline constexpr cudaDataType_t data_type = CUDA_R_32F;
template <>
inline constexpr cudaDataType_t data_type<bfloat16> = CUDA_R_16BF;
template <>
inline constexpr cudaDataType_t data_type<float16> = CUDA_R_16F;

/// Owns a cublasLtMatrixLayout_t.
class Layout {
 public:
  Layout(cudaDataType_t type, std::uint64_t rows, std::uint64_t columns, std::int64_t ld) {
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&handle_, type, rows, columns, ld), CUBLAS_STATUS_SUCCESS);
  }
  ~Layout() { cublasLtMatrixLayoutDestroy(handle_); }
  Layout(const Layout&) = delete;
  Layout& operator=(const Layout&) = delete;
  template <class V>
  void set(cublasLtMatrixLayoutAttribute_t attribute, V value) {
    ASSERT_EQ(cublasLtMatrixLayoutSetAttribute(handle_, attribute, &value, sizeof value),
              CUBLAS_STATUS_SUCCESS);
  }
  operator cublasLtMatrixLayout_t() const { return handle_; }

 private:
  cublasLtMatrixLayout_t handle_ = nullptr;
};

/// A column-major matrix on the device, with room between its columns.
template <class T>
struct Matrix {
  Matrix(std::uint64_t rows_, std::uint64_t columns_, std::int64_t ld_, unsigned seed)
      : rows(rows_), columns(columns_), ld(ld_), values(columns_ * static_cast<std::uint64_t>(ld_)) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (T& value : values) value = T(uniform(random));
    device = std::make_unique<DeviceArray<T>>(values);
  }
  double at(std::uint64_t row, std::uint64_t column) const {
    return static_cast<float>(values[column * static_cast<std::uint64_t>(ld) + row]);
  }

  std::uint64_t rows, columns;
  std::int64_t ld;
  std::vector<T> values;
  std::unique_ptr<DeviceArray<T>> device;
};

/// D = alpha op(A) op(B) + beta C with factors of type T and results of type R.
template <class T, class R>
struct Product {
  std::uint64_t m = 12, n = 10, k = 7;
  bool transpose_a = false, transpose_b = false;
  Matrix<T> a, b;
  Matrix<R> c, d;

  Product(bool ta, bool tb)
      : transpose_a(ta),
        transpose_b(tb),
        a(ta ? k : m, ta ? m : k, ta ? 9 : 16, 1),
        b(tb ? n : k, tb ? k : n, 13, 2),
        c(m, n, 14, 3),
        d(m, n, 14, 4) {}

  double a_at(std::uint64_t row, std::uint64_t i) const { return transpose_a ? a.at(i, row) : a.at(row, i); }
  double b_at(std::uint64_t i, std::uint64_t column) const {
    return transpose_b ? b.at(column, i) : b.at(i, column);
  }
  double expected(std::uint64_t row, std::uint64_t column, double alpha, double beta) const {
    double sum = 0;
    for (std::uint64_t i = 0; i < k; ++i) sum += a_at(row, i) * b_at(i, column);
    return alpha * sum + beta * c.at(row, column);
  }
};

/// Library handle, descriptor and layouts of a product.
template <class T, class R>
class Call {
 public:
  Call(const Product<T, R>& p, cublasComputeType_t compute = CUBLAS_COMPUTE_32F)
      : a(data_type<T>, p.a.rows, p.a.columns, p.a.ld),
        b(data_type<T>, p.b.rows, p.b.columns, p.b.ld),
        c(data_type<R>, p.c.rows, p.c.columns, p.c.ld),
        d(data_type<R>, p.d.rows, p.d.columns, p.d.ld),
        product_(p) {
    EXPECT_EQ(cublasLtCreate(&library), CUBLAS_STATUS_SUCCESS);
    EXPECT_EQ(cublasLtMatmulDescCreate(&description, compute, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
    if (p.transpose_a) set(CUBLASLT_MATMUL_DESC_TRANSA, std::int32_t{CUBLAS_OP_T});
    if (p.transpose_b) set(CUBLASLT_MATMUL_DESC_TRANSB, std::int32_t{CUBLAS_OP_T});
  }
  ~Call() {
    cublasLtMatmulDescDestroy(description);
    cublasLtDestroy(library);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  template <class V>
  void set(cublasLtMatmulDescAttributes_t attribute, V value) {
    ASSERT_EQ(cublasLtMatmulDescSetAttribute(description, attribute, &value, sizeof value),
              CUBLAS_STATUS_SUCCESS);
  }
  void set_epilogue(cublasLtEpilogue_t epilogue) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(epilogue));
  }

  cublasStatus_t heuristic(std::size_t workspace, std::uint32_t alignment,
                           cublasLtMatmulHeuristicResult_t* result) {
    cublasLtMatmulPreference_t preference = nullptr;
    cublasLtMatmulPreferenceCreate(&preference);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                         sizeof workspace);
    for (const auto attribute :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      cublasLtMatmulPreferenceSetAttribute(preference, attribute, &alignment, sizeof alignment);
    int count = 0;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(library, description, a, b, c, d, preference, 1, result, &count);
    EXPECT_EQ(status == CUBLAS_STATUS_SUCCESS, count == 1);
    cublasLtMatmulPreferenceDestroy(preference);
    return status;
  }

  cublasStatus_t run(float alpha = 1, float beta = 0, const cublasLtMatmulAlgo_t* algorithm = nullptr,
                     void* workspace = nullptr, std::size_t workspace_bytes = 0, int shift_a = 0) {
    return cublasLtMatmul(library, description, &alpha, product_.a.device->data() + shift_a, a,
                          product_.b.device->data(), b, &beta, product_.c.device->data(), c,
                          product_.d.device->data(), d, algorithm, workspace, workspace_bytes, nullptr);
  }

  cublasLtHandle_t library = nullptr;
  cublasLtMatmulDesc_t description = nullptr;
  Layout a, b, c, d;

 private:
  const Product<T, R>& product_;
};

}  // namespace plumb::emulation
