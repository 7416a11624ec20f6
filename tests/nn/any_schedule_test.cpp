// Any placement takes any residual schedule and any kind of norm: it loads, runs, and the schedule does what
// it says.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "backend/loader.h"
#include "config/dump.h"
#include "config/schema.h"
#include "nn/engine.h"
#include "nn/placed_config.h"
#include "nn/residual_schedule.h"

namespace plumb::test {
namespace {

std::vector<std::string> with_tiny_model(std::vector<std::string> settings) {
  for (const char* setting :
       {"model.blocks=2", "model.width=8", "model.heads=2", "model.sequence_length=4"}) {
    settings.emplace_back(setting);
  }
  return settings;
}

class TinyRun {
 public:
  TinyRun(const std::string& placement, const std::vector<std::string>& settings)
      : backend_(make_backend("reference")),
        engine_(load_placed(placement, with_tiny_model(settings)).config.model, 11,
                {.batch = 1, .tokens = 4, .compute = DType::Float64}, 5, *backend_),
        loss_sums_(backend_->allocate(kHeadLossSums * sizeof(double))) {
    probes_.loss_sums = Tensor(loss_sums_.data(), DType::Float64, {kHeadLossSums});
    engine_.initialize();
  }

  /// The loss of one pass forward and backward at an optimiser step; everything must be finite.
  double loss_at(std::int64_t step) {
    const std::int32_t inputs[] = {1, 7, 3, 3}, targets[] = {7, 3, 3, 0};
    engine_.begin_step(step);
    engine_.upload_batch(inputs, targets, 0);
    auto* sums = probes_.loss_sums.as<double>();
    std::fill(sums, sums + kHeadLossSums, 0);
    engine_.forward(probes_, true);
    const double loss = sums[kHeadLossCrossEntropy] / sums[kHeadLossRows];
    EXPECT_TRUE(std::isfinite(loss)) << "step " << step;
    engine_.zero_gradients();
    engine_.backward(probes_, 0.25, nullptr, true);
    for (const Parameter* parameter : engine_.parameters().trainable()) {
      const auto* gradient = parameter->gradient.as<double>();
      const double sum = std::accumulate(gradient, gradient + parameter->gradient.elements(), 0.0);
      EXPECT_TRUE(std::isfinite(sum)) << "gradient of " << parameter->name << " at step " << step;
    }
    return loss;
  }

 private:
  std::unique_ptr<Backend> backend_;
  Engine engine_;
  Buffer loss_sums_;
  Probes probes_;
};

class AnySchedule : public testing::TestWithParam<std::string> {
 protected:
  /// Branches that are zero at the start, whatever b is.
  bool starts_as_the_identity() const {
    static const std::set<std::string> rows = {"rezero", "res-post-norm", "fixup"};
    return rows.count(GetParam()) > 0;
  }
};

TEST_P(AnySchedule, OverTime) {
  TinyRun plain(GetParam(), {});
  const double plain_loss = plain.loss_at(0);
  for (const TimeSchedule& schedule : time_schedules()) {
    if (schedule.name == "constant") continue;
    SCOPED_TRACE(schedule.name);
    TinyRun run(GetParam(),
                {"model.residual.b.time=" + std::string(schedule.name), "model.residual.b.ramp_steps=100"});
    run.loss_at(0);
    const double early = run.loss_at(5);
    EXPECT_EQ(run.loss_at(1000), plain_loss) << "past every ramp nothing is scaled";
    if (!starts_as_the_identity()) {
      EXPECT_NE(early, plain_loss);
    }
  }
}

TEST_P(AnySchedule, OverDepth) {
  TinyRun plain(GetParam(), {"model.residual.b.depth=constant"});
  const double plain_loss = plain.loss_at(0);
  for (const std::string depth :
       {"1/L", "1/sqrt(l)", "depth-mup", "completep", "cosine", "deepscalelm-branch"}) {
    SCOPED_TRACE(depth);
    std::vector<std::string> settings = {"model.residual.b.depth=" + depth};
    if (depth == "cosine") settings.emplace_back("model.residual.b.depth_end=0.25");  // 0 cannot be trained
    TinyRun run(GetParam(), settings);
    const double loss = run.loss_at(0);
    EXPECT_EQ(run.loss_at(1000), loss);
    if (!starts_as_the_identity()) {
      EXPECT_NE(loss, plain_loss);
    }
  }
}

TEST_P(AnySchedule, OverDepthAndTimeAtOnce) {
  TinyRun run(GetParam(),
              {"model.residual.b={depth='1/sqrt(L)', counts='blocks', time='prores-stagewise-1/L', "
               "ramp_steps=4, time_counts='sublayers'}"});
  std::set<double> losses;
  for (const std::int64_t step : {0, 2, 6, 10, 14, 20}) losses.insert(run.loss_at(step));
  if (!starts_as_the_identity()) {
    EXPECT_EQ(losses.size(), 6U) << "a sublayer's ramp ends after the other's";
  }
}

TEST_P(AnySchedule, ASavedConfigurationIsTheSame) {
  const LoadedConfig first =
      load_placed(GetParam(), {"model.residual.b.time=branchnorm", "model.residual.b.ramp_steps=9"});
  const LoadedConfig second = load_config(std::vector<ConfigSource>{{"config.toml", dump_config(first)}}, {},
                                          {placement_settings, placement_names});
  EXPECT_EQ(settings_text(second.config), settings_text(first.config));
  EXPECT_EQ(second.config.model.overrides.size(), first.config.model.overrides.size());
}

std::vector<std::string> row_names() {
  std::vector<std::string> names;
  for (const Placement& row : placements()) names.emplace_back(row.name);
  return names;
}

// The variants of any placement: other kinds in the place of its norms, and norms on queries, keys and
// values.
TEST_P(AnySchedule, WithEveryKindOfNorm) {
  for (const char* kind : {"layernorm", "rmsnorm", "dyt", "derf"}) {
    SCOPED_TRACE(kind);
    for (const char* inner : {"model.norm.qk.kind", "model.norm.v.kind"}) {
      TinyRun run(GetParam(), {std::string("model.norm_kind=") + kind, std::string(inner) + "=standard"});
      EXPECT_LT(run.loss_at(0), 100);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, AnySchedule, testing::ValuesIn(row_names()), [](const auto& info) {
  std::string name = info.param;
  for (char& letter : name) letter = letter == '-' ? '_' : letter;
  return name;
});

}  // namespace
}  // namespace plumb::test
