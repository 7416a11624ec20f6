#include "plan/line_fit.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace plumb {

LineFit fit_line(std::span<const TimedSize> sizes) {
  PLUMB_CHECK(sizes.size() >= 2, "a line through {} points", sizes.size());
  // min sum (a u + b v - 1)^2 with u = latencies / seconds and v = bytes / seconds.
  double uu = 0, uv = 0, vv = 0, u1 = 0, v1 = 0;
  for (const TimedSize& size : sizes) {
    const double u = size.latencies / size.seconds, v = size.bytes / size.seconds;
    uu += u * u;
    uv += u * v;
    vv += v * v;
    u1 += u;
    v1 += v;
  }
  LineFit fit;
  const double determinant = uu * vv - uv * uv;
  if (determinant > 1e-12 * uu * vv) {
    fit.latency = (u1 * vv - v1 * uv) / determinant;
    fit.seconds_per_byte = (v1 * uu - u1 * uv) / determinant;
  }
  if (fit.latency < 0 || (determinant <= 1e-12 * uu * vv && vv > 0)) {
    fit.latency = 0;
    fit.seconds_per_byte = v1 / vv;
  } else if (fit.seconds_per_byte < 0) {
    fit.seconds_per_byte = 0;
    fit.latency = u1 / uu;
  }
  for (const TimedSize& size : sizes)
    fit.worst_residual = std::max(fit.worst_residual, std::abs(fit.seconds(size) / size.seconds - 1));
  return fit;
}

}  // namespace plumb
