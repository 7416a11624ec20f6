// Every backward pass of the reference backend against central differences of its forward pass, in fp64.
#include "backend/finite_difference.h"

namespace plumb::test {
namespace {

class FiniteDifference : public testing::Test {
 protected:
  Backend& backend_ = shared_backend("reference");
  std::unique_ptr<Stream> stream_ = backend_.create_stream();
  HostTensors tensors_;

  Coefficient coefficient(const Knob& knob, std::int64_t rows, std::int64_t cols, std::int64_t per_sequence) {
    Coefficient made;
    made.stop_gradient = knob.stop_gradient;
    if (knob.scalar) made.scalar = tensors_.random(Shape{1}, 0.7, 0.2);
    if (knob.feature > 0) made.feature = tensors_.random(Shape{knob.feature == 1 ? 1 : cols}, 0.5, 0.3);
    if (knob.sequence)
      made.sequence = tensors_.random(Shape{(rows + per_sequence - 1) / per_sequence}, 1, 0.5);
    return made;
  }
  CoefficientGradient gradient_of(const Coefficient& made) { return {tensors_.like(made.feature)}; }

  void check_norm(NormKind kind, std::int64_t groups, bool own_parameters, const Knob& scale, double epsilon);
  void check_residual(const Knob& a, const Knob& b, const Knob& e, const Knob& p, bool tied);
  void check_attention(bool causal, double soft_cap, double dropout);
  void check_head_loss(double z_loss, double soft_cap);
};

void FiniteDifference::check_norm(NormKind kind, std::int64_t groups, bool own_parameters, const Knob& scale,
                                  double epsilon) {
  const std::int64_t rows = 5, width = 7, cols = groups * width;
  const bool parameters = kind != NormKind::None;
  const bool bends = kind == NormKind::DyT || kind == NormKind::Derf;
  const Shape features{own_parameters ? cols : width};
  NormForward forward;
  forward.kind = kind;
  forward.epsilon = epsilon;
  forward.groups = groups;
  forward.rows_per_sequence = 2;
  forward.x = tensors_.random(Shape{rows, cols}, 0.4);
  forward.y = tensors_.zeros(Shape{rows, cols});
  if (parameters) forward.gain = tensors_.random(features, 1, 0.4);
  if (parameters) forward.bias = tensors_.random(features);
  if (bends) forward.alpha = tensors_.random(Shape{1}, 0.8, 0.1);
  if (kind == NormKind::Derf) forward.offset = tensors_.random(Shape{1}, 0, 0.3);
  forward.scale = coefficient(scale, rows, cols, 2);
  forward.mean = tensors_.zeros(Shape{rows, groups});
  forward.rstd = tensors_.zeros(Shape{rows, groups});
  const Tensor dy = tensors_.random(Shape{rows, cols});
  const Loss loss = [&] {
    backend_.norm().norm_forward(*stream_, forward);
    return inner_product(forward.y, dy);
  };
  loss();
  NormBackward backward{kind,
                        epsilon,
                        groups,
                        2,
                        forward.x,
                        forward.gain,
                        forward.bias,
                        forward.alpha,
                        forward.offset,
                        forward.mean,
                        forward.rstd,
                        forward.scale,
                        dy,
                        tensors_.zeros(Shape{rows, cols}),
                        false,
                        tensors_.like(forward.gain),
                        tensors_.like(forward.bias),
                        tensors_.like(forward.alpha),
                        tensors_.like(forward.offset),
                        gradient_of(forward.scale),
                        {}};
  backward.workspace = tensors_.workspace(backend_.norm().norm_backward_workspace(backward));
  backend_.norm().norm_backward(*stream_, backward);
  expect_gradient("dscale", forward.scale.feature, backward.dscale.feature, loss);
  if (scale.stop_gradient) return;  // the other gradients are not those of the forward pass, on purpose
  expect_gradient("dx", forward.x, backward.dx, loss);
  expect_gradient("dgain", forward.gain, backward.dgain, loss);
  expect_gradient("dbias", forward.bias, backward.dbias, loss);
  expect_gradient("dalpha", forward.alpha, backward.dalpha, loss);
  expect_gradient("doffset", forward.offset, backward.doffset, loss);
}

TEST_F(FiniteDifference, Norm) {
  for (NormKind kind : {NormKind::None, NormKind::LayerNorm, NormKind::RmsNorm, NormKind::DyT, NormKind::Derf,
                        NormKind::L2}) {
    SCOPED_TRACE(static_cast<int>(kind));
    check_norm(kind, 1, false, {}, 1e-5);
    check_norm(kind, 1, false, {true, true, 2, false}, 0.3);  // an eps that matters
    check_norm(kind, 3, false, {false, true, 1, false}, 0);
    check_norm(kind, 3, true, {true, false, 2, false}, 1e-5);
    check_norm(kind, 2, true, {true, true, 2, true}, 1e-5);
  }
}

void FiniteDifference::check_residual(const Knob& a, const Knob& b, const Knob& e, const Knob& p, bool tied) {
  const std::int64_t rows = 5, cols = 6;
  const Shape shape{rows, cols};
  ResidualForward forward;
  forward.rows_per_sequence = 2;
  forward.x = tensors_.random(shape);
  forward.z = tensors_.random(shape);
  forward.x_block = tensors_.random(shape);
  forward.out = tensors_.zeros(shape);
  forward.a = coefficient(tied ? Knob{} : a, rows, cols, 2);
  forward.b = coefficient(b, rows, cols, 2);
  forward.e = coefficient(e, rows, cols, 2);
  forward.p = coefficient(p, rows, cols, 2);
  forward.tie_skip = tied;
  const Tensor dout = tensors_.random(shape);
  const Loss loss = [&] {
    backend_.residual().residual_forward(*stream_, forward);
    return inner_product(forward.out, dout);
  };
  ResidualBackward backward;
  backward.rows_per_sequence = 2;
  backward.x = forward.x, backward.z = forward.z, backward.x_block = forward.x_block;
  backward.a = forward.a, backward.b = forward.b, backward.e = forward.e, backward.p = forward.p;
  backward.tie_skip = tied;
  backward.dout = dout;
  backward.dx = tensors_.zeros(shape);
  backward.dz = tensors_.zeros(shape);
  backward.dx_block = tensors_.zeros(shape);
  backward.da = gradient_of(forward.a), backward.db = gradient_of(forward.b);
  backward.de = gradient_of(forward.e), backward.dp = gradient_of(forward.p);
  backward.workspace = tensors_.workspace(backend_.residual().residual_backward_workspace(backward));
  backend_.residual().residual_backward(*stream_, backward);
  if (!p.stop_gradient) {
    expect_gradient("da", forward.a.feature, backward.da.feature, loss);
    expect_gradient("db", forward.b.feature, backward.db.feature, loss);
    expect_gradient("de", forward.e.feature, backward.de.feature, loss);
    if (!a.stop_gradient) expect_gradient("dx", forward.x, backward.dx, loss);
    if (!b.stop_gradient) expect_gradient("dz", forward.z, backward.dz, loss);
    if (!e.stop_gradient) expect_gradient("dx_block", forward.x_block, backward.dx_block, loss);
  }
  expect_gradient("dp", forward.p.feature, backward.dp.feature, loss);
}

TEST_F(FiniteDifference, Residual) {
  const Knob scalar{true, false, 0, false}, vector{true, true, 2, false};
  for (const Knob& knob : all_knobs()) {
    SCOPED_TRACE(testing::PrintToString(knob));
    check_residual(knob, vector, scalar, {}, false);
    check_residual(scalar, knob, vector, vector, false);
    check_residual({}, scalar, knob, scalar, false);
    check_residual(vector, vector, vector, knob, false);
    if (!knob.stop_gradient) check_residual({}, knob, vector, scalar, true);
  }
}

TEST_F(FiniteDifference, Linear) {
  const Tensor x = tensors_.random(Shape{4, 5}), weight = tensors_.random(Shape{3, 5});
  const Tensor bias = tensors_.random(Shape{3}), y = tensors_.zeros(Shape{4, 3});
  const Tensor dy = tensors_.random(Shape{4, 3});
  const Loss loss = [&] {
    backend_.linear().linear_forward(*stream_, {x, weight, bias, y, {}});
    return inner_product(y, dy);
  };
  const Tensor dx = tensors_.like(x), dweight = tensors_.like(weight), dbias = tensors_.like(bias);
  backend_.linear().linear_backward_input(*stream_, {dy, weight, dx, false, {}});
  backend_.linear().linear_backward_weight(*stream_, {dy, x, dweight, dbias, {}});
  expect_gradient("dx", x, dx, loss);
  expect_gradient("dweight", weight, dweight, loss);
  expect_gradient("dbias", bias, dbias, loss);
}

TEST_F(FiniteDifference, Activation) {
  for (ActivationKind kind :
       {ActivationKind::Gelu, ActivationKind::GeluTanh, ActivationKind::Relu, ActivationKind::ReluSquared,
        ActivationKind::Silu, ActivationKind::SwiGlu, ActivationKind::GeGlu}) {
    SCOPED_TRACE(static_cast<int>(kind));
    const std::int64_t width = 6, inputs = is_gated(kind) ? 2 * width : width;
    const Tensor pre = tensors_.random(Shape{4, inputs}, 0, 2), bias = tensors_.random(Shape{inputs});
    const Tensor h = tensors_.zeros(Shape{4, width}), dh = tensors_.random(Shape{4, width});
    const Loss loss = [&] {
      backend_.activation().activation_forward(*stream_, {kind, pre, bias, h});
      return inner_product(h, dh);
    };
    ActivationBackward backward{kind, pre, bias, dh, tensors_.like(pre), tensors_.like(bias), {}};
    backward.workspace = tensors_.workspace(backend_.activation().activation_backward_workspace(backward));
    backend_.activation().activation_backward(*stream_, backward);
    expect_gradient("dpre", pre, backward.dpre, loss);
    expect_gradient("dbias", bias, backward.dbias, loss);
  }
}

void FiniteDifference::check_attention(bool causal, double soft_cap, double dropout) {
  AttentionForward forward;
  forward.shape = {2, 5, 3, 4, causal, 0.6, soft_cap, dropout, {7, 3, tensors_.counters(2, 9)}};
  const Shape shape{10, 12};
  forward.q = tensors_.random(shape), forward.k = tensors_.random(shape), forward.v = tensors_.random(shape);
  forward.out = tensors_.zeros(shape);
  forward.log_sum_exp = tensors_.zeros(Shape{2, 3, 5});
  forward.workspace = tensors_.workspace(backend_.attention().attention_forward_workspace(forward));
  const Tensor dout = tensors_.random(shape);
  const Loss loss = [&] {
    backend_.attention().attention_forward(*stream_, forward);
    return inner_product(forward.out, dout);
  };
  loss();
  AttentionBackward backward{forward.shape,
                             forward.q,
                             forward.k,
                             forward.v,
                             forward.out,
                             forward.log_sum_exp,
                             dout,
                             tensors_.zeros(shape),
                             tensors_.zeros(shape),
                             tensors_.zeros(shape),
                             {}};
  backward.workspace = tensors_.workspace(backend_.attention().attention_backward_workspace(backward));
  backend_.attention().attention_backward(*stream_, backward);
  expect_gradient("dq", forward.q, backward.dq, loss);
  expect_gradient("dk", forward.k, backward.dk, loss);
  expect_gradient("dv", forward.v, backward.dv, loss);
}

TEST_F(FiniteDifference, Attention) {
  for (bool causal : {true, false})
    for (double soft_cap : {0.0, 1.5})
      for (double dropout : {0.0, 0.3}) check_attention(causal, soft_cap, dropout);
}

TEST_F(FiniteDifference, Rotary) {
  const Tensor x = tensors_.random(Shape{6, 12}), dy = tensors_.random(Shape{6, 12});
  const Loss loss = [&] {
    const Tensor rotated = tensors_.of(x.shape, values_of(x));
    backend_.attention().rotary(*stream_, {3, 2, 6, 100, false, rotated});
    return inner_product(rotated, dy);
  };
  const Tensor dx = tensors_.of(dy.shape, values_of(dy));
  backend_.attention().rotary(*stream_, {3, 2, 6, 100, true, dx});
  expect_gradient("dx", x, dx, loss);
}

TEST_F(FiniteDifference, Embedding) {
  const Tensor ids = tensors_.integers({1, 3, 1, 0, 1, 3});
  const Tensor tokens = tensors_.random(Shape{5, 4}), positions = tensors_.random(Shape{4, 4});
  const Tensor out = tensors_.zeros(Shape{6, 4}), dout = tensors_.random(Shape{6, 4});
  const Loss loss = [&] {
    backend_.embedding().embedding_forward(*stream_, {3, 2.5, ids, tokens, positions, out});
    return inner_product(out, dout);
  };
  const Tensor dtokens = tensors_.like(tokens), dpositions = tensors_.like(positions);
  backend_.embedding().embedding_backward(*stream_, {3, 2.5, ids, dout, dtokens, dpositions, {}});
  expect_gradient("dtoken_table", tokens, dtokens, loss);
  expect_gradient("dposition_table", positions, dpositions, loss);
}

void FiniteDifference::check_head_loss(double z_loss, double soft_cap) {
  HeadLossForward forward;
  forward.z_loss = z_loss;
  forward.soft_cap = soft_cap;
  forward.h = tensors_.random(Shape{5, 4});
  forward.weight = tensors_.random(Shape{6, 4});
  forward.bias = tensors_.random(Shape{6});
  forward.targets = tensors_.integers({2, -1, 5, 0, 2});
  forward.log_z = tensors_.zeros(Shape{5});
  forward.workspace = tensors_.workspace(backend_.head_loss().head_loss_forward_workspace(forward));
  const double gradient_scale = 0.25;
  const Loss loss = [&] {
    forward.sums = tensors_.zeros(Shape{kHeadLossSums});
    backend_.head_loss().head_loss_forward(*stream_, forward);
    return gradient_scale *
           (at(forward.sums, kHeadLossCrossEntropy) + z_loss * at(forward.sums, kHeadLossLogZSquared));
  };
  loss();
  HeadLossBackward backward;
  backward.z_loss = z_loss, backward.soft_cap = soft_cap, backward.gradient_scale = gradient_scale;
  backward.h = forward.h, backward.weight = forward.weight, backward.bias = forward.bias;
  backward.targets = forward.targets, backward.log_z = forward.log_z;
  backward.dh = tensors_.like(forward.h);
  backward.dweight = tensors_.like(forward.weight);
  backward.dbias = tensors_.like(forward.bias);
  backward.workspace = tensors_.workspace(backend_.head_loss().head_loss_backward_workspace(backward));
  backend_.head_loss().head_loss_backward(*stream_, backward);
  expect_gradient("dh", forward.h, backward.dh, loss);
  expect_gradient("dweight", forward.weight, backward.dweight, loss);
  expect_gradient("dbias", forward.bias, backward.dbias, loss);
}

TEST_F(FiniteDifference, HeadLoss) {
  for (double z_loss : {0.0, 0.05})
    for (double soft_cap : {0.0, 2.0}) check_head_loss(z_loss, soft_cap);
}

TEST_F(FiniteDifference, GroupGain) {
  const Tensor x = tensors_.random(Shape{4, 9}), gain = tensors_.random(Shape{3}), y = tensors_.like(x);
  const Tensor dy = tensors_.random(Shape{4, 9});
  const Loss loss = [&] {
    backend_.elementwise().group_gain_forward(*stream_, {3, x, gain, y});
    return inner_product(y, dy);
  };
  GroupGainBackward backward{3, x, gain, dy, tensors_.like(x), tensors_.like(gain), {}};
  backward.workspace = tensors_.workspace(backend_.elementwise().group_gain_backward_workspace(backward));
  backend_.elementwise().group_gain_backward(*stream_, backward);
  expect_gradient("dx", x, backward.dx, loss);
  expect_gradient("dgain", gain, backward.dgain, loss);
}

TEST_F(FiniteDifference, ScalarBias) {
  const Tensor x = tensors_.random(Shape{4, 9}), bias = tensors_.random(Shape{1}), y = tensors_.like(x);
  const Tensor dy = tensors_.random(Shape{4, 9});
  const Loss loss = [&] {
    backend_.elementwise().scalar_bias_forward(*stream_, {x, bias, y});
    return inner_product(y, dy);
  };
  ScalarBiasBackward backward{dy, tensors_.like(bias), {}};
  backward.workspace = tensors_.workspace(backend_.elementwise().scalar_bias_backward_workspace(backward));
  backend_.elementwise().scalar_bias_backward(*stream_, backward);
  expect_gradient("dx", x, dy, loss);
  expect_gradient("dbias", bias, backward.dbias, loss);
}

TEST_F(FiniteDifference, Dropout) {
  const Tensor x = tensors_.random(Shape{4, 9}), y = tensors_.like(x), dy = tensors_.random(Shape{4, 9});
  const RandomSite site{7, 3, tensors_.counters(2, 9)};
  const Loss loss = [&] {
    backend_.random().dropout(*stream_, {0.3, site, 2, x, y});
    return inner_product(y, dy);
  };
  const Tensor dx = tensors_.like(x);
  backend_.random().dropout(*stream_, {0.3, site, 2, dy, dx});
  expect_gradient("dx", x, dx, loss);
}

}  // namespace
}  // namespace plumb::test
