#include "nn/residual_schedule.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace plumb {

double depth_factor(const KnobConfig& knob, const DepthPosition& position) {
  const bool by_block = knob.counts == "blocks";
  const auto count = static_cast<double>(by_block ? position.blocks : position.sublayers);
  const std::int64_t index = by_block ? position.block : position.sublayer;
  const auto ordinal = static_cast<double>(index + 1);
  if (knob.depth == "constant") return 1;
  if (knob.depth == "1/L") return 1 / count;
  if (knob.depth == "1/sqrt(L)") return 1 / std::sqrt(count);
  if (knob.depth == "1/l") return 1 / ordinal;
  if (knob.depth == "1/sqrt(l)") return 1 / std::sqrt(ordinal);
  PLUMB_CHECK(knob.depth == "list", "unknown depth schedule '{}'", knob.depth);
  PLUMB_CHECK(knob.list.size() == static_cast<std::size_t>(count), "schedule list has {} entries for {} {}",
              knob.list.size(), count, knob.counts);
  return knob.list[static_cast<std::size_t>(index)];
}

double time_factor(const KnobConfig& knob, std::int64_t step) {
  if (knob.time == "constant") return 1;
  PLUMB_CHECK(knob.time == "linear", "unknown time schedule '{}'", knob.time);
  const double ramp = std::min(1.0, static_cast<double>(step) / static_cast<double>(knob.ramp_steps));
  return knob.time_start + (1 - knob.time_start) * ramp;
}

double keep_probability(const KnobConfig& knob, const DepthPosition& position) {
  if (knob.keep_depth != "linear") return knob.keep_probability;
  const double height = static_cast<double>(position.sublayer + 1) / static_cast<double>(position.sublayers);
  return 1 - height * (1 - knob.keep_probability);
}

}  // namespace plumb
