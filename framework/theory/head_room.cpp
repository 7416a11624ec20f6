#include "theory/head_room.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/maximum.h"

namespace plumb {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

double largest_number(DType dtype) {
  switch (dtype) {
    case DType::Float16:
      return kLargestFloat16;
    case DType::BFloat16:
      return 0x1.FEp127;
    case DType::Float32:
      return std::numeric_limits<float>::max();
    case DType::Float64:
      return std::numeric_limits<double>::max();
    default:
      fail("{} is no dtype of activations", name_of(dtype));
  }
}

double unit_roundoff(DType dtype) {
  switch (dtype) {
    case DType::Float16:
      return 0x1p-11;
    case DType::BFloat16:
      return 0x1p-8;
    case DType::Float32:
      return 0x1p-24;
    case DType::Float64:
      return 0x1p-53;
    default:
      fail("{} is no dtype of activations", name_of(dtype));
  }
}

double depth_at_variance(const Growth& growth, double start_variance, double variance) {
  if (growth.growth_class == GrowthClass::Unknown || growth.growth_class == GrowthClass::NotFinite) {
    return kInfinity;
  }
  const GrowthFit& fit = growth.best();
  if (variance <= start_variance) return 0;
  if (!(fit.scale > 0)) return kInfinity;
  const double share = (variance - start_variance) / fit.scale;  // of the growth over the whole depth
  switch (fit.model) {
    case GrowthModel::Constant:
      return share <= 1 ? 0 : kInfinity;
    case GrowthModel::Saturating: {
      const double left = 1 - share * -std::expm1(-1 / fit.parameter);
      return left > 0 ? -fit.parameter * std::log(left) : kInfinity;
    }
    case GrowthModel::Linear:
      return share;
    case GrowthModel::Power:
      return std::pow(share, 1 / fit.parameter);
    case GrowthModel::Quadratic:
      return std::sqrt(share);
    case GrowthModel::Exponential:
      // log(1 + share (e^r - 1)) / r without the overflow of a large r.
      return 1 + std::log(std::exp(-fit.parameter) + share * -std::expm1(-fit.parameter)) / fit.parameter;
  }
  return kInfinity;
}

HeadRoom head_room(DType dtype, const Growth& growth, const std::vector<double>& variance,
                   const std::vector<double>& largest, const std::vector<double>& stream_rms,
                   const std::vector<double>& step_rms) {
  HeadRoom room;
  for (double value : largest) room.largest = maximum_or_nan(room.largest, value);
  room.share = room.largest / largest_number(dtype);
  room.overflow_depth =
      depth_at_variance(growth, variance.front(), variance.back() / std::pow(room.share, 2));
  for (std::size_t k = 0; k < step_rms.size(); ++k) {
    if (step_rms[k] > 0)
      room.rounding = std::max(room.rounding, unit_roundoff(dtype) * stream_rms[k] / step_rms[k]);
  }
  const double lost = std::pow(step_rms.back() / unit_roundoff(dtype), 2);
  room.rounding_depth = step_rms.back() > 0 ? depth_at_variance(growth, variance.front(), lost) : kInfinity;
  return room;
}

}  // namespace plumb
