// Residual schedules: how a knob's factor depends on depth and on the optimiser step. Rows of data; adding a
// schedule is adding a row here and its name to the schema (config/schema_sublayer.cpp).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "config/model_config.h"

namespace plumb {

/// Where a sublayer stands: k of K sublayers, in block l of L (both counted from 0).
struct DepthPosition {
  std::int64_t sublayer = 0, sublayers = 1;
  std::int64_t block = 0, blocks = 1;
};

/// A place among the units that a schedule counts: number l = 1..L.
struct Ordinal {
  double number = 1, count = 1;
};

struct DepthSchedule {
  std::string_view name;
  std::string_view formula;  ///< with L units, l = 1..L, base = depth_base
  std::string_view citation;
  std::string_view certainty;
  double (*factor)(const KnobConfig& knob, const Ordinal& unit);
  bool counts_blocks = false;  ///< always, whatever the knob's `counts` says
};

struct TimeSchedule {
  std::string_view name;
  std::string_view formula;  ///< at optimiser step t = 0, 1, ..., with T = ramp_steps
  std::string_view citation;
  std::string_view certainty;
  double (*factor)(const KnobConfig& knob, const Ordinal& unit, double step);
};

const std::vector<DepthSchedule>& depth_schedules();
const std::vector<TimeSchedule>& time_schedules();

/// The place of a sublayer when `counts` is "blocks" or "sublayers".
Ordinal ordinal_of(const DepthPosition& position, bool by_block);

/// Whether L and l of its depth schedule count blocks.
bool counts_blocks(const KnobConfig& knob);

/// The factor over depth under the row named knob.depth. A number shared by a block counts blocks.
double depth_factor(const KnobConfig& knob, const DepthPosition& position);

/// The factor at optimiser step t (0 = first) under the row named knob.time.
double time_factor(const KnobConfig& knob, const DepthPosition& position, std::int64_t step);

/// Keep probability of a Bernoulli knob: constant, or falling linearly with depth to keep_probability at the
/// last sublayer: 1 - (k+1)/K (1 - keep)  (arXiv 1603.09382, l counted from 1).
double keep_probability(const KnobConfig& knob, const DepthPosition& position);

}  // namespace plumb
