// Sharpness against closed forms of a quadratic, and against the whole Hessian of a tiny model.
#include "sharpness.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "core/rng.h"
#include "nn/tiny_model.h"
#include "stability/allocation_counter.h"

namespace plumb::test {
namespace {

/// L = sum a_i theta_i^2 / 2 over two tensors.
class Quadratic {
 public:
  explicit Quadratic(DType compute)
      : backend_(make_backend(compute == DType::Float64 ? "reference" : "cpu")) {
    stream_ = backend_->create_stream();
    store_.declare({.name = "first", .shape = {3, 5}, .init = InitRule::normal(1)});
    store_.declare({.name = "frozen", .shape = {4}, .init = InitRule::normal(1), .trainable = false});
    store_.declare({.name = "second", .shape = {7}, .init = InitRule::normal(1)});
    store_.allocate(*backend_, compute);
    store_.initialize(*stream_, 3);
    sharpness_ = std::make_unique<Sharpness>(*backend_, *stream_, store_, 5);
    vectors_ = std::make_unique<ParameterVectors>(*backend_, *stream_, store_, 2);
    loss_ = {.value = [this] { return value(); }, .gradient = [this] { gradient(); }, .gradient_scale = 1};
  }

  /// Of entry i of all trainable ones, in flat order.
  double curvature(std::size_t i) const {
    return i == 4 ? least_ : 1 + 0.5 * std::sin(static_cast<double>(i));
  }
  void set_extreme(double value) { least_ = value; }
  std::vector<double> parameters() {
    std::vector<double> list;
    for (const Parameter* parameter : store_.trainable())
      for (std::int64_t i = 0; i < parameter->shape.elements(); ++i) list.push_back(get(parameter->value, i));
    return list;
  }
  void set_parameters(const std::vector<double>& values) {
    std::size_t n = 0;
    for (const Parameter* parameter : store_.trainable())
      for (std::int64_t i = 0; i < parameter->shape.elements(); ++i) put(parameter->value, i, values[n++]);
    store_.refresh_compute(*stream_);
  }
  Sharpness& sharpness() { return *sharpness_; }
  ParameterVectors& vectors() { return *vectors_; }
  BatchLoss& loss() { return loss_; }

