// The product for processors with AVX2 and without AVX-512, called directly (an AVX-512 processor runs it
// too): of fp32 against sums in double, of bf16 against that of fp32; and sgemm, which takes it or the
// library's.
#include "backends/cpu/avx2_product.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "backends/cpu/instruction_sets.h"
#include "backends/cpu/sgemm.h"
#include "core/dtype.h"
#include "core/rng.h"

namespace plumb::test {
namespace {

using cpu::Product;
using cpu::ProductSizes;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kMargin = 5;  // floats beside every row, odd so that rows are not aligned

/// (rows, columns) in rows that are kMargin longer; what is beside them is NaN. A factor ends with its last
/// row, so that the address sanitizer sees what reads beyond it.
class Matrix {
 public:
  enum class Use { Factor, Result };
  Matrix(std::int64_t rows, std::int64_t columns, std::uint32_t site, Use use = Use::Factor)
      : rows_(rows),
        columns_(columns),
        data_(static_cast<std::size_t>(rows * stride() - (use == Use::Factor ? kMargin : 0)), kNan) {
    const RandomStream random{11, 0, site};
    for (std::int64_t i = 0; i < rows * columns; ++i)
      at(i / columns, i % columns) = static_cast<float>(random.normal(static_cast<std::uint64_t>(i)));
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t stride() const { return columns_ + kMargin; }
  std::size_t size() const { return data_.size(); }
  float* data() { return data_.data(); }
  const float* data() const { return data_.data(); }
  float& at(std::int64_t row, std::int64_t column) {
    return data_[static_cast<std::size_t>(row * stride() + column)];
  }
  float at(std::int64_t row, std::int64_t column) const {
    return data_[static_cast<std::size_t>(row * stride() + column)];
  }
  bool margins_are_untouched() const {
    for (std::size_t i = 0; i < data_.size(); ++i) {
      if (static_cast<std::int64_t>(i) % stride() >= columns_ && !std::isnan(data_[i])) return false;
    }
    return true;
  }

 private:
  std::int64_t rows_, columns_;
  std::vector<float> data_;
};

/// The overload of fp32.
constexpr void (*kAvx2Product)(const Product&, float*) = cpu::avx2_product;

enum class Added { Nothing, Bias, Result };

struct Form {
  bool transpose_a, transpose_b;
  Added added;
};

/// The factors of one product; c before it is NaN unless it is added to.
struct Case {
  Case(const ProductSizes& sizes, const Form& form)
      : sizes(sizes),
        form(form),
        a(form.transpose_a ? sizes.k : sizes.m, form.transpose_a ? sizes.m : sizes.k, 1),
        b(form.transpose_b ? sizes.n : sizes.k, form.transpose_b ? sizes.k : sizes.n, 2),
        c(sizes.m, sizes.n, 3, Matrix::Use::Result),
        bias(1, sizes.n, 4) {
    if (form.added == Added::Result) return;
    for (std::int64_t i = 0; i < sizes.m * sizes.n; ++i) c.at(i / sizes.n, i % sizes.n) = kNan;
  }
  Product product() {
    return {.sizes = sizes,
            .a = {a.data(), a.stride(), form.transpose_a},
            .b = {b.data(), b.stride(), form.transpose_b},
            .c = c.data(),
            .stride_c = c.stride(),
            .accumulate = form.added == Added::Result,
            .bias = form.added == Added::Bias ? bias.data() : nullptr};
  }
  /// Element (i, j) in double, of c as it is now, and the sum of its terms' sizes.
  std::pair<double, double> expected(std::int64_t i, std::int64_t j) const {
    double sum = 0, size = 0;
    if (form.added == Added::Bias) sum = bias.at(0, j);
    if (form.added == Added::Result) sum = c.at(i, j);
    size = std::abs(sum);
    for (std::int64_t p = 0; p < sizes.k; ++p) {
      const double term = static_cast<double>(form.transpose_a ? a.at(p, i) : a.at(i, p)) *
                          (form.transpose_b ? b.at(j, p) : b.at(p, j));
      sum += term;
      size += std::abs(term);
    }
    return {sum, size};
  }

