// Matrix products of the CUDA backend on the emulated cuBLASLt, which is column-major and checks sizes,
// strides and alignments as the library documents them.
#include "backends/cuda/matrix_product.h"

#include <gmock/gmock.h>

#include <cmath>

#include "backend/op_test.h"
#include "backends/cuda/cuda_backend.h"
#include "backends/cuda/stream.h"
#include "core/error.h"

namespace plumb::test {
namespace {
using testing::AllOf;
using testing::HasSubstr;

struct ProductCase {
  DType factors = DType::Float32, result = DType::Float32;
  std::int64_t m = 5, n = 7, k = 3;
  std::int64_t offset = 0;  ///< first column of every matrix in memory
  bool transpose_a = false, transpose_b = false, accumulate = false;
};
void PrintTo(const ProductCase& one, std::ostream* out) {
  *out << name_of(one.factors) << " to " << name_of(one.result) << " " << one.m << "x" << one.n << "x"
       << one.k << (one.transpose_a ? " t" : " n") << (one.transpose_b ? "t" : "n") << " at column "
       << one.offset << (one.accumulate ? " accumulated" : "");
}

std::vector<ProductCase> cases() {
  using Pair = std::pair<DType, DType>;
  const DType wide = DType::Float32, bf16 = DType::BFloat16, fp16 = DType::Float16;
  std::vector<ProductCase> list;
  for (const auto& [factors, result] :
       {Pair{wide, wide}, Pair{bf16, bf16}, Pair{bf16, wide}, Pair{fp16, fp16}, Pair{fp16, wide}})
    for (const bool transpose_a : {false, true})
      for (const bool transpose_b : {false, true})
        for (const std::int64_t offset : {0, 1, 8})
          list.push_back({factors, result, 5, 7, 3, offset, transpose_a, transpose_b, offset > 0});
  list.push_back({bf16, wide, 64, 40, 129, 0, true, false, true});
  list.push_back({wide, wide, 1, 1, 1, 0, false, true, false});
  return list;
}

/// A product with its tensors on the emulated device.
class ProductBench {
 public:
  explicit ProductBench(const ProductCase& one)
      : offset_(one.offset), bench_(emulated(), DType::Float32, DType::Float32) {
    product.op = "test_product";
    product.a = matrix("a", one.factors, one.transpose_a ? Shape{one.k, one.m} : Shape{one.m, one.k});
    product.b = matrix("b", one.factors, one.transpose_b ? Shape{one.n, one.k} : Shape{one.k, one.n});
    product.c = matrix("c", one.result, Shape{one.m, one.n});
    product.transpose_a = one.transpose_a, product.transpose_b = one.transpose_b;
    product.accumulate = one.accumulate;
  }

  /// Values of the dtype, every matrix in the middle of wider rows.
  Tensor matrix(const std::string& name, DType dtype, Shape shape) {
    const std::int64_t stride = shape[1] + 2 * offset_;
    return bench_.variables(name, dtype, Shape{shape[0], stride}, values(dtype, shape[0] * stride))
        .columns(offset_, shape[1]);
  }
  Tensor vector(const std::string& name, DType dtype, std::int64_t elements) {
    return bench_.variables(name, dtype, Shape{elements}, values(dtype, elements));
  }
  std::vector<double> read(const Tensor& tensor) { return bench_.read(tensor); }

