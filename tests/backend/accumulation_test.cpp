// The reference backend: what the contracts add to (+=) is added to, and views that may alias give what
// separate ones give.
#include "backend/host_tensors.h"

namespace plumb::test {
namespace {

class Accumulation : public testing::Test {
 protected:
  Backend& backend_ = shared_backend("reference");
  std::unique_ptr<Stream> stream_ = backend_.create_stream();
  HostTensors tensors_;

  /// run(target) adds to target: started from values it must end at those values plus what zeros end at.
  void expect_adds(const char* name, Shape shape, const std::function<void(const Tensor&)>& run) {
    const Tensor from_zero = tensors_.zeros(shape), from_values = tensors_.random(shape, 3);
    const std::vector<double> before = values_of(from_values);
    run(from_zero);
    run(from_values);
    ASSERT_GT(inner_product(from_zero, from_zero), 0) << name;
    std::vector<double> expected = values_of(from_zero);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += before[i];
    EXPECT_LE(relative_error(values_of(from_values), expected), 1e-13) << name;
  }
};

TEST_F(Accumulation, Norm) {
  const Shape full{4, 6}, row{6}, one{1};
  NormForward forward;
  forward.kind = NormKind::Derf;
  forward.x = tensors_.random(full), forward.y = tensors_.zeros(full);
  NormBackward backward;
  backward.kind = NormKind::Derf;
  backward.x = forward.x;
  backward.gain = tensors_.random(row), backward.bias = tensors_.random(row);
  backward.alpha = tensors_.random(one, 1, 0.1), backward.offset = tensors_.random(one, 0, 0.1);
  backward.scale.feature = tensors_.random(row);
  backward.dy = tensors_.random(full);
  backward.dx = tensors_.zeros(full);
  const auto run = [&] {
    backward.workspace = tensors_.workspace(backend_.norm().norm_backward_workspace(backward));
    backend_.norm().norm_backward(*stream_, backward);
  };
  expect_adds("dgain", row, [&](const Tensor& target) { backward.dgain = target, run(); });
  expect_adds("dbias", row, [&](const Tensor& target) { backward.dbias = target, run(); });
  expect_adds("dalpha", one, [&](const Tensor& target) { backward.dalpha = target, run(); });
  expect_adds("doffset", one, [&](const Tensor& target) { backward.doffset = target, run(); });
  expect_adds("dscale", row, [&](const Tensor& target) { backward.dscale.feature = target, run(); });
  const std::vector<double> separate = values_of(backward.dx);
  backward.accumulate_dx = true;
  expect_adds("dx", full, [&](const Tensor& target) { backward.dx = target, run(); });
  backward.accumulate_dx = false;
  backward.dx = backward.dy;  // may be the same view
  run();
  EXPECT_EQ(values_of(backward.dx), separate);
}

TEST_F(Accumulation, Residual) {
  const Shape full{4, 6}, row{6};
  ResidualForward forward;
  forward.x = tensors_.random(full), forward.z = tensors_.random(full),
  forward.x_block = tensors_.random(full);
  forward.out = tensors_.zeros(full);
  forward.a.feature = tensors_.random(row), forward.b.feature = tensors_.random(row);
  forward.e.feature = tensors_.random(row), forward.p.feature = tensors_.random(row);
  ResidualBackward backward;
  backward.x = forward.x, backward.x_block = forward.x_block;
  backward.z = tensors_.of(full, values_of(forward.z));
  backward.a = forward.a, backward.b = forward.b, backward.e = forward.e, backward.p = forward.p;
  backward.dout = tensors_.random(full);
  backward.dx = tensors_.zeros(full), backward.dz = tensors_.zeros(full);
  const auto run = [&] {
    backward.workspace = tensors_.workspace(backend_.residual().residual_backward_workspace(backward));
    backend_.residual().residual_backward(*stream_, backward);
  };
  expect_adds("dx_block", full, [&](const Tensor& target) { backward.dx_block = target, run(); });
  expect_adds("da", row, [&](const Tensor& target) { backward.da.feature = target, run(); });
  expect_adds("db", row, [&](const Tensor& target) { backward.db.feature = target, run(); });
  expect_adds("de", row, [&](const Tensor& target) { backward.de.feature = target, run(); });
  expect_adds("dp", row, [&](const Tensor& target) { backward.dp.feature = target, run(); });

  const std::vector<double> dx = values_of(backward.dx), dz = values_of(backward.dz);
  backward.dx = backward.dout;  // may be the same view
  run();
  EXPECT_EQ(values_of(backward.dx), dx);
  EXPECT_EQ(values_of(backward.dz), dz);

  forward.branch_moments.scalars = tensors_.zeros(Shape{kMomentScalars});
  backend_.residual().residual_forward(*stream_, forward);
  const std::vector<double> out = values_of(forward.out), moments = values_of(forward.branch_moments.scalars);
  forward.branch_moments.scalars = tensors_.zeros(Shape{kMomentScalars});
  forward.out = forward.z;  // may be the same view
  backend_.residual().residual_forward(*stream_, forward);
  EXPECT_EQ(values_of(forward.out), out);
  EXPECT_EQ(values_of(forward.branch_moments.scalars), moments);
}

TEST_F(Accumulation, Linear) {
  const Tensor x = tensors_.random(Shape{4, 5}), weight = tensors_.random(Shape{3, 5});
  const Tensor dy = tensors_.random(Shape{4, 3}), scratch = tensors_.zeros(Shape{3, 5});
  const LinearOps& ops = backend_.linear();
  expect_adds("dx", x.shape, [&](const Tensor& target) {
    ops.linear_backward_input(*stream_, {dy, weight, target, true, {}});
  });
  expect_adds("dweight", weight.shape, [&](const Tensor& target) {
    ops.linear_backward_weight(*stream_, {dy, x, target, Tensor(), {}});
  });
  expect_adds("dbias", Shape{3}, [&](const Tensor& target) {
    ops.linear_backward_weight(*stream_, {dy, x, scratch, target, {}});
  });
}

TEST_F(Accumulation, Activation) {
  const Tensor pre = tensors_.random(Shape{4, 10}), bias = tensors_.random(Shape{10});
  ActivationBackward backward{ActivationKind::SwiGlu,    pre,      bias, tensors_.random(Shape{4, 5}),
                              tensors_.zeros(pre.shape), Tensor(), {}};
  const auto run = [&] {
    backward.workspace = tensors_.workspace(backend_.activation().activation_backward_workspace(backward));
    backend_.activation().activation_backward(*stream_, backward);
  };
  expect_adds("dbias", bias.shape, [&](const Tensor& target) { backward.dbias = target, run(); });
  const std::vector<double> separate = values_of(backward.dpre);
  backward.dpre = pre;  // may be the same view
  run();
  EXPECT_EQ(values_of(backward.dpre), separate);
}

TEST_F(Accumulation, EmbeddingAndGroupGain) {
  const Tensor ids = tensors_.integers({1, 0, 1}), dout = tensors_.random(Shape{3, 4});
  const Tensor scratch = tensors_.zeros(Shape{2, 4});
  expect_adds("dtoken_table", Shape{2, 4}, [&](const Tensor& target) {
    backend_.embedding().embedding_backward(*stream_, {3, 1, ids, dout, target, Tensor(), {}});
  });
  expect_adds("dposition_table", Shape{3, 4}, [&](const Tensor& target) {
    backend_.embedding().embedding_backward(*stream_, {3, 1, ids, dout, scratch, target, {}});
  });

  GroupGainBackward backward{
      2, tensors_.random(Shape{3, 4}), tensors_.random(Shape{2}), dout, scratch, Tensor(), {}};
  backward.dx = tensors_.zeros(dout.shape);
  const auto run = [&] {
    backward.workspace = tensors_.workspace(backend_.elementwise().group_gain_backward_workspace(backward));
    backend_.elementwise().group_gain_backward(*stream_, backward);
  };
  expect_adds("dgain", Shape{2}, [&](const Tensor& target) { backward.dgain = target, run(); });
  const std::vector<double> separate = values_of(backward.dx);
  backward.dx = backward.dy;  // may be the same view
  run();
  EXPECT_EQ(values_of(backward.dx), separate);
}

TEST_F(Accumulation, ScalarBias) {
  ScalarBiasBackward backward{tensors_.random(Shape{3, 4}), Tensor(), {}};
  expect_adds("dbias", Shape{1}, [&](const Tensor& target) {
    backward.dbias = target;
    backend_.elementwise().scalar_bias_backward(*stream_, backward);
  });
  const Tensor x = tensors_.random(Shape{3, 4}), bias = tensors_.random(Shape{1}), y = tensors_.like(x);
  backend_.elementwise().scalar_bias_forward(*stream_, {x, bias, y});
  for (std::int64_t i = 0; i < x.elements(); ++i) EXPECT_EQ(at(y, i), at(x, i) + at(bias, 0));
  backend_.elementwise().scalar_bias_forward(*stream_, {x, bias, x});  // may be the same view
  EXPECT_EQ(values_of(x), values_of(y));
}

TEST_F(Accumulation, CoefficientMapAndRowGain) {
  const ParameterOps& ops = backend_.parameter();
  const Tensor x = tensors_.random(Shape{5});
  expect_adds("dx of the map", Shape{5}, [&](const Tensor& target) {
    ops.coefficient_map_backward(
        *stream_, {CoefficientMapKind::OneMinusSilu, x, tensors_.of(Shape{5}, {1, 2, 3, 4, 5}), target});
  });
  RowGainBackward backward;
  backward.x = tensors_.random(Shape{3, 4}), backward.dy = tensors_.random(Shape{3, 4});
  backward.scalar = tensors_.random(Shape{1});
  for (const std::int64_t gains : {1, 3}) {
    backward.gain = tensors_.random(Shape{gains});
    backward.dx = tensors_.zeros(Shape{3, 4}), backward.dgain = tensors_.zeros(Shape{gains});
    backward.workspace = tensors_.workspace(ops.row_gain_backward_workspace(backward));
    expect_adds("dx", Shape{3, 4}, [&](const Tensor& target) {
      RowGainBackward one = backward;
      one.dx = target;
      ops.row_gain_backward(*stream_, one);
    });
    expect_adds("dgain", Shape{gains}, [&](const Tensor& target) {
      RowGainBackward one = backward;
      one.dgain = target;
      ops.row_gain_backward(*stream_, one);
    });
  }
}

TEST_F(Accumulation, HeadLoss) {
  HeadLossForward forward;
  forward.h = tensors_.random(Shape{3, 4});
  forward.weight = tensors_.random(Shape{5, 4});
  forward.targets = tensors_.integers({4, 0, 2});
  forward.log_z = tensors_.zeros(Shape{3});
  forward.workspace = tensors_.workspace(backend_.head_loss().head_loss_forward_workspace(forward));
  forward.sums = tensors_.of(Shape{kHeadLossSums}, {0, 0, 0, 0, 100});
  backend_.head_loss().head_loss_forward(*stream_, forward);
  const std::vector<double> once = values_of(forward.sums);
  backend_.head_loss().head_loss_forward(*stream_, forward);
  for (int i = 0; i < kHeadLossMaxLogit; ++i)
    EXPECT_NEAR(at(forward.sums, i), 2 * once[static_cast<std::size_t>(i)], 1e-12);
  EXPECT_EQ(at(forward.sums, kHeadLossMaxLogit), 100);  // a maximum, not a sum

  HeadLossBackward backward;
  backward.h = forward.h, backward.weight = forward.weight, backward.targets = forward.targets;
  backward.log_z = forward.log_z;
  backward.dh = tensors_.zeros(Shape{3, 4});
  backward.workspace = tensors_.workspace(backend_.head_loss().head_loss_backward_workspace(backward));
  backward.dweight = tensors_.zeros(Shape{5, 4});
  expect_adds("dbias", Shape{5}, [&](const Tensor& target) {
    backward.dbias = target;
    backend_.head_loss().head_loss_backward(*stream_, backward);
  });
  expect_adds("dweight", Shape{5, 4}, [&](const Tensor& target) {
    backward.dweight = target;
    backend_.head_loss().head_loss_backward(*stream_, backward);
  });
}

}  // namespace
}  // namespace plumb::test
