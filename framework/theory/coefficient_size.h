// How large the coefficients of the block equation are: what bounds multiply by.
#pragma once

#include "theory/host_parameters.h"
#include "theory/resolved_model.h"

namespace plumb {

/// Of one sublayer: the largest absolute value over features, and over Bernoulli draws while training (a draw
/// counts with its rescaling by 1/keep).
struct CoefficientSizes {
  double a = 1, b = 1, c = 1, e = 0, p = 1;
};

/// When coefficients are looked at.
struct CoefficientTime {
  std::int64_t step = 0;  ///< optimiser step, for schedules over time
  bool training = true;   ///< Bernoulli factors are drawn
};

/// Source: docs/design/block_equation.md for what a coefficient is; a Bernoulli step counts with
/// the 1/keep of a draw that keeps.
CoefficientSizes coefficient_sizes(const ResolvedSublayer& sublayer, std::int64_t width,
                                   const HostParameters& parameters, const CoefficientTime& time);

/// Every value of one knob over features (one number when it has one for all), without its Bernoulli factor;
/// `name` is that of its tensor if it is trained, before per_block.
std::vector<double> knob_values(const KnobConfig& knob, const std::string& name,
                                const DepthPosition& position, std::int64_t width,
                                const HostParameters& parameters, const CoefficientTime& time);

/// The largest of them, with its Bernoulli factor; `name` as above.
double knob_size(const KnobConfig& knob, const std::string& name, const DepthPosition& position,
                 std::int64_t width, const HostParameters& parameters, const CoefficientTime& time);

}  // namespace plumb
