// How far a profile is from what a dtype can hold, and at which depth it would get there.
#pragma once

#include <string_view>
#include <vector>

#include "core/dtype.h"
#include "stability/growth_class.h"

namespace plumb {

/// The depth, in units of the profile's own, at which the fitted curve of growth_class.h reaches `variance`;
/// infinite where it never does or nothing was fitted, 1 or less where it already has.
double depth_at_variance(const Growth& growth, double start_variance, double variance);

struct HeadRoom {
  double largest = 0;         ///< largest |x| of all levels
  double share = 0;           ///< of the dtype's largest number
  double overflow_depth = 0;  ///< at which it would be 1, if the profile went on as it was fitted
  double rounding = 0;  ///< largest of unit roundoff * RMS(x_k) / RMS(b z_k) over sublayers with b z != 0
  double rounding_depth = 0;  ///< at which that of the last sublayer would be 1
};

/// RMS of x at levels 0..K, largest |x| at them, RMS of b z of every sublayer. |x| is taken to grow like the
/// square root of the variance. fp16 overflows at 65504 (arXiv 2502.02732 counts such entries); bf16 reaches
/// 3.4e38 but has 8 bits: what is smaller than half a unit in the last place of x is lost when it is added.
HeadRoom head_room(DType dtype, const Growth& growth, const std::vector<double>& variance,
                   const std::vector<double>& largest, const std::vector<double>& stream_rms,
                   const std::vector<double>& step_rms);

/// The largest finite number, and half the distance from 1 to the next one.
double largest_number(DType dtype);
double unit_roundoff(DType dtype);

}  // namespace plumb
