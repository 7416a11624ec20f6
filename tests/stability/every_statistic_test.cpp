// Every statistic of a model that trains equals its definition over the raw tensors of all ranks, on one rank
// and on four of unequal size; and other backends give what the reference gives.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "backend/tested_backends.h"
#include "comm/ranks.h"
#include "definitions.h"
#include "stability/absent.h"
#include "stability/statistics_table.h"

namespace plumb::test {
namespace {

ModelConfig tiny_config() {
  ModelConfig config;
  config.blocks = 2;
  config.width = 8;
  config.heads = 2;
  config.sequence_length = 5;
  config.ffn_hidden = 12;
  config.init.standard_deviation = 0.3;
  config.init.embedding_standard_deviation = 0.7;
  config.base.norm.in.kind = config.base.norm.out.kind = config.final_norm.kind = "layernorm";
  config.base.residual.b.value = kResidualStep;  // times a trained vector
  config.base.residual.b.trainable = "vector";
  config.base.residual.b.storage = "unit";
  return config;
}

/// What is no statistic of tensors: counts, times and settings, tested elsewhere.
bool is_bookkeeping(const RecordField& field) {
  static const std::set<std::string> names = {"step",         "tokens",       "data_cursor",
                                              "lr",           "skipped",      "tokens_per_s",
                                              "step_seconds", "wait_seconds", "loss_scale"};
  return names.count(field.path) > 0 || field.statistic->formula == nullptr;
}

std::string name_of(const RecordField& field) {
  return std::string(field.statistic->file) + ": " + field.path;
}

/// error: of the larger of |expected| and the natural scale.
void expect_value(double actual, double expected, double scale, double error, const std::string& what) {
  if (is_absent(expected)) {
    EXPECT_TRUE(is_absent(actual)) << what << " is " << actual;
  } else {
    EXPECT_NEAR(actual, expected, error * std::max(std::abs(expected), scale)) << what;
  }
}

void compare(const StepRecord& record, const StepTensors& step, double error) {
  for (const RecordField& field : record.layout->fields()) {
    if (is_bookkeeping(field)) continue;
    const auto definition = definitions().find(name_of(field));
    ASSERT_NE(definition, definitions().end()) << name_of(field) << " has no definition in the tests";
    const std::vector<double> expected = definition->second.values(step);
    const auto scales = definition->second.scales ? definition->second.scales(step)
                                                  : std::vector<double>(expected.size(), 0.0);
    const auto actual = record.of(field);
    ASSERT_EQ(actual.size(), expected.size()) << name_of(field);
    for (std::size_t i = 0; i < actual.size(); ++i)
      expect_value(actual[i], expected[i], scales[i], error, name_of(field) + " " + std::to_string(i));
  }
}

TEST(EveryStatistic, EqualsItsDefinition) {
  ModelRun run(tiny_config(), "reference", DType::Float64, ranks());
  StepTensors step;
  step.config = run.config();
  for (step.step = 1; step.step <= 3; ++step.step) {
    const StepRecord& record = run.step(/*keep=*/true);
    step.ranks = run.ranks();
    step.shared = run.shared();
    step.noise.push_back(noise_estimates(step));
    // Gradients are compared with finite differences, which are good to about 1e-8.
    compare(record, step, 1e-6);
  }
}

TEST(EveryStatistic, HasADefinitionOnlyIfItIsOne) {
  std::set<std::string> fields;
  const RecordLayout layout({.sublayers = 1, .width = 1, .tensors = 1, .norms = 1}, 2, all_statistics());
  for (const RecordField& field : layout.fields()) fields.insert(name_of(field));
  for (const auto& [name, definition] : definitions()) EXPECT_EQ(fields.count(name), 1u) << name;
}

TEST(EveryStatistic, IsTheSameOnEveryBackend) {
  for (const std::string& backend : tested_backends()) {
    if (backend == "reference") continue;
    ModelRun reference(tiny_config(), "reference", DType::Float64, ranks()),
        other(tiny_config(), backend, DType::Float32, ranks());
    for (int step = 0; step < 2; ++step) {
      const StepRecord& expected = reference.step(false);
      const StepRecord& actual = other.step(false);
      for (const RecordField& field : expected.layout->fields()) {
        const auto values = expected.of(field);
        for (std::size_t i = 0; i < values.size(); ++i)
          expect_value(actual.of(field)[i], values[i], 1e-3, 1e-4,
                       backend + ": " + name_of(field) + " " + std::to_string(i));
      }
    }
  }
}

}  // namespace
}  // namespace plumb::test
