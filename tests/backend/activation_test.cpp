#include "backend/op_test.h"

namespace plumb::test {
namespace {

struct ActivationCase {
  std::string name = {};
  ActivationKind kind = ActivationKind::Gelu;
  std::int64_t rows = 1, width = 1;
  bool bias = true, in_place = false, makes_h = false;
};
void PrintTo(const ActivationCase& shape, std::ostream* out) { *out << shape.name; }

std::vector<ActivationCase> cases() {
  const std::pair<ActivationKind, const char*> kinds[] = {
      {ActivationKind::Gelu, "gelu"},  {ActivationKind::GeluTanh, "gelu_tanh"},
      {ActivationKind::Relu, "relu"},  {ActivationKind::ReluSquared, "relu_squared"},
      {ActivationKind::Silu, "silu"},  {ActivationKind::SwiGlu, "swiglu"},
      {ActivationKind::GeGlu, "geglu"}};
  std::vector<ActivationCase> list;
  for (const auto& [kind, name] : kinds) {
    const std::string kind_name = name;
    list.push_back({kind_name + "_1x8", kind, 1, 8, true, false});
    list.push_back({kind_name + "_7x65", kind, 7, 65, true, true});
    list.push_back({kind_name + "_33x80_no_bias", kind, 33, 80, false, false});
    list.push_back({kind_name + "_130x257", kind, 130, 257, false, true});
    list.push_back({kind_name + "_64x256", kind, 64, 256, true, false});
    list.push_back({kind_name + "_1x80", kind, 1, 80, true, true});
    list.push_back({kind_name + "_3x8192", kind, 3, 8192, true, false});
    list.push_back({kind_name + "_33x80_and_h", kind, 33, 80, true, false, true});
    list.push_back({kind_name + "_7x65_and_h_in_place", kind, 7, 65, false, true, true});
  }
  return list;
}

void run_activation(Bench& bench, const ActivationCase& shape) {
  const std::int64_t inputs = is_gated(shape.kind) ? 2 * shape.width : shape.width;
  const ActivationOps& ops = bench.backend().activation();
  // Wide values, so that both tails of every function are met.
  const Tensor pre = bench.input("pre", Shape{shape.rows, inputs}, {0, 3});
  const Tensor bias = shape.bias ? bench.parameter("bias", Shape{inputs}) : Tensor();
  const Limits once{1e-12, 2e-6, 4e-3};
  const Tensor h = bench.output("h", Shape{shape.rows, shape.width}, once);
  ops.activation_forward(bench.stream(), {shape.kind, pre, bias, h});

  ActivationBackward backward;
  backward.kind = shape.kind;
  backward.bias = bias;
  if (shape.in_place && shape.makes_h) {
    backward.dh = backward.h = bench.in_place("dh_h", Shape{shape.rows, shape.width}, once);
  } else {
    backward.dh = bench.input("dh", Shape{shape.rows, shape.width});
    if (shape.makes_h) backward.h = bench.output("h_again", Shape{shape.rows, shape.width}, once);
  }
  backward.pre = shape.in_place ? bench.in_place("pre_dpre", Shape{shape.rows, inputs}, once) : pre;
  backward.dpre = shape.in_place ? backward.pre : bench.output("dpre", Shape{shape.rows, inputs}, once);
  if (shape.bias) backward.dbias = bench.accumulated("dbias", Shape{inputs}, {1e-12, 5e-6, 5e-3});
  backward.workspace = bench.workspace(ops.activation_backward_workspace(backward));
  ops.activation_backward(bench.stream(), backward);
}

class ActivationOp : public testing::TestWithParam<std::tuple<Target, ActivationCase>> {};

TEST_P(ActivationOp, MatchesReference) {
  const auto& [target, shape] = GetParam();
  expect_matches_reference(target, [&shape = shape](Bench& bench) { run_activation(bench, shape); });
}
INSTANTIATE_TEST_SUITE_P(Backends, ActivationOp,
                         testing::Combine(testing::ValuesIn(targets()), testing::ValuesIn(cases())),
                         case_name<ActivationCase>);

class ActivationAgain : public testing::TestWithParam<std::tuple<Target, ActivationCase>> {};

// Backward's products with h would differ between keeping it and making it again.
TEST_P(ActivationAgain, HasTheBitsOfForward) {
  const auto& [target, shape] = GetParam();
  const std::int64_t inputs = is_gated(shape.kind) ? 2 * shape.width : shape.width;
  Bench bench(shared_backend(target.backend), target.dtype, target.dtype);
  const Shape hidden{shape.rows, shape.width};
  const Tensor pre = bench.input("pre", Shape{shape.rows, inputs}, {0, 3});
  const Tensor bias = shape.bias ? bench.parameter("bias", Shape{inputs}) : Tensor();
  const Tensor h = bench.output("h", hidden), again = bench.output("h_again", hidden);
  const ActivationOps& ops = bench.backend().activation();
  ops.activation_forward(bench.stream(), {shape.kind, pre, bias, h});
  ActivationBackward backward;
  backward.kind = shape.kind;
  backward.pre = pre;
  backward.bias = bias;
  backward.dh = bench.input("dh", hidden);
  backward.dpre = bench.output("dpre", Shape{shape.rows, inputs});
  backward.h = again;
  backward.workspace = bench.workspace(ops.activation_backward_workspace(backward));
  ops.activation_backward(bench.stream(), backward);
  EXPECT_EQ(bench.read(again), bench.read(h));
}
INSTANTIATE_TEST_SUITE_P(Backends, ActivationAgain,
                         testing::Combine(testing::ValuesIn(all_targets()), testing::ValuesIn(cases())),
                         case_name<ActivationCase>);

}  // namespace
}  // namespace plumb::test
