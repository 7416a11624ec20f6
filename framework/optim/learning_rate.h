// The learning rate of every step: a pure function, so that a resumed run needs no state for it.
#pragma once

#include <cstdint>
#include <string>

namespace plumb {

enum class LearningRateKind {
  Cosine,    ///< half a cosine from the peak to the final rate, arXiv 1608.03983 without restarts
  Linear,    ///< a straight line from the peak to the final rate
  Wsd,       ///< warm-up, stable, decay: the peak, then a straight line over the last steps; arXiv 2405.18392
  Constant,  ///< the peak
};

/// "cosine", "linear", "wsd", "constant"; anything else is an InputError that lists them.
LearningRateKind learning_rate_kind_from_name(const std::string& name);

struct LearningRate {
  LearningRateKind kind = LearningRateKind::Cosine;
  double peak = 1e-3;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 1;
  double final_ratio = 0.1;     ///< rate of the last step / peak
  double decay_fraction = 0.2;  ///< wsd: share of total_steps, at the end, that decays
};

/// Rate of a step counted from 0. Warm-up: peak (step + 1) / warmup_steps for step < warmup_steps, so the
/// peak is reached at step w = max(warmup_steps - 1, 0). From there to the last step total_steps - 1, with t
/// = (step - w) / (total_steps - 1 - w) and f = final_ratio:
///   cosine: peak (f + (1 - f) (1 + cos(pi t)) / 2);   linear: peak (1 - (1 - f) t);   constant: peak;
///   wsd: peak until n = round(decay_fraction total_steps) steps are left (never from before w), then linear
///   over those n.
/// Steps after the last one have the last one's rate.
double learning_rate_at(const LearningRate& schedule, std::int64_t step);

}  // namespace plumb
