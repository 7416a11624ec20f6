// Identities that the block equation must satisfy for any weights (float64, reference backend). I1, I5, I6
// and I10 are in placement_identity_test.cpp, I7 and I9 in tests/backend/closed_form_test.cpp; every row
// against what it names is in row_identity_test.cpp.
#include "core/error.h"
#include "nn/tiny_model.h"

namespace plumb::test {
namespace {

ModelConfig exact_config(const std::string& placement) {
  ModelConfig config = tiny_config();
  use_placement(config, placement);
  for (NormConfig* slot :
       {&config.base.norm.in, &config.base.norm.out, &config.base.norm.post, &config.final_norm}) {
    slot->epsilon = 0;
  }
  return config;
}

void scale_parameter(TinyModel& model, const std::string& name, double factor) {
  Parameter& parameter = model.parameter(name);
  for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) TinyModel::value(parameter)[i] *= factor;
}

double inner(const std::vector<double>& a, const double* b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// I2. With N_out (eps 0), scaling the last matrix and its bias by k leaves x' as it is and divides their
// gradients by k; and <W, dL/dW> + <b, dL/db> = 0, because the loss does not change along the scaling
// direction.
TEST(Identity, OutputNormMakesTheBranchScaleInvariant) {
  const struct {
    const char *weight, *bias;
  } pairs[] = {{"blocks.0.attention.projection.weight", "blocks.0.attention.projection.bias"},
               {"blocks.1.ffn.contract.weight", "blocks.1.ffn.contract.bias"}};
  for (const auto& pair : pairs) {
    SCOPED_TRACE(pair.weight);
    TinyModel model(exact_config("peri"));
    const double loss = model.forward_backward();
    const auto last = model.stream(4);
    const auto dw = TinyModel::gradient(model.parameter(pair.weight));
    const auto db = TinyModel::gradient(model.parameter(pair.bias));
    const double radial = inner(dw, TinyModel::value(model.parameter(pair.weight))) +
                          inner(db, TinyModel::value(model.parameter(pair.bias)));
    EXPECT_NEAR(radial, 0, 1e-11 * (norm_of(dw) + norm_of(db)));
    ASSERT_GT(norm_of(dw), 1e-6);

    constexpr double k = 3.7;
    scale_parameter(model, pair.weight, k);
    scale_parameter(model, pair.bias, k);
    EXPECT_NEAR(model.forward_backward(), loss, 1e-12);
    EXPECT_LT(distance(model.stream(4), last), 1e-10 * norm_of(last));
    auto scaled = TinyModel::gradient(model.parameter(pair.weight));
    for (double& value : scaled) value *= k;
    EXPECT_LT(distance(scaled, dw), 1e-10 * norm_of(dw));
  }
}

// I3. b = 0: the block is the identity, the gradient passes unchanged, the branch's own gradients are zero,
// and dL/db = <z, dL/dx'>.
TEST(Identity, ZeroStepIsTheIdentity) {
  for (const char* placement : {"none", "pre", "peri"}) {
    SCOPED_TRACE(placement);
    ModelConfig config = exact_config(placement);
    config.base.residual.b.trainable = "scalar";
    TinyModel model(config);
    for (const char* name :
         {"blocks.0.attention.b", "blocks.0.ffn.b", "blocks.1.attention.b", "blocks.1.ffn.b"}) {
      TinyModel::value(model.parameter(name))[0] = 0;
    }
    std::vector<double> squares(5);
    for (double& square : squares) {
      model.probes().stream_gradient.push_back(
          {.square = Tensor(&square, DType::Float64, {1}), .largest_row_square = {}});
    }
    model.forward_backward();
    EXPECT_EQ(distance(model.stream(0), model.stream(4)), 0);
    for (double square : squares) EXPECT_DOUBLE_EQ(square, squares[4]);
    ASSERT_GT(squares[4], 0);
    for (const char* name : {"blocks.0.attention.qkv.weight", "blocks.1.ffn.contract.weight"}) {
      EXPECT_EQ(norm_of(TinyModel::gradient(model.parameter(name))), 0) << name;
    }
    // dL/db against a finite difference of the loss along b.
    Parameter& b = model.parameter("blocks.1.ffn.b");
    const double analytic = TinyModel::gradient(b)[0];
    ASSERT_GT(std::abs(analytic), 1e-9);
    constexpr double h = 1e-5;
    TinyModel::value(b)[0] = h;
    const double up = model.forward();
    TinyModel::value(b)[0] = -h;
    const double down = model.forward();
    EXPECT_NEAR((up - down) / (2 * h), analytic, 1e-7);
  }
}

// I4. Without N_out: b F equals F with its last matrix scaled by b, in the forward pass and in dL/dx; the
// matrix's own gradient carries the factor b.
TEST(Identity, StepEqualsScaledProjectionWithoutOutputNorm) {
  constexpr double b = 0.3;
  ModelConfig config = exact_config("pre");
  TinyModel scaled_weights(config);
  for (int block = 0; block < 2; ++block) {
    for (const char* part : {"attention.projection", "ffn.contract"}) {
      for (const char* which : {"weight", "bias"}) {
        scale_parameter(scaled_weights, fmt::format("blocks.{}.{}.{}", block, part, which), b);
      }
    }
  }
  config.base.residual.b.value = b;
  TinyModel scaled_step(config);
  EXPECT_NEAR(scaled_step.forward_backward(), scaled_weights.forward_backward(), 1e-13);
  for (int k = 0; k <= 4; ++k) {
    const auto x = scaled_weights.stream(k);
    EXPECT_LT(distance(scaled_step.stream(k), x), 1e-12 * norm_of(x)) << k;
  }
  const auto same = TinyModel::gradient(scaled_weights.parameter("blocks.0.attention.qkv.weight"));
  EXPECT_LT(distance(TinyModel::gradient(scaled_step.parameter("blocks.0.attention.qkv.weight")), same),
            1e-11 * norm_of(same));
  auto expected = TinyModel::gradient(scaled_weights.parameter("blocks.1.ffn.contract.weight"));
  for (double& value : expected) value *= b;
  EXPECT_LT(distance(TinyModel::gradient(scaled_step.parameter("blocks.1.ffn.contract.weight")), expected),
            1e-11 * norm_of(expected));
}

// I11. Peri equals Pre when the branch's rows have zero mean and unit variance already: a permutation matrix
// after LayerNorm without gain makes such rows.
TEST(Identity, PeriEqualsPreOnNormalisedBranches) {
  const auto run = [](const char* placement) {
    ModelConfig config = exact_config(placement);
    config.block = {"linear"};
    config.blocks = 3;
    TinyModel model(config);
    for (const Parameter& parameter : model.engine().parameters().all()) {
      const std::string& name = parameter.name;
      const bool gain =
          name.find("norm_in.gain") != std::string::npos || name.find("norm_out.gain") != std::string::npos;
      const bool bias = name.find("norm_in.bias") != std::string::npos ||
                        name.find("norm_out.bias") != std::string::npos ||
                        name.find("matrix.bias") != std::string::npos;
      for (std::int64_t i = 0; i < parameter.shape.elements(); ++i) {
        if (gain) TinyModel::value(parameter)[i] = 1;
        if (bias) TinyModel::value(parameter)[i] = 0;
        if (name.find("matrix.weight") != std::string::npos) {
          const std::int64_t row = i / 12, column = i % 12;
          TinyModel::value(parameter)[i] = column == (5 * row + 1) % 12 ? 1 : 0;
        }
      }
    }
    model.forward();
    return model.stream(3);
  };
  const auto pre = run("pre"), peri = run("peri");
  ASSERT_GT(norm_of(pre), 1);
  EXPECT_LT(distance(pre, peri), 1e-12 * norm_of(pre));
}

// I8. Plain Peri: |x_k| <= |x_0| + sum_j b_j ( |beta_j| + sqrt(C) max_i |gamma_ji| ), row by row, whatever
// the branch weights are; taken here along 20 steps of plain gradient descent with a large step.
TEST(Identity, PeriBoundHoldsAtEveryLayerAndStep) {
  ModelConfig config = exact_config("peri");
  config.blocks = 4;
  config.base.residual.b.value = 0.8;
  TinyModel model(config);
  const std::int64_t width = config.width;
  double tightest = 0;
  for (int step = 0; step < 20; ++step) {
    model.forward_backward();
    const auto first = model.stream(0);
    for (std::size_t row = 0; row < first.size() / static_cast<std::size_t>(width); ++row) {
      const auto row_norm = [&](std::int64_t k) {
        const auto x = model.stream(k);
        return norm_of({x.begin() + static_cast<std::ptrdiff_t>(row) * width,
                        x.begin() + static_cast<std::ptrdiff_t>(row + 1) * width});
      };
      double bound = row_norm(0);
      for (std::int64_t k = 0; k < 8; ++k) {
        const std::string name = sublayer_name(config, k);
        double largest_gain = 0, bias_square = 0;
        for (std::int64_t i = 0; i < width; ++i) {
          largest_gain =
              std::max(largest_gain, std::abs(TinyModel::value(model.parameter(name + ".norm_out.gain"))[i]));
          bias_square += std::pow(TinyModel::value(model.parameter(name + ".norm_out.bias"))[i], 2);
        }
        bound += 0.8 * (std::sqrt(bias_square) + std::sqrt(static_cast<double>(width)) * largest_gain);
        const double value = row_norm(k + 1);
        EXPECT_LE(value, bound * (1 + 1e-12)) << "step " << step << " sublayer " << k;
        tightest = std::max(tightest, value / bound);
      }
    }
    for (const Parameter* parameter : model.engine().parameters().trainable()) {
      const auto gradient = TinyModel::gradient(*parameter);
      for (std::size_t i = 0; i < gradient.size(); ++i) TinyModel::value(*parameter)[i] -= 0.5 * gradient[i];
    }
  }
  EXPECT_GT(tightest, 0.2) << "the bound says nothing";
}

}  // namespace
}  // namespace plumb::test
