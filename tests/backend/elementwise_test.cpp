#include <limits>
#include <span>

#include "backend/op_test.h"

namespace plumb::test {
namespace {

struct ElementwiseCase {
  std::string name = {};
  std::int64_t rows = 1, groups = 1, width = 1;
  bool in_place = false;
};
void PrintTo(const ElementwiseCase& shape, std::ostream* out) { *out << shape.name; }

const ElementwiseCase kCases[] = {{"1x1", 1, 1, 1, false},     {"7x65", 7, 5, 13, true},
                                  {"33x80", 33, 5, 16, false}, {"130x257", 130, 1, 257, true},
                                  {"64x99", 64, 3, 33, false}, {"331x195", 331, 3, 65, false}};

class ElementwiseOp : public testing::TestWithParam<std::tuple<Target, ElementwiseCase>> {};
INSTANTIATE_TEST_SUITE_P(Backends, ElementwiseOp,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(kCases)),
                         case_name<ElementwiseCase>);

TEST_P(ElementwiseOp, FillCopyAdd) {
  const auto& [target, one] = GetParam();
  expect_matches_reference(target, [&one = one](Bench& bench) {
    const ElementwiseOps& ops = bench.backend().elementwise();
    const std::int64_t cols = one.groups * one.width;
    const Shape wide{one.rows, cols + 10};
    const auto inside = [&](const Tensor& tensor) { return tensor.columns(4, cols); };
    ops.fill(bench.stream(), inside(bench.output("filled", wide, kExact)), -2.5);
    ops.fill(bench.stream(), inside(bench.master_output("filled_master", wide, kExact)), 0);
    const Tensor x = inside(bench.input("x", wide)), master_x = inside(bench.parameter("master_x", wide));
    ops.copy(bench.stream(), x, inside(bench.output("compute_to_compute", wide, kExact)));
    ops.copy(bench.stream(), x, inside(bench.master_output("compute_to_master", wide, kExact)));
    ops.copy(bench.stream(), master_x, inside(bench.output("master_to_compute", wide, kRoundedOnce)));
    ops.copy(bench.stream(), master_x, inside(bench.master_output("master_to_master", wide, kExact)));
    ops.add(bench.stream(), x, inside(bench.in_place("sum", wide, kRoundedOnce)));
    ops.add(bench.stream(), x, inside(bench.accumulated("sum_in_master", wide, kMasterOnly)));
    ops.add(bench.stream(), master_x, inside(bench.accumulated("master_sum", wide, kMasterOnly)));
  });
}

TEST_P(ElementwiseOp, GroupGain) {
  const auto& [target, one] = GetParam();
  expect_matches_reference(target, [&one = one](Bench& bench) {
    const ElementwiseOps& ops = bench.backend().elementwise();
    const Shape shape{one.rows, one.groups * one.width};
    GroupGain forward;
    forward.groups = one.groups;
    forward.x = one.in_place ? bench.in_place("x_y", shape, kRoundedOnce) : bench.input("x", shape);
    forward.y = one.in_place ? forward.x : bench.output("y", shape, kRoundedOnce);
    forward.gain = bench.parameter("gain", Shape{one.groups}, {1, 0.5});
    ops.group_gain_forward(bench.stream(), forward);

    GroupGainBackward backward;
    backward.groups = one.groups;
    backward.x = bench.input("x_of_backward", shape);
    backward.gain = forward.gain;
    backward.dy = one.in_place ? bench.in_place("dy_dx", shape, kRoundedOnce) : bench.input("dy", shape);
    backward.dx = one.in_place ? backward.dy : bench.output("dx", shape, kRoundedOnce);
    backward.dgain = bench.accumulated("dgain", Shape{one.groups}, {1e-12, 1e-5, 1e-5});
    backward.workspace = bench.workspace(ops.group_gain_backward_workspace(backward));
    ops.group_gain_backward(bench.stream(), backward);
  });
}

void run_scalar_bias(Bench& bench, const ElementwiseCase& one) {
  const ElementwiseOps& ops = bench.backend().elementwise();
  const Shape shape{one.rows, one.groups * one.width};
  ScalarBias forward;
  forward.x = one.in_place ? bench.in_place("x_y", shape, kRoundedOnce) : bench.input("x", shape);
  forward.y = one.in_place ? forward.x : bench.output("y", shape, kRoundedOnce);
  forward.bias = bench.parameter("bias", Shape{1}, {0.5, 0.1});
  ops.scalar_bias_forward(bench.stream(), forward);

  ScalarBiasBackward backward;
  backward.dy = bench.input("dy", shape, {0.3, 1});
  backward.dbias = bench.accumulated("dbias", Shape{1}, {1e-12, 5e-6, 5e-6});
  backward.workspace = bench.workspace(ops.scalar_bias_backward_workspace(backward));
  ops.scalar_bias_backward(bench.stream(), backward);
}

TEST_P(ElementwiseOp, ScalarBias) {
  const auto& [target, one] = GetParam();
  const auto run = [&one = one](Bench& bench) { run_scalar_bias(bench, one); };
  expect_matches_reference(target, run);
  expect_same_for_any_threads(target, run);
}

TEST_P(ElementwiseOp, SumOfSquares) {
  const auto& [target, one] = GetParam();
  expect_matches_reference(target, [&one = one](Bench& bench) {
    const std::int64_t cols = one.groups * one.width;
    const Limits limits{1e-12, 1e-6, 1e-6};
    const Tensor tensors[] = {bench.parameter("first", Shape{one.rows, cols}, {1, 1}),
                              bench.parameter("second", Shape{cols}, {0, 1e-3}),
                              bench.parameter("third", Shape{1})};
    const ElementwiseOps& ops = bench.backend().elementwise();
    SumOfSquares arguments;
    arguments.workspace = bench.workspace(ops.sum_of_squares_workspace(tensors));
    arguments.squares = bench.sums("squares", 3, std::nan(""), limits);
    ops.sum_of_squares(bench.stream(), arguments, tensors);
    arguments.squares = bench.sums("more_squares", 3, 0.5, limits);
    arguments.accumulate = true;
    ops.sum_of_squares(bench.stream(), arguments, tensors);
  });
}

class ManyTensors : public testing::TestWithParam<Target> {
 protected:
  Bench bench_{shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype};

