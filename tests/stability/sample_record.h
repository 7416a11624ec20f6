// A record with every field set to a value of its own, for the tests of the run log.
#pragma once

#include "stability/step_record.h"

namespace plumb::test {

inline constexpr StatisticsShape kSampleShape{.sublayers = 2, .width = 4, .tensors = 3};

inline StepRecord sample_record(std::int64_t step, int world) {
  StepRecord record = make_step_record(kSampleShape, world);
  record.step = step;
  record.tokens = 256 * step;
  record.data_cursor = 8 * step;
  record.loss = 2.0 / 3.0 + static_cast<double>(step);
  record.learning_rate = 1e-3 / 3;
  record.gradient_norm = 0.1;
  record.clip_coefficient = 1;
  record.log_z_mean = 5.25;
  record.log_z_mean_square = 28;
  record.max_logit = 7.5;
  record.max_abs = 3.5;
  record.overflows = 2;
  record.step_seconds = 0.0625;
  record.tokens_per_second = 4096;
  record.sampled = true;
  double next = 0.5;
  const auto fill = [&](std::vector<double>& values) {
    for (double& value : values) value = next += 0.1;
  };
  for (auto* values : {&record.rank_loss, &record.rank_gradient_norm, &record.rank_step_seconds,
                       &record.rank_wait_seconds}) {
    fill(*values);
  }
  for (ProfileStatistics* profile : {&record.stream, &record.branch}) {
    for (auto* values :
         {&profile->mean_abs, &profile->entry_variance, &profile->data_variance, &profile->max_abs,
          &profile->rms, &profile->max_row_norm, &profile->gradient_norm, &profile->overflows}) {
      fill(*values);
    }
    for (auto* extremes : {&profile->interval_min, &profile->interval_max}) {
      for (auto* values : {&extremes->mean_abs, &extremes->entry_variance, &extremes->max_abs}) fill(*values);
    }
  }
  TensorStatistics& tensors = record.tensors;
  for (auto* values : {&tensors.gradient_norm, &tensors.parameter_norm, &tensors.update_ratio,
                       &tensors.local_min, &tensors.local_mean, &tensors.local_max, &tensors.local_std}) {
    fill(*values);
  }
  return record;
}

}  // namespace plumb::test
