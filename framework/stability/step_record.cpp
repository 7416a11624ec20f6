#include "stability/step_record.h"

#include <limits>

namespace plumb {
namespace {

constexpr double kUnset = std::numeric_limits<double>::quiet_NaN();

ProfileStatistics make_profile(std::int64_t probes) {
  const std::vector<double> values(static_cast<std::size_t>(probes), kUnset);
  const ProfileStatistics::Extremes extremes{values, values, values};
  return {.mean_abs = values,
          .entry_variance = values,
          .data_variance = values,
          .max_abs = values,
          .rms = values,
          .max_row_norm = values,
          .gradient_norm = values,
          .overflows = values,
          .interval_min = extremes,
          .interval_max = extremes};
}

}  // namespace

StepRecord make_step_record(const StatisticsShape& shape, int world) {
  StepRecord record;
  record.world = world;
  const std::vector<double> ranks(static_cast<std::size_t>(world), kUnset);
  record.rank_loss = record.rank_gradient_norm = record.rank_step_seconds = record.rank_wait_seconds = ranks;
  record.stream = make_profile(shape.sublayers + 1);
  record.branch = make_profile(shape.sublayers);
  const std::vector<double> tensors(static_cast<std::size_t>(shape.tensors), kUnset);
  record.tensors.gradient_norm = record.tensors.parameter_norm = record.tensors.update_ratio = tensors;
  if (world > 1) {
    TensorStatistics& t = record.tensors;
    t.local_min = t.local_mean = t.local_max = t.local_std = tensors;
    t.local_argmax_rank.assign(tensors.size(), 0);
  }
  return record;
}

}  // namespace plumb
