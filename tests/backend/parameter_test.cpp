#include "backend/finite_difference.h"

namespace plumb::test {
namespace {

constexpr CoefficientMapKind kKinds[] = {CoefficientMapKind::Absolute, CoefficientMapKind::OneMinusSilu};
/// Of products of both signs, which cancel in part; without -O3 their sums are other ones of the allowed.
constexpr Limits kSums{1e-12, 2e-5, 2e-5};

struct ParameterCase {
  std::string name = {};
  std::int64_t rows = 1, cols = 1;
  std::int64_t gains = 0;  ///< 0: there is no gain
  bool scalar = false, wanted = true;
};
void PrintTo(const ParameterCase& shape, std::ostream* out) { *out << shape.name; }

const ParameterCase kCases[] = {{"1x1", 1, 1, 1, false},         {"7x65", 7, 65, 7, true},
                                {"33x80", 33, 80, 1, true},      {"130x257", 130, 257, 130, false},
                                {"331x195", 331, 195, 1, false}, {"only_scalar_20x96", 20, 96, 0, true},
                                {"bare_9x31", 9, 31, 0, false},  {"frozen_9x31", 9, 31, 9, true, false}};

class ParameterOp : public testing::TestWithParam<std::tuple<Target, ParameterCase>> {};
INSTANTIATE_TEST_SUITE_P(Backends, ParameterOp,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(kCases)),
                         case_name<ParameterCase>);

TEST_P(ParameterOp, CoefficientMap) {
  const auto& [target, one] = GetParam();
  for (const CoefficientMapKind kind : kKinds) {
    SCOPED_TRACE(static_cast<int>(kind));
    expect_matches_reference(target, [&one = one, kind](Bench& bench) {
      const ParameterOps& ops = bench.backend().parameter();
      const Shape shape{one.rows * one.cols};
      const Tensor x = bench.parameter("x", shape, {0, 2});
      ops.coefficient_map_forward(bench.stream(), {kind, x, bench.master_output("y", shape, kMasterOnly)});
      ops.coefficient_map_backward(bench.stream(), {kind, x, bench.parameter("dy", shape, {1, 1}),
                                                    bench.accumulated("dx", shape, kMasterOnly)});
    });
  }
}

void run_row_gain(Bench& bench, const ParameterCase& one) {
  const ParameterOps& ops = bench.backend().parameter();
  const Shape wide{one.rows, one.cols + 6};
  const auto inside = [&](const Tensor& tensor) { return tensor.columns(2, one.cols); };
  RowGain forward;
  forward.x = inside(bench.input("x", wide));
  if (one.scalar) forward.scalar = bench.parameter("scalar", Shape{1}, {2, 0.1});
  if (one.gains > 0) forward.gain = bench.parameter("gain", Shape{one.gains}, {1, 0.5});
  forward.y = inside(bench.output("y", wide, kRoundedOnce));
  ops.row_gain_forward(bench.stream(), forward);

  RowGainBackward backward;
  backward.x = forward.x, backward.scalar = forward.scalar, backward.gain = forward.gain;
  backward.dy = inside(bench.parameter("dy", wide, {0.3, 1}));
  backward.dx = inside(bench.accumulated("dx", wide, kMasterOnly));
  if (one.gains > 0 && one.wanted) backward.dgain = bench.accumulated("dgain", Shape{one.gains}, kSums);
  backward.workspace = bench.workspace(ops.row_gain_backward_workspace(backward));
  ops.row_gain_backward(bench.stream(), backward);
}

TEST_P(ParameterOp, RowGain) {
  const auto& [target, one] = GetParam();
  const auto run = [&one = one](Bench& bench) { run_row_gain(bench, one); };
  expect_matches_reference(target, run);
  expect_same_for_any_threads(target, run);
}

void run_spheres(Bench& bench, const ParameterCase& one) {
  const ParameterOps& ops = bench.backend().parameter();
  const Shape shape{one.rows, one.cols};
  std::vector<SphereWeight> weights;
  for (const bool columns : {false, true}) {
    const std::string kind = columns ? "columns" : "rows";
    SphereWeight weight;
    weight.columns = columns;
    weight.value = bench.updated("value_by_" + kind, shape, kMasterOnly);
    weight.compute_copy = bench.in_place("copy_by_" + kind, shape, kRoundedOnce);
    weights.push_back(weight);
    weight.value = bench.updated("value_without_copy_by_" + kind, Shape{one.cols, 3}, kMasterOnly);
    weight.compute_copy = Tensor();
    weights.push_back(weight);
  }
  NormalizeSpheres normalize;
  if (one.scalar)
    normalize.step_scalars = bench.constants("step_scalars", DType::Float64, Shape{kStepScalars},
                                             step_scalar_values({0, 0, 0, 0, 0, 1}));
  normalize.workspace = bench.workspace(ops.normalize_spheres_workspace(weights));
  ops.normalize_spheres(bench.stream(), normalize, weights);
}

TEST_P(ParameterOp, NormalizeSpheres) {
  const auto& [target, one] = GetParam();
  const auto run = [&one = one](Bench& bench) { run_spheres(bench, one); };
  expect_matches_reference(target, run);
  expect_same_for_any_threads(target, run);
}

class Spheres : public testing::TestWithParam<Target> {
 protected:
  Bench bench_{shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype};

