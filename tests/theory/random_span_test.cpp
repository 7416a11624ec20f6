// Second moments of sums against sums over draws that have the same.
#include "theory/random_span.h"

#include <gtest/gtest.h>

namespace plumb::test {
namespace {

TEST(RandomSpan, ProductsFollowFromTheBasis) {
  RandomSpan span;
  const Combination r0 = span.add(2), r1 = span.add(3, {0.5}), r2 = span.add(1, {-0.25, 0.75});
  Combination x = scaled(r0, 2);
  add_scaled(x, -1, r2);
  Combination y = scaled(r1, 3);
  add_scaled(y, 1, r0);
  // <2 r0 - r2, 3 r1 + r0> = 6 * 0.5 + 2 * 2 - 3 * 0.75 + 0.25
  EXPECT_NEAR(span.product(x, y), 3 + 4 - 2.25 + 0.25, 1e-15);
  EXPECT_NEAR(span.product(y, x), span.product(x, y), 1e-15);
  EXPECT_NEAR(span.square(x), 4 * 2 + 1 + 4 * 0.25, 1e-15);
  EXPECT_NEAR(dot(y, span.products_with_basis(x)), span.product(x, y), 1e-15);
}

TEST(RandomSpan, WithoutCorrelationsSquaresAdd) {
  RandomSpan span;
  Combination x = span.add(1);
  for (int k = 0; k < 10; ++k) add_scaled(x, 2, span.add(0.5));
  EXPECT_NEAR(span.square(x), 1 + 10 * 4 * 0.5, 1e-12);
}

}  // namespace
}  // namespace plumb::test
