// Products whose factors are rounded to tf32 (10 bits behind the point), where a backend can be asked for
// them.
#include "backend/loader.h"
#include "backend/op_test.h"

namespace plumb::test {
namespace {

class Tf32 : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam().rfind("cuda", 0) != 0) GTEST_SKIP() << GetParam() << " has no tf32";
  }
  /// y, dx and the gradient of the weight.
  static std::vector<Bench::Result> run(Backend& backend, DType dtype) {
    Bench bench(backend, dtype, DType::Float32);
    const LinearOps& ops = backend.linear();
    LinearForward forward;
    forward.x = bench.input("x", Shape{33, 80}), forward.weight = bench.input("weight", Shape{40, 80});
    forward.bias = bench.parameter("bias", Shape{40});
    forward.y = bench.output("y", Shape{33, 40});
    forward.workspace = bench.workspace(ops.linear_forward_workspace(forward));
    ops.linear_forward(bench.stream(), forward);
    LinearBackwardInput input;
    input.dy = bench.input("dy", Shape{33, 40}), input.weight = forward.weight;
    input.dx = bench.output("dx", Shape{33, 80});
    input.workspace = bench.workspace(ops.linear_backward_input_workspace(input));
    ops.linear_backward_input(bench.stream(), input);
    LinearBackwardWeight weight;
    weight.dy = input.dy, weight.x = forward.x;
    weight.dweight = bench.updated("dweight", Shape{40, 80});
    weight.workspace = bench.workspace(ops.linear_backward_weight_workspace(weight));
    ops.linear_backward_weight(bench.stream(), weight);
    return bench.finish();
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, Tf32, testing::ValuesIn(tested_backends()), [](const auto& one) {
  return one.param == "cuda-emulated" ? "cuda_emulated" : one.param;
});

TEST_P(Tf32, RoundsFactorsOnlyWhenAsked) {
  BackendOptions options;
  options.tf32 = true;
  const std::unique_ptr<Backend> rounding = make_backend(GetParam(), options);
  const auto expected = run(shared_backend("reference"), DType::Float64);
  const auto rounded = run(*rounding, DType::Float32);
  const auto plain = run(shared_backend(GetParam()), DType::Float32);
  ASSERT_EQ(rounded.size(), 3U);
  for (std::size_t i = 0; i < rounded.size(); ++i) {
    EXPECT_LE(relative_error(plain[i].values, expected[i].values), 1e-6) << plain[i].name;
    EXPECT_LE(relative_error(rounded[i].values, expected[i].values), 1e-3) << rounded[i].name;
    EXPECT_GE(relative_error(rounded[i].values, expected[i].values), 1e-5) << rounded[i].name;
  }
}

TEST_P(Tf32, LeavesSixteenBitDtypesAlone) {
  BackendOptions options;
  options.tf32 = true;
  const std::unique_ptr<Backend> rounding = make_backend(GetParam(), options);
  const auto with = run(*rounding, DType::BFloat16);
  const auto without = run(shared_backend(GetParam()), DType::BFloat16);
  for (std::size_t i = 0; i < with.size(); ++i) EXPECT_EQ(with[i].values, without[i].values);
}

}  // namespace
}  // namespace plumb::test
