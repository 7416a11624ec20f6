// Where x' = x + z, stream and branch share one gradient, and no op makes a second one: the same bits as of a
// combine that multiplies by coefficients which happen to be 1. And training's pass in one call.
#include "nn/tiny_model.h"

namespace plumb::test {
namespace {

std::vector<std::vector<double>> gradients(TinyModel& model) {
  model.forward_backward();
  std::vector<std::vector<double>> all;
  for (const Parameter* parameter : model.engine().parameters().trainable())
    all.push_back(TinyModel::gradient(*parameter));
  return all;
}

/// As `config`, but with a branch step that goes from 0.5 to 1 over steps that are past.
ModelConfig with_step_of_one(ModelConfig config) {
  config.base.residual.b.time = "linear";
  config.base.residual.b.time_start = 0.5;
  config.base.residual.b.ramp_steps = 2;
  return config;
}

TEST(GradientHandover, IsWhatTheCombineWouldWrite) {
  for (const char* placement : {"pre", "peri", "post"}) {
    for (const bool parallel : {false, true}) {
      SCOPED_TRACE(std::string(placement) + (parallel ? ", parallel" : ""));
      ModelConfig config = tiny_config();
      use_placement(config, placement);
      if (parallel) config.base.branch_input = "block";
      TinyModel handed_on(config), combined(with_step_of_one(config));
      EXPECT_TRUE(gradients(handed_on) == gradients(combined)) << "every bit";
    }
  }
}

/// Sums of squares of the gradients of all states, then of all branches, then their largest rows.
std::vector<double> probed_squares(const ModelConfig& config) {
  TinyModel model(config);
  const auto sublayers = static_cast<std::size_t>(model.engine().model().sublayers());
  std::vector<double> numbers(2 * (2 * sublayers + 1), 0.0);
  std::size_t next = 0;
  const auto place = [&] { return Tensor(&numbers[next++], DType::Float64, {1}); };
  Probes& probes = model.probes();
  probes.stream_gradient.resize(sublayers + 1);
  probes.branch_gradient.resize(sublayers);
  for (const auto member : {&GradientProbe::square, &GradientProbe::largest_row_square}) {
    for (GradientProbe& probe : probes.stream_gradient) probe.*member = place();
    for (GradientProbe& probe : probes.branch_gradient) probe.*member = place();
  }
  model.forward_backward();
  model.forward_backward();  // they add up
  return numbers;
}

TEST(GradientHandover, ProbesOfTheBranchSayWhatThoseOfTheStreamDo) {
  for (const char* placement : {"pre", "peri", "post"}) {
    ModelConfig config = tiny_config();
    use_placement(config, placement);
    const std::vector<double> handed_on = probed_squares(config);
    EXPECT_EQ(handed_on, probed_squares(with_step_of_one(config))) << placement;
    EXPECT_GT(handed_on.back(), 0);
  }
}

TEST(GradientHandover, DropoutOfABranchDoesNotReachTheStream) {
  ModelConfig config = tiny_config();
  use_placement(config, "pre");
  config.dropout_branch = 0.3;
  TinyModel plain(config, 2, true), combined(with_step_of_one(config), 2, true);
  EXPECT_TRUE(gradients(plain) == gradients(combined)) << "every bit";
}

// Backends that do not join the head's passes make the two calls.
TEST(ForwardAndBackward, IsForwardThenBackward) {
  ModelConfig config = tiny_config();
  use_placement(config, "pre");
  config.dropout_branch = 0.3;
  TinyModel apart(config, 2, true), together(config, 2, true);
  const auto expected = gradients(apart);
  const double* sums = apart.probes().loss_sums.as<double>();
  together.engine().zero_gradients();
  together.engine().forward_and_backward(together.probes(), 1 / sums[kHeadLossRows], nullptr);
  std::size_t i = 0;
  for (const Parameter* parameter : together.engine().parameters().trainable())
    EXPECT_TRUE(TinyModel::gradient(*parameter) == expected[i++]) << parameter->name;
  for (int sum = 0; sum < kHeadLossSums; ++sum)
    EXPECT_EQ(together.probes().loss_sums.as<double>()[sum], sums[sum]) << sum;
}

}  // namespace
}  // namespace plumb::test
