#include "backend/op_test.h"
#include "core/rng.h"

namespace plumb::test {
namespace {

struct RandomCase {
  std::string name = {};
  std::int64_t rows = 1, cols = 1, rows_per_sequence = 1;
  double probability = 0.1;
  double step = 1, first_sequence = 0;
  bool in_place = false;
};
void PrintTo(const RandomCase& shape, std::ostream* out) { *out << shape.name; }

RandomSite site_of(Bench& bench, const RandomCase& one) {
  return {0x123456789ABCDEF0U, 17,
          bench.constants("counters", DType::Int64, Shape{2}, {one.step, one.first_sequence})};
}

/// The very number that decides of element 5: it is not below itself, so the element stays.
RandomCase at_the_probability() {
  const RandomStream stream{0x123456789ABCDEF0U, 1, 17};
  return {"at_the_probability", 3, 8, 3, static_cast<double>(stream.uniform(5)), 1, 0};
}

class RandomOp : public testing::TestWithParam<std::tuple<Target, RandomCase>> {};
INSTANTIATE_TEST_SUITE_P(
    Backends, RandomOp,
    testing::Combine(testing::ValuesIn(targets()),
                     testing::Values(RandomCase{"1x1", 1, 1, 1, 0.5},
                                     RandomCase{"7x65", 7, 65, 7, 0.1, 3, 5, true},
                                     RandomCase{"33x80", 33, 80, 11, 0.5, 2, 1},
                                     RandomCase{"none", 9, 33, 3, 0, 1, 1},
                                     RandomCase{"130x257", 130, 257, 65, 0.2, 1000000, 3000000000.0, true},
                                     RandomCase{"600x2", 600, 2, 2, 0.4, 4, 7},
                                     RandomCase{"35x33_odd", 35, 33, 5, 0.3, 1, 13},
                                     RandomCase{"24x64_whole", 24, 64, 6, 0.3, 2, 11}, at_the_probability())),
    case_name<RandomCase>);

TEST_P(RandomOp, Dropout) {
  const auto& [target, one] = GetParam();
  expect_matches_reference(target, [&one = one](Bench& bench) {
    const Shape shape{one.rows, one.cols};
    const Tensor x = one.in_place ? bench.in_place("x_y", shape, kRoundedOnce) : bench.input("x", shape);
    const Tensor y = one.in_place ? x : bench.output("y", shape, kRoundedOnce);
    bench.backend().random().dropout(bench.stream(),
                                     {one.probability, site_of(bench, one), one.rows_per_sequence, x, y});
  });
}

TEST_P(RandomOp, BernoulliPerSequence) {
  const auto& [target, one] = GetParam();
  expect_matches_reference(target, [&one = one](Bench& bench) {
    const Tensor factor = bench.master_output("factor", Shape{one.rows}, {1e-15, 1e-7, 1e-7});
    bench.backend().random().bernoulli_per_sequence(bench.stream(),
                                                    {1 - one.probability, site_of(bench, one), factor});
  });
}

}  // namespace
}  // namespace plumb::test