  ProductSizes sizes;
  Form form;
  Matrix a, b, c, bias;
};

using Multiply = std::function<void(const Product&, float*)>;

/// Runs it in a workspace that holds NaN, of the size that is asked for and with a guard behind it.
void run(const Multiply& multiply, const Product& product, std::int64_t workspace_floats) {
  constexpr std::int64_t kAlignment = 16, kGuard = 16;
  std::vector<float> memory(static_cast<std::size_t>(workspace_floats + kAlignment + kGuard), kNan);
  const auto misaligned = reinterpret_cast<std::uintptr_t>(memory.data()) / sizeof(float) % kAlignment;
  float* workspace = memory.data() + (kAlignment - misaligned) % kAlignment;
  multiply(product, workspace);
  for (float* guard = workspace + workspace_floats; guard < memory.data() + memory.size(); ++guard)
    ASSERT_TRUE(std::isnan(*guard)) << "behind the workspace";
}

void expect_product(const Multiply& multiply, std::int64_t workspace_floats, const ProductSizes& sizes,
                    const Form& form) {
  Case one(sizes, form);
  const Case before = one;
  run(multiply, one.product(), workspace_floats);
  EXPECT_TRUE(one.c.margins_are_untouched()) << "beside the result";
  for (std::int64_t i = 0; i < sizes.m; ++i) {
    for (std::int64_t j = 0; j < sizes.n; ++j) {
      const auto [sum, size] = before.expected(i, j);
      // Rounding errors of a chain of k sums, of which most cancel.
      ASSERT_NEAR(one.c.at(i, j), sum, 16 * 0x1p-24 * size)
          << "(" << i << "," << j << ") of (" << sizes.m << "," << sizes.n << "," << sizes.k << ")";
    }
  }
}

class Avx2Product : public testing::TestWithParam<Form> {
 protected:
  void SetUp() override {
    if (!cpu::missing_instruction_sets({"avx2", "fma"}).empty()) GTEST_SKIP() << "no AVX2 and FMA";
  }
  std::int64_t workspace(const ProductSizes& sizes) const {
    return cpu::avx2_product_workspace(sizes, form_.transpose_a);
  }
  void multiply(const Product& product) const { run(kAvx2Product, product, workspace(product.sizes)); }
  void expect(const ProductSizes& sizes) const {
    expect_product(kAvx2Product, workspace(sizes), sizes, form_);
  }
  /// Multiplies `rows` rows and `columns` columns alone, from (row, column), and expects what they have in
  /// whole.
  void expect_bits(const Case& before, const Case& whole, const ProductSizes& sizes, std::int64_t row,
                   std::int64_t column) const {
    Case part = before;
    Product product = part.product();
    product.sizes = sizes;
    product.a.data += row * (form_.transpose_a ? 1 : product.a.stride);
    product.b.data += column * (form_.transpose_b ? product.b.stride : 1);
    product.c += row * product.stride_c + column;
    if (product.bias != nullptr) product.bias += column;
    multiply(product);
    for (std::int64_t i = row; i < row + sizes.m; ++i) {
      for (std::int64_t j = column; j < column + sizes.n; ++j)
        ASSERT_EQ(part.c.at(i, j), whole.c.at(i, j)) << i << "," << j;
    }
  }
  const Form form_ = GetParam();
};

TEST_P(Avx2Product, MatchesSumsInDoubleAtEverySizeOfTheEdges) {
  for (const std::int64_t m : {1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13}) {
    for (const std::int64_t n : {1, 2, 7, 8, 9, 15, 16, 17, 31, 33}) {
      for (const std::int64_t k : {1, 2, 3, 7, 8, 9, 16, 17}) expect({m, n, k});
    }
  }
}

TEST_P(Avx2Product, MatchesSumsInDoubleOverSeveralBlocks) {
  for (const ProductSizes& sizes :
       {ProductSizes{127, 129, 128}, ProductSizes{97, 48, 385}, ProductSizes{193, 17, 1153},
        ProductSizes{12, 769, 100}, ProductSizes{13, 1600, 400}})
    expect(sizes);
}

// What a plan asks for is enough for all that is smaller.
TEST_P(Avx2Product, WorkspaceIsEnoughForSmallerSizes) {
  const std::int64_t floats = workspace({100, 100, 400});
  for (const ProductSizes& sizes :
       {ProductSizes{99, 97, 399}, ProductSizes{96, 100, 257}, ProductSizes{1, 81, 9}}) {
    EXPECT_LE(workspace(sizes), floats);
    expect_product(kAvx2Product, floats, sizes, form_);
  }
}

TEST_P(Avx2Product, ANumberThatIsNotFiniteStaysInItsRowAndColumn) {
  for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
    Case one({14, 37, 20}, form_);
    (form_.transpose_a ? one.a.at(11, 8) : one.a.at(8, 11)) = bad;
    (form_.transpose_b ? one.b.at(35, 11) : one.b.at(11, 35)) = bad;
    multiply(one.product());
    for (std::int64_t i = 0; i < one.sizes.m; ++i) {
      for (std::int64_t j = 0; j < one.sizes.n; ++j)
        EXPECT_EQ(std::isfinite(one.c.at(i, j)), i != 8 && j != 35) << i << "," << j;
    }
  }
}

// An element's bits do not depend on what is multiplied beside it, so neither on how c is divided.
TEST_P(Avx2Product, RowsAndColumnsHaveTheSameBitsInEveryProduct) {
  constexpr ProductSizes kSizes{103, 107, 500};
  Case whole(kSizes, form_);
  const Case before = whole;
  multiply(whole.product());
  for (const auto& [first, rows] : {std::pair<std::int64_t, std::int64_t>{0, 1}, {5, 4}, {97, 6}})
    expect_bits(before, whole, {rows, kSizes.n, kSizes.k}, first, 0);
  for (const auto& [first, columns] : {std::pair<std::int64_t, std::int64_t>{0, 1}, {5, 17}, {70, 33}})
    expect_bits(before, whole, {kSizes.m, columns, kSizes.k}, 0, first);
}

/// Bits of bfloat16, over whose values the matrix is rounded.
std::vector<std::uint16_t> rounded(Matrix& matrix) {
  std::vector<std::uint16_t> bits(matrix.size());
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const bfloat16 narrow(matrix.data()[i]);
    bits[i] = narrow.bits;
    matrix.data()[i] = static_cast<float>(narrow);
  }
  return bits;
}

TEST_P(Avx2Product, OfBf16HasTheBitsOfTheWidenedProduct) {
  for (const ProductSizes& sizes : {ProductSizes{1, 1, 1}, ProductSizes{7, 17, 9}, ProductSizes{61, 33, 30},
                                    ProductSizes{107, 810, 500}}) {
    Case wide(sizes, form_);
    const std::vector<std::uint16_t> a = rounded(wide.a), b = rounded(wide.b);
    Case narrow = wide;
    multiply(wide.product());
    const Product same = narrow.product();
    run(
        [&](const Product&, float* workspace) {
          cpu::avx2_product({.sizes = sizes,
                             .a = {a.data(), same.a.stride, form_.transpose_a},
                             .b = {b.data(), same.b.stride, form_.transpose_b},
                             .c = same.c,
                             .stride_c = same.stride_c,
                             .accumulate = same.accumulate,
                             .bias = same.bias},
                            workspace);
        },
        same, workspace(sizes));
    EXPECT_TRUE(narrow.c.margins_are_untouched());
    for (std::int64_t i = 0; i < sizes.m; ++i) {
      for (std::int64_t j = 0; j < sizes.n; ++j)
        ASSERT_EQ(narrow.c.at(i, j), wide.c.at(i, j)) << i << "," << j << " of " << sizes.m;
    }
  }
}

std::vector<Form> forms_of_avx2_product() {
  std::vector<Form> forms;
  for (const auto& [transpose_a, transpose_b] : {std::pair{false, false}, {false, true}, {true, false}}) {
    for (const Added added : {Added::Nothing, Added::Bias, Added::Result})
      forms.push_back({transpose_a, transpose_b, added});
  }
  return forms;
}

std::string name_of(const testing::TestParamInfo<Form>& info) {
  const Form& form = info.param;
  const std::string factors = std::string(form.transpose_a ? "at" : "a") + (form.transpose_b ? "_bt" : "_b");
  if (form.added == Added::Nothing) return factors;
  return factors + (form.added == Added::Bias ? "_plus_bias" : "_plus_c");
}

INSTANTIATE_TEST_SUITE_P(Forms, Avx2Product, testing::ValuesIn(forms_of_avx2_product()), name_of);

class Sgemm : public testing::TestWithParam<std::tuple<bool, bool, Added>> {};

TEST_P(Sgemm, MatchesSumsInDouble) {
  const auto [transpose_a, transpose_b, added] = GetParam();
  for (const ProductSizes& sizes :
       {ProductSizes{1, 1, 1}, ProductSizes{7, 17, 9}, ProductSizes{130, 66, 400}}) {
    expect_product(cpu::sgemm, cpu::sgemm_workspace(sizes, transpose_a, transpose_b), sizes,
                   {transpose_a, transpose_b, added});
  }
}
INSTANTIATE_TEST_SUITE_P(Forms, Sgemm,
                         testing::Combine(testing::Bool(), testing::Bool(),
                                          testing::Values(Added::Nothing, Added::Bias, Added::Result)));

}  // namespace
}  // namespace plumb::test