  /// op(a) op(b) [+ c] [+ bias], one dot product after the other.
  std::vector<double> expected() {
    const std::vector<double> a = read(product.a), b = read(product.b), c = read(product.c);
    const std::vector<double> bias =
        product.bias.defined() ? read(product.bias) : std::vector<double>(c.size(), 0.0);
    const std::int64_t m = product.c.rows(), n = product.c.cols();
    const std::int64_t k = product.transpose_a ? product.a.rows() : product.a.cols();
    std::vector<double> out;
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = (product.accumulate ? c[static_cast<std::size_t>(i * n + j)] : 0.0) +
                     bias[static_cast<std::size_t>(j)];
        for (std::int64_t q = 0; q < k; ++q)
          sum += a[static_cast<std::size_t>(product.transpose_a ? q * m + i : i * k + q)] *
                 b[static_cast<std::size_t>(product.transpose_b ? j * k + q : q * n + j)];
        out.push_back(sum);
      }
    }
    return out;
  }
  void run() {
    product.workspace = bench_.workspace(products_.workspace(product));
    products_.run(cuda::handle_of(bench_.stream()), product);
    bench_.finish();  // nothing around the matrices was written
  }
  std::string message() {
    try {
      run();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  }

  cuda::MatrixProduct product;

 private:
  static Backend& emulated() {
    static const std::unique_ptr<Backend> backend = cuda::make_cuda_backend("cuda-emulated", {});
    return *backend;
  }
  static std::vector<double> values(DType dtype, std::int64_t count) {
    std::vector<double> list;
    for (std::int64_t i = 0; i < count; ++i)
      list.push_back(round_to(dtype, std::sin(1.7 * static_cast<double>(i) + 0.3)));
    return list;
  }

  std::int64_t offset_;
  cuda::MatrixProducts products_{false};
  Bench bench_;
};

double limit_of(DType result) {
  return result == DType::Float32 ? 1e-6 : result == DType::Float16 ? 1e-3 : 4e-3;
}

class MatrixProductForms : public testing::TestWithParam<ProductCase> {};

TEST_P(MatrixProductForms, EqualTheDotProducts) {
  ProductBench bench(GetParam());
  if (GetParam().transpose_a || GetParam().offset == 0)
    bench.product.bias = bench.vector("bias", GetParam().result, GetParam().n);
  const std::vector<double> expected = bench.expected();
  bench.run();
  EXPECT_LE(relative_error(bench.read(bench.product.c), expected), limit_of(GetParam().result));
}
INSTANTIATE_TEST_SUITE_P(All, MatrixProductForms, testing::ValuesIn(cases()));

TEST(MatrixProduct, GeluLeavesItsInput) {
  for (const DType result : {DType::Float32, DType::BFloat16}) {
    for (const bool with_bias : {false, true}) {
      ProductBench bench({result, result, 6, 16, 5});
      if (with_bias) bench.product.bias = bench.vector("bias", result, 16);
      bench.product.gelu_input = bench.matrix("input", result, Shape{6, 16});
      std::vector<double> input = bench.expected();
      bench.run();
      EXPECT_LE(relative_error(bench.read(bench.product.gelu_input), input), limit_of(result));
      for (double& x : input) x = x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      EXPECT_LE(relative_error(bench.read(bench.product.c), input), 2 * limit_of(result));
    }
  }
}

TEST(MatrixProduct, BiasGradientSumsTheFirstFactor) {
  ProductBench bench({DType::BFloat16, DType::Float32, 6, 4, 19, 0, true, false, true});
  bench.product.bias_gradient = bench.vector("gradient", DType::Float32, 6);
  const std::vector<double> dy = bench.read(bench.product.a);  // (19, 6)
  std::vector<double> sums(6, 0.0);
  for (std::size_t i = 0; i < dy.size(); ++i) sums[i % 6] += dy[i];
  bench.run();
  EXPECT_LE(relative_error(bench.read(bench.product.bias_gradient), sums), 1e-6);
}

TEST(MatrixProduct, SumsOfNoTermsAddNothing) {
  ProductBench bench({DType::Float32, DType::Float32, 2, 3, 4, 0, true, false, true});
  const std::vector<double> before = bench.read(bench.product.c);
  bench.product.a = bench.product.a.row_range(0, 0);
  bench.product.b = bench.product.b.row_range(0, 0);
  bench.run();
  EXPECT_EQ(bench.read(bench.product.c), before);
}

TEST(MatrixProduct, WrongLeadingDimensionIsNamed) {
  ProductBench bench({DType::BFloat16, DType::Float32, 5, 7, 3, 0, false, true});
  bench.product.a.row_stride = 2;
  const std::string message = bench.message();
  EXPECT_THAT(message, HasSubstr("test_product: c fp32 (5,7) ld 7 = a bf16 (5,3) ld 2 * b bf16 (7,3) ld 3 "
                                 "transposed"));
  EXPECT_THAT(message, AllOf(HasSubstr("matrix_product.cpp:"), HasSubstr("cuBLASLt: CUBLAS_STATUS_"),
                             HasSubstr("cublasLtMatmulAlgoGetHeuristic"), HasSubstr("(host "),
                             HasSubstr("rank 0"), HasSubstr("device 0)")));
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(MatrixProduct, WhatDoesNotFitIsNamed) {
  const auto message = [](auto&& change) {
    ProductBench bench({DType::BFloat16, DType::BFloat16, 5, 8, 3});
    change(bench);
    return bench.message();
  };
  EXPECT_THAT(message([](ProductBench& bench) { bench.product.transpose_b = true; }),
              HasSubstr("test_product: inner dimensions differ: 3 and 8"));
  EXPECT_THAT(message([](ProductBench& bench) { bench.product.c = bench.product.c.row_range(0, 4); }),
              HasSubstr("test_product: the product is (4,8), expected (5,8)"));
  EXPECT_THAT(message([](ProductBench& bench) { bench.product.c.dtype = DType::Float16; }),
              HasSubstr("test_product: the product is fp16, expected fp32 or bf16"));
  EXPECT_THAT(message([](ProductBench& bench) { bench.product.b.dtype = DType::Float16; }),
              HasSubstr("two factors of fp32, bf16 or fp16, got bf16 and fp16"));
  EXPECT_THAT(
      message([](ProductBench& bench) { bench.product.bias = bench.vector("bias", DType::Float32, 8); }),
      HasSubstr("test_product: bias is fp32 (8), expected bf16 of 8 elements as the result is"));
  EXPECT_THAT(message([](ProductBench& bench) {
                bench.product.bias = bench.vector("bias", DType::BFloat16, 9);
                bench.product.bias =
                    Tensor(static_cast<char*>(bench.product.bias.data) + 2, DType::BFloat16, Shape{8});
              }),
              HasSubstr("test_product: bias is aligned to 2 bytes, expected 16"));
  EXPECT_THAT(message([](ProductBench& bench) {
                bench.product.gelu_input = bench.product.c;
                bench.product.gelu_input.row_stride = 12;
              }),
              HasSubstr("a stride that is a multiple of 8"));
  EXPECT_THAT(message([](ProductBench& bench) {
                bench.product.bias = bench.vector("bias", DType::BFloat16, 8);
                bench.product.bias_gradient = bench.vector("gradient", DType::BFloat16, 5);
              }),
              HasSubstr("bias_gradient does not go with bias"));
}

}  // namespace
}  // namespace plumb::test
