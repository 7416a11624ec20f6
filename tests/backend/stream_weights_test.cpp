#include "backend/op_test.h"

namespace plumb::test {
namespace {

struct WeightsCase {
  std::string name = {};
  StreamWeightKind kind = StreamWeightKind::Hyper;
  std::int64_t rows = 1, streams = 1;
  int iterations = 20;
};
void PrintTo(const WeightsCase& shape, std::ostream* out) { *out << shape.name; }

std::vector<WeightsCase> cases() {
  std::vector<WeightsCase> list;
  for (const StreamWeightKind kind : {StreamWeightKind::Hyper, StreamWeightKind::Manifold}) {
    const std::string name = kind == StreamWeightKind::Hyper ? "hyper" : "manifold";
    for (const std::int64_t streams : {1, 2, 3, 4, 8, 16})
      for (const std::int64_t rows : {1, 7, 33})
        list.push_back({name + std::to_string(streams) + "_" + std::to_string(rows), kind, rows, streams});
    list.push_back({name + "4_1500", kind, 1500, 4});  // several segments of rows
    list.push_back({name + "3_331", kind, 331, 3, 1});
  }
  list.push_back({"manifold4_100_times", StreamWeightKind::Manifold, 50, 4, 100});
  return list;
}

class StreamWeightsOp : public testing::TestWithParam<std::tuple<Target, WeightsCase>> {};
INSTANTIATE_TEST_SUITE_P(Backends, StreamWeightsOp,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(cases())),
                         case_name<WeightsCase>);

void run_weights(Bench& bench, const WeightsCase& one) {
  const StreamMixOps& ops = bench.backend().stream_mix();
  const std::int64_t count = one.streams * (one.streams + 2);
  const Shape shape{one.rows, count}, scales{one.kind == StreamWeightKind::Hyper ? 2 : 3};
  StreamWeights forward;
  forward.kind = one.kind, forward.streams = one.streams, forward.iterations = one.iterations;
  forward.raw = bench.input("raw", shape);
  forward.base = bench.parameter("base", Shape{count});
  forward.scales = bench.parameter("scales", scales, {0.8, 0.2});
  forward.weights = bench.master_output("weights", shape, kMasterOnly);
  ops.stream_weights(bench.stream(), forward);

  StreamWeightsBackward backward;
  backward.kind = one.kind, backward.streams = one.streams, backward.iterations = one.iterations;
  backward.raw = forward.raw, backward.base = forward.base, backward.scales = forward.scales;
  backward.dweights = bench.parameter("dweights", shape, {0.5, 2});
  backward.draw = bench.output("draw", shape, {1e-12, 5e-6, 4e-3});
  backward.dbase = bench.accumulated("dbase", Shape{count}, {1e-12, 1e-5, 1e-5});
  backward.dscales = bench.accumulated("dscales", scales, {1e-12, 1e-5, 1e-5});
  backward.workspace = bench.workspace(ops.stream_weights_backward_workspace(backward));
  ops.stream_weights_backward(bench.stream(), backward);
}

TEST_P(StreamWeightsOp, MatchesReference) {
  const auto& [target, one] = GetParam();
  const auto run = [&one = one](Bench& bench) { run_weights(bench, one); };
  expect_matches_reference(target, run);
  expect_same_for_any_threads(target, run);
}

class Sinkhorn : public testing::TestWithParam<Target> {
 protected:
  static constexpr std::int64_t kRows = 50;
  Bench bench_{shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype};

  /// Weights of projections that are whole multiples of 1/16, so that logits are exact in every dtype.
  std::vector<double> weights(const std::string& name, std::int64_t streams, double column_offset) {
    const std::int64_t count = streams * (streams + 2);
    std::vector<double> raw, base;
    for (std::int64_t k = 0; k < kRows * count; ++k) raw.push_back(double(k * k % 31 - 15) / 16);
    for (std::int64_t k = 0; k < count; ++k)
      base.push_back(k % (streams + 2) < 2 ? 0
                                           : column_offset * double(k % (streams + 2)) + double(k % 3) / 4);
    StreamWeights arguments;
    arguments.kind = StreamWeightKind::Manifold, arguments.streams = streams;
    arguments.raw = bench_.constants(name + "raw", bench_.dtype(), Shape{kRows, count}, raw);
    arguments.base = bench_.constants(name + "base", bench_.master(), Shape{count}, base);
    arguments.scales = bench_.constants(name + "scales", bench_.master(), Shape{3}, {1, 1, 0.5});
    arguments.weights = bench_.master_output(name + "weights", Shape{kRows, count});
    bench_.backend().stream_mix().stream_weights(bench_.stream(), arguments);
    return bench_.read(arguments.weights);
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, Sinkhorn, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

TEST_P(Sinkhorn, IsDoublyStochastic) {
  const double rounding = GetParam().dtype == DType::Float64 ? 1e-14 : 5e-7;
  for (const std::int64_t n : {1, 2, 4, 8, 16}) {
    const std::vector<double> all = weights("of" + std::to_string(n), n, 0);
    for (std::int64_t r = 0; r < kRows; ++r) {
      const auto mix = [&](std::int64_t i, std::int64_t j) {
        return all[static_cast<std::size_t>((r * n + i) * (n + 2) + 2 + j)];
      };
      for (std::int64_t line = 0; line < n; ++line) {
        double row = 0, column = 0;
        for (std::int64_t k = 0; k < n; ++k) {
          EXPECT_GE(mix(line, k), 0);
          row += mix(line, k);
          column += mix(k, line);
        }
        EXPECT_NEAR(row, 1, rounding) << n << " streams, row " << r;
        EXPECT_NEAR(column, 1, 1e-6) << n << " streams, row " << r;
      }
    }
  }
}

TEST_P(Sinkhorn, DoesNotSeeTheSizeOfALogit) {
  const std::vector<double> plain = weights("plain", 4, 0), shifted = weights("shifted", 4, 1024);
  for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_EQ(plain[i], shifted[i]) << i;
}

}  // namespace
}  // namespace plumb::test
