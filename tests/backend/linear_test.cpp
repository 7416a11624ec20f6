#include "backend/op_test.h"

namespace plumb::test {
namespace {

struct LinearCase {
  std::string name = {};
  std::int64_t rows = 1, inputs = 1, outputs = 1;
  bool bias = true, strided = false, accumulate = false;
};
void PrintTo(const LinearCase& shape, std::ostream* out) { *out << shape.name; }

std::vector<LinearCase> cases() {
  return {{"1x8x8", 1, 8, 8, true, false, false},
          {"1x1x1", 1, 1, 1, true, false, true},
          {"7x65x33", 7, 65, 33, true, true, false},
          {"33x80x240", 33, 80, 240, true, true, true},
          {"33x80x240_no_bias", 33, 80, 240, false, false, false},
          {"130x64x257", 130, 64, 257, true, false, true},
          {"64x128x512", 64, 128, 512, true, false, false},
          {"520x40x300", 520, 40, 300, true, true, true},  // its column sums are shared by several threads
          {"256x16x3", 256, 16, 3, false, true, true}};
}

void run_linear(Bench& bench, const LinearCase& shape) {
  const std::int64_t around = shape.strided ? 7 : 0;
  const auto wide = [&](std::int64_t cols) { return Shape{shape.rows, cols + 2 * around}; };
  const LinearOps& ops = bench.backend().linear();
  const Limits product{1e-12, 2e-6, 4e-3}, product_in_master{1e-12, 3e-6, 3e-6};

  LinearForward forward;
  forward.x = bench.input("x", wide(shape.inputs)).columns(around, shape.inputs);
  forward.weight = bench.input("weight", Shape{shape.outputs, shape.inputs}, {0, 0.3});
  if (shape.bias) {  // behind another parameter, where a strided case puts it off every alignment
    const std::int64_t before = shape.strided ? 1 : 0;
    const Tensor both = bench.parameter("bias", Shape{before + shape.outputs});
    forward.bias = both.columns(before, shape.outputs);
    forward.bias.row_stride = shape.outputs;
  }
  forward.y = bench.output("y", wide(shape.outputs), product).columns(around, shape.outputs);
  forward.workspace = bench.workspace(ops.linear_forward_workspace(forward));
  ops.linear_forward(bench.stream(), forward);

  LinearBackwardInput input;
  input.dy = bench.input("dy", wide(shape.outputs)).columns(around, shape.outputs);
  input.weight = forward.weight;
  input.accumulate = shape.accumulate;
  const Tensor dx = shape.accumulate ? bench.in_place("dx", wide(shape.inputs), product)
                                     : bench.output("dx", wide(shape.inputs), product);
  input.dx = dx.columns(around, shape.inputs);
  input.workspace = bench.workspace(ops.linear_backward_input_workspace(input));
  ops.linear_backward_input(bench.stream(), input);

  LinearBackwardWeight weight;
  weight.dy = input.dy;
  weight.x = forward.x;
  weight.dweight = bench.accumulated("dweight", Shape{shape.outputs, shape.inputs}, product_in_master);
  if (shape.bias) weight.dbias = bench.accumulated("dbias", Shape{shape.outputs}, product_in_master);
  weight.workspace = bench.workspace(ops.linear_backward_weight_workspace(weight));
  ops.linear_backward_weight(bench.stream(), weight);

  weight.accumulate = false;
  weight.dweight = bench.master_output("dweight alone", weight.dweight.shape, product_in_master);
  weight.dbias = Tensor();
  weight.workspace = bench.workspace(ops.linear_backward_weight_workspace(weight));
  ops.linear_backward_weight(bench.stream(), weight);
}

class LinearOp : public testing::TestWithParam<std::tuple<Target, LinearCase>> {};

TEST_P(LinearOp, MatchesReference) {
  const auto& [target, shape] = GetParam();
  expect_matches_reference(target, [&shape = shape](Bench& bench) { run_linear(bench, shape); });
}
INSTANTIATE_TEST_SUITE_P(Backends, LinearOp,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(cases())),
                         case_name<LinearCase>);

}  // namespace
}  // namespace plumb::test
