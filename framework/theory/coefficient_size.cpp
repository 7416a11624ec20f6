#include "theory/coefficient_size.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/knob.h"

namespace plumb {
namespace {

/// From the stored number to the coefficient, but for the fixed factor (nn/knob.h).
double transformed(const std::string& transform, double x) {
  if (transform == "absolute") return std::abs(x);
  if (transform == "gpas") return 1 - x / (1 + std::exp(-x));
  return x;
}

/// The factor of a draw that keeps.
double kept_factor(const KnobConfig& knob, const DepthPosition& position, const CoefficientTime& time) {
  return time.training ? 1 / keep_probability(knob, position) : 1;
}

}  // namespace

std::vector<double> knob_values(const KnobConfig& knob, const std::string& name,
                                const DepthPosition& position, std::int64_t width,
                                const HostParameters& parameters, const CoefficientTime& time) {
  const double over_time = time_factor(knob, position, time.step);
  if (knob.trainable == "none") return {knob_start(knob, position, width) * over_time};
  std::vector<double> values = parameters.at(knob_parameter_name(knob, name, position)).values;
  const double factor = knob_stored_factor(knob, position, width) * over_time;
  for (double& value : values) value = factor * transformed(knob.transform, value);
  return values;
}

double knob_size(const KnobConfig& knob, const std::string& name, const DepthPosition& position,
                 std::int64_t width, const HostParameters& parameters, const CoefficientTime& time) {
  return kept_factor(knob, position, time) *
         largest_of(knob_values(knob, name, position, width, parameters, time));
}

CoefficientSizes coefficient_sizes(const ResolvedSublayer& sublayer, std::int64_t width,
                                   const HostParameters& parameters, const CoefficientTime& time) {
  const SublayerKnobs& knobs = sublayer.config.residual;
  const auto size = [&](const KnobConfig& knob, const char* letter) {
    return knob_size(knob, sublayer.name + "." + letter, sublayer.position, width, parameters, time);
  };
  CoefficientSizes sizes{.a = 1,
                         .b = size(knobs.b, "b"),
                         .c = size(knobs.c, "c"),
                         .e = size(knobs.e, "e"),
                         .p = size(knobs.p, "p")};
  if (!knobs.a.tie_to_branch) {
    sizes.a = size(knobs.a, "a");
    return sizes;
  }
  // a = 1 - b, feature by feature, with b as drawn.
  const double kept = kept_factor(knobs.b, sublayer.position, time);
  sizes.a = kept > 1 ? 1 : 0;
  for (const double b :
       knob_values(knobs.b, sublayer.name + ".b", sublayer.position, width, parameters, time)) {
    sizes.a = std::max(sizes.a, std::abs(1 - kept * b));
  }
  return sizes;
}

}  // namespace plumb
