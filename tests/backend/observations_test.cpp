#include <cmath>
#include <limits>

#include "backend/op_test.h"
#include "core/error.h"

namespace plumb::test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct ObservationsCase {
  std::string name = {};
  std::int64_t sequences = 1, tokens = 1, cols = 1;
  double mean = 0, deviation = 1;
  bool strided = false;  ///< rows with a stride, at an address that is no multiple of 16 bytes

  std::int64_t rows() const { return sequences * tokens; }
};
void PrintTo(const ObservationsCase& shape, std::ostream* out) { *out << shape.name; }

const ObservationsCase kCases[] = {
    {"1x1", 1, 1, 1},
    {"rstd_300x1", 3, 100, 1, 1},
    {"2x3x65", 2, 3, 65, 0.5},
    {"5x7x80_strided", 5, 7, 80, -0.5, 1, true},
    {"3x131x257", 3, 131, 257, 0.2},
    {"4x128x33_strided", 4, 128, 33, 0.3, 2, true},
    {"2x2x2048", 2, 2, 2048, 1, 0.5},
    {"1x3x12289", 1, 3, 12289, 0.1},
    {"40x2x264_large", 40, 2, 264, 0, 1e10},
    {"9x8x40_small", 9, 8, 40, 1e-10, 1e-10},
};

class ObservationsOp : public testing::TestWithParam<std::tuple<Target, ObservationsCase>> {
 protected:
  /// On the target and the oracle, and with any number of threads.
  template <class Run>
  void check(Run&& run) {
    const auto& [target, one] = GetParam();
    const auto on = [&](Bench& bench) {
      const Tensor wide =
          bench.input("x", Shape{one.rows(), one.cols + (one.strided ? 3 : 0)}, {one.mean, one.deviation});
      run(bench, one, one.strided ? wide.columns(1, one.cols) : wide);
    };
    expect_matches_reference(target, on);
    expect_same_for_any_threads(target, on);
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, ObservationsOp,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(kCases)),
                         case_name<ObservationsCase>);

TEST_P(ObservationsOp, RowSquares) {
  check([](Bench& bench, const ObservationsCase&, const Tensor& x) {
    const Limits limits{1e-12, 2e-6, 2e-6};
    RowSquares arguments{x, bench.sums("sum", 1, 0.25, limits), bench.sums("largest", 1, 0.25, limits), {}};
    const ObservationOps& ops = bench.backend().observations();
    arguments.workspace = bench.workspace(ops.row_squares_workspace(arguments));
    ops.row_squares(bench.stream(), arguments);
    arguments.largest = Tensor();
    ops.row_squares(bench.stream(), arguments);
  });
}

TEST_P(ObservationsOp, Counts) {
  check([](Bench& bench, const ObservationsCase& one, const Tensor& x) {
    const ObservationOps& ops = bench.backend().observations();
    CountAbove above{x, one.mean + 0.3 * one.deviation, bench.sums("above", 1, 2, kExact), {}};
    above.workspace = bench.workspace(ops.count_above_workspace(above));
    ops.count_above(bench.stream(), above);
    above.x = bench.parameter("master_x", Shape{one.rows(), one.cols});
    above.workspace = bench.workspace(ops.count_above_workspace(above));
    ops.count_above(bench.stream(), above);
    CountSaturated saturated;
    saturated.x = x;
    saturated.alpha = bench.parameter("alpha", Shape{1}, {-0.7, 0.1});
    saturated.limit = 0.5;
    saturated.count = bench.sums("saturated", 1, 2, kExact);
    saturated.workspace = bench.workspace(ops.count_saturated_workspace(saturated));
    ops.count_saturated(bench.stream(), saturated);
    saturated.offset = bench.parameter("offset", Shape{1}, {0.4, 0.1});
    ops.count_saturated(bench.stream(), saturated);
  });
}

TEST_P(ObservationsOp, ColumnMaxima) {
  check([](Bench& bench, const ObservationsCase& one, const Tensor& x) {
    const ObservationOps& ops = bench.backend().observations();
    ColumnMaxima arguments{x, {}, bench.sums("maxima", one.cols, -kInfinity, kExact), {}};
    arguments.workspace = bench.workspace(ops.column_maxima_workspace(arguments));
    ops.column_maxima(bench.stream(), arguments);
    arguments.bias = bench.parameter("bias", Shape{one.cols});
    ops.column_maxima(bench.stream(), arguments);  // maxima of both
    arguments.maxima = bench.sums("maxima_before", one.cols, 0.5, kExact);
    ops.column_maxima(bench.stream(), arguments);
  });
}