  void normalize(std::span<const SphereWeight> weights, const Tensor& step_scalars = {}) {
    const ParameterOps& ops = bench_.backend().parameter();
    const Workspace workspace = bench_.workspace(ops.normalize_spheres_workspace(weights));
    ops.normalize_spheres(bench_.stream(), {step_scalars, workspace}, weights);
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, Spheres, testing::ValuesIn(targets()), testing::PrintToStringParamName());

TEST_P(Spheres, HaveUnitNorms) {
  const std::int64_t rows = 40, cols = 200;
  for (const bool columns : {false, true}) {
    const std::string kind = columns ? "columns" : "rows";
    std::vector<double> start;  // of very different sizes; the squares of the smallest are not in fp32
    for (std::int64_t i = 0; i < rows * cols; ++i)
      start.push_back((1 + double(i % 7)) * std::pow(2.0, double((columns ? i % cols : i / cols) % 40) * -3));
    const SphereWeight weight{bench_.variables("value_" + kind, bench_.master(), Shape{rows, cols}, start),
                              bench_.output("copy_" + kind, Shape{rows, cols}), columns};
    normalize(std::span(&weight, 1));
    const std::vector<double> value = bench_.read(weight.value), copy = bench_.read(weight.compute_copy);
    for (std::int64_t sphere = 0; sphere < (columns ? cols : rows); ++sphere) {
      double square = 0;
      for (std::int64_t i = 0; i < (columns ? rows : cols); ++i) {
        const double entry = value[static_cast<std::size_t>(columns ? i * cols + sphere : sphere * cols + i)];
        square += entry * entry;
      }
      EXPECT_NEAR(square, 1, 1e-6) << kind << " " << sphere;
    }
    for (std::size_t i = 0; i < value.size(); ++i)
      ASSERT_EQ(copy[i], round_to(GetParam().dtype, value[i])) << kind << " " << i;
  }
}

TEST_P(Spheres, OfZerosStay) {
  const DType master = bench_.master();
  const SphereWeight weights[] = {
      {bench_.variables("a", master, Shape{2, 2}, {0, 0, 3, 4}), bench_.output("copy_a", Shape{2, 2}), false},
      {bench_.variables("b", master, Shape{2, 2}, {0, 3, 0, 4}), bench_.output("copy_b", Shape{2, 2}), true}};
  normalize(weights);
  const auto expect = [&](const Tensor& tensor, const std::vector<double>& expected, double limit) {
    const std::vector<double> values = bench_.read(tensor);
    for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(values[i], expected[i], limit) << i;
  };
  expect(weights[0].value, {0, 0, 0.6, 0.8}, 1e-7);
  expect(weights[1].value, {0, 0.6, 0, 0.8}, 1e-7);
  expect(weights[0].compute_copy, {0, 0, 0.6, 0.8}, 4e-3);
  expect(weights[1].compute_copy, {0, 0.6, 0, 0.8}, 4e-3);
}

TEST_P(Spheres, StayInASkippedStep) {
  std::vector<double> values(77, 0.25);
  values[3] = INFINITY, values[30] = NAN;
  const Tensor scalars = bench_.constants("step_scalars", DType::Float64, Shape{kStepScalars},
                                          step_scalar_values({0.02, 0.1, 0.05, 1, 0, 0}));
  std::vector<SphereWeight> weights;
  for (const bool columns : {false, true})
    weights.push_back({bench_.constants("value", bench_.master(), Shape{7, 11}, values),
                       bench_.input("copy", Shape{7, 11}), columns});
  normalize(weights, scalars);
  bench_.finish();  // checks that no input has changed
}

class ParameterValues : public testing::Test {
 protected:
  const ParameterOps& ops_ = shared_backend("reference").parameter();
  std::unique_ptr<Stream> stream_ = shared_backend("reference").create_stream();
  HostTensors tensors_;

