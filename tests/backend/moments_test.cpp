#include <fmt/format.h>

#include "backend/op_test.h"

namespace plumb::test {
namespace {

struct MomentsCase {
  std::string name = {};
  std::int64_t rows = 1, cols = 1;
  bool columns = true;
  double mean = 0, deviation = 1;
};
void PrintTo(const MomentsCase& shape, std::ostream* out) { *out << shape.name; }

class MomentsOp : public testing::TestWithParam<std::tuple<Target, MomentsCase>> {};

TEST_P(MomentsOp, MatchesReference) {
  const auto& [target, one] = GetParam();
  expect_matches_reference(target, [&one = one](Bench& bench) {
    MomentsArguments arguments;
    arguments.x = bench.input("x", Shape{one.rows, one.cols}, {one.mean, one.deviation});
    // The op only reads x, so bf16 costs nothing.
    arguments.moments = make_moments(bench, "moments", one.columns ? one.cols : 0, {1e-12, 1e-5, 1e-5});
    arguments.workspace = bench.workspace(bench.backend().moments().moments_workspace(arguments));
    for (int batch = 0; batch < 2; ++batch) bench.backend().moments().moments(bench.stream(), arguments);
  });
}
INSTANTIATE_TEST_SUITE_P(
    Backends, MomentsOp,
    testing::Combine(
        testing::ValuesIn(targets()),
        testing::Values(MomentsCase{"1x8", 1, 8}, MomentsCase{"1x1", 1, 1},
                        MomentsCase{"7x65", 7, 65, true, 0.5}, MomentsCase{"33x80", 33, 80, false},
                        MomentsCase{"130x257", 130, 257, true, 30}, MomentsCase{"1000x16", 1000, 16},
                        MomentsCase{"1x80", 1, 80}, MomentsCase{"9x331_large_mean", 9, 331, true, 3000},
                        MomentsCase{"2x8192", 2, 8192, true, 1}, MomentsCase{"2x12288", 2, 12288, false},
                        // Squares of finite values that fp32 cannot hold.
                        MomentsCase{"33x80_huge", 33, 80, true, 0, 1e20},
                        MomentsCase{"7x65_huge_mean", 7, 65, true, 1e21, 1e19},
                        // Fourth powers that it cannot hold.
                        MomentsCase{"17x80_large", 17, 80, true, 1e10, 1e10},
                        MomentsCase{"17x65_small", 17, 65, false, 1e-10, 1e-10},
                        // Near its largest number, and below its smallest normal one.
                        MomentsCase{"33x80_largest", 33, 80, false, 0, 6e37},
                        MomentsCase{"9x65_smallest", 9, 65, false, 0, 1e-39})),
    case_name<MomentsCase>);

/// Multiples of 1/8 of changing sign, which every dtype holds; row `special` is mean + scale times that.
std::vector<double> rows_with_one(std::int64_t rows, std::int64_t cols, std::int64_t special, Values other) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < rows * cols; ++i) {
    const double value = static_cast<double>(i * 29 % 61 - 30) / 8;
    values.push_back(i / cols == special ? other.mean + other.deviation * value : value);
  }
  return values;
}

class MomentsRows : public testing::TestWithParam<Target> {};

// Rows may be taken several at a time: one that stands out leaves those beside it as they are.
TEST_P(MomentsRows, OneMayBeUnlikeTheOthers) {
  const std::int64_t rows = 11, cols = 64;
  for (const Values& other : {Values{0, 0}, Values{16, 1}, Values{0, 1024}, Values{0, 32768}}) {
    if (GetParam().dtype == DType::Float16 && other.deviation > 1e4) continue;  // it holds none of these
    for (const std::int64_t special : {0, 6, 10}) {
      for (const bool columns : {false, true}) {
        SCOPED_TRACE(fmt::format("row {} of mean {}, scale {}", special, other.mean, other.deviation));
        expect_matches_reference(GetParam(), [&](Bench& bench) {
          MomentsArguments arguments;
          arguments.x = bench.constants("x", bench.dtype(), Shape{rows, cols},
                                        rows_with_one(rows, cols, special, other));
          arguments.moments = make_moments(bench, "moments", columns ? cols : 0, {1e-12, 1e-6, 1e-6});
          arguments.workspace = bench.workspace(bench.backend().moments().moments_workspace(arguments));
          bench.backend().moments().moments(bench.stream(), arguments);
        });
      }
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Backends, MomentsRows, testing::ValuesIn(targets()),
                         testing::PrintToStringParamName());

class MomentsShift : public testing::TestWithParam<Target> {};

// The mean of the last sampled step may be far from what is there now.
TEST_P(MomentsShift, MayBeHuge) {
  expect_matches_reference(GetParam(), [](Bench& bench) {
    const std::int64_t rows = 5, cols = 33;
    MomentsArguments arguments;
    arguments.x = bench.input("x", Shape{rows, cols});
    arguments.moments = make_moments(bench, "moments", cols);
    arguments.moments.shift = bench.float64("huge_shift", Shape{cols}, {0, 1e25});
    arguments.workspace = bench.workspace(bench.backend().moments().moments_workspace(arguments));
    bench.backend().moments().moments(bench.stream(), arguments);
  });
}
INSTANTIATE_TEST_SUITE_P(Backends, MomentsShift, testing::ValuesIn(targets()),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace plumb::test
