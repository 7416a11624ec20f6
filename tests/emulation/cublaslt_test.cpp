// The emulated cuBLASLt: results against float64 loops, and what the library refuses.
#include "cublaslt_problem.h"
#include "host/statistics.h"

namespace plumb::emulation {
namespace {

using testing::HasSubstr;

double rounding(float) { return 2e-6; }
double rounding(bfloat16) { return 1.0 / 256; }
double rounding(float16) { return 1.0 / 2048; }

template <class R>
void expect_near(R found, double expected) {
  EXPECT_NEAR(static_cast<float>(found), expected, rounding(R{}) * (1 + std::abs(expected)));
}

class CublasLt : public EmulatedHost {
 protected:
  template <class T, class R>
  static void check_plain(cublasComputeType_t compute, double extra = 0) {
    for (const bool transpose_a : {false, true}) {
      for (const bool transpose_b : {false, true}) {
        const Product<T, R> p(transpose_a, transpose_b);
        Call<T, R> call(p, compute);
        ASSERT_EQ(call.run(0.5F, 2.0F), CUBLAS_STATUS_SUCCESS);
        ASSERT_EQ(cudaStreamSynchronize(nullptr), cudaSuccess);
        const std::vector<R> d = p.d.device->read();
        for (std::uint64_t column = 0; column < p.n; ++column) {
          for (std::uint64_t row = 0; row < p.m; ++row) {
            const double expected = p.expected(row, column, 0.5, 2);
            EXPECT_NEAR(static_cast<float>(d[column * 14 + row]), expected,
                        (rounding(R{}) + extra) * (1 + std::abs(expected)));
          }
          // What lies between the columns is nobody's.
          for (std::uint64_t row = p.m; row < 14; ++row)
            EXPECT_EQ(static_cast<float>(d[column * 14 + row]),
                      static_cast<float>(p.d.values[column * 14 + row]));
        }
      }
    }
  }
};

TEST_F(CublasLt, ProductsOfEveryTypeAndForm) {
  check_plain<float, float>(CUBLAS_COMPUTE_32F);
  check_plain<bfloat16, bfloat16>(CUBLAS_COMPUTE_32F);
  check_plain<bfloat16, float>(CUBLAS_COMPUTE_32F);
  check_plain<float16, float16>(CUBLAS_COMPUTE_32F);
  check_plain<float16, float>(CUBLAS_COMPUTE_32F);
}

TEST_F(CublasLt, Tf32RoundsTheFactors) {
  check_plain<float, float>(CUBLAS_COMPUTE_32F_FAST_TF32, 7.0 / 1024);
  const Product<float, float> p(false, false);
  Call<float, float> exact(p), rounded(p, CUBLAS_COMPUTE_32F_FAST_TF32);
  ASSERT_EQ(exact.run(), CUBLAS_STATUS_SUCCESS);
  const auto first = p.d.device->read();
  ASSERT_EQ(rounded.run(), CUBLAS_STATUS_SUCCESS);
  EXPECT_NE(first, p.d.device->read());
}

TEST_F(CublasLt, BiasIsAddedToEveryColumn) {
  const Product<bfloat16, float> p(true, false);
  Call<bfloat16, float> call(p);
  const Matrix<float> bias(p.m, 1, 12, 9);
  call.set_epilogue(CUBLASLT_EPILOGUE_BIAS);
  call.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(bias.device->data()));
  ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS);
  const auto d = p.d.device->read();
  for (std::uint64_t column = 0; column < p.n; ++column) {
    for (std::uint64_t row = 0; row < p.m; ++row)
      expect_near(d[column * 14 + row], p.expected(row, column, 1, 0) + bias.at(row, 0));
  }
}

TEST_F(CublasLt, GeluKeepsWhatItWasTakenOf) {
  for (const bool with_bias : {false, true}) {
    const Product<float, float> p(false, true);
    Call<float, float> call(p);
    const Matrix<float> bias(p.m, 1, 12, 9), aux(p.m, p.n, 16, 10);
    call.set_epilogue(with_bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX);
    call.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(bias.device->data()));
    call.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, static_cast<void*>(aux.device->data()));
    call.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{16});
    ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS);
    const auto d = p.d.device->read(), before = aux.device->read();
    for (std::uint64_t column = 0; column < p.n; ++column) {
      for (std::uint64_t row = 0; row < p.m; ++row) {
        const double x = p.expected(row, column, 1, 0) + (with_bias ? bias.at(row, 0) : 0);
        expect_near(before[column * 16 + row], x);
        expect_near(d[column * 14 + row],
                    0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))));
      }
    }
  }
}

