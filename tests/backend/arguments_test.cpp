// Wrong arguments, on every backend: the message names the op, the tensor and what would be right.
#include <gmock/gmock.h>

#include <deque>

#include "backend/loader.h"
#include "backend/op_test.h"
#include "core/error.h"

namespace plumb::test {
namespace {
using testing::AllOf;
using testing::HasSubstr;

class Arguments : public testing::TestWithParam<std::string> {
 protected:
  Backend& backend_ = shared_backend(GetParam());
  std::unique_ptr<Stream> stream_ = backend_.create_stream();
  std::deque<Buffer> buffers_;

  /// fp32, which every backend computes in.
  Tensor zeros(Shape shape, DType dtype = DType::Float32) {
    buffers_.push_back(backend_.allocate(static_cast<std::size_t>(shape.elements()) * size_of(dtype)));
    return Tensor(buffers_.back().data(), dtype, shape);
  }
  Tensor integers(const std::vector<std::int32_t>& values) {
    const Tensor tensor = zeros(Shape{static_cast<std::int64_t>(values.size())}, DType::Int32);
    backend_.upload(*stream_, values.data(), tensor.data, values.size() * sizeof(std::int32_t));
    stream_->synchronize();
    return tensor;
  }
  Workspace workspace(std::size_t bytes) {
    return {zeros(Shape{static_cast<std::int64_t>(bytes / sizeof(float)) + 1}).data, bytes};
  }
  /// A device's memory is not read by the host, so no check looks at values there.
  bool memory_is_the_hosts() const { return GetParam().rfind("cuda", 0) != 0; }
  static std::string message(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was thrown";
  }
};
INSTANTIATE_TEST_SUITE_P(Backends, Arguments, testing::ValuesIn(tested_backends()), [](const auto& one) {
  return one.param == "cuda-emulated" ? "cuda_emulated" : one.param;
});

TEST_P(Arguments, LinearForward) {
  const Tensor x = zeros(Shape{2, 3}), weight = zeros(Shape{4, 3}), y = zeros(Shape{2, 4});
  const Workspace scratch =
      workspace(backend_.linear().linear_forward_workspace({x, weight, Tensor(), y, {}}));
  const auto linear = [&](const Tensor& in, const Tensor& by, const Tensor& bias, const Tensor& out) {
    return message([&] { backend_.linear().linear_forward(*stream_, {in, by, bias, out, scratch}); });
  };
  EXPECT_EQ(linear(x, weight, Tensor(), y), "nothing was thrown");
  EXPECT_THAT(linear(x, zeros(Shape{4, 2}), Tensor(), y),
              HasSubstr("linear_forward: weight is fp32 (4,2), expected fp32 with 4 rows of 3"));
  EXPECT_THAT(linear(Tensor(), weight, Tensor(), y), HasSubstr("linear_forward: x is empty"));
  EXPECT_THAT(linear(x, weight, zeros(Shape{3}), y),
              HasSubstr("linear_forward: bias is fp32 (3), expected fp32 with 4 elements"));
  EXPECT_THAT(linear(x, weight, Tensor(), zeros(Shape{3, 4})), HasSubstr("linear_forward: y is fp32 (3,4)"));
  Tensor nowhere = x, overlapping = x;
  nowhere.data = nullptr;
  overlapping.row_stride = 2;
  EXPECT_THAT(linear(nowhere, weight, Tensor(), y),
              HasSubstr("linear_forward: x is fp32 (2,3) without data"));
  EXPECT_THAT(linear(overlapping, weight, Tensor(), y),
              HasSubstr("linear_forward: x has a row stride of 2, less than its 3 columns"));
  EXPECT_THAT(linear(zeros(Shape{2, 3}, DType::Int32), weight, Tensor(), y),
              AllOf(HasSubstr("linear_forward"), HasSubstr("not in int32")));
}

TEST_P(Arguments, LinearBackward) {
  const Tensor x = zeros(Shape{2, 3}), weight = zeros(Shape{4, 3}), dy = zeros(Shape{2, 4});
  EXPECT_THAT(
      message([&] {
        backend_.linear().linear_backward_input(*stream_, {dy, weight, zeros(Shape{3, 3}), false, {}});
      }),
      AllOf(HasSubstr("linear_backward_input: d"), HasSubstr("expected fp32 with")));
  EXPECT_THAT(
      message([&] {
        backend_.linear().linear_backward_weight(*stream_, {dy, x, zeros(Shape{4, 3}), zeros(Shape{5}), {}});
      }),
      HasSubstr("linear_backward_weight: dbias is fp32 (5), expected fp32 with 4 elements"));
}

TEST_P(Arguments, Norm) {
  NormForward norm;
  norm.x = zeros(Shape{2, 6}), norm.y = zeros(Shape{2, 6}), norm.gain = zeros(Shape{6});
  norm.workspace = workspace(4096);
  const auto forward = [&](const NormForward& arguments) {
    return message([&] { backend_.norm().norm_forward(*stream_, arguments); });
  };
  EXPECT_EQ(forward(norm), "nothing was thrown");
  NormForward wrong = norm;
  wrong.groups = 4;
  EXPECT_THAT(forward(wrong), HasSubstr("norm_forward: 6 columns do not split into 4 groups"));
  wrong = norm;
  wrong.gain = zeros(Shape{5});
  EXPECT_THAT(forward(wrong), HasSubstr("norm_forward: gain is fp32 (5), expected fp32 with 6 elements"));
  wrong = norm;
  wrong.y = zeros(Shape{3, 6});
  EXPECT_THAT(forward(wrong), HasSubstr("norm_forward: y is fp32 (3,6), expected fp32 with 2 rows of 6"));
  wrong = norm;
  wrong.kind = NormKind::None;
  EXPECT_THAT(forward(wrong), HasSubstr("norm_forward: the norm none takes no gain and no bias"));
  wrong.kind = NormKind::DyT;
  EXPECT_THAT(forward(wrong), HasSubstr("norm_forward: alpha goes with dyt and derf"));
  wrong = norm;
  wrong.scale.feature = zeros(Shape{4});
  EXPECT_THAT(forward(wrong), HasSubstr("norm_forward: scale is fp32 (4), expected fp32 with 6 elements"));
  wrong = norm;
  wrong.moments.scalars = zeros(Shape{kMomentScalars});
  EXPECT_THAT(forward(wrong), HasSubstr("norm_forward: moments.scalars is fp32 (9), expected fp64 with 9"));

  NormBackward norm_backward;
  norm_backward.x = norm.x, norm_backward.dy = norm.y, norm_backward.dx = zeros(Shape{2, 6});
  norm_backward.workspace = workspace(4096);
  const auto backward = [&](const NormBackward& arguments) {
    return message([&] { backend_.norm().norm_backward(*stream_, arguments); });
  };
  EXPECT_THAT(backward(norm_backward), HasSubstr("norm_backward: layernorm needs the mean"));
  norm_backward.mean = zeros(Shape{2, 1});
  EXPECT_THAT(backward(norm_backward), HasSubstr("l2 need the rstd of the forward pass"));
  norm_backward.rstd = zeros(Shape{2, 1});
  EXPECT_EQ(backward(norm_backward), "nothing was thrown");
  norm_backward.dx = norm_backward.dy, norm_backward.accumulate_dx = true;
  EXPECT_THAT(backward(norm_backward), HasSubstr("norm_backward: dx cannot be dy and be accumulated"));
}

TEST_P(Arguments, Residual) {
  ResidualForward residual;
  residual.x = zeros(Shape{2, 6}), residual.z = zeros(Shape{2, 6}), residual.out = zeros(Shape{2, 6});
  const auto forward = [&](const ResidualForward& arguments) {
    return message([&] { backend_.residual().residual_forward(*stream_, arguments); });
  };
  EXPECT_EQ(forward(residual), "nothing was thrown");
  ResidualForward wrong = residual;
  wrong.z = zeros(Shape{2, 5});
  EXPECT_THAT(forward(wrong), HasSubstr("residual_forward: z is fp32 (2,5), expected fp32 with 2 rows of 6"));
  wrong = residual;
  wrong.tie_skip = true, wrong.a.scalar = zeros(Shape{1});
  EXPECT_THAT(forward(wrong), HasSubstr("residual_forward: tie_skip makes a = 1 - b"));
  wrong = residual;
  wrong.rows_per_sequence = 0;
  EXPECT_THAT(forward(wrong), HasSubstr("residual_forward: rows_per_sequence is 0"));
  ResidualBackward backward;
  backward.dout = residual.out, backward.dx = residual.x, backward.dz = residual.z;
  backward.b.feature = backward.db.feature = zeros(Shape{6});
  backward.workspace = workspace(backend_.residual().residual_backward_workspace(backward));
  const auto run = [&] {
    return message([&] { backend_.residual().residual_backward(*stream_, backward); });
  };
  EXPECT_THAT(run(), HasSubstr("residual_backward: db and dp need z"));
  backward.z = zeros(Shape{2, 6});
  EXPECT_EQ(run(), "nothing was thrown");
  backward.workspace = {};
  EXPECT_THAT(run(), HasSubstr("workspace"));
}

TEST_P(Arguments, ActivationAndMoments) {
  const auto forward = [&](ActivationKind kind, const Tensor& pre, const Tensor& bias, const Tensor& h) {
    return message([&] { backend_.activation().activation_forward(*stream_, {kind, pre, bias, h}); });
  };
  const Tensor pre = zeros(Shape{2, 6}), h = zeros(Shape{2, 3});
  EXPECT_EQ(forward(ActivationKind::SwiGlu, pre, Tensor(), h), "nothing was thrown");
  EXPECT_THAT(forward(ActivationKind::Silu, pre, Tensor(), h),
              HasSubstr("activation_forward: pre is fp32 (2,6), expected fp32 with 2 rows of 3"));
  EXPECT_THAT(forward(ActivationKind::SwiGlu, pre, zeros(Shape{3}), h),
              HasSubstr("activation_forward: bias is fp32 (3), expected fp32 with 6 elements"));
  ActivationBackward backward{ActivationKind::Gelu, h, Tensor(), h, zeros(Shape{2, 3}), zeros(Shape{2}), {}};
  EXPECT_THAT(message([&] { backend_.activation().activation_backward(*stream_, backward); }),
              HasSubstr("activation_backward: dbias is fp32 (2), expected fp32 with 3 elements"));
  MomentsArguments moments{pre, {}, {}};
  const auto run = [&] { return message([&] { backend_.moments().moments(*stream_, moments); }); };
  EXPECT_THAT(run(), HasSubstr("moments: there is no view to add to"));
  moments.moments.scalars = zeros(Shape{kMomentScalars}, DType::Float64);
  moments.workspace = workspace(backend_.moments().moments_workspace(moments));
  EXPECT_EQ(run(), "nothing was thrown");
  moments.moments.column_sum = moments.moments.column_square = zeros(Shape{6}, DType::Float64);
  moments.moments.shift = zeros(Shape{5}, DType::Float64);
  moments.workspace = workspace(backend_.moments().moments_workspace(moments));
  EXPECT_THAT(run(), HasSubstr("moments: moments.shift is fp64 (5), expected fp64 with 6 elements"));
}

TEST_P(Arguments, Attention) {
  AttentionForward attention;
  attention.shape.tokens = 2, attention.shape.width = 3;
  attention.q = attention.k = attention.v = attention.out = zeros(Shape{2, 3});
  attention.log_sum_exp = zeros(Shape{1, 1, 2});
  attention.max_logit = zeros(Shape{1}, DType::Float64);  // so that every backend needs a workspace
  const auto forward = [&](const AttentionForward& arguments) {
    return message([&] { backend_.attention().attention_forward(*stream_, arguments); });
  };
  EXPECT_THAT(forward(attention), AllOf(HasSubstr("workspace"), HasSubstr("0 bytes")));
  attention.workspace = workspace(backend_.attention().attention_forward_workspace(attention));
  EXPECT_EQ(forward(attention), "nothing was thrown");
  AttentionForward wrong = attention;
  wrong.k = zeros(Shape{2, 4});
  EXPECT_THAT(forward(wrong),
              HasSubstr("attention_forward: k is fp32 (2,4), expected fp32 with 2 rows of 3"));
  wrong = attention;
  wrong.v.data = nullptr;
  EXPECT_THAT(forward(wrong), HasSubstr("attention_forward: v is fp32 (2,3) without data"));
  wrong = attention;
  wrong.shape.dropout = 1;
  EXPECT_THAT(forward(wrong), HasSubstr("attention_forward: dropout is 1, not in [0, 1)"));
  wrong = attention;
  wrong.max_logit = zeros(Shape{1});
  EXPECT_THAT(forward(wrong), HasSubstr("attention_forward: max_logit is fp32 (1), expected fp64"));
  wrong = attention;
  wrong.entropy_sums = zeros(Shape{3}, DType::Float64);
  EXPECT_THAT(forward(wrong), HasSubstr("attention_forward: entropy_sums is fp64 (3), expected fp64 with 1"));
}

TEST_P(Arguments, Rotary) {
  Rotary rotary{2, 1, 4, 10000, false, zeros(Shape{2, 4})};
  const auto run = [&] { return message([&] { backend_.attention().rotary(*stream_, rotary); }); };
  EXPECT_EQ(run(), "nothing was thrown");
  rotary.x.data = nullptr;
  EXPECT_THAT(run(), HasSubstr("rotary: x is fp32 (2,4) without data"));
  rotary.width = 3;
  EXPECT_THAT(run(), HasSubstr("rotary: the head width 3 must be even"));
}

TEST_P(Arguments, Embedding) {
  if (!memory_is_the_hosts()) GTEST_SKIP() << "ids are on the device";
  EXPECT_THAT(message([&] {
                backend_.embedding().embedding_forward(
                    *stream_, {1, 1, integers({0, 2}), zeros(Shape{2, 3}), Tensor(), zeros(Shape{2, 3})});
              }),
              AllOf(HasSubstr("embedding_forward: id"), HasSubstr("2"), HasSubstr("in [0, 2)")));
}

TEST_P(Arguments, HeadLoss) {
  HeadLossForward head;
  head.h = zeros(Shape{2, 3}), head.weight = zeros(Shape{4, 3});
  head.targets = integers({0, 3});
  head.log_z = zeros(Shape{2}), head.sums = zeros(Shape{kHeadLossSums}, DType::Float64);
  head.workspace = workspace(backend_.head_loss().head_loss_forward_workspace(head));
  const auto forward = [&](const HeadLossForward& arguments) {
    return message([&] { backend_.head_loss().head_loss_forward(*stream_, arguments); });
  };
  EXPECT_EQ(forward(head), "nothing was thrown");
  HeadLossForward wrong = head;
  wrong.targets = integers({0, 4});
  if (memory_is_the_hosts()) {
    EXPECT_THAT(forward(wrong),
                HasSubstr("head_loss_forward: target 4 at row 1 is neither -1 nor in [0, 4)"));
  }
  wrong = head;
  wrong.weight = zeros(Shape{4, 2});
  EXPECT_THAT(forward(wrong),
              HasSubstr("head_loss_forward: weight is fp32 (4,2), expected fp32 with 4 rows of 3"));
  wrong = head;
  wrong.log_z.data = nullptr;
  EXPECT_THAT(forward(wrong), HasSubstr("head_loss_forward: log_z is fp32 (2) without data"));
  wrong = head;
  wrong.sums = zeros(Shape{kHeadLossSums});
  EXPECT_THAT(forward(wrong),
              HasSubstr("head_loss_forward: sums is fp32 (5), expected fp64 with 5 elements"));
}

TEST_P(Arguments, ScalarBias) {
  const Tensor x = zeros(Shape{2, 3});
  const auto bias = [&](const Tensor& in, const Tensor& by, const Tensor& out) {
    return message([&] { backend_.elementwise().scalar_bias_forward(*stream_, {in, by, out}); });
  };
  EXPECT_EQ(bias(x, zeros(Shape{1}), x), "nothing was thrown");
  EXPECT_THAT(bias(x, zeros(Shape{3}), x),
              HasSubstr("scalar_bias_forward: bias is fp32 (3), expected fp32 with 1 elements"));
  EXPECT_THAT(bias(x, zeros(Shape{1}), zeros(Shape{3, 3})),
              HasSubstr("scalar_bias_forward: y is fp32 (3,3)"));
  EXPECT_THAT(bias(zeros(Shape{2, 5}).columns(1, 3), zeros(Shape{1}), x),
              HasSubstr("scalar_bias_forward: x must be contiguous"));
}

TEST_P(Arguments, Parameter) {
  const ParameterOps& ops = backend_.parameter();
  const Tensor x = zeros(Shape{4, 3}), y = zeros(Shape{4, 3}), n = zeros(Shape{5});
  EXPECT_THAT(message([&] {
                ops.coefficient_map_forward(*stream_, {CoefficientMapKind::Absolute, n, zeros(Shape{4})});
              }),
              HasSubstr("coefficient_map_forward: y is fp32 (4), expected fp32 with 5 elements"));
  EXPECT_THAT(message([&] {
                ops.coefficient_map_forward(*stream_, {CoefficientMapKind::Absolute, n, n});
              }),
              HasSubstr("coefficient_map_forward: y overlaps x"));
  EXPECT_THAT(message([&] {
                ops.row_gain_forward(*stream_, {x, Tensor(), zeros(Shape{3}), y});
              }),
              HasSubstr("row_gain_forward: gain is fp32 (3), expected fp32 with 4 elements"));
  EXPECT_THAT(message([&] {
                ops.row_gain_forward(*stream_, {x, Tensor(), Tensor(), x});
              }),
              HasSubstr("row_gain_forward: y overlaps x"));
  EXPECT_THAT(
      message([&] {
        ops.row_gain_backward(*stream_, {x, Tensor(), Tensor(), y, zeros(Shape{4, 3}), zeros(Shape{4}), {}});
      }),
      HasSubstr("row_gain_backward: dgain needs a gain"));
  RowGainBackward backward{x, Tensor(), zeros(Shape{1}), y, zeros(Shape{4, 3}), zeros(Shape{1}), {}};
  EXPECT_THAT(message([&] { ops.row_gain_backward(*stream_, backward); }), HasSubstr("workspace"));
  const SphereWeight weights[] = {{x, zeros(Shape{3, 4}), false}};
  EXPECT_THAT(message([&] { ops.normalize_spheres(*stream_, {}, weights); }),
              HasSubstr("normalize_spheres: compute_copy is fp32 (3,4), expected fp32 with 4 rows of 3"));
}

TEST_P(Arguments, StreamMix) {
  StreamWrite write;
  write.streams = 2, write.x = zeros(Shape{3, 8}), write.o = zeros(Shape{3, 4});
  write.weights = zeros(Shape{3, 8}), write.out = zeros(Shape{3, 8});
  const auto run = [&](const StreamWrite& arguments) {
    return message([&] { backend_.stream_mix().stream_write(*stream_, arguments); });
  };
  EXPECT_EQ(run(write), "nothing was thrown");
  StreamWrite wrong = write;
  wrong.streams = 17;
  EXPECT_THAT(run(wrong), HasSubstr("stream_write: streams is 17, not in [1, 16]"));
  wrong = write;
  wrong.x = zeros(Shape{3, 4});
  EXPECT_THAT(run(wrong), HasSubstr("stream_write: x is fp32 (3,4), expected fp32 with 3 rows of 8"));
  wrong = write;
  wrong.weights = zeros(Shape{2, 8});
  EXPECT_THAT(run(wrong), HasSubstr("stream_write: weights is fp32 (2,8), expected fp32 with 3 rows of 8"));
  wrong = write;
  wrong.out = wrong.x;
  EXPECT_THAT(run(wrong), HasSubstr("stream_write: out overlaps x or o"));
  StreamReadBackward read;
  read.streams = 2, read.x = write.x, read.weights = zeros(Shape{1, 8});
  read.dh = write.o, read.dx = write.out, read.dweights = zeros(Shape{3, 8});
  read.workspace = workspace(backend_.stream_mix().stream_read_backward_workspace(read));
  EXPECT_THAT(message([&] { backend_.stream_mix().stream_read_backward(*stream_, read); }),
              HasSubstr("stream_read_backward: dweights is fp32 (3,8), expected fp32 with 1 rows of 8"));
}

TEST_P(Arguments, StreamWeights) {
  StreamWeights weights;
  weights.kind = StreamWeightKind::Manifold, weights.streams = 2;
  weights.raw = weights.weights = zeros(Shape{3, 8});
  weights.base = zeros(Shape{8}), weights.scales = zeros(Shape{3});
  const auto run = [&](const StreamWeights& arguments) {
    return message([&] { backend_.stream_mix().stream_weights(*stream_, arguments); });
  };
  EXPECT_EQ(run(weights), "nothing was thrown");
  StreamWeights wrong = weights;
  wrong.iterations = 101;
  EXPECT_THAT(run(wrong), HasSubstr("stream_weights: iterations is 101, not in [1, 100]"));
  wrong = weights;
  wrong.kind = StreamWeightKind::Hyper;
  EXPECT_THAT(run(wrong), HasSubstr("stream_weights: scales is fp32 (3), expected fp32 with 2 elements"));
  wrong = weights;
  wrong.streams = 0;
  EXPECT_THAT(run(wrong), HasSubstr("stream_weights: streams is 0, not in [1, 16]"));
}

}  // namespace
}  // namespace plumb::test
