// Matrix products, fragment loads and asynchronous copies against plain loops.
#include <cmath>

#include "device_test.h"
#include "kernels/kernels.h"

namespace plumb::test {
namespace {

class TensorCore : public InEveryOrder {};
PLUMB_IN_EVERY_ORDER(TensorCore);

template <class T>
std::vector<T> elements(std::size_t count, std::size_t multiplier) {
  std::vector<T> values;
  for (std::size_t i = 0; i < count; ++i)
    values.push_back(T(static_cast<float>(i * multiplier % 31) / 8 - 2));  // exact in both formats
  return values;
}

template <class T>
double value(const std::vector<T>& elements, std::size_t i) {
  return static_cast<double>(static_cast<float>(elements[i]));
}

template <class T>
void expect_product() {
  const std::vector<T> a = elements<T>(256, 7), b_transposed = elements<T>(128, 11);
  std::vector<float> d(128);
  run(dim3(1), dim3(32), 0, product_16x8x16<T>, a.data(), b_transposed.data(), d.data());
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      double sum = 1;
      for (std::size_t k = 0; k < 16; ++k)
        sum += value(a, row * 16 + k) * value(b_transposed, column * 16 + k);
      EXPECT_EQ(d[row * 8 + column], sum);  // few bits: exact in fp32
    }
  }
}

TEST_P(TensorCore, Product) {
  expect_product<__nv_bfloat16>();
  expect_product<__half>();
}

template <class T>
void expect_product_by_load_matrix() {
  const std::vector<T> a = elements<T>(256, 5), b = elements<T>(128, 13);
  std::vector<float> d(128);
  run(dim3(1), dim3(32), 0, product_by_load_matrix<T>, a.data(), b.data(), d.data());
  for (std::size_t row = 0; row < 16; ++row) {
    for (std::size_t column = 0; column < 8; ++column) {
      double sum = 0;
      for (std::size_t k = 0; k < 16; ++k) sum += value(a, row * 16 + k) * value(b, k * 8 + column);
      EXPECT_EQ(d[row * 8 + column], sum);
    }
  }
}

TEST_P(TensorCore, FragmentsFromSharedMemory) {
  expect_product_by_load_matrix<__nv_bfloat16>();
  expect_product_by_load_matrix<__half>();
}

TEST_P(TensorCore, TiledProductWithAsynchronousCopies) {
  constexpr int kM = 32, kN = 24, kK = 80;
  const auto a = elements<__nv_bfloat16>(kM * kK, 7), b = elements<__nv_bfloat16>(kN * kK, 19);
  std::vector<float> c(kM * kN);
  run(dim3(kN / 8, kM / 16), dim3(32), 0, tiled_product, a.data(), b.data(), c.data(), kN, kK);
  for (std::size_t row = 0; row < kM; ++row) {
    for (std::size_t column = 0; column < kN; ++column) {
      double sum = 0;
      for (std::size_t k = 0; k < kK; ++k) sum += value(a, row * kK + k) * value(b, column * kK + k);
      ASSERT_EQ(c[row * kN + column], sum);
    }
  }
}

TEST_P(TensorCore, CopyOrZero) {
  std::vector<float4> x, y(32);
  std::vector<int> copied;
  for (int i = 0; i < 32; ++i) {
    x.push_back(make_float4(1, 2, static_cast<float>(i), 4));
    copied.push_back(i % 3);
  }
  run(dim3(1), dim3(32), 0, copy_or_zero, x.data(), copied.data(), y.data());
  for (std::size_t i = 0; i < 32; ++i) {
    const bool kept = copied[i] != 0;
    EXPECT_EQ(y[i].x, kept ? 1 : 0);
    EXPECT_EQ(y[i].z, kept ? x[i].z : 0);
    EXPECT_EQ(y[i].w, kept ? 4 : 0);
  }
}

}  // namespace
}  // namespace plumb::test