TEST_F(CublasLt, BiasGradientsSumAFactorOverK) {
  for (const bool transposed : {false, true}) {
    for (const bool of_a : {false, true}) {
      const Product<float16, float> p(transposed, transposed);
      Call<float16, float> call(p);
      const Matrix<float> gradient(of_a ? p.m : p.n, 1, 12, 9);
      call.set_epilogue(of_a ? CUBLASLT_EPILOGUE_BGRADA : CUBLASLT_EPILOGUE_BGRADB);
      call.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(gradient.device->data()));
      ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS);
      const auto found = gradient.device->read();
      for (std::uint64_t i = 0; i < gradient.rows; ++i) {
        double expected = 0;
        for (std::uint64_t at = 0; at < p.k; ++at) expected += of_a ? p.a_at(i, at) : p.b_at(at, i);
        expect_near(found[i], expected);
      }
      expect_near(p.d.device->read()[3], p.expected(3, 0, 1, 0));
    }
  }
}

TEST_F(CublasLt, BatchesWithStrides) {
  // Two products of 2 x 2 matrices that stand side by side; A is the same for both (stride 0).
  const DeviceArray<float> a(std::vector<float>{1, 2, 3, 4}), b(std::vector<float>{1, 0, 0, 1, 2, 0, 0, 2});
  const DeviceArray<float> d(8);
  Layout la(CUDA_R_32F, 2, 2, 2), lb(CUDA_R_32F, 2, 2, 2), ld(CUDA_R_32F, 2, 2, 2);
  for (Layout* layout : {&la, &lb, &ld}) layout->set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, std::int32_t{2});
  for (Layout* layout : {&lb, &ld}) layout->set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, std::int64_t{4});
  const Product<float, float> any(false, false);
  Call<float, float> call(any);
  const float one = 1, zero = 0;
  ASSERT_EQ(cublasLtMatmul(call.library, call.description, &one, a.data(), la, b.data(), lb, &zero, d.data(),
                           ld, d.data(), ld, nullptr, nullptr, 0, nullptr),
            CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(d.read(), (std::vector<float>{1, 2, 3, 4, 2, 4, 6, 8}));
}

TEST_F(CublasLt, ScalarsOnTheDeviceAreReadWhenTheProductRuns) {
  const Product<float, float> p(false, false);
  Call<float, float> call(p);
  call.set(CUBLASLT_MATMUL_DESC_POINTER_MODE, std::int32_t{CUBLASLT_POINTER_MODE_DEVICE});
  EXPECT_EQ(call.run(), CUBLAS_STATUS_INVALID_VALUE) << "alpha is on the host";
  const DeviceArray<float> scalars(std::vector<float>{5, 0});
  float* alpha = scalars.data();
  ASSERT_EQ(cublasLtMatmul(call.library, call.description, alpha, p.a.device->data(), call.a,
                           p.b.device->data(), call.b, alpha + 1, p.c.device->data(), call.c,
                           p.d.device->data(), call.d, nullptr, nullptr, 0, nullptr),
            CUBLAS_STATUS_SUCCESS);
  expect_near(p.d.device->read()[0], p.expected(0, 0, 5, 0));
}

TEST_F(CublasLt, WithBetaZeroCIsNotRead) {
  const Product<float, float> p(false, false);
  ASSERT_EQ(cudaMemset(p.d.device->data(), 0xff, p.d.device->bytes()), cudaSuccess);
  Call<float, float> call(p);
  const float one = 1, zero = 0;
  ASSERT_EQ(cublasLtMatmul(call.library, call.description, &one, p.a.device->data(), call.a,
                           p.b.device->data(), call.b, &zero, p.d.device->data(), call.d, p.d.device->data(),
                           call.d, nullptr, nullptr, 0, nullptr),
            CUBLAS_STATUS_SUCCESS);
  expect_near(p.d.device->read()[0], p.expected(0, 0, 1, 0));
}

