#include "theory/norm_size.h"

#include <cmath>

namespace plumb {
namespace {

std::span<const double> values_of(const HostParameters& parameters, const std::string& name) {
  const HostParameter* found = parameters.find(name);
  return found == nullptr ? std::span<const double>() : std::span<const double>(found->values);
}

double at_or(std::span<const double> values, std::size_t i, double otherwise) {
  return values.empty() ? otherwise : values[i];
}

}  // namespace

double norm_size(NormKind kind, std::int64_t width, std::span<const double> gain,
                 std::span<const double> bias) {
  const double largest_gain = gain.empty() ? 1 : largest_of(gain);
  switch (kind) {
    case NormKind::LayerNorm:
    case NormKind::RmsNorm:
      return std::sqrt(static_cast<double>(width)) * largest_gain + norm_of(bias);
    case NormKind::L2:
      return largest_gain + norm_of(bias);
    case NormKind::DyT:
    case NormKind::Derf: {
      double squares = 0;
      for (std::size_t i = 0; i < static_cast<std::size_t>(width); ++i) {
        squares += std::pow(std::abs(at_or(gain, i, 1)) + std::abs(at_or(bias, i, 0)), 2);
      }
      return std::sqrt(squares);
    }
    case NormKind::None:
      break;
  }
  fail("an empty norm slot has no size");
}

std::optional<double> norm_size(const NormConfig& norm, NormKind kind, const NormPlace& place,
                                const HostParameters& parameters) {
  if (kind == NormKind::None) return std::nullopt;
  const std::span<const double> gain =
      norm.gain ? values_of(parameters, place.name + ".gain") : std::span<const double>();
  const double group =
      norm_size(kind, place.width / place.groups, gain, values_of(parameters, place.name + ".bias"));
  return std::sqrt(static_cast<double>(place.groups)) * group;
}

}  // namespace plumb
