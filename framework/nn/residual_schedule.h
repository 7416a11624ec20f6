// Residual schedules: how a knob's factor depends on depth and on the optimiser step.
#pragma once

#include <cstdint>

#include "config/model_config.h"

namespace plumb {

/// Where a sublayer stands: k of K sublayers, in block l of L (both counted from 0).
struct DepthPosition {
  std::int64_t sublayer = 0, sublayers = 1;
  std::int64_t block = 0, blocks = 1;
};

/// The factor over depth, with n = number of units and i = 1-based index of the unit that knob.counts names
/// (sublayers or blocks):  constant 1;  "1/L" 1/n;  "1/sqrt(L)" 1/sqrt(n);  "1/l" 1/i;  "1/sqrt(l)"
/// 1/sqrt(i); list: the i-th entry.
double depth_factor(const KnobConfig& knob, const DepthPosition& position);

/// The factor at optimiser step t (0 = first):  constant 1;  linear time_start + (1 - time_start) min(t/ramp,
/// 1).
double time_factor(const KnobConfig& knob, std::int64_t step);

/// Keep probability of a Bernoulli knob: constant, or falling linearly with depth to keep_probability at the
/// last sublayer: 1 - (k+1)/K (1 - keep)  (arXiv 1603.09382, l counted from 1).
double keep_probability(const KnobConfig& knob, const DepthPosition& position);

}  // namespace plumb
