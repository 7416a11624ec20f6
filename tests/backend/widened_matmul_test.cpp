// Products of the cpu backend, with bf16 in the library and widened to fp32 in both ways, against sums in
// double.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "backends/cpu/instruction_sets.h"
#include "backends/cpu/matmul.h"
#include "core/parallel_for.h"
#include "core/rng.h"

namespace plumb::test {
namespace {

struct Sizes {
  std::int64_t m, n, k;
};
// Threads have rows, and more than a panel of them; columns; several blocks of depth; several blocks of sums.
constexpr Sizes kTall{601, 70, 117}, kWide{70, 301, 117}, kDeep{9, 130, 9001}, kLarge{1100, 800, 11};
constexpr auto kBest = cpu::Bf16Products::Best;
constexpr std::int64_t kMargin = 3;  // columns beside every matrix, which must not change

/// A (rows, cols) view into a wider buffer of values of one dtype.
class Matrix {
 public:
  Matrix(DType dtype, std::int64_t rows, std::int64_t cols, std::uint32_t site, double deviation)
      : dtype_(dtype), rows_(rows), cols_(cols), stride_(cols + 2 * kMargin) {
    const RandomStream random{7, 0, site};
    for (std::int64_t i = 0; i < rows * stride_; ++i) {
      const auto value = static_cast<float>(deviation * random.normal(static_cast<std::uint64_t>(i)));
      floats_.push_back(value);
      narrow_.push_back(bfloat16(value));
    }
  }
  Tensor view() {
    void* data = dtype_ == DType::BFloat16 ? static_cast<void*>(narrow_.data()) : floats_.data();
    return Tensor(data, dtype_, Shape{rows_, stride_}).columns(kMargin, cols_);
  }
  double at(std::int64_t row, std::int64_t col) const { return raw(row * stride_ + kMargin + col); }
  /// Element of the buffer with its margins.
  double raw(std::int64_t i) const {
    const auto place = static_cast<std::size_t>(i);
    return dtype_ == DType::BFloat16 ? static_cast<float>(narrow_[place]) : floats_[place];
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  std::int64_t stride() const { return stride_; }

 private:
  DType dtype_;
  std::int64_t rows_, cols_, stride_;
  std::vector<float> floats_;
  std::vector<bfloat16> narrow_;
};

struct Form {
  cpu::Bf16Products products;
  bool transpose_a, transpose_b, accumulate, wide_output, bias;
};

void expect_product(const Form& form, const Sizes& sizes, DType dtype) {
  const auto [m, n, k] = sizes;
  Matrix a(dtype, form.transpose_a ? k : m, form.transpose_a ? m : k, 1, 1);
  Matrix b(dtype, form.transpose_b ? n : k, form.transpose_b ? k : n, 2, 0.1);
  Matrix c(form.wide_output ? DType::Float32 : dtype, m, n, 3, 1);
  Matrix bias(DType::Float32, 1, n, 4, 1);
  const Matrix before = c;
  const cpu::Matmul matmul(form.products);
  cpu::MatmulArguments arguments{.op = "test",
                                 .a = a.view(),
                                 .transpose_a = form.transpose_a,
                                 .b = b.view(),
                                 .transpose_b = form.transpose_b,
                                 .c = c.view(),
                                 .bias = form.bias ? bias.view() : Tensor(),
                                 .accumulate = form.accumulate,
                                 .workspace = {}};
  std::vector<double> memory(matmul.workspace(arguments) / sizeof(double) + 1, std::nan(""));
  arguments.workspace = {memory.data(), matmul.workspace(arguments)};
  matmul.run(arguments);
  double difference = 0, size = 0;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = (form.bias ? bias.at(0, j) : 0) + (form.accumulate ? before.at(i, j) : 0);
      for (std::int64_t p = 0; p < k; ++p)
        sum += (form.transpose_a ? a.at(p, i) : a.at(i, p)) * (form.transpose_b ? b.at(j, p) : b.at(p, j));
      difference += (c.at(i, j) - sum) * (c.at(i, j) - sum);
      size += sum * sum;
    }
  }
  const bool rounded = !form.wide_output && dtype == DType::BFloat16;
  EXPECT_LE(std::sqrt(difference / size), rounded ? 4e-3 : 3e-6);
  for (std::int64_t i = 0; i < c.rows() * c.stride(); ++i) {
    const std::int64_t col = i % c.stride() - kMargin;
    if (col >= 0 && col < n) continue;
    ASSERT_EQ(c.raw(i), before.raw(i)) << "beside the result, at " << i;
  }
}

/// Empty where the processor has what it takes.
std::string absence_of(cpu::Bf16Products products) {
  if (products == cpu::Bf16Products::Primitives && !cpu::has_bf16_primitives())
    return "oneDNN has no bf16 for this processor";
  if (products == cpu::Bf16Products::Packed && !cpu::missing_instruction_sets({"avx2", "fma"}).empty())
    return "no AVX2 and FMA";
  return "";
}

class CpuProductForms : public testing::TestWithParam<std::tuple<cpu::Bf16Products, bool, bool, bool>> {};

TEST_P(CpuProductForms, MatchesSumsInDouble) {
  const auto [products, transpose_a, transpose_b, accumulate] = GetParam();
  if (const std::string absence = absence_of(products); !absence.empty()) GTEST_SKIP() << absence;
  if (products == cpu::Bf16Products::Packed && transpose_a && transpose_b) GTEST_SKIP() << "goes in blocks";
  const int before = thread_count();
  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    for (const bool wide_output : {false, true}) {
      for (const bool bias : {false, true}) {
        if (bias && accumulate) continue;  // not offered
        SCOPED_TRACE(testing::Message() << threads << " threads, " << (wide_output ? "fp32" : "bf16")
                                        << " result, bias " << bias);
        const Form form{products, transpose_a, transpose_b, accumulate, wide_output, bias};
        for (const Sizes& sizes : {kTall, kWide}) expect_product(form, sizes, DType::BFloat16);
        // Blocks are for the widened ones; what the best is, one of the others is too.
        if (products == cpu::Bf16Products::Primitives || products == kBest) continue;
        expect_product(form, kDeep, DType::BFloat16);
        if (threads == 1) expect_product(form, kLarge, DType::BFloat16);
      }
    }
  }
  set_thread_count(before);
}
INSTANTIATE_TEST_SUITE_P(Forms, CpuProductForms,
                         testing::Combine(testing::Values(kBest, cpu::Bf16Products::Primitives,
                                                          cpu::Bf16Products::Packed,
                                                          cpu::Bf16Products::InBlocks),
                                          testing::Bool(), testing::Bool(), testing::Bool()));

TEST(CpuProduct, MatchesSumsInDoubleInFp32) {
  const int before = thread_count();
  for (const int threads : {1, 3}) {
    set_thread_count(threads);
    for (const bool transposed : {false, true}) {
      for (const Sizes& sizes : {kTall, kWide, kDeep}) {
        expect_product({kBest, transposed, !transposed, false, true, true}, sizes, DType::Float32);
        expect_product({kBest, transposed, transposed, true, true, false}, sizes, DType::Float32);
      }
    }
  }
  set_thread_count(before);
}

TEST(CpuProduct, AWideMatrixIsWidenedInBlocks) {
  const int before = thread_count();
  set_thread_count(1);
  for (const bool wide_output : {false, true})
    expect_product({cpu::Bf16Products::InBlocks, false, wide_output, false, wide_output, true},
                   {3, 4200, 2100}, DType::BFloat16);
  set_thread_count(before);
}

}  // namespace
}  // namespace plumb::test
