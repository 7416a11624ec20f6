#include <cmath>

#include "backend/op_test.h"
#include "core/rng.h"

namespace plumb::test {
namespace {

struct HeadLossCase {
  std::string name = {};
  std::int64_t rows = 1, width = 1, vocabulary = 2;
  bool bias = false;
  double z_loss = 0, soft_cap = 0;
  int ignored = 0;  ///< every how many rows one has no target; 1 = all of them
  double loss_scale = 1;
  bool bias_gradient = true, accumulate = true;
};
void PrintTo(const HeadLossCase& shape, std::ostream* out) { *out << shape.name; }

std::vector<double> targets_of(const HeadLossCase& shape) {
  std::vector<double> targets;
  for (std::int64_t r = 0; r < shape.rows; ++r) {
    const std::uint32_t word = RandomStream{4, 0, 0}.word(static_cast<std::uint64_t>(r));
    const bool ignored = shape.ignored > 0 && r % shape.ignored == 0;
    targets.push_back(ignored ? -1.0 : static_cast<double>(word % shape.vocabulary));
  }
  return targets;
}

enum class Passes { Apart, Both };

/// Forward and backward; gives dh.
Tensor run_head_loss(Bench& bench, const HeadLossCase& shape, const std::vector<double>& targets,
                     Passes passes = Passes::Apart) {
  const HeadLossOps& ops = bench.backend().head_loss();
  HeadLossForward forward;
  forward.z_loss = shape.z_loss;
  forward.soft_cap = shape.soft_cap;
  forward.h = bench.input("h", Shape{shape.rows, shape.width});
  forward.weight = bench.input("weight", Shape{shape.vocabulary, shape.width}, {0, 0.3});
  if (shape.bias) forward.bias = bench.parameter("bias", Shape{shape.vocabulary});
  forward.targets = bench.constants("targets", DType::Int32, Shape{shape.rows}, targets);
  forward.log_z = bench.master_output("log_z", Shape{shape.rows}, {1e-12, 2e-6, 5e-3});
  forward.sums = bench.sums("sums", kHeadLossSums, 0.25, {1e-12, 1e-5, 1e-2});

  HeadLossBackward backward;
  backward.z_loss = shape.z_loss;
  backward.soft_cap = shape.soft_cap;
  backward.gradient_scale = 1.25;
  if (shape.loss_scale != 1)
    backward.loss_scale = bench.constants("loss_scale", DType::Float64, Shape{1}, {shape.loss_scale});
  backward.h = forward.h;
  backward.weight = forward.weight;
  backward.bias = forward.bias;
  backward.targets = forward.targets;
  backward.log_z = forward.log_z;
  backward.dh = bench.output("dh", Shape{shape.rows, shape.width});
  backward.accumulate = shape.accumulate;
  const Shape table{shape.vocabulary, shape.width};
  backward.dweight =
      shape.accumulate ? bench.accumulated("dweight", table) : bench.master_output("dweight", table);
  if (shape.bias && shape.bias_gradient) backward.dbias = bench.accumulated("dbias", Shape{shape.vocabulary});
  if (passes == Passes::Both) {
    forward.workspace = backward.workspace =
        bench.workspace(ops.head_loss_both_workspace({forward, backward}));
    ops.head_loss_both(bench.stream(), {forward, backward});
  } else {
    forward.workspace = bench.workspace(ops.head_loss_forward_workspace(forward));
    ops.head_loss_forward(bench.stream(), forward);
    backward.workspace = bench.workspace(ops.head_loss_backward_workspace(backward));
    ops.head_loss_backward(bench.stream(), backward);
  }
  for (std::int64_t r = 0; r < shape.rows; ++r)
    if (targets[static_cast<std::size_t>(r)] < 0) bench.clear(forward.log_z, r);  // not in the loss
  return backward.dh;
}

// Nobody can look at targets that are on a device: a row with an impossible one has no gradient that could be
// taken for one, and no other row suffers.
class HeadLossTargets : public testing::TestWithParam<Target> {
 protected:
  void expect_seen(Passes passes);
};

void HeadLossTargets::expect_seen(Passes passes) {
  Bench bench(shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype);
  const std::int64_t rows = 4, width = 16, vocabulary = 70;
  const std::vector<double> dh =
      bench.read(run_head_loss(bench, {"targets", rows, width, vocabulary}, {5, -2, 70, 69}, passes));
  for (std::int64_t i = 0; i < rows * width; ++i) {
    const std::int64_t row = i / width;
    EXPECT_EQ(std::isnan(dh[static_cast<std::size_t>(i)]), row == 1 || row == 2) << "row " << row;
  }
}

TEST_P(HeadLossTargets, OutOfRangeOnADeviceAreSeen) {
  if (!GetParam().backend.starts_with("cuda")) GTEST_SKIP() << "host backends refuse them";
  expect_seen(Passes::Apart);
  expect_seen(Passes::Both);
}
INSTANTIATE_TEST_SUITE_P(Backends, HeadLossTargets, testing::ValuesIn(targets()),
                         testing::PrintToStringParamName());

class HeadLossOp : public testing::TestWithParam<std::tuple<Target, HeadLossCase>> {};

TEST_P(HeadLossOp, MatchesReference) {
  const auto& [target, shape] = GetParam();
  expect_matches_reference(
      target, [&shape = shape](Bench& bench) { run_head_loss(bench, shape, targets_of(shape)); });
}
INSTANTIATE_TEST_SUITE_P(
    Backends, HeadLossOp,
    testing::Combine(
        testing::ValuesIn(targets()),
        testing::Values(
            HeadLossCase{"one_row", 1, 8, 2}, HeadLossCase{"scaled", 33, 80, 257, true, 1e-2, 0, 3, 24},
            HeadLossCase{"v2", 7, 65, 2, true, 1e-2}, HeadLossCase{"v257", 33, 80, 257, true, 0, 0, 3},
            HeadLossCase{"v257_cap", 33, 80, 257, true, 1e-2, 3, 5},
            HeadLossCase{"v1000", 130, 33, 1000, false, 1e-3},
            HeadLossCase{"v1000_cap", 65, 16, 1000, true, 0, 2},
            HeadLossCase{"no_target", 9, 16, 257, true, 1e-2, 0, 1}, HeadLossCase{"v1", 5, 16, 1, true, 0.5},
            HeadLossCase{"written", 40, 33, 17, true, 1e-3, 0, 6, 1, true, false},
            HeadLossCase{"v17", 40, 33, 17, false, 1e-3, 4, 6},
            HeadLossCase{"v256", 70, 32, 256, false, 1e-3}, HeadLossCase{"v50257", 7, 8, 50257, false, 1e-3},
            // Several chunks of rows and of the vocabulary; of rows alone.
            HeadLossCase{"chunks", 530, 8, 1501, true, 1e-3, 0, 7},
            HeadLossCase{"written_in_chunks", 1100, 8, 300, true, 0, 0, 7, 1, true, false},
            HeadLossCase{"row_chunks_cap", 1100, 8, 300, true, 1e-3, 3})),
    case_name<HeadLossCase>);

// In one op: the widths of its blocks of threads, one piece of a row and several, the last one short.
class HeadLossOpBoth : public HeadLossOp {};

TEST_P(HeadLossOpBoth, MatchesReference) {
  const auto& [target, shape] = GetParam();
  expect_matches_reference(target, [&shape = shape](Bench& bench) {
    run_head_loss(bench, shape, targets_of(shape), Passes::Both);
  });
}
INSTANTIATE_TEST_SUITE_P(
    Backends, HeadLossOpBoth,
    testing::Combine(testing::ValuesIn(targets()),
                     testing::Values(HeadLossCase{"v2", 7, 65, 2, false, 1e-2},
                                     HeadLossCase{"dbias", 9, 16, 40, true, 1e-2},
                                     HeadLossCase{"v257_cap", 33, 80, 257, true, 1e-2, 3, 5, 1, false},
                                     HeadLossCase{"scaled", 33, 80, 300, true, 1e-2, 0, 3, 24, false},
                                     HeadLossCase{"written", 5, 16, 40, false, 1e-3, 0, 0, 1, true, false},
                                     HeadLossCase{"v1024", 5, 16, 1024, false, 1e-3},
                                     HeadLossCase{"v1025", 5, 16, 1025, false, 1e-3},
                                     HeadLossCase{"no_target", 9, 16, 257, false, 1e-2, 0, 1},
                                     HeadLossCase{"v9001", 5, 8, 9001, false, 1e-3, 2},
                                     HeadLossCase{"row_chunks", 300, 8, 1100, true, 1e-3, 0, 7, 3})),
    case_name<HeadLossCase>);

}  // namespace
}  // namespace plumb::test
