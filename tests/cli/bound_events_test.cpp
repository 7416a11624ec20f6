// A stream above its bound is found in the record of a real step, with layer, step and both sides.
#include "bound_events.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/loader.h"
#include "config/batch.h"
#include "lm_task.h"
#include "nn/placed_config.h"
#include "session.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"
#include "training_loop.h"

namespace plumb::test {
namespace {

struct OneStep {
  Session session;
  LoadedConfig loaded;
  LanguageModelTask task;
  std::unique_ptr<Backend> backend = make_backend("reference");
  std::unique_ptr<TrainingLoop> loop;
  StepRecord record;
  std::vector<std::string> norms;

  explicit OneStep(const std::string& placement)
      : loaded(load_placed(placement, {"model.blocks=2", "model.width=16", "model.heads=2",
                                       "model.sequence_length=8", "log.stability_every=1"})),
        task(make_language_model_task(loaded.config)),
        loop(std::make_unique<TrainingLoop>(session, loaded, check_batch(loaded, 1), task, *backend,
                                            DType::Float64)) {
    loop->start();
    record = loop->single_step();
    for (const NormParameters& norm : loop->engine().parameters().norms()) norms.push_back(norm.name);
  }
  double& row_norm(std::size_t level) {
    const RecordField* field = record.layout->find(log_file::kStability, "profiles.stream.max_row_norm");
    return record.values[static_cast<std::size_t>(field->place) + level];
  }
};

// The bound of level k is |x_0| + k sqrt(width) at init; a row is put at 1.01 of it.
TEST(BoundEvents, ARowAboveItsBoundIsOne) {
  OneStep step("peri");
  BoundWatch watch(step.loaded.config.model, step.norms, DType::Float64);
  EXPECT_TRUE(check_bounds(watch, step.record).empty());
  const double bound = step.row_norm(0) + 3 * 4;
  step.row_norm(3) *= 1.01 * bound / step.row_norm(3);
  const std::vector<BoundViolation> found = check_bounds(watch, step.record);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].level, 3);
  EXPECT_EQ(found[0].step, 1);
  EXPECT_EQ(found[0].sublayer, "blocks.1.attention");
  EXPECT_NEAR(found[0].bound, bound, 1e-6 * bound);
  EXPECT_NEAR(found[0].measured / found[0].bound, 1.01, 1e-6);
  const auto logged = step.record.of(log_file::kStability, "bounds.row_norm");
  const auto shares = step.record.of(log_file::kStability, "bounds.share");
  EXPECT_EQ(logged[3], found[0].bound);
  EXPECT_NEAR(shares[3], 1.01, 1e-6);
  for (std::size_t k : {1, 2, 4}) EXPECT_NEAR(shares[k], step.row_norm(k) / logged[k], 1e-12);
  EXPECT_TRUE(is_absent(logged[0]));
  step.record.sampled = false;
  EXPECT_TRUE(check_bounds(watch, step.record).empty()) << "profiles of another step";
}

TEST(BoundEvents, WithoutABoundThereAreNone) {
  for (const char* placement : {"pre", "none", "hyper-connections"}) {
    OneStep step(placement);
    BoundWatch watch(step.loaded.config.model, step.norms, DType::Float64);
    step.row_norm(2) *= 1e6;
    EXPECT_TRUE(check_bounds(watch, step.record).empty()) << placement;
    for (double bound : step.record.of(log_file::kStability, "bounds.row_norm"))
      EXPECT_TRUE(is_absent(bound)) << placement;
  }
}

}  // namespace
}  // namespace plumb::test
