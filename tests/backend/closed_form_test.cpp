// The reference backend in fp64 against closed forms, hand-computed values and identities.
#include "backend/host_tensors.h"

namespace plumb::test {
namespace {

constexpr double kTight = 1e-12;

class ClosedForm : public testing::Test {
 protected:
  Backend& backend_ = shared_backend("reference");
  std::unique_ptr<Stream> stream_ = backend_.create_stream();
  HostTensors tensors_;

  void expect_values(const Tensor& tensor, const std::vector<double>& expected, double limit = kTight) {
    ASSERT_EQ(tensor.elements(), static_cast<std::int64_t>(expected.size()));
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(at(tensor, static_cast<std::int64_t>(i)), expected[i], limit) << "entry " << i;
  }
  NormForward norm(NormKind kind, const Tensor& x, double epsilon) {
    NormForward forward;
    forward.kind = kind;
    forward.epsilon = epsilon;
    forward.x = x;
    forward.y = tensors_.like(x);
    forward.mean = tensors_.zeros(Shape{x.rows(), 1});
    forward.rstd = tensors_.zeros(Shape{x.rows(), 1});
    return forward;
  }
  Tensor norm_gradient(const NormForward& forward, const Tensor& dy) {
    NormBackward backward;
    backward.kind = forward.kind;
    backward.epsilon = forward.epsilon;
    backward.x = forward.x, backward.gain = forward.gain, backward.bias = forward.bias;
    backward.mean = forward.mean, backward.rstd = forward.rstd, backward.scale = forward.scale;
    backward.dy = dy;
    backward.dx = tensors_.like(dy);
    backward_workspace(backward);
    backend_.norm().norm_backward(*stream_, backward);
    return backward.dx;
  }
  void backward_workspace(NormBackward& backward) {
    backward.workspace = tensors_.workspace(backend_.norm().norm_backward_workspace(backward));
  }
};

TEST_F(ClosedForm, LayerNormByHand) {
  NormForward forward = norm(NormKind::LayerNorm, tensors_.of(Shape{1, 4}, {1, 2, 3, 4}), 0.75);
  forward.gain = tensors_.of(Shape{4}, {1, 2, 1, -1});
  forward.bias = tensors_.of(Shape{4}, {0, 0, 10, 1});
  forward.moments.scalars = tensors_.of(Shape{kMomentScalars}, {1, 1, 1, 1, 1, 1, 1, 1, 1});
  backend_.norm().norm_forward(*stream_, forward);
  const double r = 1 / std::sqrt(1.25 + 0.75);  // mean 2.5, variance 1.25
  expect_values(forward.y, {-1.5 * r, -r, 10 + 0.5 * r, 1 - 1.5 * r});
  expect_values(forward.mean, {2.5});
  expect_values(forward.rstd, {r});
  const double y_max = 10 + 0.5 * r;
  EXPECT_NEAR(at(forward.moments.scalars, kMomentMaxAbs), y_max, kTight);
  EXPECT_NEAR(at(forward.moments.scalars, kMomentRows), 2, kTight);
}

TEST_F(ClosedForm, OtherNormsByHand) {
  const Tensor x = tensors_.of(Shape{1, 2}, {3, -4});
  NormForward forward = norm(NormKind::RmsNorm, x, 0);
  backend_.norm().norm_forward(*stream_, forward);
  expect_values(forward.y, {3 / std::sqrt(12.5), -4 / std::sqrt(12.5)});
  forward = norm(NormKind::L2, x, 0);
  backend_.norm().norm_forward(*stream_, forward);
  expect_values(forward.y, {0.6, -0.8});
  forward = norm(NormKind::DyT, x, 0);
  forward.alpha = tensors_.of(Shape{1}, {0.5});
  backend_.norm().norm_forward(*stream_, forward);
  expect_values(forward.y, {std::tanh(1.5), std::tanh(-2.0)});
  forward = norm(NormKind::Derf, x, 0);
  forward.alpha = tensors_.of(Shape{1}, {0.5});
  forward.offset = tensors_.of(Shape{1}, {0.25});
  backend_.norm().norm_forward(*stream_, forward);
  expect_values(forward.y, {std::erf(1.75), std::erf(-1.75)});
  forward = norm(NormKind::None, x, 0);
  forward.scale.scalar = tensors_.of(Shape{1}, {2});
  backend_.norm().norm_forward(*stream_, forward);
  expect_values(forward.y, {6, -8});
}

TEST_F(ClosedForm, GroupsAreNormedOneByOne) {
  NormForward forward = norm(NormKind::L2, tensors_.of(Shape{1, 4}, {3, 4, 6, 8}), 0);
  forward.groups = 2;
  forward.rstd = tensors_.zeros(Shape{1, 2});
  forward.gain = tensors_.of(Shape{2}, {1, 10});
  backend_.norm().norm_forward(*stream_, forward);
  expect_values(forward.y, {0.6, 8, 0.6, 8});
  forward.gain = tensors_.of(Shape{4}, {1, 10, 100, 1000});  // each group has its own
  backend_.norm().norm_forward(*stream_, forward);
  expect_values(forward.y, {0.6, 8, 60, 800});
  expect_values(forward.rstd, {0.2, 0.1});
}

// I7: the un-gained row satisfies sum x_hat^2 = d var/(var+eps), for rows of any size against eps.
TEST_F(ClosedForm, NormedRowsHaveTheLengthThatEpsLeavesThem) {
  const std::int64_t width = 48;
  const double epsilon = 1e-5;
  for (double size : {1e-4, 3e-3, 1.0, 1e3}) {
    const Tensor x = tensors_.random(Shape{6, width}, size, size);
    for (NormKind kind : {NormKind::LayerNorm, NormKind::RmsNorm, NormKind::L2}) {
      const NormForward forward = norm(kind, x, epsilon);
      backend_.norm().norm_forward(*stream_, forward);
      for (std::int64_t r = 0; r < x.rows(); ++r) {
        const Tensor v = x.row_range(r, 1), y = forward.y.row_range(r, 1);
        double sum = 0;
        for (std::int64_t i = 0; i < width; ++i) sum += at(v, i);
        const double mean_square = inner_product(v, v) / width;
        const double variance = mean_square - sum * sum / (width * width);
        const double expected = kind == NormKind::LayerNorm ? width * variance / (variance + epsilon)
                                : kind == NormKind::RmsNorm
                                    ? width * mean_square / (mean_square + epsilon)
                                    : inner_product(v, v) / (inner_product(v, v) + epsilon);
        EXPECT_NEAR(inner_product(y, y) / expected, 1, 1e-11);
      }
    }
  }
}

// I9: at eps 0 layernorm does not see x -> k x + const, nor rmsnorm and l2 x -> k x.
TEST_F(ClosedForm, NormGradientIsOrthogonalToWhatTheNormDoesNotSee) {
  const std::int64_t width = 48;
  const Tensor x = tensors_.random(Shape{6, width}, 2, 3), dy = tensors_.random(Shape{6, width}, 1, 1);
  for (NormKind kind : {NormKind::LayerNorm, NormKind::RmsNorm, NormKind::L2}) {
    NormForward forward = norm(kind, x, 0);
    forward.gain = tensors_.random(Shape{width}, 1, 0.5);
    forward.bias = tensors_.random(Shape{width});
    backend_.norm().norm_forward(*stream_, forward);
    const Tensor dx = norm_gradient(forward, dy);
    for (std::int64_t r = 0; r < x.rows(); ++r) {
      const Tensor row = dx.row_range(r, 1), v = x.row_range(r, 1);
      const double size = std::sqrt(inner_product(row, row));
      ASSERT_GT(size, 1e-3);
      EXPECT_NEAR(inner_product(row, v), 0, 1e-12 * size * std::sqrt(inner_product(v, v)));
      double sum = 0;
      for (std::int64_t i = 0; i < width; ++i) sum += at(row, i);
      if (kind == NormKind::LayerNorm) {
        EXPECT_NEAR(sum, 0, 1e-12 * size * std::sqrt(double(width)));
      }
    }
  }
}

TEST_F(ClosedForm, ResidualByHand) {
  ResidualForward forward;
  forward.rows_per_sequence = 1;
  forward.x = tensors_.of(Shape{2, 2}, {1, 2, 3, 4});
  forward.z = tensors_.of(Shape{2, 2}, {10, 20, 30, 40});
  forward.x_block = tensors_.of(Shape{2, 2}, {100, 200, 300, 400});
  forward.out = tensors_.zeros(Shape{2, 2});
  forward.a.feature = tensors_.of(Shape{1}, {2});
  forward.b.feature = tensors_.of(Shape{2}, {1, 3});
  forward.b.sequence = tensors_.of(Shape{2}, {0, 1.25});
  forward.e.scalar = tensors_.of(Shape{1}, {0.5});
  forward.p.scalar = tensors_.of(Shape{1}, {10});
  backend_.residual().residual_forward(*stream_, forward);
  expect_values(forward.out,
                {10 * (2 + 0 + 50.0), 10 * (4 + 0 + 100.0), 10 * (6 + 37.5 + 150), 10 * (8 + 150 + 200.0)});

  forward.a = {};
  forward.tie_skip = true;  // a = 1 - b: 1 in the dropped sequence, -0.25 and -2.75 in the kept one
  backend_.residual().residual_forward(*stream_, forward);
  expect_values(forward.out,
                {10 * (1 + 50.0), 10 * (2 + 100.0), 10 * (-0.75 + 37.5 + 150), 10 * (-11 + 150 + 200.0)});
}

// GPAS: the output is scaled, the gradient passes as if it were not, and the gate gets its own gradient.
TEST_F(ClosedForm, StopGradientPassesTheGradientUnscaled) {
  const Tensor x = tensors_.random(Shape{3, 5}), z = tensors_.random(Shape{3, 5}),
               dout = tensors_.random(Shape{3, 5});
  ResidualBackward backward;
  backward.x = x, backward.z = z, backward.dout = dout;
  backward.p.feature = tensors_.of(Shape{1}, {0.3});
  backward.p.stop_gradient = true;
  backward.dx = tensors_.like(x), backward.dz = tensors_.like(x);
  backward.dp.feature = tensors_.zeros(Shape{1});
  backward.workspace = tensors_.workspace(backend_.residual().residual_backward_workspace(backward));
  backend_.residual().residual_backward(*stream_, backward);
  expect_values(backward.dx, values_of(dout));
  expect_values(backward.dz, values_of(dout));
  expect_values(backward.dp.feature, {inner_product(dout, x) + inner_product(dout, z)});

  NormForward forward = norm(NormKind::LayerNorm, x, 0);
  backend_.norm().norm_forward(*stream_, forward);
  const Tensor plain = norm_gradient(forward, dout);
  forward.scale = backward.p;
  expect_values(norm_gradient(forward, dout), values_of(plain));
}

TEST_F(ClosedForm, MomentsByHand) {
  MomentsArguments arguments;
  arguments.x = tensors_.of(Shape{2, 3}, {1, -2, 3, 0, 4, -1});
  arguments.moments = {tensors_.zeros(Shape{kMomentScalars}), tensors_.zeros(Shape{3}),
                       tensors_.zeros(Shape{3}), tensors_.of(Shape{3}, {0, 1, 2})};
  backend_.moments().moments(*stream_, arguments);
  const double row_variances = (14.0 / 3 - 4.0 / 9) + (17.0 / 3 - 1);
  expect_values(arguments.moments.scalars, {2, 11, 31, row_variances, 0, 5, 355, 4, 17});
  arguments.x = tensors_.of(Shape{1, 3}, {65504, -65520, INFINITY});
  const Tensor column_sum = arguments.moments.column_sum;
  arguments.moments.column_sum = Tensor();
  backend_.moments().moments(*stream_, arguments);
  EXPECT_EQ(at(arguments.moments.scalars, kMomentOverflows), 2);
  expect_values(column_sum, {1, 0, -2});
  expect_values(arguments.moments.column_square, {1, 18, 10});
}

TEST_F(ClosedForm, LinearByHand) {
  const Tensor x = tensors_.of(Shape{1, 2}, {1, 10}), weight = tensors_.of(Shape{3, 2}, {1, 2, 3, 4, 5, 6});
  const Tensor y = tensors_.zeros(Shape{1, 3});
  backend_.linear().linear_forward(*stream_, {x, weight, tensors_.of(Shape{3}, {100, 200, 300}), y, {}});
  expect_values(y, {121, 243, 365});
}

// Values of the standard functions at 1 (gate) and 2 (up), to 16 digits.
TEST_F(ClosedForm, ActivationsByHand) {
  const auto value = [&](ActivationKind kind, const std::vector<double>& pre) {
    const Tensor h = tensors_.zeros(Shape{1, 1});
    const auto inputs = static_cast<std::int64_t>(pre.size());
    backend_.activation().activation_forward(*stream_,
                                             {kind, tensors_.of(Shape{1, inputs}, pre), Tensor(), h});
    return at(h, 0);
  };
  EXPECT_NEAR(value(ActivationKind::Gelu, {1}), 0.8413447460685429, kTight);
  EXPECT_NEAR(value(ActivationKind::GeluTanh, {1}), 0.8411919906082768, kTight);
  EXPECT_NEAR(value(ActivationKind::Silu, {1}), 0.7310585786300049, kTight);
  EXPECT_EQ(value(ActivationKind::Relu, {-1}), 0);
  EXPECT_EQ(value(ActivationKind::Relu, {3}), 3);
  EXPECT_EQ(value(ActivationKind::ReluSquared, {3}), 9);
  EXPECT_EQ(value(ActivationKind::ReluSquared, {-3}), 0);
  EXPECT_NEAR(value(ActivationKind::SwiGlu, {1, 2}), 2 * 0.7310585786300049, kTight);
  EXPECT_NEAR(value(ActivationKind::GeGlu, {1, 2}), 2 * 0.8413447460685429, kTight);
}

TEST_F(ClosedForm, EmbeddingByHand) {
  const Tensor out = tensors_.zeros(Shape{3, 2});
  backend_.embedding().embedding_forward(
      *stream_, {2, 3, tensors_.integers({1, 0, 1}), tensors_.of(Shape{2, 2}, {1, 2, 10, 20}),
                 tensors_.of(Shape{2, 2}, {0.1, 0.2, 0.3, 0.4}), out});
  expect_values(out, {30.1, 60.2, 3.3, 6.4, 30.1, 60.2});
}

// Equal keys give equal probabilities: the output is the mean of the visible values.
TEST_F(ClosedForm, AttentionOverEqualKeysIsAMean) {
  for (bool causal : {true, false}) {
    AttentionForward forward;
    forward.shape = {.tokens = 3, .width = 2, .causal = causal, .scale = 0.5, .site = {}};
    forward.q = tensors_.of(Shape{3, 2}, {1, 0, 2, 0, 4, 0});
    forward.k = tensors_.of(Shape{3, 2}, {3, 1, 3, 2, 3, 3});
    forward.v = tensors_.of(Shape{3, 2}, {1, 2, 3, 4, 8, 0});
    forward.out = tensors_.zeros(Shape{3, 2});
    forward.log_sum_exp = tensors_.zeros(Shape{1, 1, 3});
    forward.max_logit = tensors_.of(Shape{1}, {-5});
    forward.entropy_sums = tensors_.of(Shape{1}, {10});
    forward.workspace = tensors_.workspace(backend_.attention().attention_forward_workspace(forward));
    backend_.attention().attention_forward(*stream_, forward);
    if (causal) {
      expect_values(forward.out, {1, 2, 2, 3, 4, 2});
      expect_values(forward.log_sum_exp, {1.5, 3 + std::log(2.0), 6 + std::log(3.0)});
    } else {
      expect_values(forward.out, {4, 2, 4, 2, 4, 2});
    }
    expect_values(forward.max_logit, {6});
    expect_values(forward.entropy_sums, {10 + (causal ? std::log(6.0) : 3 * std::log(3.0))});
    forward.shape.soft_cap = 2;
    forward.max_logit = tensors_.of(Shape{1}, {-5});
    backend_.attention().attention_forward(*stream_, forward);
    expect_values(forward.max_logit, {2 * std::tanh(3.0)});
  }
}

TEST_F(ClosedForm, RotaryTurnsPairsByTheirPosition) {
  const Tensor x = tensors_.of(Shape{3, 2}, {1, 0, 1, 0, 0, 2});
  backend_.attention().rotary(*stream_, {3, 1, 2, 10000, false, x});
  expect_values(x, {1, 0, std::cos(1.0), std::sin(1.0), -2 * std::sin(2.0), 2 * std::cos(2.0)});
  // Pair i of width D turns by t base^(-2i/D): here base 100, D 4, pair 1, so 0.1 per position.
  const Tensor wide = tensors_.of(Shape{2, 4}, {0, 1, 0, 0, 0, 1, 0, 0});
  backend_.attention().rotary(*stream_, {2, 1, 4, 100, false, wide});
  expect_values(wide, {0, 1, 0, 0, 0, std::cos(0.1), 0, std::sin(0.1)});
}

TEST_F(ClosedForm, HeadLossOfZeroWeightsIsUniform) {
  HeadLossForward forward;
  forward.z_loss = 0.1;
  forward.h = tensors_.random(Shape{3, 4});
  forward.weight = tensors_.zeros(Shape{7, 4});
  forward.targets = tensors_.integers({0, -1, 6});
  forward.log_z = tensors_.zeros(Shape{3});
  forward.sums = tensors_.of(Shape{kHeadLossSums}, {0, 0, 0, 0, -100});
  forward.workspace = tensors_.workspace(backend_.head_loss().head_loss_forward_workspace(forward));
  backend_.head_loss().head_loss_forward(*stream_, forward);
  const double log_z = std::log(7.0);
  expect_values(forward.sums, {2, 2 * log_z, 2 * log_z, 2 * log_z * log_z, 0});
  // Two classes with logits 3 and 0: the loss of the second is log(1 + e^3).
  forward.h = tensors_.of(Shape{1, 1}, {3});
  forward.weight = tensors_.of(Shape{2, 1}, {1, 0});
  forward.targets = tensors_.integers({1});
  forward.log_z = tensors_.zeros(Shape{1});
  forward.sums = tensors_.zeros(Shape{kHeadLossSums});
  backend_.head_loss().head_loss_forward(*stream_, forward);
  EXPECT_NEAR(at(forward.sums, kHeadLossCrossEntropy), std::log1p(std::exp(3.0)), kTight);
  EXPECT_NEAR(at(forward.sums, kHeadLossMaxLogit), 3, kTight);
}

TEST_F(ClosedForm, AdamWByHand) {
  UpdateTensor tensor;
  tensor.parameter = tensors_.of(Shape{2}, {2, -1});
  tensor.gradient = tensors_.of(Shape{2}, {0.5, -4});
  tensor.momentum = tensors_.zeros(Shape{2});
  tensor.variance = tensors_.zeros(Shape{2});
  tensor.compute_copy = tensors_.zeros(Shape{2});
  tensor.weight_decay = 0.1;
  tensor.learning_rate_scale = 0.5;
  AdamW adam{0.9,
             0.99,
             0,
             tensors_.of(Shape{kStepScalars}, step_scalar_values({0.02, 0.1, 0.01, 0, 0.25, 1})),
             {tensors_.zeros(Shape{1}), tensors_.zeros(Shape{1})},
             {}};
  const UpdateTensor list[] = {tensor};
  backend_.optimizer().adamw(*stream_, adam, list);
  // The first step is the sign of the gradient; lr = 0.01 here, decay = lr * 0.1 * parameter.
  expect_values(tensor.parameter, {2 - 0.01 - 0.002, -1 + 0.01 + 0.001});
  expect_values(tensor.momentum, {0.1 * 0.125, -0.1});
  expect_values(tensor.variance, {0.01 * 0.015625, 0.01});
  expect_values(tensor.compute_copy, values_of(tensor.parameter));
  expect_values(adam.statistics.update_square, {0.012 * 0.012 + 0.011 * 0.011});
  expect_values(adam.statistics.parameter_square, {5});

  // The second step, with an eps of 0.5 * 2: m = 0.9 * 0.0125, v = 0.99 * 0.00015625 for a gradient of 0.
  tensor = {.parameter = tensors_.of(Shape{1}, {2}),
            .gradient = tensors_.zeros(Shape{1}),
            .momentum = tensors_.of(Shape{1}, {0.0125}),
            .variance = tensors_.of(Shape{1}, {0.00015625}),
            .compute_copy = {},
            .epsilon_scale = 2};
  adam.epsilon = 0.5;
  adam.step_scalars = tensors_.of(Shape{kStepScalars}, step_scalar_values({0.02, 0.19, 0.0199, 0, 1, 1}));
  const UpdateTensor second[] = {tensor};
  backend_.optimizer().adamw(*stream_, adam, second);
  const double direction = (0.01125 / 0.19) / (std::sqrt(0.0001546875 / 0.0199) + 1);
  expect_values(tensor.parameter, {2 - 0.02 * direction});
}

TEST_F(ClosedForm, SgdAndClipByHand) {
  UpdateTensor tensor;
  tensor.parameter = tensors_.of(Shape{1}, {2});
  tensor.gradient = tensors_.of(Shape{1}, {3});
  tensor.momentum = tensors_.of(Shape{1}, {10});
  tensor.weight_decay = 0.5;
  const Tensor scalars = tensors_.of(Shape{kStepScalars}, step_scalar_values({0.1}));
  backend_.optimizer().clip(*stream_, {tensors_.of(Shape{2}, {9, 16}), 2.5, scalars});
  EXPECT_EQ(at(scalars, kStepLearningRate), 0.1);
  EXPECT_NEAR(at(scalars, kStepGradientNorm), 5, kTight);
  EXPECT_NEAR(at(scalars, kStepClipFactor), 0.5, kTight);
  EXPECT_EQ(at(scalars, kStepSkipFactor), 1);
  const UpdateTensor list[] = {tensor};
  backend_.optimizer().sgd_momentum(*stream_, {0.9, scalars, {}, {}}, list);
  expect_values(tensor.momentum, {9 + 1.5});
  expect_values(tensor.parameter, {2 - 0.1 * (10.5 + 1)});
}

// The first sequences of a batch and the rest, drawn apart, are what the whole batch draws.
TEST_F(ClosedForm, DropoutDoesNotDependOnTheSplitOfABatch) {
  const std::int64_t sequences = 6, tokens = 4, width = 50, first = 2;
  const Tensor ones = tensors_.zeros(Shape{sequences * tokens, width}), whole = tensors_.like(ones);
  backend_.elementwise().fill(*stream_, ones, 1);
  const auto site = [&](std::int64_t from) { return RandomSite{5, 8, tensors_.counters(3, from)}; };
  const RandomOps& random = backend_.random();
  random.dropout(*stream_, {0.25, site(10), tokens, ones, whole});
  const Tensor rest = tensors_.zeros(Shape{(sequences - first) * tokens, width});
  random.dropout(*stream_, {0.25, site(10 + first), tokens, ones.row_range(0, rest.rows()), rest});
  EXPECT_EQ(values_of(rest), values_of(whole.row_range(first * tokens, rest.rows())));
  double kept = 0;
  for (double value : values_of(whole)) {
    EXPECT_TRUE(value == 0 || value == 1 / 0.75);
    kept += value != 0;
  }
  const double count = sequences * tokens * width;
  EXPECT_NEAR(kept / count, 0.75, 5 * std::sqrt(0.25 * 0.75 / count));

  const Tensor factors = tensors_.zeros(Shape{400}), tail = tensors_.zeros(Shape{300});
  random.bernoulli_per_sequence(*stream_, {0.8, site(0), factors});
  random.bernoulli_per_sequence(*stream_, {0.8, site(100), tail});
  EXPECT_EQ(values_of(tail), values_of(factors.reshaped(Shape{400, 1}).row_range(100, 300)));
  double mean = 0;
  for (double value : values_of(factors)) mean += value / 400;
  EXPECT_NEAR(mean, 1, 5 * std::sqrt(0.25 / 400));
}

}  // namespace
}  // namespace plumb::test