  std::vector<double> squares(std::span<const Tensor> tensors) {
    const ElementwiseOps& ops = bench_.backend().elementwise();
    SumOfSquares arguments;
    arguments.squares = bench_.sums("squares", static_cast<std::int64_t>(tensors.size()));
    arguments.workspace = bench_.workspace(ops.sum_of_squares_workspace(tensors));
    ops.sum_of_squares(bench_.stream(), arguments, tensors);
    return bench_.read(arguments.squares);
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, ManyTensors, testing::ValuesIn(targets()),
                         testing::PrintToStringParamName());

// More tensors than fit one kernel launch, one of several pieces, of two dtypes.
TEST_P(ManyTensors, HaveTheSquaresThatTheyHaveAlone) {
  std::vector<Tensor> tensors;
  for (int n = 0; n < 300; ++n) {
    const Shape shape{n == 130 ? 40000 : 1 + n * 7 % 50};
    const std::string name = "tensor" + std::to_string(n);
    tensors.push_back(n % 3 == 0 ? bench_.input(name, shape) : bench_.parameter(name, shape));
  }
  const std::vector<double> all = squares(tensors);
  const double split = GetParam().backend == "cpu" ? 1e-13 : 0;  // its threads divide the whole list
  for (std::size_t n = 0; n < tensors.size(); n += 13) {
    double expected = 0;
    for (const double value : bench_.read(tensors[n])) expected += value * value;
    EXPECT_NEAR(all[n], expected, 1e-6 * expected) << n;
    EXPECT_NEAR(all[n], squares({&tensors[n], 1})[0], split * expected) << n;
  }
}

TEST_P(ManyTensors, AreFilledAtOnce) {
  std::vector<Tensor> tensors;
  for (int n = 0; n < 300; ++n) {
    tensors.push_back(
        bench_.master_output("tensor" + std::to_string(n), Shape{n == 130 ? 40001 : 1 + n * 7 % 50}));
  }
  const Tensor wide = bench_.master_output("wide", Shape{40, 1});
  bench_.backend().elementwise().fill(bench_.stream(), wide, 1);
  tensors.push_back(wide.row_range(3, 30).reshaped({30}));  // begins in the middle of a pack
  bench_.backend().elementwise().fill_all(bench_.stream(), tensors, -2.5);
  for (const Tensor& tensor : tensors)
    for (const double value : bench_.read(tensor)) ASSERT_EQ(value, -2.5);
  const std::vector<double> around = bench_.read(wide);
  for (std::size_t i = 0; i < around.size(); ++i) EXPECT_EQ(around[i], i >= 3 && i < 33 ? -2.5 : 1) << i;
  bench_.finish();  // nothing beyond them
}

// A view that begins in the middle of a pack.
TEST_P(ManyTensors, MayBeginAnywhere) {
  const Tensor whole = bench_.input("x", Shape{16500, 1});
  const std::vector<double> values = bench_.read(whole);
  for (const std::int64_t first : {1, 3, 8}) {
    const Tensor part = whole.row_range(first, 16500 - 20);
    double expected = 0;
    for (std::int64_t i = first; i < first + part.rows(); ++i)
      expected += values[static_cast<std::size_t>(i)] * values[static_cast<std::size_t>(i)];
    EXPECT_NEAR(squares({&part, 1})[0], expected, 1e-6 * expected) << first;
  }
}

class AnyType : public testing::TestWithParam<Target> {};
INSTANTIATE_TEST_SUITE_P(Backends, AnyType, testing::ValuesIn(targets()), testing::PrintToStringParamName());

// Small whole numbers are the same in every dtype.
TEST_P(AnyType, IsFilledCopiedAndAddedTo) {
  Bench bench(shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype);
  const ElementwiseOps& ops = bench.backend().elementwise();
  const Shape shape{5, 19};
  std::vector<double> numbers;
  for (int i = 0; i < 5 * 19; ++i) numbers.push_back(i % 23 - 11);
  std::vector<DType> dtypes{DType::Float64, DType::Float32, DType::BFloat16, DType::Int64, DType::Int32};
  if (GetParam().backend != "cpu") dtypes.push_back(DType::Float16);
  for (const DType from : dtypes) {
    for (const DType to : dtypes) {
      const std::string name = std::string(name_of(from)) + " to " + std::string(name_of(to));
      const Tensor x = bench.constants(name + " x", from, shape, numbers);
      const Tensor y = bench.variables(name + " y", to, shape, std::vector<double>(95, 100));
      const auto expect = [&](double start, double factor) {
        const std::vector<double> result = bench.read(y);
        for (std::size_t i = 0; i < numbers.size(); ++i) {
          const bool inside = i % 19 >= 3 && i % 19 < 17;
          EXPECT_EQ(result[i], inside ? start + factor * numbers[i] : 100) << name << " " << i;
        }
      };
      ops.fill(bench.stream(), y.columns(3, 14), -7);
      expect(-7, 0);
      ops.add(bench.stream(), x.columns(3, 14), y.columns(3, 14));
      expect(-7, 1);
      ops.copy(bench.stream(), x.columns(3, 14), y.columns(3, 14));
      expect(0, 1);
    }
  }
  bench.finish();
}

// A number that neither fp32 nor float64 holds, bit for bit.
TEST_P(AnyType, LargeIntegersAreCopiedExactly) {
  Bench bench(shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype);
  const std::vector<std::int64_t> numbers(7, (std::int64_t{1} << 60) + 1);
  const Tensor x = bench.variables("x", DType::Int64, Shape{7}, std::vector<double>(7));
  const Tensor y = bench.variables("y", DType::Int64, Shape{7}, std::vector<double>(7));
  bench.backend().upload(bench.stream(), numbers.data(), x.data, x.bytes());
  bench.backend().elementwise().copy(bench.stream(), x, y);
  std::vector<std::int64_t> copied(7);
  bench.backend().download(bench.stream(), y.data, copied.data(), y.bytes());
  bench.stream().synchronize();
  EXPECT_EQ(copied, numbers);
}

class Rounding : public testing::TestWithParam<Target> {};

// Master to compute dtype: to nearest, ties to even, NaN stays NaN; element by element.
TEST_P(Rounding, CopyRoundsToNearestEven) {
  Bench bench(shared_backend(GetParam().backend), GetParam().dtype, GetParam().dtype);
  std::vector<double> values = {1,           1 + 0x1p-8, 1 + 3 * 0x1p-8, 1 + 0x1p-8 + 0x1p-20,
                                -1 - 0x1p-8, 3.4e38,     0x1p-130,       -0.0,
                                INFINITY,    -INFINITY};
  const auto count = static_cast<std::int64_t>(values.size());
  std::vector<double> with_nan = values;
  with_nan.push_back(NAN);
  const Tensor x = bench.constants("x", bench.master(), Shape{count + 1}, with_nan);
  const Tensor y = bench.output("y", Shape{count + 1});
  bench.backend().elementwise().copy(bench.stream(), x, y);
  const std::vector<double> result = bench.read(y), exact = bench.read(x);
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(result[i], round_to(GetParam().dtype, exact[i])) << values[i];
  EXPECT_TRUE(std::isnan(result.back()));
  bench.finish();
}
INSTANTIATE_TEST_SUITE_P(Backends, Rounding, testing::ValuesIn(targets()), testing::PrintToStringParamName());

}  // namespace
}  // namespace plumb::test