TEST_P(ObservationsOp, MagnitudeHistogram) {
  check([](Bench& bench, const ObservationsCase&, const Tensor& x) {
    const ObservationOps& ops = bench.backend().observations();
    MagnitudeHistogram arguments{x, bench.sums("counts", kMagnitudeBins, 3, kExact), {}};
    arguments.workspace = bench.workspace(ops.magnitude_histogram_workspace(arguments));
    ops.magnitude_histogram(bench.stream(), arguments);
  });
}

TEST_P(ObservationsOp, TokenSimilarity) {
  check([](Bench& bench, const ObservationsCase& one, const Tensor& x) {
    const ObservationOps& ops = bench.backend().observations();
    TokenSimilarity arguments{
        x, one.tokens, bench.sums("sums", kSimilaritySums, 0.25, {1e-12, 1e-9, 1e-9}), {}};
    arguments.workspace = bench.workspace(ops.token_similarity_workspace(arguments));
    for (int batch = 0; batch < 2; ++batch) ops.token_similarity(bench.stream(), arguments);
  });
}

/// By hand, and what is not finite.
class ObservationsByHand : public testing::TestWithParam<Target> {
 protected:
  Bench bench_{shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype};
  const ObservationOps& ops_ = bench_.backend().observations();

  Tensor of(Shape shape, const std::vector<double>& values) {
    return bench_.constants("x", GetParam().dtype, shape, values);
  }
  std::vector<double> row_squares(const Tensor& x) {
    RowSquares arguments{x, bench_.sums("sum", 1), bench_.sums("largest", 1), {}};
    arguments.workspace = bench_.workspace(ops_.row_squares_workspace(arguments));
    ops_.row_squares(bench_.stream(), arguments);
    return {bench_.read(arguments.sum)[0], bench_.read(arguments.largest)[0]};
  }
  double count_above(const Tensor& x, double threshold) {
    CountAbove arguments{x, threshold, bench_.sums("count", 1), {}};
    arguments.workspace = bench_.workspace(ops_.count_above_workspace(arguments));
    ops_.count_above(bench_.stream(), arguments);
    return bench_.read(arguments.count)[0];
  }
  double count_saturated(const Tensor& x, double alpha, double limit) {
    CountSaturated arguments;
    arguments.x = x, arguments.limit = limit;
    arguments.alpha = bench_.constants("alpha", bench_.master(), Shape{1}, {alpha});
    arguments.count = bench_.sums("count", 1);
    arguments.workspace = bench_.workspace(ops_.count_saturated_workspace(arguments));
    ops_.count_saturated(bench_.stream(), arguments);
    return bench_.read(arguments.count)[0];
  }
  std::vector<double> column_maxima(const Tensor& x) {
    ColumnMaxima arguments{x, {}, bench_.sums("maxima", x.cols(), -kInfinity), {}};
    arguments.workspace = bench_.workspace(ops_.column_maxima_workspace(arguments));
    ops_.column_maxima(bench_.stream(), arguments);
    return bench_.read(arguments.maxima);
  }
  std::vector<double> similarity(const Tensor& x, std::int64_t tokens) {
    TokenSimilarity arguments{x, tokens, bench_.sums("sums", kSimilaritySums), {}};
    arguments.workspace = bench_.workspace(ops_.token_similarity_workspace(arguments));
    ops_.token_similarity(bench_.stream(), arguments);
    return bench_.read(arguments.sums);
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, ObservationsByHand, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

TEST_P(ObservationsByHand, RowSquares) {
  EXPECT_EQ(row_squares(of(Shape{3, 2}, {1, 2, -3, 4, 0, 0})), (std::vector<double>{30, 25}));
  const std::vector<double> nan = row_squares(of(Shape{3, 2}, {1, 2, kNaN, 4, 5, 6}));
  EXPECT_TRUE(std::isnan(nan[0]) && std::isnan(nan[1]));
  EXPECT_EQ(row_squares(of(Shape{2, 2}, {1, 2, -kInfinity, 4})), (std::vector<double>{kInfinity, kInfinity}));
  if (GetParam().dtype == DType::Float16) return;
  // Squares that fp32 cannot hold.
  EXPECT_EQ(row_squares(of(Shape{2, 2}, {0x1p100, 0, 0x1p90, 0}))[1], 0x1p200);
  EXPECT_EQ(row_squares(of(Shape{2, 2}, {0x1p-100, 0, 0, 0}))[0], 0x1p-200);
}

TEST_P(ObservationsByHand, CountsLeaveOutNaN) {
  const Tensor x = of(Shape{2, 4}, {1, 2, 3, kNaN, kInfinity, -kInfinity, -5, 2});
  EXPECT_EQ(count_above(x, 2), 2);
  EXPECT_EQ(count_above(x, -kInfinity), 6);
  EXPECT_EQ(count_saturated(x, 2, 4), 4);  // 3, both infinities, -5
  EXPECT_EQ(count_saturated(x, 0, 4), 0);
  EXPECT_EQ(count_saturated(x, kNaN, 4), 0);
}

TEST_P(ObservationsByHand, MaximaKeepNaN) {
  const std::vector<double> maxima =
      column_maxima(of(Shape{3, 4}, {-1, kNaN, -3, kInfinity, -2, 5, -kInfinity, 1, -4, 6, -7, kNaN}));
  EXPECT_EQ(maxima[0], -1);
  EXPECT_TRUE(std::isnan(maxima[1]));
  EXPECT_EQ(maxima[2], -3);
  EXPECT_TRUE(std::isnan(maxima[3]));
}

TEST_P(ObservationsByHand, HistogramHasBinsForAllValues) {
  MagnitudeHistogram arguments;
  arguments.x = of(Shape{2, 5}, {0, 1, -1.125, kNaN, kInfinity, -kInfinity, 0x1p-25, 1.875, 3, -1});
  if (GetParam().dtype == DType::Float16)
    arguments.x = of(Shape{2, 5}, {0, 1, -1.125, kNaN, kInfinity, -kInfinity, 0, 1.875, 3, -1});
  arguments.counts = bench_.sums("counts", kMagnitudeBins);
  arguments.workspace = bench_.workspace(ops_.magnitude_histogram_workspace(arguments));
  ops_.magnitude_histogram(bench_.stream(), arguments);
  std::vector<double> expected(kMagnitudeBins, 0);
  const int one = kFirstMagnitude + 24 * kBinsPerOctave;
  for (const int bin :
       {int{kMagnitudeBelow}, int{kMagnitudeBelow}, one, one, one + 1, one + 7, one + kBinsPerOctave + 4,
        int{kMagnitudeNaN}, int{kMagnitudeAbove}, int{kMagnitudeAbove}})
    expected[static_cast<std::size_t>(bin)] += 1;
  EXPECT_EQ(bench_.read(arguments.counts), expected);
}

TEST_P(ObservationsByHand, SimilarityOfTokens) {
  // Two sequences of three: all alike but for their lengths; at right angles.
  const std::vector<double> sums =
      similarity(of(Shape{6, 3}, {1, 2, 0, 2, 4, 0, 4, 8, 0, 1, 0, 0, 0, 3, 0, 0, 0, 5}), 3);
  EXPECT_NEAR(sums[kSimilarity], 1, 1e-12);
  EXPECT_EQ(sums[kSimilaritySequences], 2);
  // Opposite ones, and one of zeros: one pair of three, both ways, of six.
  EXPECT_NEAR(similarity(of(Shape{3, 2}, {1, 1, -2, -2, 0, 0}), 3)[kSimilarity], -2.0 / 6, 1e-12);
  EXPECT_EQ(similarity(of(Shape{2, 2}, {0, 0, 0, 0}), 2), (std::vector<double>{0, 1}));
  EXPECT_EQ(similarity(of(Shape{2, 2}, {1, 2, 3, 4}), 1), (std::vector<double>{0, 0}));
  EXPECT_THROW(similarity(of(Shape{3, 1}, {1, 2, 3}), 2), Error);
  for (const double value : {kNaN, kInfinity}) {
    const std::vector<double> bad = similarity(of(Shape{4, 2}, {1, 2, 3, 4, 5, value, 7, 8}), 2);
    EXPECT_TRUE(std::isnan(bad[kSimilarity]));
    EXPECT_EQ(bad[kSimilaritySequences], 2);
  }
}

}  // namespace
}  // namespace plumb::test
