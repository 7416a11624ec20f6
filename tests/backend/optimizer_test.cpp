#include <cmath>
#include <limits>
#include <utility>

#include "backend/op_test.h"
#include "core/error.h"

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
  double loss_scale = 1;
  bool many = false;     ///< more tensors than one kernel launch takes
  bool factors = false;  ///< every tensor has one of its own
  bool aliased = false;  ///< gradient and momentum are the same view
};
void PrintTo(const OptimizerCase& shape, std::ostream* out) { *out << shape.name; }

std::vector<double> step_scalars_of(double clip, double skip, double loss_scale) {
  std::vector<double> scalars = step_scalar_values({0.02, 0.271, 0.1426, 3, clip, skip});
  scalars[kStepLossScale] = loss_scale;
  return scalars;
}

void run_optimizer(Bench& bench, const OptimizerCase& one) {
  std::vector<UpdateTensor> tensors;
  const std::vector<Shape> small{Shape{1}, Shape{7}, Shape{33, 65}, Shape{1000}, Shape{3, 16}};
  const std::vector<Shape> large{Shape{70001}, Shape{3}, Shape{100003}};
  std::vector<Shape> shapes = one.large ? large : small;
  while (one.many && shapes.size() < 120) shapes.push_back(Shape{static_cast<std::int64_t>(shapes.size())});
  for (std::size_t n = 0; n < shapes.size(); ++n) {
    const std::string index = std::to_string(n);
    const Shape& shape = shapes[n];
    UpdateTensor tensor;
    tensor.parameter = bench.updated("parameter" + index, shape, kState);
    tensor.gradient = bench.parameter("gradient" + index, shape, {0, 0.1 * one.loss_scale});
    tensor.momentum = bench.updated("momentum" + index, shape, kState);
    if (one.aliased) tensor.gradient = tensor.momentum;
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
  const Tensor step_scalars = bench.constants("step_scalars", DType::Float64, Shape{kStepScalars},
                                              step_scalars_of(one.clip, one.skip, one.loss_scale));
  UpdateStatistics statistics;
  if (one.statistics) {  // overwritten, not added to
    statistics.update_square = bench.sums("update_square", count, std::nan(""), kUpdateSquares);
    statistics.parameter_square = bench.sums("parameter_square", count, std::nan(""), kParameterSquares);
    if (one.adam) {
      statistics.lag_squares = bench.sums("lag_squares", count, std::nan(""), kParameterSquares);
      statistics.eps_dominated = bench.sums("eps_dominated", count, std::nan(""), kExact);
    }
  }
  Tensor factors;
  if (one.factors) {
    std::vector<double> values;
    for (std::int64_t n = 0; n < count; ++n) values.push_back(1 / static_cast<double>(n + 1));
    factors = bench.constants("factors", DType::Float64, Shape{count}, values);
  }
  const OptimizerOps& ops = bench.backend().optimizer();
  const Workspace workspace = bench.workspace(ops.update_workspace(tensors));
  if (one.adam)
    ops.adamw(bench.stream(), {0.9, 0.95, 1e-8, step_scalars, statistics, workspace, factors}, tensors);
  if (!one.adam)
    ops.sgd_momentum(bench.stream(), {0.9, step_scalars, statistics, workspace, factors}, tensors);
}

class OptimizerOp : public testing::TestWithParam<std::tuple<Target, OptimizerCase>> {};

TEST_P(OptimizerOp, MatchesReference) {
  const auto& [target, shape] = GetParam();
  expect_matches_reference(target, [&shape = shape](Bench& bench) { run_optimizer(bench, shape); });
}
INSTANTIATE_TEST_SUITE_P(
    Backends, OptimizerOp,
    testing::Combine(
        testing::ValuesIn(targets()),
        testing::Values(
            OptimizerCase{"adamw", true}, OptimizerCase{"adamw_clipped", true, 0.3},
            OptimizerCase{"adamw_skipped", true, 0, 0}, OptimizerCase{"adamw_bare", true, 1, 1, false},
            OptimizerCase{"sgd", false}, OptimizerCase{"sgd_clipped", false, 0.3},
            OptimizerCase{"sgd_skipped", false, 0, 0}, OptimizerCase{"adamw_large", true, 0.3, 1, true, true},
            OptimizerCase{"adamw_large_skipped", true, 0, 0, true, true},
            OptimizerCase{"sgd_large", false, 0.3, 1, true, true},
            OptimizerCase{"adamw_scaled", true, 0.3, 1, true, false, 0x1p12},
            OptimizerCase{"sgd_scaled", false, 0.3, 1, true, false, 0x1p12},
            OptimizerCase{"adamw_many", true, 1, 1, true, false, 1, true},
            OptimizerCase{"sgd_many", false, 0.3, 1, true, false, 4, true},
            OptimizerCase{"adamw_factors", true, 0.3, 1, true, false, 4, true, true},
            OptimizerCase{"sgd_factors", false, 0.3, 1, true, true, 1, false, true},
            OptimizerCase{"sgd_aliased", false, 0.3, 1, true, false, 1, false, false, true},
            OptimizerCase{"sgd_aliased_large", false, 0.3, 1, true, true, 1, false, false, true})),
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
  const Tensor step_scalars =
      bench.constants("step_scalars", DType::Float64, Shape{kStepScalars}, step_scalars_of(0, 0, 1));
  const UpdateTensor list[] = {tensor};
  bench.backend().optimizer().adamw(bench.stream(), {0.9, 0.95, 1e-8, step_scalars, {}, {}}, list);
  bench.backend().optimizer().sgd_momentum(bench.stream(), {0.9, step_scalars, {}, {}}, list);
  bench.finish();  // checks that no input has changed
}
INSTANTIATE_TEST_SUITE_P(Backends, OptimizerSkip, testing::ValuesIn(targets()),
                         testing::PrintToStringParamName());

/// Adam's lag, from one step of one tensor whose entries are all alike.
class OptimizerLag : public testing::TestWithParam<Target> {
 protected:
  struct Lag {
    double squares, dominated;
  };
  Lag lag(const std::string& name, double gradient, double variance, double epsilon) {
    Bench bench(shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype);
    const auto constant = [&](const std::string& what, double value) {
      return bench.variables(name + what, bench.master(), Shape{kEntries},
                             std::vector<double>(static_cast<std::size_t>(kEntries), value));
    };
    UpdateTensor tensor;
    tensor.parameter = constant("parameter", 1), tensor.gradient = constant("gradient", gradient);
    tensor.momentum = constant("momentum", 0), tensor.variance = constant("variance", variance);
    tensor.epsilon_scale = 2;
    std::vector<double> scalars = step_scalars_of(0.5, 1, 4);
    scalars[kStepBiasCorrection2] = 0.25;
    AdamW adam{.beta1 = 0.9,
               .beta2 = 0.75,
               .epsilon = epsilon,
               .step_scalars = {},
               .statistics = {},
               .workspace = {}};
    adam.step_scalars = bench.constants("step_scalars", DType::Float64, Shape{kStepScalars}, scalars);
    adam.statistics.lag_squares = bench.sums("lag_squares", 1, -1);
    adam.statistics.eps_dominated = bench.sums("eps_dominated", 1, -1);
    const UpdateTensor list[] = {tensor};
    const OptimizerOps& ops = bench.backend().optimizer();
    adam.workspace = bench.workspace(ops.update_workspace(list));
    ops.adamw(bench.stream(), adam, list);
    return {bench.read(adam.statistics.lag_squares)[0], bench.read(adam.statistics.eps_dominated)[0]};
  }
  static constexpr std::int64_t kEntries = 37;
  static constexpr double kCount = 37;
};
INSTANTIATE_TEST_SUITE_P(Backends, OptimizerLag, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

// The rule sees g = gradient / 8; v = 0.75 v + 0.25 g^2, v^ = 4 v.
TEST_P(OptimizerLag, IsTheGradientBesideItsRootMeanSquare) {
  const Lag equal = lag("equal", 8, 1.0 / 4, 1e-8);  // v = 0.4375, v^ = 1.75
  EXPECT_NEAR(equal.squares, kCount / 1.75, 1e-5 * kCount);
  EXPECT_EQ(equal.dominated, 0);
  const Lag first = lag("first", 8, 0, 1e-8);  // v^ = g^2: no lag
  EXPECT_NEAR(first.squares, kCount, 1e-5 * kCount);
}

TEST_P(OptimizerLag, EpsilonIsTheLeastThatAGradientIsBeside) {
  const Lag below = lag("below", 8 * 1e-4, 0, 1e-3);  // sqrt(v^) = 1e-4 < 2e-3
  EXPECT_NEAR(below.squares, kCount / 400, 1e-6 * kCount);
  EXPECT_EQ(below.dominated, kCount);
  const Lag above = lag("above", 8 * 4e-3, 0, 1e-3);
  EXPECT_NEAR(above.squares, kCount, 1e-5 * kCount);
  EXPECT_EQ(above.dominated, 0);
  // No gradient yet, and an epsilon whose square is not in fp32.
  const Lag nothing = lag("nothing", 0, 0, 1e-30);
  EXPECT_EQ(nothing.squares, 0);
  EXPECT_EQ(nothing.dominated, kCount);
}

TEST_P(OptimizerLag, WhatIsNotFiniteShows) {
  EXPECT_TRUE(std::isnan(lag("nan", std::nan(""), 1, 1e-8).squares));
  EXPECT_TRUE(std::isnan(lag("infinite", std::numeric_limits<double>::infinity(), 1, 1e-8).squares));
  EXPECT_TRUE(std::isnan(lag("variance", 1, std::nan(""), 1e-8).squares));
}

TEST_P(OptimizerLag, HasNoMeaningForSgd) {
  Bench bench(shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype);
  const Tensor step_scalars =
      bench.constants("step_scalars", DType::Float64, Shape{kStepScalars}, step_scalars_of(1, 1, 1));
  UpdateTensor tensor;
  tensor.parameter = bench.parameter("parameter", Shape{5});
  tensor.gradient = bench.parameter("gradient", Shape{5});
  tensor.momentum = bench.parameter("momentum", Shape{5});
  const UpdateTensor list[] = {tensor};
  UpdateStatistics lag, dominated;
  lag.lag_squares = bench.sums("lag_squares", 1);
  dominated.eps_dominated = bench.sums("eps_dominated", 1);
  const OptimizerOps& ops = bench.backend().optimizer();
  for (const UpdateStatistics& statistics : {lag, dominated})
    EXPECT_THROW(ops.sgd_momentum(bench.stream(), {0.9, step_scalars, statistics, {}}, list), Error);
}

struct ClipCase {
  std::string name = {};
  std::vector<double> squares;
  double max_norm;
  double loss_scale = 1;
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
    std::vector<double> scalars(kStepScalars, 0.5);
    scalars[kStepLossScale] = one.loss_scale;
    clip.step_scalars =
        bench.variables("step_scalars", DType::Float64, Shape{kStepScalars}, scalars, {1e-14, 1e-14, 1e-14});
    bench.backend().optimizer().clip(bench.stream(), clip);
  });
}
INSTANTIATE_TEST_SUITE_P(
    Backends, ClipOp,
    testing::Combine(testing::ValuesIn(targets()),
                     testing::Values(ClipCase{"below", {0.1, 0.2, 0.3}, 1}, ClipCase{"above", {4, 5}, 1.5},
                                     ClipCase{"scaled_below", {4, 5}, 1.5, 4},
                                     ClipCase{"scaled_above", {4e6, 5e6}, 1.5, 1024},
                                     ClipCase{"many", std::vector<double>(1000, 0.3), 1.5, 2},
                                     ClipCase{"unlimited", {4, 5, 1e8}, 0}, ClipCase{"zero", {0, 0}, 1},
                                     ClipCase{"infinite", {1, INFINITY}, 1}, ClipCase{"nan", {NAN, 1}, 1})),
    case_name<ClipCase>);

