// The learning rate at which an update would have raised the loss of its own batch (arXiv 2601.16979).
#pragma once

#include <functional>
#include <optional>

namespace plumb {

struct CriticalSearch {
  int doublings = 20;  ///< the largest multiple looked at is 2^20
  int halvings = 20;   ///< the smallest is 2^-20
  int bisections = 6;  ///< of a bracket whose ends are a factor of 2 apart
};

/// The multiple s of an update beyond which loss(s) > loss(0), within 0.8 %: the first one where the loss
/// rises, if it rises but once in the powers of 2 up to it. A loss that is not finite has risen. Nothing
/// where it rises at no or at every multiple looked at, or `loss_at_0` is not finite.
std::optional<double> critical_multiple(const std::function<double(double multiple)>& loss_at,
                                        double loss_at_0, const CriticalSearch& search = {});

}  // namespace plumb
