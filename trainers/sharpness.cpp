#include "sharpness.h"

#include <algorithm>
#include <cmath>

namespace plumb {

std::optional<double> Sharpness::critical_multiple(const BatchLoss& loss) {
  vectors_.copy_parameters(kKept);
  vectors_.assign(kDirection, 1, kKept);
  vectors_.add(kDirection, -1, kStart);
  std::optional<double> multiple;
  if (vectors_.norm(kDirection) > 0) {
    const auto loss_at = [&](double s) {
      vectors_.set_parameters(kStart);
      if (s != 0) vectors_.move_parameters(s, kDirection);
      return loss.value();
    };
    multiple = plumb::critical_multiple(loss_at, loss_at(0));
  }
  vectors_.set_parameters(kKept);
  return multiple;
}

double Sharpness::hessian_product(const BatchLoss& loss, double epsilon) {
  vectors_.set_parameters(kStart);
  vectors_.move_parameters(epsilon, kDirection);
  loss.gradient();
  vectors_.copy_gradients(kProduct);
  vectors_.set_parameters(kStart);
  vectors_.move_parameters(-epsilon, kDirection);
  loss.gradient();
  vectors_.add_gradients(kProduct, -1);
  return 2 * epsilon * loss.gradient_scale;
}

Eigenvalue Sharpness::eigenvalue(const BatchLoss& loss, std::int64_t iterations, std::uint32_t step) {
  vectors_.copy_parameters(kKept);
  // Rounding of the gradients against the third derivative: in fp32 as large a step as they agree on.
  const double epsilon = (fp64_ ? 1e-5 : 1e-3) * std::max(vectors_.norm(kStart), 1e-3);
  vectors_.draw(kProduct, seed_, step);
  vectors_.assign(kDirection, 1 / vectors_.norm(kProduct), kProduct);
  Eigenvalue found;
  for (std::int64_t i = 0; i < iterations; ++i) {
    const double factor = hessian_product(loss, epsilon), norm = vectors_.norm(kProduct);
    if (norm == 0) break;
    // The cosine of v and H v, from |v + H v / |H v||^2 = 2 + 2 cos.
    vectors_.add(kDirection, 1 / norm, kProduct);
    const double length = vectors_.norm(kDirection), cosine = (length * length - 2) / 2;
    found.value = norm / factor * cosine;
    found.residual = std::sqrt(std::max(0.0, 1 - cosine * cosine));
    vectors_.assign(kDirection, 1 / norm, kProduct);
  }
  vectors_.set_parameters(kKept);
  return found;
}

}  // namespace plumb
