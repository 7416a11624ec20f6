// The watch gives the bound that stream_bound() gives from the parameters themselves.
#include "theory/bound_watch.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "theory/probed_model.h"

namespace plumb::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Norms {
  std::vector<std::string> names;
  std::vector<double> gain_max_abs, bias_mean, bias_std;
  NormSizes sizes() const { return {gain_max_abs, bias_mean, bias_std}; }
};

/// As the statistics of a run have them.
Norms norms_of(ProbedModel& model) {
  Norms norms;
  const HostParameters parameters = model.parameters();
  for (const ResolvedSublayer& sublayer : model.resolved().sublayers) {
    for (const char* slot : {".norm_in", ".norm_out", ".norm_post"}) {
      const HostParameter* gain = parameters.find(sublayer.name + slot + ".gain");
      const HostParameter* bias = parameters.find(sublayer.name + slot + ".bias");
      if (gain == nullptr) continue;
      norms.names.push_back(sublayer.name + slot);
      norms.gain_max_abs.push_back(largest_of(gain->values));
      double mean = bias == nullptr ? kNaN : 0, square = 0;
      if (bias != nullptr) {
        for (double value : bias->values) {
          mean += value / static_cast<double>(bias->values.size());
          square += value * value / static_cast<double>(bias->values.size());
        }
      }
      norms.bias_mean.push_back(mean);
      norms.bias_std.push_back(bias == nullptr ? kNaN : std::sqrt(square - mean * mean));
    }
  }
  return norms;
}

struct WatchCase {
  std::string name, placement;
  std::vector<std::string> settings;
};

class Watch : public ::testing::TestWithParam<WatchCase> {};

TEST_P(Watch, AgreesWithTheBoundFromParameters) {
  const ModelConfig config = placed_model(GetParam().placement, small_model(GetParam().settings));
  ProbedModel model(config);
  model.shake(0.3);
  const Norms norms = norms_of(model);
  BoundWatch watch(config, norms.names, DType::Float32);
  for (const std::int64_t step : {0, 3}) {
    const CoefficientTime time{.step = step, .training = true};
    const StreamBound expected = stream_bound(
        model.resolved(), bound_terms(model.resolved(), model.parameters(), time, false), 5, true, 0x1p-20);
    const std::span<const double> bound = watch.bound(step, norms.sizes(), 5);
    ASSERT_EQ(bound.size(), expected.bound.size());
    EXPECT_FALSE(std::isnan(bound.back())) << "block 0 of keel has none, but a norm behind it";
    for (std::size_t k = 0; k < bound.size(); ++k) {
      if (std::isnan(expected.bound[k])) {
        EXPECT_TRUE(std::isnan(bound[k])) << k;
        continue;
      }
      EXPECT_NEAR(bound[k], expected.bound[k], 1e-9 * bound[k]) << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, Watch,
    ::testing::Values(
        WatchCase{"peri", "peri", {}}, WatchCase{"rmsnorm", "peri", {"model.norm_kind=rmsnorm"}},
        WatchCase{"l2", "peri", {"model.norm.out.kind=l2"}}, WatchCase{"post", "post", {}},
        WatchCase{"keel", "keel", {}},
        WatchCase{"ramp", "peri", {"model.residual.b.time=linear", "model.residual.b.ramp_steps=10"}},
        WatchCase{"knobs",
                  "peri",
                  {"model.residual.b.depth=1/sqrt(l)", "model.residual.a.value=0.8",
                   "model.residual.e.value=0.1", "model.residual.p.value=-1.2", "model.dropout.branch=0.1"}},
        WatchCase{"tied", "peri", {"model.residual.a.tie_to_branch=true", "model.residual.b.value=0.3"}},
        WatchCase{"tied_random",
                  "peri",
                  {"model.residual.a.tie_to_branch=true", "model.residual.b.value=0.9",
                   "model.residual.b.keep_probability=0.4"}}),
    [](const auto& test) { return test.param.name; });

// dyt: the tighter | |g| + |beta| | is not in the statistics; what is used lies above it.
TEST(WatchKinds, OfDyTLieAbove) {
  const ModelConfig config = placed_model("peri", small_model({"model.norm.out.kind=dyt"}));
  ProbedModel model(config);
  model.shake(0.3);
  const Norms norms = norms_of(model);
  BoundWatch watch(config, norms.names, DType::Float64);
  const StreamBound exact = stream_bound(
      model.resolved(),
      bound_terms(model.resolved(), model.parameters(), {.step = 0, .training = true}, false), 5, true, 0);
  const std::span<const double> bound = watch.bound(0, norms.sizes(), 5);
  for (std::size_t k = 1; k < bound.size(); ++k) EXPECT_GT(bound[k], exact.bound[k]);
  EXPECT_LT(bound.back(), 2 * exact.bound.back());
}

TEST(WatchKinds, WithoutABoundThereIsNone) {
  for (const char* placement : {"pre", "hyper-connections", "rezero"}) {
    const ModelConfig config = placed_model(placement, small_model());
    ProbedModel model(config);
    const Norms norms = norms_of(model);
    BoundWatch watch(config, norms.names, DType::Float32);
    const std::span<const double> bound = watch.bound(0, norms.sizes(), 5);
    EXPECT_EQ(bound[0], 5);
    for (std::size_t k = 1; k < bound.size(); ++k) EXPECT_TRUE(std::isnan(bound[k])) << placement;
  }
}

}  // namespace
}  // namespace plumb::test