TEST_F(CublasLt, DescriptorsAreCopiedAtTheCall) {
  const Product<float, float> p(false, false);
  {
    Call<float, float> call(p);
    ASSERT_EQ(call.run(), CUBLAS_STATUS_SUCCESS);
  }
  expect_near(p.d.device->read()[0], p.expected(0, 0, 1, 0));
}

TEST_F(CublasLt, TheWorkspaceIsOverwritten) {
  const Product<float, float> p(false, false);
  Call<float, float> call(p);
  const DeviceArray<int> workspace(std::vector<int>(1024, 7));
  cublasLtMatmulHeuristicResult_t result;
  ASSERT_EQ(call.heuristic(workspace.bytes(), 256, &result), CUBLAS_STATUS_SUCCESS);
  EXPECT_GT(result.workspaceSize, 0U);
  EXPECT_LE(result.workspaceSize, workspace.bytes());
  ASSERT_EQ(call.run(1, 0, &result.algo, workspace.data(), workspace.bytes()), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(workspace.read()[5], -1);
}

// What is refused.

TEST_F(CublasLt, AttributesHaveASize) {
  const Product<float, float> p(false, false);
  Call<float, float> call(p);
  const std::int64_t wide = CUBLAS_OP_T;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(call.description, CUBLASLT_MATMUL_DESC_TRANSA, &wide, sizeof wide),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_THAT(cublasLtGetStatusString(CUBLAS_STATUS_INVALID_VALUE), HasSubstr("TRANSA has 4 bytes, not 8"));
  EXPECT_ANY_THROW(
      cublasLtMatmulDescSetAttribute(call.description, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &wide, sizeof wide));
}

TEST_F(CublasLt, BadLayoutsAndShapes) {
  const Product<float, float> p(false, false);
  Call<float, float> call(p);
  const auto refused_with = [&](cublasLtMatrixLayoutAttribute_t attribute, auto bad, auto good,
                                const char* text) {
    call.a.set(attribute, bad);
    EXPECT_EQ(call.run(), CUBLAS_STATUS_INVALID_VALUE);
    cublasLtMatmulHeuristicResult_t result;
    EXPECT_EQ(call.heuristic(0, 16, &result), CUBLAS_STATUS_INVALID_VALUE);
    EXPECT_THAT(cublasLtGetStatusString(CUBLAS_STATUS_INVALID_VALUE), HasSubstr(text));
    call.a.set(attribute, good);
  };
  refused_with(CUBLASLT_MATRIX_LAYOUT_LD, std::int64_t{11}, std::int64_t{16}, "leading dimension 11");
  refused_with(CUBLASLT_MATRIX_LAYOUT_ROWS, std::uint64_t{0}, std::uint64_t{12}, "A is 0 x 7");
  refused_with(CUBLASLT_MATRIX_LAYOUT_COLS, std::uint64_t{8}, std::uint64_t{7}, "op(A) is 12 x 8");
  refused_with(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, std::int32_t{2}, std::int32_t{1},
               "batches of 2, 1, 1 and 1");
  EXPECT_EQ(call.run(), CUBLAS_STATUS_SUCCESS);
}

TEST_F(CublasLt, CombinationsOfTypesThatTheTableLacks) {
  cublasLtMatmulHeuristicResult_t result;
  const Product<float, bfloat16> narrowing(false, false);
  EXPECT_EQ((Call<float, bfloat16>(narrowing).heuristic(0, 16, &result)), CUBLAS_STATUS_NOT_SUPPORTED);
  const Product<bfloat16, float16> mixed(false, false);
  EXPECT_EQ((Call<bfloat16, float16>(mixed).heuristic(0, 16, &result)), CUBLAS_STATUS_NOT_SUPPORTED);
  const Product<bfloat16, bfloat16> narrow(false, false);
  EXPECT_EQ((Call<bfloat16, bfloat16>(narrow, CUBLAS_COMPUTE_32F_FAST_TF32).heuristic(0, 16, &result)),
            CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ((Call<bfloat16, bfloat16>(narrow, CUBLAS_COMPUTE_16F).heuristic(0, 16, &result)),
            CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(CublasLt, ABiasHasTheTypeOfD) {
  const Product<bfloat16, bfloat16> p(false, false);
  Call<bfloat16, bfloat16> call(p);
  call.set_epilogue(CUBLASLT_EPILOGUE_BIAS);
  call.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, std::int32_t{CUDA_R_32F});
  cublasLtMatmulHeuristicResult_t result;
  EXPECT_EQ(call.heuristic(0, 16, &result), CUBLAS_STATUS_NOT_SUPPORTED);
  call.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, std::int32_t{CUDA_R_16BF});
  EXPECT_EQ(call.heuristic(0, 16, &result), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(call.run(), CUBLAS_STATUS_INVALID_VALUE) << "no bias pointer";
}

TEST_F(CublasLt, TheAuxiliaryMatrixHasALeadingDimensionDivisibleByEight) {
  const Product<float, float> p(false, false);
  Call<float, float> call(p);
  call.set_epilogue(CUBLASLT_EPILOGUE_GELU_AUX);
  cublasLtMatmulHeuristicResult_t result;
  for (const std::int64_t ld : {0, 8, 12, 20}) {
    call.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, ld);
    EXPECT_EQ(call.heuristic(0, 16, &result), CUBLAS_STATUS_INVALID_VALUE) << ld;
  }
  call.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{16});
  EXPECT_EQ(call.heuristic(0, 16, &result), CUBLAS_STATUS_SUCCESS);
  EXPECT_ANY_THROW({
    call.set_epilogue(CUBLASLT_EPILOGUE_RELU);
    static_cast<void>(call.heuristic(0, 16, &result));
  });
}

TEST_F(CublasLt, AnAlgorithmHoldsForItsProblemAlignmentAndWorkspace) {
  const Product<float, float> p(false, false);
  Call<float, float> call(p);
  const DeviceArray<char> workspace(4096);
  cublasLtMatmulHeuristicResult_t result;
  ASSERT_EQ(call.heuristic(4096, 256, &result), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(call.run(1, 0, &result.algo, workspace.data(), result.workspaceSize - 1),
            CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(call.run(1, 0, &result.algo, workspace.data() + 16, 4000), CUBLAS_STATUS_INVALID_VALUE)
      << "the workspace is not aligned";
  call.a.set(CUBLASLT_MATRIX_LAYOUT_LD, std::int64_t{12});
  EXPECT_EQ(call.run(1, 0, &result.algo, workspace.data(), 4096, 4), CUBLAS_STATUS_INVALID_VALUE)
      << "another problem";
  ASSERT_EQ(call.heuristic(4096, 256, &result), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(call.run(1, 0, &result.algo, workspace.data(), 4096, 4), CUBLAS_STATUS_INVALID_VALUE)
      << "A is aligned to 16 bytes, 256 were promised";
  ASSERT_EQ(call.heuristic(4096, 16, &result), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(call.run(1, 0, &result.algo, workspace.data(), 4096, 4), CUBLAS_STATUS_SUCCESS);
  const cublasLtMatmulAlgo_t invented{};
  EXPECT_EQ(call.run(1, 0, &invented), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLt, MatricesMustBeInTheirAllocationsAndApart) {
  const Product<float, float> p(false, false);
  Call<float, float> call(p);
  call.a.set(CUBLASLT_MATRIX_LAYOUT_LD, std::int64_t{17});
  EXPECT_EQ(call.run(1, 0, nullptr, nullptr, 0, 5), CUBLAS_STATUS_INVALID_VALUE) << "A ends too late";
  call.a.set(CUBLASLT_MATRIX_LAYOUT_LD, std::int64_t{16});
  const float one = 1, zero = 0;
  EXPECT_EQ(cublasLtMatmul(call.library, call.description, &one, p.a.device->data(), call.a,
                           p.b.device->data(), call.b, &zero, p.b.device->data(), call.d, p.b.device->data(),
                           call.d, nullptr, nullptr, 0, nullptr),
            CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLt, HandlesThatAreNoMoreAreRefused) {
  const Product<float, float> p(false, false);
  Call<float, float> call(p);
  cublasLtDestroy(call.library);
  EXPECT_EQ(call.run(), CUBLAS_STATUS_NOT_INITIALIZED);
  EXPECT_EQ(cublasLtDestroy(call.library), CUBLAS_STATUS_INVALID_VALUE);
}

}  // namespace
}  // namespace plumb::emulation