  void expect_values(const Tensor& tensor, const std::vector<double>& expected) {
    ASSERT_EQ(tensor.elements(), static_cast<std::int64_t>(expected.size()));
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(at(tensor, static_cast<std::int64_t>(i)), expected[i], 1e-14) << i;
  }
};

TEST_F(ParameterValues, CoefficientMapsByHand) {
  const Tensor x = tensors_.of(Shape{4}, {-2, 0, 1, 3}), y = tensors_.like(x);
  const Tensor ones = tensors_.of(Shape{4}, {1, 1, 1, 1});
  ops_.coefficient_map_forward(*stream_, {CoefficientMapKind::Absolute, x, y});
  expect_values(y, {2, 0, 1, 3});
  Tensor dx = tensors_.like(x);
  ops_.coefficient_map_backward(*stream_, {CoefficientMapKind::Absolute, x, ones, dx});
  expect_values(dx, {-1, 0, 1, 1});

  const double sigmoid1 = 0.7310585786300049, sigmoid2 = 0.8807970779778824, sigmoid3 = 0.9525741268224334;
  ops_.coefficient_map_forward(*stream_, {CoefficientMapKind::OneMinusSilu, x, y});
  expect_values(y, {1 + 2 * (1 - sigmoid2), 1, 1 - sigmoid1, 1 - 3 * sigmoid3});
  dx = tensors_.like(x);
  ops_.coefficient_map_backward(*stream_, {CoefficientMapKind::OneMinusSilu, x, ones, dx});
  EXPECT_NEAR(at(dx, 1), -0.5, 1e-14);
}

TEST_F(ParameterValues, RowGainByHand) {
  RowGain forward;
  forward.x = tensors_.of(Shape{2, 2}, {1, 2, 3, 4}), forward.y = tensors_.zeros(Shape{2, 2});
  ops_.row_gain_forward(*stream_, forward);
  expect_values(forward.y, {1, 2, 3, 4});
  forward.scalar = tensors_.of(Shape{1}, {10});
  forward.gain = tensors_.of(Shape{2}, {0.5, 2});
  ops_.row_gain_forward(*stream_, forward);
  expect_values(forward.y, {5, 10, 60, 80});
  forward.gain = tensors_.of(Shape{1}, {3});
  ops_.row_gain_forward(*stream_, forward);
  expect_values(forward.y, {30, 60, 90, 120});
}

TEST_F(ParameterValues, GradientsAreThoseOfDifferences) {
  for (const CoefficientMapKind kind : kKinds) {
    const Tensor x = tensors_.random(Shape{9}, 0, 2), y = tensors_.like(x), dx = tensors_.like(x);
    const Tensor dy = tensors_.random(Shape{9});
    ops_.coefficient_map_backward(*stream_, {kind, x, dy, dx});
    expect_gradient("dx of the map", x, dx, [&] {
      ops_.coefficient_map_forward(*stream_, {kind, x, y});
      return inner_product(y, dy);
    });
  }
  for (const std::int64_t gains : {0, 1, 4}) {
    RowGain forward;
    forward.x = tensors_.random(Shape{4, 5}), forward.y = tensors_.zeros(Shape{4, 5});
    forward.scalar = tensors_.random(Shape{1}, 2, 0.1);
    if (gains > 0) forward.gain = tensors_.random(Shape{gains});
    const Tensor dy = tensors_.random(Shape{4, 5});
    RowGainBackward backward{
        forward.x, forward.scalar, forward.gain, dy, tensors_.like(dy), tensors_.like(forward.gain), {}};
    backward.workspace = tensors_.workspace(ops_.row_gain_backward_workspace(backward));
    ops_.row_gain_backward(*stream_, backward);
    const Loss loss = [&] {
      ops_.row_gain_forward(*stream_, forward);
      return inner_product(forward.y, dy);
    };
    expect_gradient("dx", forward.x, backward.dx, loss);
    expect_gradient("dgain", forward.gain, backward.dgain, loss);
  }
}

}  // namespace
}  // namespace plumb::test
