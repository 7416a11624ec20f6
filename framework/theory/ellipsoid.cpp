#include "theory/ellipsoid.h"

#include <cmath>

#include "core/error.h"

namespace plumb {

EllipsoidCheck check_ellipsoid(NormKind kind, double epsilon, std::int64_t width, std::span<const double> x,
                               std::span<const double> mean, std::span<const double> rstd) {
  PLUMB_CHECK(kind == NormKind::LayerNorm || kind == NormKind::RmsNorm || kind == NormKind::L2,
              "this norm divides by nothing: its rows are on no ellipsoid");
  const auto columns = static_cast<std::size_t>(width);
  PLUMB_CHECK(x.size() == rstd.size() * columns, "{} entries in {} rows of {}", x.size(), rstd.size(), width);
  const bool centres = kind == NormKind::LayerNorm;
  const double size = kind == NormKind::L2 ? 1 : static_cast<double>(width);  // |x_hat|^2 without eps
  EllipsoidCheck check;
  for (std::size_t row = 0; row < rstd.size(); ++row) {
    const auto entries = x.subspan(row * columns, columns);
    double own_mean = 0, squares = 0, hat_squares = 0;
    for (double value : entries) own_mean += value / static_cast<double>(width);
    for (double value : entries) {
      const double centred = centres ? value - own_mean : value;
      const double hat = (value - (centres ? mean[row] : 0)) * rstd[row];
      squares += centred * centred;
      hat_squares += hat * hat;
    }
    const double spread = squares / size;  // variance, mean square or |x|^2
    const double expected = size * spread / (spread + epsilon);
    const double error = expected == 0 ? hat_squares : std::abs(hat_squares / expected - 1);
    check.rows += 1;
    check.small_rows += spread < 10 * epsilon ? 1 : 0;
    if (!(error <= check.worst)) {
      check.worst = error;
      check.worst_row = static_cast<std::int64_t>(row);
      if (std::isnan(error)) break;
    }
  }
  return check;
}

}  // namespace plumb