/// What the step scalars hold after a step, by hand.
class StepScalars : public testing::TestWithParam<Target> {
 protected:
  Bench bench_{shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype};
  const OptimizerOps& ops_ = bench_.backend().optimizer();

  Tensor start(double skip, double loss_scale, double since_change) {
    std::vector<double> scalars = step_scalars_of(skip, skip, loss_scale);
    scalars[kStepsSinceScaleChange] = since_change;
    return bench_.variables("step_scalars", DType::Float64, Shape{kStepScalars}, scalars);
  }
  /// Loss scale and steps since its change after adapt_loss_scale.
  std::pair<double, double> adapted(double skip, double loss_scale, double since_change) {
    const Tensor scalars = start(skip, loss_scale, since_change);
    // A norm that is not finite leaves a clip factor of 0.
    ops_.adapt_loss_scale(bench_.stream(), {.interval = 3, .largest = 1024, .step_scalars = scalars});
    const std::vector<double> after = bench_.read(scalars);
    const std::vector<double> before = step_scalars_of(skip, skip, loss_scale);
    for (const int i : {kStepLearningRate, kStepBiasCorrection1, kStepBiasCorrection2, kStepGradientNorm,
                        kStepClipFactor, kStepSkipFactor})
      EXPECT_EQ(after[static_cast<std::size_t>(i)], before[static_cast<std::size_t>(i)]) << i;
    return {after[kStepLossScale], after[kStepsSinceScaleChange]};
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, StepScalars, testing::ValuesIn(all_targets()),
                         testing::PrintToStringParamName());

TEST_P(StepScalars, LossScaleAdapts) {
  using Pair = std::pair<double, double>;
  EXPECT_EQ(adapted(1, 64, 0), Pair(64, 1));
  EXPECT_EQ(adapted(1, 64, 1), Pair(64, 2));
  EXPECT_EQ(adapted(1, 64, 2), Pair(128, 0));     // the third update in a row
  EXPECT_EQ(adapted(0, 64, 2), Pair(32, 0));      // a skipped step
  EXPECT_EQ(adapted(1, 1024, 2), Pair(1024, 0));  // no larger than that
  EXPECT_EQ(adapted(1, 1000, 2), Pair(1024, 0));
}

TEST_P(StepScalars, ClipTakesTheLossScaleOut) {
  const Tensor scalars = start(0, 8, 0);
  const Tensor squares = bench_.constants("squares", DType::Float64, Shape{2}, {64 * 9.0, 64 * 16.0});
  ops_.clip(bench_.stream(), {.squares = squares, .max_norm = 2.5, .step_scalars = scalars});
  const std::vector<double> after = bench_.read(scalars);
  EXPECT_DOUBLE_EQ(after[kStepGradientNorm], 5);
  EXPECT_DOUBLE_EQ(after[kStepClipFactor], 0.5);
  EXPECT_EQ(after[kStepSkipFactor], 1);
  EXPECT_EQ(after[kStepLossScale], 8);
}

// A power of two: the same bits as the gradient of the unscaled loss gives.
TEST_P(StepScalars, UpdatesTakeTheLossScaleOut) {
  const Shape shape{37};
  const auto run = [&](double loss_scale, bool adam) {
    const std::string name = std::to_string(loss_scale) + (adam ? " adam" : " sgd");
    std::vector<double> gradient, ones(37, 1);
    for (int i = 0; i < 37; ++i) gradient.push_back((i % 7 - 3) * loss_scale / 8);
    UpdateTensor tensor;
    tensor.parameter = bench_.variables(name + " parameter", bench_.master(), shape, ones);
    tensor.gradient = bench_.constants(name + " gradient", bench_.master(), shape, gradient);
    tensor.momentum = bench_.variables(name + " momentum", bench_.master(), shape, ones);
    tensor.variance = bench_.variables(name + " variance", bench_.master(), shape, ones);
    const UpdateTensor list[] = {tensor};
    const Tensor scalars = start(1, loss_scale, 0);
    if (adam) ops_.adamw(bench_.stream(), {0.9, 0.95, 1e-8, scalars, {}, {}}, list);
    if (!adam) ops_.sgd_momentum(bench_.stream(), {0.9, scalars, {}, {}}, list);
    std::vector<double> results = bench_.read(tensor.parameter);
    for (const Tensor& state : {tensor.momentum, tensor.variance})
      for (const double value : bench_.read(state)) results.push_back(value);
    return results;
  };
  for (const bool adam : {false, true}) {
    const std::vector<double> plain = run(1, adam);
    EXPECT_EQ(run(0x1p16, adam), plain);
    EXPECT_NE(plain, std::vector<double>(plain.size(), 1.0));
  }
}

}  // namespace
}  // namespace plumb::test
