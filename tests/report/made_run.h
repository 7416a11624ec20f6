// Runs for the tests of the report, as memory and as files.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "report/run_data.h"

namespace plumb::test {

inline RecordMatrix matrix(std::size_t columns, std::vector<float> values) {
  return {.columns = columns, .values = std::move(values)};
}

inline void write_text(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

/// A calm run: the loss falls from 5 to 1, the variance grows linearly, gradients are even.
inline RunData calm_run(int steps = 1000, int sublayers = 24) {
  RunData run;
  run.name = "calm";
  run.directory = "runs/calm";
  run.config = {{"training.steps", std::to_string(steps), "file:1"}};
  std::mt19937 generator(1);
  std::uniform_real_distribution<double> uniform(-0.5, 0.5);
  const auto next = [&] { return uniform(generator); };
  for (int step = 1; step <= steps; ++step) {
    run.metrics.steps.push_back(step);
    run.metrics.scalars["loss"].push_back(1 + 4 * std::exp(-10.0 * step / steps) + 0.05 * next());
    run.metrics.scalars["grad_norm"].push_back(1 + 0.1 * next());
    run.metrics.scalars["max_abs"].push_back(10);
    run.metrics.scalars["skipped"].push_back(0);
  }
  RecordMatrix variance{.columns = static_cast<std::size_t>(sublayers) + 1, .values = {}};
  RecordMatrix gradient = variance;
  for (const int step : {1, steps / 2, steps}) {
    run.stability.steps.push_back(step);
    for (int k = 0; k <= sublayers; ++k) {
      variance.values.push_back(static_cast<float>((1 + k) * (1 + 0.02 * next())));
      gradient.values.push_back(static_cast<float>(2 - 1.0 * k / sublayers));
    }
  }
  run.stability.arrays["profiles.stream.entry_variance"] = variance;
  run.stability.arrays["profiles.stream.gradient_norm"] = gradient;
  return run;
}

}  // namespace plumb::test
