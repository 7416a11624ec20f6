// Every statistic by its definition, in float64 over the raw tensors of all ranks: plain loops that share
// nothing with the code under test.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "model_run.h"

namespace plumb::test {

/// What definitions read.
struct StepTensors {
  ModelConfig config;
  std::vector<RankTensors> ranks;
  SharedTensors shared;
  std::int64_t step = 0;                              ///< counted from 1
  std::vector<std::vector<double>> second_moments{};  ///< (P) of Adam after the step
  /// Estimates of this step and those before, per entry (whole, then tensors): {trace, square}.
  std::vector<std::vector<std::pair<double, double>>> noise;
};

struct Definition {
  std::function<std::vector<double>(const StepTensors&)> values;
  /// Errors count relative to the larger of |value| and this; 0 = the value alone.
  std::function<std::vector<double>(const StepTensors&)> scales;
};

/// By "<file>: <path>".
const std::map<std::string, Definition>& definitions();

/// {trace, square} of the gradient (entry 0) and the tensors (1 + i) in a step.
std::vector<std::pair<double, double>> noise_estimates(const StepTensors& step);

/// Of all ranks, in rank order.
Matrix all_rows(const StepTensors& step, std::vector<Matrix> RankTensors::*list, std::size_t k);
const std::vector<double>& old_value(const StepTensors& step, const std::string& name);
double square_of(const std::vector<double>& values);
double clip_factor(const StepTensors& step);
/// Adam's v after the step, over 1 - beta2^step.
double unbiased_second_moment(const StepTensors& step, std::size_t tensor, std::size_t entry);
/// From those of the step before.
void advance_second_moments(StepTensors& step);

}  // namespace plumb::test
