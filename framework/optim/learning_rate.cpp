#include "optim/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/error.h"

namespace plumb {
namespace {

/// How far `step` is from `begin` to `end`, in [0, 1].
double progress(std::int64_t step, std::int64_t begin, std::int64_t end) {
  if (step <= begin) return 0;
  if (step >= end) return 1;
  return static_cast<double>(step - begin) / static_cast<double>(end - begin);
}

/// Share of the peak after warm-up.
double decay_factor(const LearningRate& schedule, std::int64_t step, std::int64_t peak_step) {
  const std::int64_t last_step = std::max(schedule.total_steps - 1, peak_step);
  const double final_ratio = schedule.final_ratio;
  switch (schedule.kind) {
    case LearningRateKind::Cosine: {
      const double t = progress(step, peak_step, last_step);
      return final_ratio + (1 - final_ratio) * (1 + std::cos(std::numbers::pi * t)) / 2;
    }
    case LearningRateKind::Linear:
      return 1 - (1 - final_ratio) * progress(step, peak_step, last_step);
    case LearningRateKind::Wsd: {
      const std::int64_t decaying =
          std::llround(schedule.decay_fraction * static_cast<double>(schedule.total_steps));
      const std::int64_t begin = std::max(peak_step, last_step - decaying);
      return 1 - (1 - final_ratio) * progress(step, begin, last_step);
    }
    case LearningRateKind::Constant:
      return 1;
  }
  fail("learning-rate kind {} has no rule", static_cast<int>(schedule.kind));
}

}  // namespace

LearningRateKind learning_rate_kind_from_name(const std::string& name) {
  if (name == "cosine") return LearningRateKind::Cosine;
  if (name == "linear") return LearningRateKind::Linear;
  if (name == "wsd") return LearningRateKind::Wsd;
  if (name == "constant") return LearningRateKind::Constant;
  fail_input("learning-rate kind '{}' is unknown; known: cosine, linear, wsd, constant", name);
}

double learning_rate_at(const LearningRate& schedule, std::int64_t step) {
  PLUMB_CHECK(step >= 0 && schedule.total_steps >= 1 && schedule.warmup_steps >= 0,
              "learning rate of step {} of {} with {} steps of warm-up", step, schedule.total_steps,
              schedule.warmup_steps);
  if (step < schedule.warmup_steps) {
    return schedule.peak * static_cast<double>(step + 1) / static_cast<double>(schedule.warmup_steps);
  }
  const std::int64_t peak_step = std::max<std::int64_t>(schedule.warmup_steps - 1, 0);
  return schedule.peak * decay_factor(schedule, step, peak_step);
}

}  // namespace plumb
