#include "stability/step_sources.h"

#include <cmath>
#include <limits>

#include "core/maximum.h"
#include "stability/absent.h"

namespace plumb {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

const double* StepSources::row(int rank) const {
  return &views_.rows[index(rank * layout_.row_elements(cadence_))];
}

double StepSources::sum_of(std::int64_t place) const {
  double sum = 0;
  for (int rank = 0; rank < world_; ++rank) sum += row(rank)[place];
  return sum;
}

double StepSources::largest_of(std::int64_t place) const {
  double largest = -kInfinity;
  for (int rank = 0; rank < world_; ++rank) largest = maximum_or_nan(row(rank)[place], largest);
  return largest;
}

double StepSources::smallest_of(std::int64_t place) const {
  double smallest = kInfinity;
  for (int rank = 0; rank < world_; ++rank) smallest = minimum_or_nan(row(rank)[place], smallest);
  return smallest;
}

double StepSources::rank_gradient_norm(int rank) const {
  return views_.targets_factors[index(rank)] * std::sqrt(row(rank)[kRowGradientSquare]);
}

double StepSources::adam_lag(std::int64_t tensor) const {
  const std::int64_t entries = count_at(shape_.tensor_entries, tensor);
  const double squares = optimizer(kLagSquares, tensor);
  if (scalars_.skipped || entries == 0 || is_absent(squares)) return kAbsent;
  return std::sqrt(squares / static_cast<double>(entries));
}

double StepSources::eps_dominated(std::int64_t tensor) const {
  return scalars_.skipped ? kAbsent : optimizer(kEpsDominated, tensor);
}

double StepSources::moment(std::int64_t probe, MomentScalar scalar) const {
  return views_.sums[index(probe * kSummedMoments + scalar)];
}

double StepSources::entries(std::int64_t probe) const {
  return moment(probe, kMomentRows) * static_cast<double>(shape_.width);
}

double StepSources::interval_minimum(std::int64_t probe, TrackedValue value) const {
  return smallest_of(layout_.row_minima() + probe * kTrackedValues + value);
}

double StepSources::interval_maximum(std::int64_t probe, TrackedValue value) const {
  return largest_of(layout_.row_maxima() + probe * kTrackedValues + value);
}

double StepSources::summed(PartName part, std::int64_t i) const {
  return views_.sums[index(layout_.part(part).exchanged + i)];
}

double StepSources::common(PartName part, std::int64_t i) const {
  return views_.parts[index(layout_.part(part).device + i)];
}

double StepSources::column_mean(std::int64_t probe, std::int64_t feature) const {
  const std::int64_t i = probe * shape_.width + feature;
  return views_.shift[index(i)] + summed(kColumnSumPart, i) / moment(probe, kMomentRows);
}

// With d = x - shift: Var(x) = mean(d^2) - mean(d)^2.
double StepSources::column_variance(std::int64_t probe, std::int64_t feature) const {
  const std::int64_t i = probe * shape_.width + feature;
  const double rows = moment(probe, kMomentRows), mean = summed(kColumnSumPart, i) / rows;
  const double variance = summed(kColumnSquarePart, i) / rows - mean * mean;
  return variance < 0 ? 0 : variance;  // rounding below zero; a NaN passes
}

double StepSources::local_norm(int rank, std::int64_t tensor) const {
  return views_.targets_factors[index(rank)] *
         std::sqrt(row(rank)[layout_.part(kTensorsPart).exchanged + tensor]);
}

template <class NormOfRank>
RankSpread StepSources::spread(NormOfRank&& norm_of) const {
  const double first = norm_of(0);
  RankSpread spread{.minimum = first, .mean = first, .maximum = first};
  for (int rank = 1; rank < world_; ++rank) {
    const double norm = norm_of(rank);
    if (norm > spread.maximum || (std::isnan(norm) && !std::isnan(spread.maximum))) spread.argmax = rank;
    spread.minimum = minimum_or_nan(norm, spread.minimum);
    spread.maximum = maximum_or_nan(norm, spread.maximum);
    spread.mean += norm;
  }
  spread.mean /= world_;
  double squares = 0;
  for (int rank = 0; rank < world_; ++rank) {
    const double difference = norm_of(rank) - spread.mean;
    squares += difference * difference;
  }
  spread.standard_deviation = std::sqrt(squares / world_);
  return spread;
}

RankSpread StepSources::gradient_spread() const {
  return spread([this](int rank) { return rank_gradient_norm(rank); });
}

RankSpread StepSources::loss_spread() const {
  return spread([this](int rank) { return rank_loss(rank); });
}

std::int64_t StepSources::first_sequence(int rank) const {
  double of_others = 0;  // of this rank and those after it
  for (int other = rank; other < world_; ++other) of_others += row(other)[kRowSequences];
  return scalars_.data_cursor - static_cast<std::int64_t>(of_others);
}

RankSpread StepSources::local_spread(std::int64_t tensor) const {
  return spread([&](int rank) { return local_norm(rank, tensor); });
}

int StepSources::ranks_with_sequences() const {
  int ranks = 0;
  for (int rank = 0; rank < world_; ++rank) ranks += row(rank)[kRowSequences] > 0 ? 1 : 0;
  return ranks;
}

template <class NormOfRank>
GradientNoise StepSources::noise(double gradient_square, NormOfRank&& norm_of) const {
  const int ranks = ranks_with_sequences();
  if (ranks < 2) return {.square = kAbsent, .trace = kAbsent, .agreement = kAbsent};
  const double sequences = sum_of(kRowSequences);
  double mean_square = 0;
  for (int rank = 0; rank < world_; ++rank) {
    const double norm = norm_of(rank);
    mean_square += row(rank)[kRowSequences] / sequences * norm * norm;
  }
  return plumb::gradient_noise(gradient_square, mean_square, sequences, ranks);
}

GradientNoise StepSources::gradient_noise() const {
  const double norm = scalars_.gradient_norm;
  return noise(norm * norm, [this](int rank) { return rank_gradient_norm(rank); });
}

GradientNoise StepSources::tensor_noise(std::int64_t tensor) const {
  return noise(reduced_square(tensor), [&](int rank) { return local_norm(rank, tensor); });
}

}  // namespace plumb