 private:
  static double get(const Tensor& tensor, std::int64_t i) {
    return tensor.dtype == DType::Float64 ? tensor.as<double>()[i]
                                          : static_cast<double>(tensor.as<float>()[i]);
  }
  static void put(const Tensor& tensor, std::int64_t i, double value) {
    if (tensor.dtype == DType::Float64) tensor.as<double>()[i] = value;
    if (tensor.dtype == DType::Float32) tensor.as<float>()[i] = static_cast<float>(value);
  }
  double value() {
    double sum = 0;
    const std::vector<double> theta = parameters();
    for (std::size_t i = 0; i < theta.size(); ++i) sum += curvature(i) * theta[i] * theta[i] / 2;
    return sum;
  }
  void gradient() {
    std::size_t n = 0;
    for (const Parameter* parameter : store_.trainable()) {
      for (std::int64_t i = 0; i < parameter->shape.elements(); ++i, ++n)
        put(parameter->gradient, i, loss_.gradient_scale * curvature(n) * get(parameter->value, i));
    }
  }

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  ParameterStore store_;
  std::unique_ptr<Sharpness> sharpness_;
  std::unique_ptr<ParameterVectors> vectors_;
  BatchLoss loss_;
  double least_ = 4;
};

class SharpnessOf : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(Dtypes, SharpnessOf, testing::Values(DType::Float64, DType::Float32),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST_P(SharpnessOf, EigenvalueOfAQuadratic) {
  for (const double extreme : {4.0, -3.0}) {  // the one farthest from 0 keeps its sign
    Quadratic quadratic(GetParam());
    quadratic.set_extreme(extreme);
    quadratic.loss().gradient_scale = 64;  // as fp16 has it
    const std::vector<double> before = quadratic.parameters();
    quadratic.sharpness().keep_start();
    const Eigenvalue found = quadratic.sharpness().eigenvalue(quadratic.loss(), 60, 17);
    const double error = GetParam() == DType::Float64 ? 1e-6 : 2e-3;
    EXPECT_NEAR(found.value, extreme, error * std::abs(extreme));
    EXPECT_LE(std::abs(found.value), std::abs(extreme) * (1 + error)) << "from below";
    EXPECT_LT(found.residual, GetParam() == DType::Float64 ? 1e-3 : 2e-2);
    EXPECT_EQ(quadratic.parameters(), before) << "every bit";
  }
}

TEST_P(SharpnessOf, FewIterationsSayThatTheyAreFarOff) {
  Quadratic quadratic(GetParam());
  quadratic.sharpness().keep_start();
  const Eigenvalue early = quadratic.sharpness().eigenvalue(quadratic.loss(), 2, 17);
  const Eigenvalue late = quadratic.sharpness().eigenvalue(quadratic.loss(), 40, 17);
  EXPECT_GT(early.residual, 10 * late.residual);
  EXPECT_LT(early.value, late.value);
}

// Memory is taken before step 0 alone.
TEST_P(SharpnessOf, VectorsTakeNoMemory) {
  Quadratic quadratic(GetParam());
  ParameterVectors& vectors = quadratic.vectors();
  const std::int64_t before = allocations_of_this_thread();
  vectors.draw(0, 5, 17);
  vectors.copy_parameters(1);
  vectors.add(0, 0.5, 1);
  vectors.move_parameters(0.25, 0);
  const double norm = vectors.norm(0);
  EXPECT_EQ(allocations_of_this_thread(), before);
  EXPECT_GT(norm, 0);
  EXPECT_GT(before, 0) << "the counter must count";
}

// Drawn piece by piece, each entry is still a function of its place alone.
TEST(ParameterVectors, DrawsLongTensorsInPieces) {
  const auto backend = make_backend("cpu");
  const auto stream = backend->create_stream();
  ParameterStore store;
  store.declare({.name = "long", .shape = {9001}, .init = InitRule::normal(1)});
  store.allocate(*backend, DType::Float32);
  ParameterVectors vectors(*backend, *stream, store, 1);
  vectors.draw(0, 5, 17);
  vectors.set_parameters(0);
  const float* drawn = store.trainable()[0]->value.as<float>();
  const RandomStream random{5, 17, 0xffff'0001U};
  for (std::uint64_t i = 0; i < 9001; ++i) ASSERT_EQ(drawn[i], static_cast<float>(random.normal(i))) << i;
}

// Along u the loss is L + s g.u + s^2 u.A u / 2, which is above L from s = -2 g.u / u.A u on.
TEST_P(SharpnessOf, CriticalStepOfAQuadratic) {
  for (const double rate : {0.001, 0.1, 0.45, 5.0}) {
    Quadratic quadratic(GetParam());
    const std::vector<double> start = quadratic.parameters();
    std::vector<double> after = start;
    for (std::size_t i = 0; i < after.size(); ++i) after[i] -= rate * (i % 3 == 0 ? 1 : 0.3) * start[i];
    quadratic.sharpness().keep_start();
    quadratic.set_parameters(after);
    after = quadratic.parameters();
    double slope = 0, curvature = 0;
    for (std::size_t i = 0; i < after.size(); ++i) {
      const double u = after[i] - start[i];
      slope += quadratic.curvature(i) * start[i] * u;
      curvature += quadratic.curvature(i) * u * u;
    }
    const auto multiple = quadratic.sharpness().critical_multiple(quadratic.loss());
    ASSERT_TRUE(multiple.has_value());
    EXPECT_NEAR(*multiple, -2 * slope / curvature, 0.009 * *multiple) << "rate " << rate;
    EXPECT_EQ(quadratic.parameters(), after) << "every bit";
  }
}

TEST_P(SharpnessOf, NoUpdateHasNoCriticalStep) {
  Quadratic quadratic(GetParam());
  quadratic.sharpness().keep_start();
  EXPECT_FALSE(quadratic.sharpness().critical_multiple(quadratic.loss()).has_value());
}

/// The eigenvalue of a symmetric matrix that is farthest from 0, by Jacobi rotations.
double extreme_eigenvalue(std::vector<std::vector<double>> a) {
  const std::size_t n = a.size();
  for (int sweep = 0; sweep < 30; ++sweep) {
    for (std::size_t p = 0; p < n; ++p) {
      for (std::size_t q = p + 1; q < n; ++q) {
        if (a[p][q] == 0) continue;
        const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const double t = (theta < 0 ? -1 : 1) / (std::abs(theta) + std::hypot(theta, 1));
        const double c = 1 / std::hypot(t, 1), s = t * c;
        for (std::size_t k = 0; k < n; ++k) {
          const double x = a[k][p], y = a[k][q];
          a[k][p] = c * x - s * y, a[k][q] = s * x + c * y;
        }
        for (std::size_t k = 0; k < n; ++k) {
          const double x = a[p][k], y = a[q][k];
          a[p][k] = c * x - s * y, a[q][k] = s * x + c * y;
        }
      }
    }
  }
  double extreme = 0;
  for (std::size_t i = 0; i < n; ++i)
    if (std::abs(a[i][i]) > std::abs(extreme)) extreme = a[i][i];
  return extreme;
}

// Second differences of the loss itself, entry by entry: nothing of a gradient, and no iteration.
TEST(SharpnessOfAModel, EigenvalueIsThatOfTheHessianByDifferencesOfTheLoss) {
  ModelConfig config = tiny_config();
  config.blocks = 1;
  config.width = 2;
  config.heads = 1;
  config.sequence_length = 3;
  config.ffn_hidden = 2;
  config.base.norm.in.kind = config.final_norm.kind = "layernorm";
  config.base.norm.in.epsilon = config.final_norm.epsilon = 0.1;  // width 2 is sharp otherwise
  TinyModel model(config);
  ParameterStore& store = model.engine().parameters();
  std::vector<double*> theta;
  for (const Parameter* parameter : store.trainable())
    for (std::int64_t i = 0; i < parameter->shape.elements(); ++i)
      theta.push_back(parameter->value.as<double>() + i);
  const double h = 1e-3;
  const std::size_t n = theta.size();
  std::vector<std::vector<double>> hessian(n, std::vector<double>(n));
  const auto moved_loss = [&](std::size_t i, double di, std::size_t j, double dj) {
    const double a = *theta[i], b = *theta[j];
    *theta[i] += di;
    *theta[j] += dj;
    const double loss = model.forward();
    *theta[j] = b;
    *theta[i] = a;
    return loss;
  };
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = i; j < n; ++j) {
      hessian[i][j] = hessian[j][i] = (moved_loss(i, h, j, h) - moved_loss(i, h, j, -h) -
                                       moved_loss(i, -h, j, h) + moved_loss(i, -h, j, -h)) /
                                      (4 * h * h);
    }
  }
  Sharpness sharpness(model.engine().backend(), model.engine().stream(), store, 5);
  sharpness.keep_start();
  const BatchLoss loss{.value = [&] { return model.forward(); },
                       .gradient = [&] { model.forward_backward(); },
                       .gradient_scale = 1};
  const Eigenvalue found = sharpness.eigenvalue(loss, 300, 1);
  const double expected = extreme_eigenvalue(hessian);
  EXPECT_NEAR(found.value, expected, 1e-3 * std::abs(expected));
  EXPECT_LT(found.residual, 0.05);
}

TEST(CriticalMultiple, StaysWithinItsLimits) {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(critical_multiple([](double) { return 1.0; }, 1.0)) << "never rises";
  EXPECT_FALSE(critical_multiple([](double) { return 2.0; }, 1.0)) << "always rises";
  EXPECT_FALSE(critical_multiple([](double) { return 0.0; }, kNaN));
  const auto overflows = critical_multiple([](double s) { return s > 37 ? kNaN : 0.5; }, 1.0);
  ASSERT_TRUE(overflows.has_value());
  EXPECT_NEAR(*overflows, 37, 0.3) << "a loss that is no number has risen";
}

TEST(CriticalMultiple, NeedsFewForwards) {
  int calls = 0;
  const auto found = critical_multiple(
      [&](double s) {
        ++calls;
        return s > 6.3 ? 2.0 : 0.5;
      },
      1.0);
  EXPECT_NEAR(*found, 6.3, 0.05);
  EXPECT_EQ(calls, 4 + 6);
}

}  // namespace
}  // namespace plumb::test
