// Every statistic of a model that trains equals its definition over the raw tensors of all ranks, on one rank
// and on four of unequal size; and other backends give what the reference gives.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
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
  config.sequence_length = kTokens;
  config.ffn_hidden = 12;
  config.init.standard_deviation = 0.3;
  config.init.embedding_standard_deviation = 0.7;
  config.base.norm.in.kind = config.base.norm.out.kind = config.final_norm.kind = "layernorm";
  // So that some of what is counted is there and some is not.
  config.base.norm.in.epsilon = 0.05;
  config.base.norm.out.epsilon = 0.02;
  config.base.norm.ffn_inner.kind = "dyt";
  config.base.norm.ffn_inner.alpha_init = 2;
  config.base.residual.b.value = kResidualStep;  // times a trained vector
  config.base.residual.b.trainable = "vector";
  config.base.residual.b.storage = "unit";
  return config;
}

/// What is no statistic of tensors: counts, times and settings, tested elsewhere.
bool is_bookkeeping(const RecordField& field) {
  static const std::set<std::string> names = {
      "step",         "tokens",       "data_cursor",       "lr",        "skipped", "tokens_per_s",
      "step_seconds", "wait_seconds", "preempted_seconds", "loss_scale"};
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

/// Calls f(field, natural scales) for every statistic.
template <class Compare>
void for_statistics(const StepRecord& record, const StepTensors& step, Compare&& f) {
  for (const RecordField& field : record.layout->fields()) {
    if (is_bookkeeping(field)) continue;
    const auto found = definitions().find(name_of(field));
    ASSERT_NE(found, definitions().end()) << name_of(field) << " has no definition in the tests";
    const Definition& definition = found->second;
    f(field, definition,
      definition.scales ? definition.scales(step) : std::vector<double>(record.of(field).size(), 0.0));
  }
}

/// A model that trains, and its raw tensors.
struct Reference {
  ModelRun run{tiny_config(), "reference", DType::Float64, ranks()};
  StepTensors tensors{
      .config = run.config(), .ranks = {}, .shared = {}, .step = 0, .second_moments = {}, .noise = {}};

  const StepRecord& step() {
    const StepRecord& record = run.step(/*keep=*/true);
    tensors.ranks = run.ranks();
    tensors.shared = run.shared();
    tensors.step += 1;
    advance_second_moments(tensors);
    tensors.noise.push_back(noise_estimates(tensors));
    return record;
  }
};

TEST(EveryStatistic, EqualsItsDefinition) {
  Reference reference;
  for (int step = 0; step < 3; ++step) {
    const StepRecord& record = reference.step();
    for_statistics(
        record, reference.tensors,
        [&](const RecordField& field, const Definition& definition, const std::vector<double>& scales) {
          const std::vector<double> expected = definition.values(reference.tensors);
          const auto actual = record.of(field);
          ASSERT_EQ(actual.size(), expected.size()) << name_of(field);
          // Gradients are compared with finite differences, which are good to about 1e-8.
          for (std::size_t i = 0; i < actual.size(); ++i)
            expect_value(actual[i], expected[i], scales[i], 1e-6, fmt::format("{} {}", name_of(field), i));
        });
  }
}

TEST(EveryStatistic, HasADefinitionOnlyIfItIsOne) {
  std::set<std::string> fields;
  const RecordLayout layout({.sublayers = 1, .width = 1, .tensors = 1, .norms = 1}, 2, all_statistics());
  for (const RecordField& field : layout.fields()) fields.insert(name_of(field));
  for (const auto& [name, definition] : definitions()) EXPECT_EQ(fields.count(name), 1u) << name;
}

TEST(EveryStatistic, OfAShareIsTriedBetweenNoneAndAll) {
  Reference reference;
  const StepRecord& record = reference.step();
  for (const char* path :
       {"norms.small_variance", "norms.saturation", "ffn.dead_units", "tensors.eps_dominance"}) {
    const auto values = record.of(log_file::kStability, path);
    EXPECT_TRUE(std::any_of(values.begin(), values.end(), [](double share) {
      return share > 0 && share < 1;
    })) << path;
  }
}

TEST(EveryStatistic, IsTheSameOnEveryBackend) {
  for (const std::string& backend : tested_backends()) {
    if (backend == "reference") continue;
    Reference reference;
    ModelRun other(tiny_config(), backend, DType::Float32, ranks());
    for (int step = 0; step < 2; ++step) {
      const StepRecord& expected = reference.step();
      const StepRecord& actual = other.step(/*keep=*/false);
      for_statistics(expected, reference.tensors,
                     [&](const RecordField& field, const Definition&, const std::vector<double>& scales) {
                       const auto values = expected.of(field);
                       for (std::size_t i = 0; i < values.size(); ++i)
                         expect_value(actual.of(field)[i], values[i], scales[i], 1e-4,
                                      fmt::format("{}: {} {}", backend, name_of(field), i));
                     });
    }
  }
}

}  // namespace
}  // namespace plumb::test
