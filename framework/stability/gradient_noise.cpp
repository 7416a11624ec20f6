#include "stability/gradient_noise.h"

#include <cmath>

#include "core/error.h"
#include "stability/absent.h"

namespace plumb {

GradientNoise gradient_noise(double gradient_square, double mean_rank_square, double sequences, int ranks) {
  const double others = ranks - 1;
  const double square = (ranks * gradient_square - mean_rank_square) / others;
  return {.square = square,
          .trace = sequences * (mean_rank_square - gradient_square) / others,
          .agreement = mean_rank_square == 0 ? kAbsent : square / mean_rank_square};
}

NoiseScales::NoiseScales(std::int64_t entries, double decay)
    : decay_(decay), state_(static_cast<std::size_t>(entries * kColumns), 0.0) {
  PLUMB_CHECK(decay >= 0 && decay < 1, "moving averages that decay by {} a step", decay);
}

void NoiseScales::update(std::int64_t entry, std::int64_t step, const GradientNoise& noise) {
  if (!std::isfinite(noise.trace) || !std::isfinite(noise.square)) return;
  double* row = &state_[static_cast<std::size_t>(entry * kColumns)];
  const double kept = std::pow(decay_, static_cast<double>(step) - row[kStep]);
  row[kTrace] = kept * row[kTrace] + noise.trace;
  row[kSquare] = kept * row[kSquare] + noise.square;
  row[kWeight] = kept * row[kWeight] + 1;
  row[kStep] = static_cast<double>(step);
}

double NoiseScales::mean(std::int64_t entry, Column column) const {
  const double* row = &state_[static_cast<std::size_t>(entry * kColumns)];
  return row[kWeight] == 0 ? kAbsent : row[column] / row[kWeight];
}

double NoiseScales::scale(std::int64_t entry) const {
  const double denominator = square(entry);
  return denominator > 0 ? trace(entry) / denominator : kAbsent;
}

Tensor NoiseScales::state() {
  const auto entries = static_cast<std::int64_t>(state_.size()) / kColumns;
  return Tensor(state_.data(), DType::Float64, {entries, kColumns});
}

}  // namespace plumb
