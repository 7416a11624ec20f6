#include <limits>

#include "backend/op_test.h"

namespace plumb::test {
namespace {

// All state is in the master dtype, so bf16 is held to what fp32 is.
// The update is the difference of two rounded parameters, which the oracle does not round.
constexpr Limits kState{1e-12, 2e-6, 2e-6}, kParameterSquares{1e-12, 1e-6, 1e-6};
constexpr Limits kUpdateSquares{1e-12, 1e-4, 1e-4};

struct OptimizerCase {
  std::string name = {};
  bool adam = true;
  double clip = 1, skip = 1;
  bool statistics = true;
  bool large = false;  ///< tensors that several threads share, with a small one between them
};
void PrintTo(const OptimizerCase& shape, std::ostream* out) { *out << shape.name; }

void run_optimizer(Bench& bench, const OptimizerCase& one) {
  std::vector<UpdateTensor> tensors;
  const std::vector<Shape> small{Shape{1}, Shape{7}, Shape{33, 65}, Shape{1000}, Shape{3, 16}};
  const std::vector<Shape> large{Shape{70001}, Shape{3}, Shape{100003}};
  const std::vector<Shape>& shapes = one.large ? large : small;
  for (std::size_t n = 0; n < shapes.size(); ++n) {
    const std::string index = std::to_string(n);
    const Shape& shape = shapes[n];
    UpdateTensor tensor;
    tensor.parameter = bench.updated("parameter" + index, shape, kState);
    tensor.gradient = bench.parameter("gradient" + index, shape, {0, 0.1});
    tensor.momentum = bench.updated("momentum" + index, shape, kState);
    if (one.adam) {
      std::vector<double> squares;  // of rounded values, so positive and alike on both benches
      for (std::int64_t i = 0; i < shape.elements(); ++i) squares.push_back((1 + double(i % 7)) / 64);
      tensor.variance = bench.variables("variance" + index, bench.master(), shape, squares, kState);
    }
    if (n % 2 == 0) tensor.compute_copy = bench.in_place("copy" + index, shape, kRoundedOnce);
    tensor.learning_rate_scale = n == 3 ? 0.5 : 1;
    tensor.weight_decay = n % 2 == 0 ? 0.1 : 0;
    tensor.epsilon_scale = n == 1 ? 1e6 : 1;
    tensors.push_back(tensor);
  }
  const auto count = static_cast<std::int64_t>(tensors.size());
  const Tensor step_scalars =
      bench.constants("step_scalars", DType::Float64, Shape{kStepScalars},
                      step_scalar_values({0.02, 0.271, 0.1426, 3, one.clip, one.skip}));
  UpdateStatistics statistics;
  if (one.statistics) {  // overwritten, not added to
    statistics.update_square = bench.sums("update_square", count, std::nan(""), kUpdateSquares);
    statistics.parameter_square = bench.sums("parameter_square", count, std::nan(""), kParameterSquares);
  }
  const OptimizerOps& ops = bench.backend().optimizer();
  if (one.adam) ops.adamw(bench.stream(), {0.9, 0.95, 1e-8, step_scalars, statistics}, tensors);
  if (!one.adam) ops.sgd_momentum(bench.stream(), {0.9, step_scalars, statistics}, tensors);
}

class OptimizerOp : public testing::TestWithParam<std::tuple<Target, OptimizerCase>> {};

TEST_P(OptimizerOp, MatchesReference) {
  const auto& [target, shape] = GetParam();
  expect_matches_reference(target, [&shape = shape](Bench& bench) { run_optimizer(bench, shape); });
}
INSTANTIATE_TEST_SUITE_P(
    Backends, OptimizerOp,
    testing::Combine(testing::ValuesIn(targets()),
                     testing::Values(OptimizerCase{"adamw", true}, OptimizerCase{"adamw_clipped", true, 0.3},
                                     OptimizerCase{"adamw_skipped", true, 0, 0},
                                     OptimizerCase{"adamw_bare", true, 1, 1, false},
                                     OptimizerCase{"sgd", false}, OptimizerCase{"sgd_clipped", false, 0.3},
                                     OptimizerCase{"sgd_skipped", false, 0, 0},
                                     OptimizerCase{"adamw_large", true, 0.3, 1, true, true},
                                     OptimizerCase{"adamw_large_skipped", true, 0, 0, true, true},
                                     OptimizerCase{"sgd_large", false, 0.3, 1, true, true})),
    case_name<OptimizerCase>);

class OptimizerSkip : public testing::TestWithParam<Target> {};

// A skipped step changes no bit, even when the gradient is not finite.
TEST_P(OptimizerSkip, LeavesEveryBit) {
  Bench bench(shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype);
  const Shape shape{77};
  UpdateTensor tensor;
  tensor.parameter = bench.parameter("parameter", shape);
  tensor.gradient = bench.parameter("gradient", shape, {std::numeric_limits<double>::infinity(), 1});
  tensor.momentum = bench.parameter("momentum", shape);
  tensor.variance = bench.constants("variance", bench.master(), shape, std::vector<double>(77, 0.25));
  tensor.compute_copy = bench.input("copy", shape);
  tensor.weight_decay = 0.1;
  const Tensor step_scalars = bench.constants("step_scalars", DType::Float64, Shape{kStepScalars},
                                              step_scalar_values({0.02, 0.1, 0.05, 1, 0, 0}));
  const UpdateTensor list[] = {tensor};
  bench.backend().optimizer().adamw(bench.stream(), {0.9, 0.95, 1e-8, step_scalars, {}}, list);
  bench.backend().optimizer().sgd_momentum(bench.stream(), {0.9, step_scalars, {}}, list);
  bench.finish();  // checks that no input has changed
}
INSTANTIATE_TEST_SUITE_P(Backends, OptimizerSkip, testing::ValuesIn(targets()),
                         testing::PrintToStringParamName());

struct ClipCase {
  std::string name = {};
  std::vector<double> squares;
  double max_norm;
};
void PrintTo(const ClipCase& shape, std::ostream* out) { *out << shape.name; }

class ClipOp : public testing::TestWithParam<std::tuple<Target, ClipCase>> {};

TEST_P(ClipOp, MatchesReference) {
  const auto& [target, one] = GetParam();
  expect_matches_reference(target, [&one = one](Bench& bench) {
    Clip clip;
    clip.squares = bench.constants("squares", DType::Float64,
                                   Shape{static_cast<std::int64_t>(one.squares.size())}, one.squares);
    clip.max_norm = one.max_norm;
    clip.step_scalars = bench.sums("step_scalars", kStepScalars, 0.5, {1e-14, 1e-14, 1e-14});
    bench.backend().optimizer().clip(bench.stream(), clip);
  });
}
INSTANTIATE_TEST_SUITE_P(
    Backends, ClipOp,
    testing::Combine(testing::ValuesIn(targets()),
                     testing::Values(ClipCase{"below", {0.1, 0.2, 0.3}, 1}, ClipCase{"above", {4, 5}, 1.5},
                                     ClipCase{"unlimited", {4, 5, 1e8}, 0}, ClipCase{"zero", {0, 0}, 1},
                                     ClipCase{"infinite", {1, INFINITY}, 1}, ClipCase{"nan", {NAN, 1}, 1})),
    case_name<ClipCase>);

}  // namespace
}  // namespace plumb::test
