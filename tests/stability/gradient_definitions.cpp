#include "gradient_definitions.h"

#include <algorithm>
#include <cmath>

#include "definition_table.h"
#include "stability/absent.h"

namespace plumb::test {
namespace {

using Values = std::vector<double>;

double all_sequences(const StepTensors& step) {
  double sum = 0;
  for (const RankTensors& rank : step.ranks) sum += static_cast<double>(rank.sequences);
  return sum;
}

/// |g_r| of every rank: of tensor i, or of all.
Values local_norms(const StepTensors& step, std::ptrdiff_t tensor) {
  Values norms;
  for (const RankTensors& rank : step.ranks) {
    double square = 0;
    for (std::size_t i = 0; i < rank.gradients.size(); ++i) {
      if (tensor < 0 || i == static_cast<std::size_t>(tensor)) square += square_of(rank.gradients[i]);
    }
    norms.push_back(std::sqrt(square));
  }
  return norms;
}

double reduced_square(const StepTensors& step, std::ptrdiff_t tensor) {
  if (tensor >= 0) return square_of(step.shared.gradients[static_cast<std::size_t>(tensor)]);
  double square = 0;
  for (const Values& gradient : step.shared.gradients) square += square_of(gradient);
  return square;
}

double mean_rank_square(const StepTensors& step, std::ptrdiff_t tensor) {
  const Values norms = local_norms(step, tensor);
  double m = 0;
  for (std::size_t r = 0; r < norms.size(); ++r)
    m += static_cast<double>(step.ranks[r].sequences) / all_sequences(step) * norms[r] * norms[r];
  return m;
}

double rank_count(const StepTensors& step) { return static_cast<double>(step.ranks.size()); }

double noise_square(const StepTensors& step, std::ptrdiff_t tensor) {
  const double ranks = rank_count(step);
  return (ranks * reduced_square(step, tensor) - mean_rank_square(step, tensor)) / (ranks - 1);
}

double noise_trace(const StepTensors& step, std::ptrdiff_t tensor) {
  return all_sequences(step) * (mean_rank_square(step, tensor) - reduced_square(step, tensor)) /
         (rank_count(step) - 1);
}

double trace_scale(const StepTensors& step, std::ptrdiff_t tensor) {
  return all_sequences(step) * mean_rank_square(step, tensor) / (rank_count(step) - 1);
}

enum Smoothed { kTrace, kSquare, kScale };

double smoothed(const StepTensors& step, std::size_t entry, Smoothed which) {
  double trace = 0, square = 0, weights = 0;
  for (std::size_t t = 0; t < step.noise.size(); ++t) {
    const double weight = std::pow(0.99, static_cast<double>(step.noise.size() - 1 - t));
    trace += weight * step.noise[t][entry].first;
    square += weight * step.noise[t][entry].second;
    weights += weight;
  }
  if (which == kTrace) return trace / weights;
  if (which == kSquare) return square / weights;
  return square > 0 ? trace / square : kAbsent;
}

double dispersion(const StepTensors& step, std::ptrdiff_t tensor) {
  const Values norms = local_norms(step, tensor);
  return std::sqrt(variance_of(norms)) / mean_of(norms);
}

void define_gradients(DefinitionTable& table) {
  table.of_gradient("grad_norm", [](const StepTensors& step, std::ptrdiff_t i) {
    return std::sqrt(reduced_square(step, i));
  });
  table.metric("clip_coef", clip_factor);
  const DefinitionTable::OfTensor one = [](const StepTensors&, std::ptrdiff_t) { return 1.0; };
  const DefinitionTable::OfTensor agreement = [](const StepTensors& step, std::ptrdiff_t i) {
    return noise_square(step, i) / mean_rank_square(step, i);
  };
  table.of_gradient("grad_dispersion", dispersion);
  table.of_gradient("grad_agreement", agreement, one);
  table.of_gradient("noise_square", noise_square, mean_rank_square);
  table.of_gradient("noise_trace", noise_trace, trace_scale);
  const DefinitionTable::OfTensor scale = [](const StepTensors& step, std::ptrdiff_t i) {
    return smoothed(step, static_cast<std::size_t>(1 + i), kScale);
  };
  // What an error of m in the denominator does to the ratio.
  const DefinitionTable::OfTensor scale_of_scale = [](const StepTensors& step, std::ptrdiff_t i) {
    const auto entry = static_cast<std::size_t>(1 + i);
    const double square = smoothed(step, entry, kSquare);
    return smoothed(step, entry, kTrace) * mean_rank_square(step, i) / (square * square);
  };
  table.metric(
      "noise_square_smoothed", [](const StepTensors& step) { return smoothed(step, 0, kSquare); },
      [](const StepTensors& step) { return mean_rank_square(step, -1); });
  table.metric("noise_trace_smoothed", [](const StepTensors& step) { return smoothed(step, 0, kTrace); });
  table.of_gradient("noise_scale", scale, scale_of_scale);
  table.tensors("grad_dispersion", dispersion);
  table.tensors("grad_agreement", agreement, one);
  table.tensors("noise_square", noise_square, mean_rank_square);
  table.tensors("noise_trace", noise_trace, trace_scale);
  table.tensors("noise_scale", scale, scale_of_scale);
  table.tensors("grad_norm",
                [](const StepTensors& step, std::ptrdiff_t i) { return std::sqrt(reduced_square(step, i)); });
  const auto spread = [&](const std::string& name, double (*f)(const Values&)) {
    table.tensors("grad_norm_local." + name,
                  [f](const StepTensors& step, std::ptrdiff_t i) { return f(local_norms(step, i)); });
  };
  table.of_gradient("grad_argmax_rank", [](const StepTensors& step, std::ptrdiff_t i) {
    const Values norms = local_norms(step, i);
    return static_cast<double>(std::max_element(norms.begin(), norms.end()) - norms.begin());
  });
  spread("min", smallest_of);
  spread("mean", mean_of);
  spread("max", largest_of);
  spread("std", [](const Values& norms) { return std::sqrt(variance_of(norms)); });
  spread("argmax_rank", [](const Values& norms) {
    return static_cast<double>(std::max_element(norms.begin(), norms.end()) - norms.begin());
  });
  table.ranks("grad_norm", [](const RankTensors& rank) {
    double square = 0;
    for (const Values& gradient : rank.gradients) square += square_of(gradient);
    return std::sqrt(square);
  });
}

}  // namespace

double clip_factor(const StepTensors& step) { return std::min(1.0, 1 / std::sqrt(reduced_square(step, -1))); }

std::vector<std::pair<double, double>> noise_estimates(const StepTensors& step) {
  std::vector<std::pair<double, double>> estimates;
  const auto tensors = static_cast<std::ptrdiff_t>(step.shared.names.size());
  for (std::ptrdiff_t i = -1; i < tensors; ++i)
    estimates.emplace_back(noise_trace(step, i), noise_square(step, i));
  return estimates;
}

std::map<std::string, Definition> gradient_definitions() {
  DefinitionTable table;
  define_gradients(table);
  return table.take();
}

}  // namespace plumb::test
