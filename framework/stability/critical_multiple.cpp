#include "stability/critical_multiple.h"

#include <cmath>

namespace plumb {

std::optional<double> critical_multiple(const std::function<double(double multiple)>& loss_at,
                                        double loss_at_0, const CriticalSearch& search) {
  if (!std::isfinite(loss_at_0)) return std::nullopt;
  const auto rises = [&](double multiple) { return !(loss_at(multiple) <= loss_at_0); };
  double high = 1;
  if (rises(high)) {
    int halvings = 0;
    while (rises(high / 2)) {
      high /= 2;
      if (++halvings == search.halvings) return std::nullopt;
    }
  } else {
    int doublings = 0;
    do {
      if (doublings++ == search.doublings) return std::nullopt;
      high *= 2;
    } while (!rises(high));
  }
  double low = high / 2;
  for (int i = 0; i < search.bisections; ++i) {
    const double middle = (low + high) / 2;
    (rises(middle) ? high : low) = middle;
  }
  return (low + high) / 2;
}

}  // namespace plumb
